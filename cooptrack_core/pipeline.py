"""One frame of one agent, on one page: perceive, cooperate, advance.

The ROS nodes, the offline runs and the benchmarks all step these two agents; nothing else does. An agent
works on what a detector reports (tracked by Kalman filters) or has a network, which tracks by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.agent_steps import View, advance, check_detector, locate, look, nothing_associated, own_alone, reset
from cooptrack_core.config import LEARNED_MODES, RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation import fallback
from cooptrack_core.cooperation.compose import OwnMeasurements, measured_instances
from cooptrack_core.cooperation.guard import Guard
from cooptrack_core.cooperation.inbox import Inbox
from cooptrack_core.cooperation.late_fusion import fuse
from cooptrack_core.cooperation.sender import Sender
from cooptrack_core.cooperation.timing import ClockOffset
from cooptrack_core.cooperation.trust import Verdict
from cooptrack_core.geometry.ranges import VEHICLE_RANGE_M
from cooptrack_core.perception import Network, perceive
from cooptrack_core.stage_clock import StageClock, collect_stages
from cooptrack_core.tracking.ego_motion import EgoMotion
from cooptrack_core.tracking.life_cycle import Tracker
from cooptrack_core.types import (
    Associations,
    CooptrackError,
    Frame,
    Instances,
    Message,
    MessageKey,
    Refusal,
    TrackedObjects,
)

Float = NDArray[np.float64]


@dataclass(frozen=True)
class RoadsideOutput:
    """What a roadside unit sends and shows after a frame; no message while its pose is unknown."""

    message: Message | None
    tracks: TrackedObjects
    timings_ms: dict[str, float]
    problem: str = ""  # why the network rejected the frame


@dataclass(frozen=True)
class VehicleOutput:
    """What a vehicle publishes after a frame; positions in its sensor frame at frame.stamp_ns."""

    tracks: TrackedObjects
    associations: Associations
    refusals: list[Refusal]
    predicted_only: bool
    pose_known: bool
    frame_index: int
    T_map_from_sensor: Float
    timings_ms: dict[str, float]
    problem: str = ""  # why the network rejected the frame
    ego_lost: bool = False  # the frame brought nothing of its own; messages may have been used
    unused_features: Mapping[str, str] = field(default_factory=dict)  # reason by agent; their kinematics are used
    admitted: tuple[MessageKey, ...] = ()  # since the last frame, in the order of arrival
    message: Message | None = None  # what the vehicle tells others, with publish_instances
    verdicts: Sequence[Verdict] = ()  # agents that were quarantined, or are heard again, from the next message on
    clock_offsets: Mapping[str, ClockOffset] = field(default_factory=dict)  # how far others' clocks are ahead, by agent


class RoadsideAgent:
    """A roadside unit: tracks what it sees and sends it as instances."""

    def __init__(
        self,
        agent_id: str,
        config: RoadsideConfig,
        session_id: int,
        sensor_frame: str = "rsu/lidar",
        map_frame: str = "map",
        network: Network | None = None,
    ) -> None:
        check_detector(config.detector, network)
        self.agent_id, self.config, self.network = agent_id, config, network
        self._sender = Sender(agent_id, config, session_id, sensor_frame, map_frame, network)
        self._tracker, self._motion = Tracker(config.tracker), EgoMotion()

    @property
    def session_id(self) -> int:
        """Random number of this start."""
        return self._sender.session_id

    def reset(self) -> None:
        """Starts anew after time jumped back; sequence numbers and track ids go on."""
        reset(self._tracker, self.network)
        self._motion.reset()
        self._sender.reset()

    def step(self, frame: Frame) -> RoadsideOutput:
        """Processes one frame; a frame without detections or image advances the tracks and sends nothing."""
        clock = StageClock()
        T_map, pose_known = locate(self._motion, self._tracker, self.network, frame)
        if self.network is not None:
            with collect_stages() as parts_ms:
                looked, problem = look(self.network, frame, T_map, ())
            tracks = self.network.predict(frame.stamp_ns, T_map) if looked is None else looked.tracks
            to_send = None if looked is None else looked.instances
            clock.mark("network", parts_ms)
        else:
            seen, problem = perceive(frame, self.config.min_score), ""
            clock.mark("perceive")
            fed = advance(self._tracker, frame.stamp_ns, own_alone(seen or Instances.empty()), T_map)
            tracks = self._tracker.report(T_map)
            to_send = None if seen is None else measured_instances(tracks, seen, fed)
            clock.mark("advance")
        message = None
        if to_send is not None and pose_known:
            message = self._sender.compose(frame.stamp_ns, to_send, T_map)
        clock.mark("compose")
        return RoadsideOutput(message, tracks, clock.marks_ms, problem)


class VehicleAgent:
    """A vehicle: tracks what it sees together with what others send it, and may tell them what it sees itself."""

    def __init__(
        self, agent_id: str, config: VehicleConfig, map_frame: str = "map", network: Network | None = None,
        *, session_id: int = 0, sensor_frame: str = "vehicle/lidar",
    ) -> None:  # fmt: skip
        check_detector(config.detector, network)
        if config.mode in LEARNED_MODES and network is None:
            raise CooptrackError(f"mode {config.mode}: needs detector network; choose it, or mode late or ego")
        self.agent_id, self.config, self.network = agent_id, config, network
        self.inbox = Inbox(config, map_frame, network)
        self._tracker, self._motion = Tracker(config.tracker), EgoMotion()
        self._own = OwnMeasurements(config.tracker)
        self._sender = Sender(
            agent_id, config.messages, session_id, sensor_frame, map_frame, network, VEHICLE_RANGE_M
        )  # fmt: skip
        self.hears_as(config.detector)
        self._frame_index = 0
        # Tracks are the network's own until objects have to be fused; then for good, so that ids stay.
        self._object_level = network is None or config.mode == "late"
        self._highest_id, self._of_network, self._unused = 0, fallback.TracksOfNetwork(), fallback.Unused()

    def hears_as(self, detector: str) -> None:
        """What messages are taken to come of; the detector of the configuration, unless its work is repeated."""
        self.inbox.hears_as(detector)
        self.guard = Guard(self.config.trust, self.config.late, self.inbox.admission, detector)

    @property
    def counters(self) -> dict[str, int]:
        """Refused messages by reason."""
        return dict(self.inbox.admission.counters)

    def reset(self) -> None:
        """Starts anew after time jumped back; track ids go on, none is used twice."""
        self.inbox.reset()
        self.guard.reset()
        reset(self._tracker, self.network)
        self._own.reset()
        self._sender.reset()
        self._motion.reset()

    def receive(self, message: Message, now_ns: int) -> Refusal | None:
        """Takes a message for a later frame, or says why not. now_ns: receiver's clock."""
        return self.inbox.receive(message, now_ns)

    def receive_fields(self, fields: Any, size_bytes: int, now_ns: int, known_as: str = "") -> Refusal | None:
        """The same for the fields of a cooptrack_msgs/InstanceFeatures as they came; known_as: if they name nobody."""
        opened = self.inbox.admission.opened(fields, size_bytes, known_as)
        return opened if isinstance(opened, Refusal) else self.receive(opened, now_ns)

    def refuse(self, agent_id: str, sequence: int, reason: str) -> Refusal:
        """Counts a message that could not even be read."""
        return self.inbox.admission.refuse(agent_id, sequence, reason)

    def step(self, frame: Frame, messages: Sequence[Message] | None = None) -> VehicleOutput:
        """Processes one frame with the newest admitted messages, or with exactly the given ones (to repeat a run).

        A frame without detections or image and without messages only predicts. An unknown pose is continued
        from the last ones and switches cooperation off for the frame.
        """
        clock = StageClock()
        self._frame_index += 1
        T_map, pose_known = locate(self._motion, self._tracker, self.network, frame)
        cooperative = self.config.mode != "ego" and pose_known
        admitted, refusals = self.inbox.admission.take(frame.stamp_ns) if self._can_use_messages(frame) else ([], [])
        given = admitted if messages is None else messages
        meant, used = self.inbox.prepared(given, whole=messages is None) if cooperative else ([], [])
        if self.network is None:
            view = View(perceive(frame, self.config.min_score), used)
            clock.mark("perceive")
        else:
            with collect_stages() as parts_ms:
                view = self._look(self.network, frame, T_map, used)
            clock.mark("network", parts_ms)
        if self._object_level:
            tracks, associations = self._fuse_objects(frame.stamp_ns, T_map, view, clock)
        else:
            assert view.own is not None
            tracks, associations = view.own
        self.inbox.learn(frame.stamp_ns, T_map, used, associations, tracks, view.sightings)
        message = self._tell(frame.stamp_ns, T_map, view) if self.config.publish_instances and pose_known else None
        verdicts: list[Verdict] = []
        if cooperative:
            tracks, verdicts = self.guard.after(
                frame.stamp_ns, T_map, view.sight(tracks, associations), tracks, meant
            )  # fmt: skip
            clock.mark("trust")
        predicted_only = view.seen is None and not associations.messages
        unused = self._unused.reasons(used, view.others) if self.config.mode in LEARNED_MODES else {}
        return VehicleOutput(
            tracks, associations, refusals, predicted_only, pose_known, self._frame_index, T_map, clock.marks_ms,
            view.problem, view.seen is None, unused, self.inbox.arrived(), message, verdicts,
            self.inbox.clock_offsets,
        )  # fmt: skip

    def _tell(self, stamp_ns: int, T_map: Float, view: View) -> Message | None:
        """The message of a frame: what the vehicle measured itself, nothing that it only heard."""
        if self.network is not None:
            measured = None if view.looked is None else view.looked.own_instances()
        else:
            measured = None if view.seen is None else self._own.step(stamp_ns, view.seen, T_map)
        return None if measured is None else self._sender.compose(stamp_ns, measured, T_map)

    def _can_use_messages(self, frame: Frame) -> bool:
        """A network that tracks by itself only predicts a lost frame; messages wait for the next one."""
        return self._object_level or frame.image is not None

    def _look(self, network: Network, frame: Frame, T_map: Float, used: list[Message]) -> View:
        """The network's view of a frame, with the messages whose features it understands."""
        if self.config.mode not in LEARNED_MODES:
            looked, problem = look(network, frame, T_map, ())
            if self.config.mode == "late":
                seen = None if looked is None else looked.detections
                seen = None if seen is None else seen.select(seen.score >= self.config.min_score)
                return View(seen, used, problem, looked=looked)
            others: list[Message] = []
        else:
            understood, others = fallback.split(used, network)
            looked, problem = look(network, frame, T_map, understood)
        tracks = network.predict(frame.stamp_ns, T_map) if looked is None else looked.tracks
        associations = nothing_associated(frame.stamp_ns, T_map, self.config) if looked is None else looked.associations
        self._highest_id = max(self._highest_id, int(tracks.track_id.max(initial=0)))
        if others and not self._object_level:
            self._object_level = True
            self._tracker.skip_ids(self._highest_id)
        seen = None if looked is None else fallback.as_instances(tracks)
        return View(seen, others, problem, (tracks, associations), looked)

    def _fuse_objects(
        self, stamp_ns: int, T_map: Float, view: View, clock: StageClock
    ) -> tuple[TrackedObjects, Associations]:
        fused, associations = fuse(view.seen or Instances.empty(), view.others, stamp_ns, T_map, self.config.late)
        own = None if view.seen is None else view.own
        if own is not None:
            fused = fallback.with_origin(fused, own[0])
        clock.mark("cooperate")
        # What the network reports is reported at once, whatever its age.
        hits = None if own is None else np.maximum(own[0].hits, self.config.tracker.birth_hits)
        continues = None if own is None else self._of_network.continued(own[0], len(fused.instances))
        fed = advance(self._tracker, stamp_ns, fused, T_map, hits, continues)
        tracks = self._tracker.report(T_map)
        if own is not None:
            tracks = self._of_network.without_ended(tracks, own[0], fed)
        clock.mark("advance")
        associations = replace(
            associations,
            pair_track_id=fed[fused.pair_row],
            unmatched_ego_track_id=fed[fused.unmatched_ego_row],
            unmatched_remote_track_id=fed[fused.unmatched_remote_row],
        )
        if own is not None:
            associations = fallback.joined(own[1], own[0], fed[: len(own[0])], associations)
        return tracks, associations
