"""One frame of one agent, on one page: perceive, cooperate, advance.

The ROS nodes, the offline runs and the benchmarks all step these two agents; nothing else does. An agent
works on what a detector reports (tracked by Kalman filters) or has a network, which tracks by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import LEARNED_MODES, RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation import fallback
from cooptrack_core.cooperation.admission import Admission
from cooptrack_core.cooperation.compose import OwnMeasurements, measured_instances
from cooptrack_core.cooperation.guard import Guard
from cooptrack_core.cooperation.late_fusion import Fused, fuse
from cooptrack_core.cooperation.redundancy import ReceivedStates
from cooptrack_core.cooperation.sender import Sender
from cooptrack_core.cooperation.sender_pose import SenderPoses
from cooptrack_core.cooperation.sight import Sight, sight_of
from cooptrack_core.cooperation.timing import ClockOffset, Timing
from cooptrack_core.cooperation.trust import Verdict
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.ranges import VEHICLE_RANGE_M
from cooptrack_core.perception import FrameRejected, Network, NetworkOutput, perceive
from cooptrack_core.stage_clock import StageClock
from cooptrack_core.tracking.ego_motion import EgoMotion
from cooptrack_core.tracking.life_cycle import Measurements, Tracker
from cooptrack_core.types import (
    SOURCE_EGO,
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
Int = NDArray[np.int64]
_ADMITTED = 1000  # messages that a frame reports as admitted


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
        _check_detector(config.detector, network)
        self.agent_id, self.config, self.network = agent_id, config, network
        self._sender = Sender(agent_id, config, session_id, sensor_frame, map_frame, network)
        self._tracker, self._motion = Tracker(config.tracker), EgoMotion()

    @property
    def session_id(self) -> int:
        """Random number of this start."""
        return self._sender.session_id

    def reset(self) -> None:
        """Starts anew after time jumped back; sequence numbers and track ids go on."""
        _reset(self._tracker, self.network)
        self._motion.reset()
        self._sender.reset()

    def step(self, frame: Frame) -> RoadsideOutput:
        """Processes one frame; a frame without detections or image advances the tracks and sends nothing."""
        clock = StageClock()
        T_map, pose_known = _locate(self._motion, self._tracker, self.network, frame)
        if self.network is not None:
            looked, problem = _look(self.network, frame, T_map, ())
            tracks = self.network.predict(frame.stamp_ns, T_map) if looked is None else looked.tracks
            to_send = None if looked is None else looked.instances
            clock.mark("network")
        else:
            seen, problem = perceive(frame, self.config.min_score), ""
            clock.mark("perceive")
            fed = _advance(self._tracker, frame.stamp_ns, _own(seen or Instances.empty()), T_map)
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
        _check_detector(config.detector, network)
        if config.mode in LEARNED_MODES and network is None:
            raise CooptrackError(f"mode {config.mode}: needs detector network; choose it, or mode late or ego")
        self.agent_id, self.config, self.network = agent_id, config, network
        self.received = ReceivedStates()
        self.poses = SenderPoses(config.pose_correction)
        self._admitted: deque[MessageKey] = deque(maxlen=_ADMITTED)
        self.admission = Admission(config.admission, map_frame, self._whole)
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
        self.guard = Guard(self.config.trust, self.config.late, self.admission, detector)
        self._timing = Timing(self.config.latency, detector)

    @property
    def counters(self) -> dict[str, int]:
        """Refused messages by reason."""
        return dict(self.admission.counters)

    def reset(self) -> None:
        """Starts anew after time jumped back; track ids go on, none is used twice."""
        self.admission.reset()
        self.poses.reset()
        self.received.reset()
        self._admitted.clear()
        self.guard.reset()
        self._timing.reset()
        _reset(self._tracker, self.network)
        self._own.reset()
        self._sender.reset()
        self._motion.reset()

    def receive(self, message: Message, now_ns: int) -> Refusal | None:
        """Takes a message for a later frame, or says why not. now_ns: receiver's clock."""
        return self.admission.receive(message, now_ns)

    def _whole(self, message: Message) -> Message:
        """An admitted message as everything after sees it: codes looked up, held instances moved on."""
        self._admitted.append(message.key)
        return self.received.expand(self._looked_up(message))

    def _looked_up(self, message: Message) -> Message:
        """With features in place of codes, where they are of this vehicle's codebook."""
        features, codebook = message.instances.features, None if self.network is None else self.network.codebook
        if features is None or codebook is None or not codebook.knows(features):
            return message
        return replace(message, instances=replace(message.instances, features=codebook.decode(features)))

    def receive_fields(self, fields: Any, size_bytes: int, now_ns: int, known_as: str = "") -> Refusal | None:
        """The same for the fields of a cooptrack_msgs/InstanceFeatures as they came; known_as: if they name nobody."""
        opened = self.admission.opened(fields, size_bytes, known_as)
        return opened if isinstance(opened, Refusal) else self.receive(opened, now_ns)

    def refuse(self, agent_id: str, sequence: int, reason: str) -> Refusal:
        """Counts a message that could not even be read."""
        return self.admission.refuse(agent_id, sequence, reason)

    def step(self, frame: Frame, messages: Sequence[Message] | None = None) -> VehicleOutput:
        """Processes one frame with the newest admitted messages, or with exactly the given ones (to repeat a run).

        A frame without detections or image and without messages only predicts. An unknown pose is continued
        from the last ones and switches cooperation off for the frame.
        """
        clock = StageClock()
        self._frame_index += 1
        T_map, pose_known = _locate(self._motion, self._tracker, self.network, frame)
        cooperative = self.config.mode != "ego" and pose_known
        admitted, refusals = self.admission.take(frame.stamp_ns) if self._can_use_messages(frame) else ([], [])
        used = (admitted if messages is None else [self._looked_up(m) for m in messages]) if cooperative else []
        used = self._timing.prepared(self.poses.corrected(used))
        arrived = tuple(self._admitted)
        self._admitted.clear()
        if self.network is None:
            view = _View(perceive(frame, self.config.min_score), used)
        else:
            view = self._look(self.network, frame, T_map, used)
        clock.mark("perceive" if self.network is None else "network")
        if self._object_level:
            tracks, associations = self._fuse_objects(frame.stamp_ns, T_map, view, clock)
        else:
            assert view.own is not None
            tracks, associations = view.own
        self._timing.observe(frame.stamp_ns, associations, used, tracks, T_map)
        self.poses.observe(view.sightings, used, frame.stamp_ns, T_map)
        message = self._tell(frame.stamp_ns, T_map, view) if self.config.publish_instances and pose_known else None
        verdicts: list[Verdict] = []
        if cooperative:
            tracks, verdicts = self.guard.after(
                frame.stamp_ns, T_map, view.sight(tracks, associations), tracks, used
            )  # fmt: skip
            clock.mark("trust")
        predicted_only = view.seen is None and not associations.messages
        unused = self._unused.reasons(used, view.others) if self.config.mode in LEARNED_MODES else {}
        return VehicleOutput(
            tracks, associations, refusals, predicted_only, pose_known, self._frame_index, T_map, clock.marks_ms,
            view.problem, view.seen is None, unused, arrived, message, verdicts, self._timing.clock_offsets,
        )  # fmt: skip

    def _tell(self, stamp_ns: int, T_map: Float, view: _View) -> Message | None:
        """The message of a frame: what the vehicle measured itself, nothing that it only heard."""
        if self.network is not None:
            measured = None if view.looked is None else view.looked.own_instances()
        else:
            measured = None if view.seen is None else self._own.step(stamp_ns, view.seen, T_map)
        return None if measured is None else self._sender.compose(stamp_ns, measured, T_map)

    def _can_use_messages(self, frame: Frame) -> bool:
        """A network that tracks by itself only predicts a lost frame; messages wait for the next one."""
        return self._object_level or frame.image is not None

    def _look(self, network: Network, frame: Frame, T_map: Float, used: list[Message]) -> _View:
        """The network's view of a frame, with the messages whose features it understands."""
        if self.config.mode not in LEARNED_MODES:
            looked, problem = _look(network, frame, T_map, ())
            if self.config.mode == "late":
                seen = None if looked is None else looked.detections
                seen = None if seen is None else seen.select(seen.score >= self.config.min_score)
                return _View(seen, used, problem, looked=looked)
            others: list[Message] = []
        else:
            understood, others = fallback.split(used, network)
            looked, problem = _look(network, frame, T_map, understood)
        tracks = network.predict(frame.stamp_ns, T_map) if looked is None else looked.tracks
        associations = (
            _nothing_associated(frame.stamp_ns, T_map, self.config) if looked is None else looked.associations
        )
        self._highest_id = max(self._highest_id, int(tracks.track_id.max(initial=0)))
        if others and not self._object_level:
            self._object_level = True
            self._tracker.skip_ids(self._highest_id)
        seen = None if looked is None else fallback.as_instances(tracks)
        return _View(seen, others, problem, (tracks, associations), looked)

    def _fuse_objects(
        self, stamp_ns: int, T_map: Float, view: _View, clock: StageClock
    ) -> tuple[TrackedObjects, Associations]:
        fused, associations = fuse(view.seen or Instances.empty(), view.others, stamp_ns, T_map, self.config.late)
        own = None if view.seen is None else view.own
        if own is not None:
            fused = fallback.with_origin(fused, own[0])
        clock.mark("cooperate")
        # What the network reports is reported at once, whatever its age.
        hits = None if own is None else np.maximum(own[0].hits, self.config.tracker.birth_hits)
        continues = None if own is None else self._of_network.continued(own[0], len(fused.instances))
        fed = _advance(self._tracker, stamp_ns, fused, T_map, hits, continues)
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


@dataclass(frozen=True)
class _View:
    """What the vehicle makes of a frame before objects are fused."""

    seen: Instances | None  # None: nothing usable in this frame
    others: list[Message]  # messages whose objects are still to be fused
    problem: str = ""
    own: tuple[TrackedObjects, Associations] | None = None  # of a network that tracks by itself
    looked: NetworkOutput | None = None

    @property
    def sightings(self) -> Instances | None:
        """What the own sensor alone shows, for what may not depend on messages."""
        if self.own is None:
            return self.seen
        return None if self.looked is None else self.looked.sightings

    def sight(self, tracks: TrackedObjects, associations: Associations) -> Sight | None:
        """What the own sensor measured of the frame's tracks; None if the frame brought nothing of its own."""
        return None if self.seen is None else sight_of(self.seen if self.own is None else None, associations, tracks)


def _check_detector(detector: str, network: Network | None) -> None:
    if (detector == "network") != (network is not None):
        raise CooptrackError(f"detector {detector}: {'needs' if network is None else 'takes no'} network")


def _look(
    network: Network, frame: Frame, T_map: Float, messages: Sequence[Message]
) -> tuple[NetworkOutput | None, str]:
    """What the network makes of a frame; None and why if it cannot use it. A lost frame is no problem of its own."""
    if frame.image is None:
        return None, ""
    try:
        return network.step(frame, T_map, messages), ""
    except FrameRejected as rejected:
        return None, str(rejected)


def _nothing_associated(stamp_ns: int, T_map: Float, config: VehicleConfig) -> Associations:
    return fuse(Instances.empty(), (), stamp_ns, T_map, config.late)[1]


def _reset(tracker: Tracker, network: Network | None) -> None:
    tracker.reset()
    if network is not None:
        network.reset()


def _locate(motion: EgoMotion, tracker: Tracker, network: Network | None, frame: Frame) -> tuple[Float, bool]:
    first_pose = not motion.ever_known
    T_map, known = motion.update(frame.stamp_ns, frame.T_map_from_sensor)
    if known and first_pose:
        _reset(tracker, network)  # tracks made before the first pose live in another frame
    return T_map, known


def _own(seen: Instances) -> Fused:
    none = np.zeros(0, np.int64)
    return Fused(
        seen, np.full(len(seen), SOURCE_EGO, np.int64), ((),) * len(seen), np.zeros(len(seen), bool), none, none, none
    )


def _advance(
    tracker: Tracker, stamp_ns: int, fused: Fused, T_map: Float, hits: Int | None = None, continues: Int | None = None
) -> Int:
    # What a sender has confirmed over several frames needs one more sighting here, not a whole birth; what the own
    # network tracks (the first rows, with their hits) is as old as it says.
    credit = np.where(fused.confirmed_by_sender, 2, 1)
    if hits is not None:
        credit[: len(hits)] = np.maximum(credit[: len(hits)], hits)
    measured = Measurements(move(fused.instances, T_map), fused.sources, fused.agents, credit, continues)
    return tracker.step(stamp_ns, measured)
