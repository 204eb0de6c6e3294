"""Between messages and the types of cooptrack_core.

Every primitive array of a message gets an array.array: rclpy copies that in one go, anything else
element by element. Messages with many nested objects are built once and filled again for every frame.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import Pose
from numpy.typing import NDArray
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from cooptrack_core.cooperation.wire import encode
from cooptrack_core.geometry.transforms import from_quaternion, to_quaternion
from cooptrack_core.types import CLASS_NAMES, Associations, Message, MessageKey, Refusal, TrackedObjects
from cooptrack_msgs.msg import AssociationArray, InstanceFeatures, StageTimings, TrackedObject, TrackedObjectArray

Float = NDArray[np.float64]
NANOSECONDS = 1_000_000_000


def stamp_ns(stamp: TimeMessage) -> int:
    """Integer nanoseconds of a message stamp."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def stamp_message(ns: int) -> TimeMessage:
    """Message stamp of integer nanoseconds."""
    return TimeMessage(sec=ns // NANOSECONDS, nanosec=ns % NANOSECONDS)


def packed(code: str, values: NDArray[Any], dtype: Any) -> array:
    """array.array of type code `code` with the values of an array of any shape, row-major."""
    result = array(code)
    result.frombytes(np.ascontiguousarray(values, dtype).tobytes())
    return result


def set_pose(pose: Pose, T: Float) -> None:
    """Writes T [4, 4] into a Pose."""
    pose.position.x, pose.position.y, pose.position.z = T[:3, 3].tolist()
    q = pose.orientation
    q.x, q.y, q.z, q.w = to_quaternion(T).tolist()


def matrix_from_transform(transform: Any) -> Float | None:
    """[4, 4] of a geometry_msgs/Transform; None if it is not finite or its quaternion has no length."""
    t, q = transform.translation, transform.rotation
    values = (t.x, t.y, t.z, q.x, q.y, q.z, q.w)
    if not all(map(math.isfinite, values)) or abs(math.hypot(q.x, q.y, q.z, q.w) - 1.0) > 0.01:
        return None
    return from_quaternion(values[3:], values[:3])


class TracksWriter:
    """Fills one TrackedObjectArray again and again; it is valid until the next call of `write`."""

    def __init__(self, frame_id: str, agent_id: str, mode: str, detector: str) -> None:
        self._message = TrackedObjectArray(agent_id=agent_id, mode=mode, detector=detector)
        self._message.header.frame_id = frame_id
        self._pool: list[TrackedObject] = []

    def write(
        self, tracks: TrackedObjects, frame_index: int, predicted_only: bool, pose_known: bool, T_map_from_sensor: Float
    ) -> TrackedObjectArray:
        """The message of one frame."""
        message, n = self._message, len(tracks)
        self._pool += [TrackedObject() for _ in range(n - len(self._pool))]
        message.header.stamp = stamp_message(tracks.stamp_ns)
        message.frame_index = frame_index
        message.predicted_only = predicted_only
        message.pose_known = pose_known
        set_pose(message.map_from_frame, T_map_from_sensor)
        message.objects = self._pool[:n]
        self._fill(tracks)
        return message

    def _fill(self, tracks: TrackedObjects) -> None:
        known, pose_covariance, twist_covariance = tracks.covariances()
        half = tracks.heading_rad / 2
        columns = zip(
            self._message.objects,
            tracks.track_id.tolist(),
            tracks.class_id.tolist(),
            tracks.score.tolist(),
            tracks.center_m.tolist(),
            np.sin(half).tolist(),
            np.cos(half).tolist(),
            tracks.size_m.tolist(),
            tracks.velocity_mps.tolist(),
            known.tolist(),
            pose_covariance,
            twist_covariance,
            tracks.sources.tolist(),
            tracks.sources_ever.tolist(),
            tracks.agents,
            tracks.age_frames.tolist(),
            tracks.hits.tolist(),
            tracks.time_since_update_s.tolist(),
            strict=True,
        )
        for (
            item, track_id, class_id, score, center, sin_half, cos_half, size, velocity, has_covariance,
            pose_cov, twist_cov, sources, sources_ever, agents, age, hits, since_update,
        ) in columns:  # fmt: skip
            item.track_id, item.class_id, item.score = track_id, class_id, score
            pose, twist = item.pose.pose, item.twist.twist
            pose.position.x, pose.position.y, pose.position.z = center
            pose.orientation.z, pose.orientation.w = sin_half, cos_half
            item.size.x, item.size.y, item.size.z = size
            twist.linear.x, twist.linear.y = velocity
            twist.angular.z = math.nan
            item.has_covariance = has_covariance
            item.pose.covariance, item.twist.covariance = pose_cov, twist_cov
            item.sources, item.sources_ever = sources, sources_ever
            item.agents = list(agents)
            item.age_frames, item.hits, item.time_since_update_s = age, hits, since_update
            item.visible_fraction = math.nan


class DetectionsWriter:
    """Fills one vision_msgs/Detection3DArray with tracks again and again; the id is the track id."""

    def __init__(self, frame_id: str) -> None:
        self._message = Detection3DArray()
        self._message.header.frame_id = frame_id
        self._pool: list[Detection3D] = []

    def write(self, tracks: TrackedObjects) -> Detection3DArray:
        """The message of one frame."""
        message, n = self._message, len(tracks)
        message.header.stamp = stamp_message(tracks.stamp_ns)
        for _ in range(n - len(self._pool)):
            self._pool.append(Detection3D(results=[ObjectHypothesisWithPose()], header=message.header))
        message.detections = self._pool[:n]
        _, pose_covariance, _ = tracks.covariances()
        half = tracks.heading_rad / 2
        sines, cosines = np.sin(half).tolist(), np.cos(half).tolist()
        ids, classes, scores = tracks.track_id.tolist(), tracks.class_id.tolist(), tracks.score.tolist()
        centers, sizes = tracks.center_m.tolist(), tracks.size_m.tolist()
        for row, item in enumerate(message.detections):
            box, result = item.bbox, item.results[0]
            item.id = str(ids[row])
            box.center.position.x, box.center.position.y, box.center.position.z = centers[row]
            box.center.orientation.z, box.center.orientation.w = sines[row], cosines[row]
            box.size.x, box.size.y, box.size.z = sizes[row]
            result.hypothesis.class_id = CLASS_NAMES[classes[row]] if classes[row] < len(CLASS_NAMES) else "unknown"
            result.hypothesis.score = scores[row]
            result.pose.pose = box.center
            result.pose.covariance = pose_covariance[row]
        return message


def features_message(message: Message, precision: str | None = None) -> InstanceFeatures:
    """InstanceFeatures with stamp, frame and pose of the sender; precision: other than the message has."""
    found = InstanceFeatures(**encode(message, precision))
    stamp = stamp_message(message.stamp_ns)
    found.header.stamp = found.pose_stamp = stamp
    found.header.frame_id = message.sensor_frame
    if message.T_map_from_sensor is None:
        found.pose.orientation.w = 0.0  # all zero: the pose is unknown
    else:
        set_pose(found.pose, message.T_map_from_sensor)
    return found


def associations_message(
    tracks: TrackedObjects,
    associations: Associations,
    refusals: list[Refusal],
    frame_id: str,
    agent_id: str,
    mode: str,
    frame_index: int,
    ego_lost: bool,
    admitted: Sequence[MessageKey] = (),
) -> AssociationArray:
    """AssociationArray of one frame; stamp and frame as in its tracks."""
    a, used = associations, associations.messages
    found = AssociationArray(
        agent_id=agent_id,
        mode=mode,
        frame_index=frame_index,
        ego_lost=ego_lost,
        message_agent=[use.agent_id for use in used],
        message_session=array("Q", [use.session_id for use in used]),
        message_sequence=array("Q", [use.sequence for use in used]),
        message_age_ms=array("f", [use.age_ms for use in used]),
        message_bytes=array("I", [use.size_bytes for use in used]),
        admitted_agent=[key[0] for key in admitted],
        admitted_session=array("Q", [key[1] for key in admitted]),
        admitted_sequence=array("Q", [key[2] for key in admitted]),
        refused_agent=[refusal.agent_id for refusal in refusals],
        refused_sequence=array("Q", [refusal.sequence for refusal in refusals]),
        refused_reason=[refusal.reason for refusal in refusals],
        pair_ego_index=packed("I", a.pair_ego_index, np.uint32),
        pair_message_index=packed("I", a.pair_message_index, np.uint32),
        pair_instance_index=packed("I", a.pair_instance_index, np.uint32),
        pair_affinity=packed("f", a.pair_affinity, np.float32),
        pair_track_id=packed("Q", a.pair_track_id, np.uint64),
        pair_ego_center_m=packed("f", a.pair_ego_center_m, np.float32),
        pair_remote_center_m=packed("f", a.pair_remote_center_m, np.float32),
        unmatched_ego_index=packed("I", a.unmatched_ego_index, np.uint32),
        unmatched_ego_track_id=packed("Q", a.unmatched_ego_track_id, np.uint64),
        unmatched_ego_center_m=packed("f", a.unmatched_ego_center_m, np.float32),
        unmatched_remote_message_index=packed("I", a.unmatched_remote_message_index, np.uint32),
        unmatched_remote_instance_index=packed("I", a.unmatched_remote_instance_index, np.uint32),
        unmatched_remote_track_id=packed("Q", a.unmatched_remote_track_id, np.uint64),
        unmatched_remote_center_m=packed("f", a.unmatched_remote_center_m, np.float32),
    )
    found.header.stamp, found.header.frame_id = stamp_message(tracks.stamp_ns), frame_id
    return found


def timings_message(stamp: int, frame_id: str, agent_id: str, timings_ms: Mapping[str, float]) -> StageTimings:
    """StageTimings of one frame."""
    found = StageTimings(agent_id=agent_id, stage=list(timings_ms), duration_ms=array("f", timings_ms.values()))
    found.header.stamp, found.header.frame_id = stamp_message(stamp), frame_id
    return found
