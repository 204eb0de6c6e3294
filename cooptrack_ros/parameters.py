"""ROS parameters of the nodes, made from frozen dataclasses: declared with descriptors and ranges, checked, read."""

from __future__ import annotations

import difflib
import math
import sys
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from cooptrack_core.config import ParameterSpec, RoadsideConfig, VehicleConfig, from_parameters, parameter, specs
from cooptrack_core.types import CooptrackError

IMAGE_TRANSPORTS = ("compressed", "raw", "none")
LOCKSTEP_FRAMES = ("detections", "images")


@dataclass(frozen=True)
class AgentParameters:
    """What both agent nodes share beside the configuration of their core."""

    autostart: bool = parameter(True, "configure and activate at start-up; false: wait for a lifecycle manager")
    agent_id: str = parameter("", "name of this agent on the air; empty: the namespace")
    map_frame: str = parameter("map", "frame of the poses")
    sensor_frame: str = parameter(
        "", "perception frame, in which detections arrive and tracks are published; empty: <namespace>/lidar"
    )
    image_transport: str = parameter(
        "compressed",
        "camera topics: compressed (image/compressed), raw (image) or none, which detector network does not allow",
        choices=IMAGE_TRANSPORTS,
    )
    image_wait_ms: float = parameter(
        300.0,
        "detector network: longest wait of a frame for its image and camera_info, and of an image for its frame_info, "
        "ms",
        minimum=0.0,
        maximum=2000.0,
    )
    tf_timeout_ms: float = parameter(
        100.0, "longest wait of a frame for its pose on /tf, wall time, ms", minimum=0.0, maximum=5000.0
    )
    deadline_ms: float = parameter(
        500.0, "tracks that come later than this after their frame was complete here are counted as deadline_missed, "
        "wall time; 0: none, ms", minimum=0.0, maximum=600000.0,
    )  # fmt: skip
    time_jump_ms: float = parameter(
        500.0,
        "a frame older than its predecessor by more than this starts everything anew; by less it is dropped, ms",
        minimum=0.0,
        maximum=60000.0,
    )
    allow_shared_topics: bool = parameter(False, "publish even if another node publishes on the same output topics")
    discovery_wait_ms: float = parameter(
        1500.0, "wait at activation for other publishers to be discovered, ms", minimum=0.0, maximum=10000.0
    )
    predecessor_wait_ms: float = parameter(
        25000.0,
        "wait at activation for a killed node of the same name to vanish from DDS (20 s unless configured), ms",
        minimum=0.0,
        maximum=120000.0,
    )

    session_id: int = parameter(
        0, "session of the sent messages; 0: random, so that a restart is recognised", minimum=0
    )


@dataclass(frozen=True)
class RoadsideParameters(AgentParameters):
    """roadside_node."""


@dataclass(frozen=True)
class VehicleParameters(AgentParameters):
    """vehicle_node."""

    instance_topics: tuple[str, ...] = parameter(
        ("/rsu/instances",),
        "InstanceFeatures topics of the other agents, or patterns such as /*/instances (* one level, ** any) for all "
        "that come and go; ['']: none",
    )
    max_agents: int = parameter(
        16, "agents found by a pattern are refused (too_many_agents) where so many are heard already", minimum=1,
        maximum=32,
    )  # fmt: skip
    agent_forget_ms: float = parameter(
        10000.0, "an agent found by a pattern is forgotten when nobody has published its topic for this long, ms",
        minimum=0.0, maximum=600000.0,
    )  # fmt: skip
    registered_frame: str = parameter(
        "", "corrected perception frame, used for poses where /tf knows it; empty: <namespace>/lidar_registered"
    )


@dataclass(frozen=True)
class MarkerParameters:
    """marker_node."""

    map_frame: str = parameter("map", "frame in which the markers are published while the pose is known")
    trail_length: int = parameter(30, "positions in a trail, frames", minimum=0, maximum=1000)
    lifetime_ms: float = parameter(
        1000.0, "markers vanish after this time without a new frame; 0: never, ms", minimum=0.0, maximum=60000.0
    )
    velocity_arrow_s: float = parameter(
        1.0, "length of a velocity arrow: the way driven in this time, s", minimum=0.0, maximum=10.0
    )
    minimum_arrow_mps: float = parameter(0.5, "no arrow below this speed, m/s", minimum=0.0, maximum=50.0)
    text_height_m: float = parameter(1.0, "height of the id text, m", minimum=0.1, maximum=10.0)
    faint_below_score: float = parameter(
        0.5, "a network's tracks of a lower score are faint boxes, without text, arrow and trail", minimum=0.0,
        maximum=1.0,
    )  # fmt: skip


@dataclass(frozen=True)
class ReplayParameters:
    """replay_node."""

    bag: str = parameter("", "rosbag2 directory to play")
    rate: float = parameter(1.0, "playback speed; 2.0 is twice as fast", minimum=0.01, maximum=1000.0)
    loop: bool = parameter(False, "start again at the end")
    loop_pause_ms: float = parameter(
        500.0, "pause between two rounds, in which the nodes see time jump back, ms", minimum=0.0, maximum=60000.0
    )
    start_offset: float = parameter(0.0, "begin this long after the start of the bag, s", minimum=0.0, maximum=1.0e9)
    clock_hz: float = parameter(100.0, "rate of /clock between messages, wall time, Hz", minimum=1.0, maximum=1000.0)
    lockstep: bool = parameter(False, "after a frame, wait until its output is published")
    lockstep_outputs: tuple[str, ...] = parameter(
        ("/rsu/instances", "/vehicle/tracks"),
        "topics waited for; lockstep_frames says which siblings are the frame of each",
    )
    lockstep_frames: str = parameter(
        "detections",
        "what a frame is: detections (detections_in) or images (image/compressed or image, with camera_info and "
        "frame_info)",
        choices=LOCKSTEP_FRAMES,
    )
    lockstep_timeout_ms: float = parameter(
        2000.0, "longest wait for one output, wall time, ms", minimum=1.0, maximum=6e5
    )
    wait_for_subscribers: tuple[str, ...] = parameter(
        ("",), "topics of the bag that need a subscriber before the first message; ['']: none"
    )
    recorder: str = parameter(
        "", "full name of a recorder that has to take the siblings of lockstep_outputs before it begins; empty: none"
    )
    wait_for_subscribers_ms: float = parameter(
        10000.0, "longest wait for subscribers, outputs and recorder together, wall time, ms", minimum=0.0, maximum=6e5
    )
    settle_ms: float = parameter(
        300.0, "pause after all have been found, in which they connect among themselves, ms", minimum=0.0, maximum=6e4
    )
    allow_shared_topics: bool = parameter(False, "play even if another node publishes on the same topics")
    discovery_wait_ms: float = parameter(
        1500.0, "wait at the start for other publishers to be discovered, ms", minimum=0.0, maximum=10000.0
    )


@dataclass(frozen=True)
class RecorderParameters:
    """recorder_node."""

    output: str = parameter("", "rosbag2 directory to write; must not exist")
    topics: str = parameter(
        "/.*/(tracks|instances|associations|detections|debug/timings)|/diagnostics",
        "regular expression that the whole topic name has to match",
    )
    exclude: str = parameter("", "regular expression of topics to leave out; empty: none")
    discovery_period_ms: float = parameter(200.0, "how often to look for new topics, ms", minimum=10.0, maximum=60000.0)


@dataclass(frozen=True)
class ImpairmentParameters:
    """impairment_node."""

    impairment: str = parameter("", "YAML file as config/impairment.yaml; empty: nothing is impaired")
    instance_topics: tuple[str, ...] = parameter(("/rsu/instances",), "InstanceFeatures topics to impair; ['']: none")
    suffix: str = parameter("_impaired", "what is added to the name of a topic for that of its impaired messages")


_ALL = (
    ImpairmentParameters,
    RoadsideParameters, VehicleParameters, MarkerParameters, ReplayParameters, RecorderParameters, RoadsideConfig,
    VehicleConfig,
)  # fmt: skip


def spec_value(default: Any) -> Any:
    """Default value as ROS has it: tuples are lists."""
    return list(default) if isinstance(default, tuple) else default


def descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    """Descriptor with description, range and choices of a parameter."""
    found = ParameterDescriptor(description=spec.description)
    if spec.choices is not None:
        found.additional_constraints = f"one of: {', '.join(spec.choices)}"
    if isinstance(spec.default, float) and (spec.minimum is not None or spec.maximum is not None):
        low = -sys.float_info.max if spec.minimum is None else float(spec.minimum)
        high = sys.float_info.max if spec.maximum is None else float(spec.maximum)
        found.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif type(spec.default) is int and (spec.minimum is not None or spec.maximum is not None):
        low = -(2**63) if spec.minimum is None else math.ceil(spec.minimum)
        high = 2**63 - 1 if spec.maximum is None else math.floor(spec.maximum)
        found.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return found


class NodeParameters:
    """The parameters of one node: one or more dataclasses, flat beside one another."""

    def __init__(self, node: Node, *classes: type[Any]) -> None:
        """Declares everything. Raises CooptrackError naming the parameter, the value and what is allowed."""
        self._node = node
        self._specs = {cls: specs(cls) for cls in classes}
        for spec in self.specs():
            try:
                node.declare_parameter(spec.name, spec_value(spec.default), descriptor(spec))
            except InvalidParameterTypeException as error:
                raise CooptrackError(
                    f"{node.get_fully_qualified_name()}: parameter {spec.name}: is of another type; "
                    f"give it like the default {spec_value(spec.default)!r}"
                ) from error
            except InvalidParameterValueException as error:
                raise CooptrackError(
                    f"{node.get_fully_qualified_name()}: parameter {spec.name}: {error}; "
                    f"allowed is {spec.minimum} .. {spec.maximum}"
                ) from error
        node.add_on_set_parameters_callback(self._on_set)
        self._name_unknown()

    def _name_unknown(self) -> None:
        """Warns of values given for parameters that no node of ours has: most likely misspelt.

        Those of other nodes are no surprise in a file that is shared.
        """
        ours = {spec.name for cls in _ALL for spec in specs(cls)} | {"use_sim_time", "start_type_description_service"}
        given = [name for name in self._node._parameter_overrides if not name.startswith("qos_overrides.")]
        for name in sorted(set(given) - ours):
            near = difflib.get_close_matches(name, sorted(ours), 1)
            hint = f"did you mean {near[0]}?" if near else "the files in config/ list all there are"
            self._node.get_logger().warning(f"parameter {name}: unknown, its value is ignored; {hint}")

    def specs(self) -> list[ParameterSpec]:
        """All parameters in declaration order."""
        return [spec for group in self._specs.values() for spec in group]

    def read(self, cls: type[Any]) -> Any:
        """An instance of one of the classes with the present values.

        Raises CooptrackError naming the parameter, the value and what is allowed.
        """
        values = {spec.name: self._value(spec, self._node.get_parameter(spec.name).value) for spec in self._specs[cls]}
        try:
            return from_parameters(cls, values)
        except CooptrackError as error:
            raise CooptrackError(f"{self._node.get_fully_qualified_name()}: {error}") from error

    @staticmethod
    def _value(spec: ParameterSpec, value: Any) -> Any:
        if isinstance(spec.default, tuple):
            return tuple(item for item in value if item != "")
        return value

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuses values that the next configuration would refuse; accepted ones take effect there."""
        owner = {spec.name: (cls, spec) for cls, group in self._specs.items() for spec in group}
        for item in parameters:
            if item.name not in owner:
                continue
            cls, spec = owner[item.name]
            try:
                from_parameters(cls, {item.name: self._value(spec, item.value)})
            except CooptrackError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
