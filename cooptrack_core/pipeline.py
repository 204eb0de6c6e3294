"""One frame of one agent, on one page: perceive, cooperate, advance.

The ROS nodes, the offline runs and the benchmarks all step these two agents; nothing else does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.admission import Admission
from cooptrack_core.cooperation.late_fusion import Fused, fuse
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.ranges import INFRASTRUCTURE_RANGE_M, inside
from cooptrack_core.perception import perceive
from cooptrack_core.tracking.ego_motion import EgoMotion
from cooptrack_core.tracking.life_cycle import Measurements, Tracker
from cooptrack_core.types import (
    SOURCE_EGO,
    Associations,
    Frame,
    Instances,
    Message,
    Refusal,
    TrackedObjects,
)

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class RoadsideOutput:
    """What a roadside unit sends and shows after a frame; no message while its pose is unknown."""

    message: Message | None
    tracks: TrackedObjects
    timings_ms: dict[str, float]


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


class RoadsideAgent:
    """A roadside unit: tracks what it sees and sends it as instances."""

    def __init__(
        self,
        agent_id: str,
        config: RoadsideConfig,
        session_id: int,
        sensor_frame: str = "rsu/lidar",
        map_frame: str = "map",
    ) -> None:
        self.agent_id, self.config = agent_id, config
        self.sensor_frame, self.map_frame = sensor_frame, map_frame
        self._session_id, self._sequence = session_id, 0
        self._tracker, self._motion = Tracker(config.tracker), EgoMotion()

    def reset(self) -> None:
        """Starts anew after time jumped back; sequence numbers and track ids go on."""
        self._tracker.reset()
        self._motion.reset()

    def step(self, frame: Frame) -> RoadsideOutput:
        """Processes one frame; a frame without detections advances the tracks and sends nothing."""
        clock = _Clock()
        T_map, pose_known = _locate(self._motion, self._tracker, frame)
        seen = perceive(frame, self.config.min_score)
        clock.mark("perceive")
        fed = _advance(self._tracker, frame.stamp_ns, _own(seen or Instances.empty()), T_map)
        tracks = self._tracker.report(T_map)
        clock.mark("advance")
        message = None
        if seen is not None and pose_known:
            self._sequence += 1
            message = self._compose(frame.stamp_ns, tracks, T_map, seen, fed)
        clock.mark("compose")
        return RoadsideOutput(message, tracks, clock.marks_ms)

    def _compose(self, stamp_ns: int, tracks: TrackedObjects, T_map: Float, seen: Instances, fed: Int) -> Message:
        """Message with the best-scored tracks measured in this frame and the features of their instances.

        fed: [len(seen)] the track id that each seen instance feeds.
        """
        measured = np.flatnonzero((tracks.sources > 0) & inside(tracks.center_m, INFRASTRUCTURE_RANGE_M))
        chosen = np.sort(measured[np.argsort(-tracks.score[measured], kind="stable")][: self.config.max_instances])
        instances = Instances.create(
            tracks.center_m[chosen],
            tracks.size_m[chosen],
            tracks.heading_rad[chosen],
            tracks.class_id[chosen],
            np.clip(tracks.score[chosen], 0.0, 1.0),
            velocity_mps=tracks.velocity_mps[chosen],
            instance_id=tracks.track_id[chosen],
            position_variance_m2=np.diagonal(tracks.position_covariance_m2[chosen], axis1=1, axis2=2)[:, :2],
            velocity_variance_m2ps2=np.diagonal(tracks.velocity_covariance_m2ps2[chosen], axis1=1, axis2=2),
            time_since_update_s=tracks.time_since_update_s[chosen],
            age_frames=tracks.age_frames[chosen],
            features=None if seen.features is None else seen.features.select(_rows_of(tracks.track_id[chosen], fed)),
        )
        return Message(
            agent_id=self.agent_id,
            session_id=self._session_id,
            sequence=self._sequence,
            stamp_ns=stamp_ns,
            sensor_frame=self.sensor_frame,
            T_map_from_sensor=T_map,
            instances=instances,
            point_range_m=INFRASTRUCTURE_RANGE_M,
            instances_withheld=len(measured) - len(chosen),
            map_frame=self.map_frame,
        )


class VehicleAgent:
    """A vehicle: tracks what it sees together with what others send it."""

    def __init__(self, agent_id: str, config: VehicleConfig, map_frame: str = "map") -> None:
        self.agent_id, self.config = agent_id, config
        self.admission = Admission(config.admission, map_frame)
        self._tracker, self._motion = Tracker(config.tracker), EgoMotion()
        self._frame_index = 0

    @property
    def counters(self) -> dict[str, int]:
        """Refused messages by reason."""
        return dict(self.admission.counters)

    def reset(self) -> None:
        """Starts anew after time jumped back; track ids go on, none is used twice."""
        self.admission.reset()
        self._tracker.reset()
        self._motion.reset()

    def receive(self, message: Message, now_ns: int) -> Refusal | None:
        """Takes a message for a later frame, or says why not. now_ns: receiver's clock."""
        return self.admission.receive(message, now_ns)

    def refuse(self, agent_id: str, sequence: int, reason: str) -> Refusal:
        """Counts a message that could not even be decoded."""
        return self.admission.refuse(agent_id, sequence, reason)

    def step(self, frame: Frame, messages: Sequence[Message] | None = None) -> VehicleOutput:
        """Processes one frame with the newest admitted messages, or with exactly the given ones (to repeat a run).

        A frame without detections and without messages only predicts. An unknown pose is continued from
        the last ones and switches cooperation off for the frame.
        """
        clock = _Clock()
        self._frame_index += 1
        T_map, pose_known = _locate(self._motion, self._tracker, frame)
        admitted, refusals = self.admission.take(frame.stamp_ns)
        cooperative = self.config.mode != "ego" and pose_known
        used = list(admitted if messages is None else messages) if cooperative else []
        seen = perceive(frame, self.config.min_score)
        clock.mark("perceive")
        fused, associations = fuse(seen or Instances.empty(), used, frame.stamp_ns, T_map, self.config.late)
        clock.mark("cooperate")
        fed = _advance(self._tracker, frame.stamp_ns, fused, T_map)
        tracks = self._tracker.report(T_map)
        clock.mark("advance")
        associations = replace(
            associations,
            pair_track_id=fed[fused.pair_row],
            unmatched_ego_track_id=fed[fused.unmatched_ego_row],
            unmatched_remote_track_id=fed[fused.unmatched_remote_row],
        )
        predicted_only = seen is None and not used
        return VehicleOutput(
            tracks, associations, refusals, predicted_only, pose_known, self._frame_index, T_map, clock.marks_ms
        )


def _locate(motion: EgoMotion, tracker: Tracker, frame: Frame) -> tuple[Float, bool]:
    first_pose = not motion.ever_known
    T_map, known = motion.update(frame.stamp_ns, frame.T_map_from_sensor)
    if known and first_pose:
        tracker.reset()  # tracks made before the first pose live in another frame
    return T_map, known


def _rows_of(track_id: Int, fed: Int) -> Int:
    """[N] the row of the instance that feeds each track."""
    order = np.argsort(fed, kind="stable")
    return np.asarray(order[np.searchsorted(fed[order], track_id)], np.int64)


def _own(seen: Instances) -> Fused:
    none = np.zeros(0, np.int64)
    return Fused(
        seen, np.full(len(seen), SOURCE_EGO, np.int64), ((),) * len(seen), np.zeros(len(seen), bool), none, none, none
    )


def _advance(tracker: Tracker, stamp_ns: int, fused: Fused, T_map: Float) -> Int:
    # What a sender has confirmed over several frames needs one more sighting here, not a whole birth.
    credit = np.where(fused.confirmed_by_sender, 2, 1)
    measured = Measurements(move(fused.instances, T_map), fused.sources, fused.agents, credit)
    return tracker.step(stamp_ns, measured)


class _Clock:
    """Durations of the stages of one frame, ms, on the monotonic clock."""

    def __init__(self) -> None:
        self._last_ns = time.perf_counter_ns()
        self.marks_ms: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        now_ns = time.perf_counter_ns()
        self.marks_ms[stage] = (now_ns - self._last_ns) / 1e6
        self._last_ns = now_ns
