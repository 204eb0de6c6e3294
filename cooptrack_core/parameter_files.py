"""ROS 2 parameter files (YAML) as configurations, so that offline runs take the parameters of the nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cooptrack_core.config import RoadsideConfig, VehicleConfig, from_parameters, specs
from cooptrack_core.data.files import problem
from cooptrack_core.types import CooptrackError

Parameters = dict[str, Any]
_SECTION = "ros__parameters"
_EVERY_NODE = ("/**", "**", "/*", "*")
_CONFIGS = {"vehicle_node": VehicleConfig, "roadside_node": RoadsideConfig}
_OF_AGENTS = (
    "agent_id allow_shared_topics autostart deadline_ms discovery_wait_ms image_transport image_wait_ms map_frame "
    "predecessor_wait_ms sensor_frame tf_timeout_ms time_jump_ms"
)
# What the nodes have beside the configurations; a test holds it equal to what they declare.
NODE_PARAMETERS = {
    name: frozenset(words.split())
    for name, words in {
        "vehicle_node": f"{_OF_AGENTS} agent_forget_ms instance_topics max_agents registered_frame session_id",
        "roadside_node": f"{_OF_AGENTS} session_id",
        "marker_node": "faint_below_score lifetime_ms map_frame minimum_arrow_mps text_height_m trail_length "
        "velocity_arrow_s",
        "recorder_node": "discovery_period_ms exclude output topics",
        "replay_node": "allow_shared_topics bag clock_hz discovery_wait_ms lockstep lockstep_frames lockstep_outputs "
        "lockstep_timeout_ms loop loop_pause_ms rate recorder settle_ms start_offset wait_for_subscribers "
        "wait_for_subscribers_ms",
        "impairment_node": "impairment instance_topics suffix",
    }.items()
}
_OF_EVERY_NODE = ("use_sim_time", "start_type_description_service", "qos_overrides.")  # ROS itself
_SHAPE = "write `/**:` or a node's name, below it `ros__parameters:`, as in config/vehicle_node.yaml"


@dataclass
class AgentParameters:
    """Parameters of the agents by dotted name, and the names of those that only concern the nodes."""

    path: Path
    vehicle: Parameters = field(default_factory=dict)
    roadside: Parameters = field(default_factory=dict)
    of_nodes: list[str] = field(default_factory=list)

    def vehicle_config(self, **given: Any) -> VehicleConfig:
        """The vehicle's configuration; given values (dots as double underscores, None: not given) come first."""
        config: VehicleConfig = self._made(VehicleConfig, self.vehicle, given)
        return config

    def roadside_config(self, **given: Any) -> RoadsideConfig:
        """The same for a roadside unit."""
        config: RoadsideConfig = self._made(RoadsideConfig, self.roadside, given)
        return config

    def _made(self, cls: type[Any], values: Parameters, given: Mapping[str, Any]) -> Any:
        own = {name.replace("__", "."): value for name, value in given.items() if value is not None}
        try:
            from_parameters(cls, values)
        except CooptrackError as error:
            raise CooptrackError(f"{self.path}: {error}") from None
        return from_parameters(cls, values | own)


def read_parameters(path: Path) -> AgentParameters:
    """The parameters of vehicle_node and roadside_node in a file, of whatever namespace, and those of every node.

    A name that an agent's configuration does not have must be one of a node that the section is for, and is listed in
    `of_nodes`. CooptrackError for another name, for a node that is none of ours and for files of another shape.
    """
    known = {node: {spec.name for spec in specs(cls)} for node, cls in _CONFIGS.items()}
    found = AgentParameters(path)
    values = {"vehicle_node": found.vehicle, "roadside_node": found.roadside}
    of_nodes: dict[str, None] = {}
    for node, parameters in _sections(_content(path), path, ""):
        nodes = list(NODE_PARAMETERS) if node in _EVERY_NODE else [node]
        if nodes[0] not in NODE_PARAMETERS:
            what = f"is no node of cooptrack; they are {', '.join(NODE_PARAMETERS)}"
            raise problem(path, node, what, "correct the name, or write `/**:` for all of them")
        agents = [item for item in nodes if item in known]
        for name, value in _flat(parameters, path, "") if agents else ():
            owners = [item for item in agents if name in known[item]]
            for owner in owners:
                values[owner][name] = value
            if not owners:
                if not name.startswith(_OF_EVERY_NODE) and not any(name in NODE_PARAMETERS[item] for item in nodes):
                    whose = "an agent or a node" if node in _EVERY_NODE else node
                    raise problem(path, name, f"is no parameter of {whose}", f"compare with config/{agents[0]}.yaml")
                of_nodes[name] = None
    found.of_nodes = list(of_nodes)
    return found


def _content(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise problem(path, "file", f"cannot be read ({error.strerror})", "check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise problem(path, "file", f"is not valid YAML ({str(error).splitlines()[0]})", _SHAPE) from None


def _sections(content: Any, path: Path, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name of the node, without its namespace, and its parameters; sections of every node first."""
    if not isinstance(content, dict) or not content:
        raise problem(path, name or "top level", "has no parameters of a node", _SHAPE)
    for key in sorted(content, key=lambda key: str(key) not in _EVERY_NODE):
        if key == _SECTION:
            if not isinstance(content[key], dict):
                raise problem(path, f"{name}.{_SECTION}", "is not a mapping", _SHAPE)
            yield name if name in _EVERY_NODE else name.rsplit("/", 1)[-1], content[key]
        else:
            yield from _sections(content[key], path, str(key))


def _flat(parameters: Mapping[str, Any], path: Path, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        if isinstance(value, dict):
            yield from _flat(value, path, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


__all__ = ["NODE_PARAMETERS", "AgentParameters", "read_parameters"]
