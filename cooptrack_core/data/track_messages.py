"""Tracks as the vehicle node publishes them, without ROS: to compare an offline run with a recorded one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.bag_messages import make
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.geometry.transforms import to_quaternion
from cooptrack_core.pipeline import VehicleOutput
from cooptrack_core.types import VIEW_UNKNOWN, TrackedObjects

Float = NDArray[np.float64]
_TYPE = "cooptrack_msgs/msg/TrackedObjectArray"


def tracks_message(output: VehicleOutput, frame_id: str, agent_id: str, mode: str, detector: str) -> Any:
    """cooptrack_msgs/TrackedObjectArray of a vehicle frame."""
    tracks, T = output.tracks, output.T_map_from_sensor
    objects = [
        _object(tracks, i, *covariances) for i, covariances in enumerate(zip(*tracks.covariances(), strict=True))
    ]
    return make(
        _TYPE, messages.header(tracks.stamp_ns, frame_id), agent_id, mode, detector, output.frame_index,
        output.predicted_only, output.pose_known, messages.pose(T[:3, 3], to_quaternion(T)), objects,
    )  # fmt: skip


def published(output: VehicleOutput, agent_id: str, mode: str, detector: str) -> Any:
    """The same as whoever hears it gets it: serialised, so that its numbers are those of a recorded bag."""
    message = tracks_message(output, f"{agent_id}/lidar", agent_id, mode, detector)
    return typestore().deserialize_cdr(serialised_tracks(message), _TYPE)


def serialised_tracks(message: Any) -> bytes:
    """The bytes of a TrackedObjectArray."""
    return bytes(typestore().serialize_cdr(message, _TYPE))


def _object(tracks: TrackedObjects, i: int, known: bool, pose_covariance: Float, twist_covariance: Float) -> Any:
    half = tracks.heading_rad[i] / 2
    at = messages.pose(tracks.center_m[i], (0.0, 0.0, float(np.sin(half)), float(np.cos(half))))
    linear = messages.vector3((*tracks.velocity_mps[i], 0.0))
    twist = make("geometry_msgs/msg/Twist", linear, messages.vector3((0.0, 0.0, np.nan)))
    return make(
        "cooptrack_msgs/msg/TrackedObject", int(tracks.track_id[i]), int(tracks.class_id[i]), float(tracks.score[i]),
        make("geometry_msgs/msg/PoseWithCovariance", at, pose_covariance),
        make("geometry_msgs/msg/TwistWithCovariance", twist, twist_covariance),
        messages.vector3(tracks.size_m[i]), known, int(tracks.sources[i]), int(tracks.sources_ever[i]),
        list(tracks.agents[i]), int(tracks.age_frames[i]), int(tracks.hits[i]), float(tracks.time_since_update_s[i]),
        VIEW_UNKNOWN, np.nan,
    )  # fmt: skip


__all__ = ["published", "serialised_tracks", "tracks_message"]
