"""What flows through the system: instances, tracks, associations and the frames that carry them.

Every array is one column of a struct of arrays with N rows. Coordinates are in the frame that the
holder names; boxes are gravity-centred, length/width/height along their own x/y/z, heading
counter-clockwise from +x, velocity over ground along the axes of the same frame (REP-103).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

CLASS_NAMES = ("car", "bicycle", "pedestrian", "traffic_cone")
CLASS_ID = {name: index for index, name in enumerate(CLASS_NAMES)}
CLASS_UNKNOWN = 255

SOURCE_EGO = 1
SOURCE_REMOTE = 2

VIEW_UNKNOWN, VIEW_VISIBLE, VIEW_OCCLUDED, VIEW_OUTSIDE = range(4)


class CooptrackError(Exception):
    """A problem the user can mend; the message names what, where and the remedy in one line."""


@dataclass(frozen=True)
class Features:
    """Learned part of N instances, named as in the paper (spec cooptrack.md 1.4).

    query: [N, C] semantic features; embedding: [N, C] positional query embeddings, motion: [N, C] motion features, or
    None: the receiver recomputes them. fingerprint: of the network that made them, or its first 8 bytes or more.
    codes: [N, streams, K] rows of the codebook of that fingerprint in place of query and motion, which are [N, 0] and
    None until cooperation/codebook.py has looked them up; channels: C where there are codes.
    """

    query: NDArray[np.float32]
    embedding: NDArray[np.float32] | None
    motion: NDArray[np.float32] | None
    preset: str = ""
    fingerprint: bytes = bytes(32)
    codes: NDArray[np.uint8] | None = None
    codebook: bytes = b""
    channels: int = 0

    @property
    def size(self) -> int:
        """C, also while there are only codes."""
        return self.channels or int(self.query.shape[1])

    def select(self, index: Any) -> Features:
        """Rows chosen by an integer, boolean or slice index."""
        columns = {name: getattr(self, name) for name in ("query", "embedding", "motion", "codes")}
        chosen: dict[str, Any] = {name: column[index] for name, column in columns.items() if column is not None}
        return replace(self, **chosen)

    def without(self, streams: Sequence[str]) -> Features:
        """Without some of embedding and motion."""
        dropped: dict[str, Any] = dict.fromkeys(streams)
        return replace(self, **dropped)

    @staticmethod
    def concatenate(parts: Sequence[Features]) -> Features:
        """The rows of several; all from one sender, with the same streams."""
        first = parts[0]
        columns = {name: [getattr(part, name) for part in parts] for name in ("query", "embedding", "motion", "codes")}
        joined: dict[str, Any] = {name: np.concatenate(c) for name, c in columns.items() if c[0] is not None}
        return replace(first, **joined)


@dataclass(frozen=True)
class Instances:
    """N perceived road users in one frame."""

    center_m: Float  # [N, 3]
    size_m: Float  # [N, 3] length, width, height
    heading_rad: Float  # [N]
    velocity_mps: Float  # [N, 2]; NaN where the detector gives none
    class_id: Int  # [N]
    score: Float  # [N] 0..1
    instance_id: Int  # [N] id given by the sender, 0 if none
    position_variance_m2: Float  # [N, 2] of x and y, NaN: unknown
    velocity_variance_m2ps2: Float  # [N, 2] of vx and vy, NaN: unknown
    time_since_update_s: Float  # [N] since the sender measured the object itself
    age_frames: Int  # [N] frames since the sender first reported it, 0 for a bare detection
    features: Features | None = None

    def __len__(self) -> int:
        return len(self.score)

    @staticmethod
    def empty() -> Instances:
        """No instances: valid news, 'nothing seen'."""
        return Instances.create(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0))

    @staticmethod
    def create(
        center_m: Float,
        size_m: Float,
        heading_rad: Float,
        class_id: Int,
        score: Float,
        *,
        velocity_mps: Float | None = None,
        instance_id: Int | None = None,
        position_variance_m2: Float | None = None,
        velocity_variance_m2ps2: Float | None = None,
        time_since_update_s: Float | None = None,
        age_frames: Int | None = None,
        features: Features | None = None,
    ) -> Instances:
        """Instances with the unknown columns filled in and the length of every column checked."""
        n = len(score)

        def pairs(column: Float | None) -> Float:
            return np.full((n, 2), np.nan) if column is None else np.asarray(column, np.float64).reshape(-1, 2)

        def counts(column: Int | None) -> Int:
            return np.zeros(n, np.int64) if column is None else np.asarray(column, np.int64).reshape(-1)

        instances = Instances(
            np.asarray(center_m, np.float64).reshape(-1, 3),
            np.asarray(size_m, np.float64).reshape(-1, 3),
            np.asarray(heading_rad, np.float64).reshape(-1),
            pairs(velocity_mps),
            np.asarray(class_id, np.int64).reshape(-1),
            np.asarray(score, np.float64).reshape(-1),
            counts(instance_id),
            pairs(position_variance_m2),
            pairs(velocity_variance_m2ps2),
            np.zeros(n) if time_since_update_s is None else np.asarray(time_since_update_s, np.float64).reshape(-1),
            counts(age_frames),
            features,
        )
        for item in fields(instances):
            column = getattr(instances, item.name)
            if isinstance(column, np.ndarray) and len(column) != n:
                raise ValueError(f"Instances.{item.name} has {len(column)} rows, score has {n}")
        return instances

    def select(self, index: Any) -> Instances:
        """Rows chosen by an integer, boolean or slice index."""
        columns = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name != "features"}
        return Instances(**columns, features=None if self.features is None else self.features.select(index))

    @staticmethod
    def concatenate(parts: Sequence[Instances]) -> Instances:
        """The rows of several (at least one), with features if all have them."""
        names = [item.name for item in fields(Instances) if item.name != "features"]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        learned = [part.features for part in parts if part.features is not None]
        return Instances(**columns, features=Features.concatenate(learned) if len(learned) == len(parts) else None)


@dataclass(frozen=True)
class Motion:
    """How N instances move, along the axes of their frame at their stamp."""

    velocity_mps: Float  # [N, 2]
    yaw_rate_radps: Float  # [N] counter-clockwise
    velocity_variance_m2ps2: Float  # [N, 2]
    feature_change_per_s: NDArray[np.float32] | None = None  # [N, C] of the query features, as far as it is foreseen


@dataclass(frozen=True)
class CameraView:
    """Where a camera sees the sensor frame: pixel = K T_camera_from_sensor point, without lens distortion."""

    K: Float  # [3, 3], pixels
    T_camera_from_sensor: Float  # [4, 4], x right, y down, z ahead
    width: int
    height: int


@dataclass(frozen=True)
class Frame:
    """One frame of one agent.

    stamp_ns: perception time. T_map_from_sensor: [4, 4] pose of the perception frame (registered,
    where a registration is known), or None if the pose is unknown. detections: what a detector
    outside the pipeline reported, in the sensor frame; None if it reported nothing for this frame
    (a lost frame, not an empty street). image: for the network, the bytes of a JPEG or PNG file or a
    [height, width, 3] uint8 array in BGR order, with the camera that took it. image_stamp_ns: when it
    did, if that was not at stamp_ns.
    """

    stamp_ns: int
    T_map_from_sensor: Float | None
    detections: Instances | None = None
    image: bytes | NDArray[np.uint8] | None = None
    camera: CameraView | None = None
    image_stamp_ns: int | None = None

    @property
    def image_delay_s(self) -> float:
        """From stamp_ns until the image was taken."""
        return 0.0 if self.image_stamp_ns is None else (self.image_stamp_ns - self.stamp_ns) / 1e9


_NO_IDS = np.zeros(0, np.int64)  # one for all, so that messages stay comparable
MessageKey = tuple[str, int, int]  # agent, session, sequence


@dataclass(frozen=True)
class Message:
    """Decoded instance message of one agent: instances in the sender's sensor frame.

    held_id: [H] instances still seen that are not among them: what was sent of them last still holds
    (cooperation/redundancy.py). precision, kinematics: how it is written on the air, names of config.py.
    motion: how they move as the receiver has it; None: as the instances say. clock_offset_ns: by how much the receiver
    takes the sender's clock to be ahead; lag_ns: how far places in the message lag behind its stamp.
    """

    agent_id: str
    session_id: int
    sequence: int
    stamp_ns: int
    sensor_frame: str
    T_map_from_sensor: Float | None  # [4, 4]
    instances: Instances
    point_range_m: tuple[float, ...] = (0.0, -51.2, -5.0, 102.4, 51.2, 3.0)
    instances_withheld: int = 0
    size_bytes: int = 0
    map_frame: str = "map"
    held_id: Int = field(default_factory=lambda: _NO_IDS)
    precision: str = "fp16"
    kinematics: str = "fp32"
    motion: Motion | None = None
    clock_offset_ns: int = 0
    lag_ns: int = 0

    @property
    def key(self) -> MessageKey:
        """What tells it from all others."""
        return self.agent_id, self.session_id, self.sequence

    @property
    def perceived_ns(self) -> int:
        """When the instances were where the message has them, by the receiver's clock."""
        return self.stamp_ns - self.clock_offset_ns - self.lag_ns


@dataclass(frozen=True)
class MessageUse:
    """Which message a frame used, enough to repeat the schedule offline."""

    agent_id: str
    session_id: int
    sequence: int
    age_ms: float
    size_bytes: int


@dataclass(frozen=True)
class ClockOffset:
    """By how much the clock of an agent is ahead; NaN while it is not known."""

    offset_ms: float = float("nan")
    std_ms: float = float("nan")
    count: int = 0  # pairs behind it
    objects: int = 0  # of so many different ones


@dataclass(frozen=True)
class Refusal:
    """A message that was not admitted, and the name of the rule that refused it."""

    agent_id: str
    sequence: int
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Associations:
    """Outcome of the cooperation of one frame; positions in the ego sensor frame."""

    messages: tuple[MessageUse, ...]
    pair_ego_index: Int  # [P]
    pair_message_index: Int  # [P] row of messages
    pair_instance_index: Int  # [P] row of that message's instances
    pair_affinity: Float  # [P] 0..1
    pair_ego_center_m: Float  # [P, 3]
    pair_remote_center_m: Float  # [P, 3]
    unmatched_ego_index: Int  # [E]
    unmatched_ego_center_m: Float  # [E, 3]
    unmatched_remote_message_index: Int  # [R]
    unmatched_remote_instance_index: Int  # [R]
    unmatched_remote_center_m: Float  # [R, 3]
    # Track that each row feeds, 0 if none; filled in after the tracker has run.
    pair_track_id: Int = field(default_factory=lambda: np.zeros(0, np.int64))
    unmatched_ego_track_id: Int = field(default_factory=lambda: np.zeros(0, np.int64))
    unmatched_remote_track_id: Int = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class TrackedObjects:
    """N reported tracks in the sensor frame of the agent at stamp_ns."""

    stamp_ns: int
    track_id: Int  # [N] from 1, increasing, never reused in a run
    class_id: Int  # [N]
    score: Float  # [N]
    center_m: Float  # [N, 3]
    size_m: Float  # [N, 3]
    heading_rad: Float  # [N]
    velocity_mps: Float  # [N, 2]
    position_covariance_m2: Float  # [N, 3, 3]; NaN: unknown
    heading_variance_rad2: Float  # [N]
    velocity_covariance_m2ps2: Float  # [N, 2, 2]
    sources: Int  # [N] bits SOURCE_* of this frame, 0: predicted
    sources_ever: Int  # [N]
    agents: Sequence[tuple[str, ...]]  # [N] remote agents that contributed in this frame
    age_frames: Int  # [N]
    hits: Int  # [N]
    time_since_update_s: Float  # [N]

    def __len__(self) -> int:
        return len(self.track_id)

    def covariances(self) -> tuple[NDArray[np.bool_], Float, Float]:
        """[N] whether known, and [N, 36] of pose and twist in the order of ROS; zeros where unknown."""
        n = len(self)
        pose, twist = np.zeros((n, 6, 6)), np.zeros((n, 6, 6))
        pose[:, :3, :3] = self.position_covariance_m2
        pose[:, 5, 5] = self.heading_variance_rad2
        twist[:, :2, :2] = self.velocity_covariance_m2ps2
        known = np.asarray(np.isfinite(pose).all(axis=(1, 2)) & np.isfinite(twist).all(axis=(1, 2)))
        pose[~known], twist[~known] = 0.0, 0.0
        return known, pose.reshape(n, 36), twist.reshape(n, 36)
