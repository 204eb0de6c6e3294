"""How many bytes an instance message takes on the air: the size of its CDR serialisation, without making it."""

from __future__ import annotations

from typing import Any

from cooptrack_core.cooperation import wire
from cooptrack_core.types import Message

_ENCAPSULATION = 4
_POSE_BYTES = 7 * 8
# The fields of cooptrack_msgs/InstanceFeatures after the header: name and bytes of a number, 0 for text; arrays have a
# length before them. A test compares the outcome with real serialisation.
_FIELDS: tuple[tuple[str, int], ...] = (
    ("schema_version", 2), ("agent_id", 0), ("session_id", 8), ("sequence", 8), ("map_frame", 0), ("pose", 8),
    ("pose_covariance", 4), ("pose_stamp", 4), ("model_preset", 0), ("model_fingerprint", 1),
    ("codebook_fingerprint", 1), ("point_range_m", 4), ("instance_count", 2), ("instances_withheld", 2),
    ("instance_id", 8), ("class_id", 1), ("score", 4), ("center_m", 4), ("size_m", 4), ("heading_rad", 4),
    ("velocity_mps", 4), ("position_variance_m2", 4), ("velocity_variance_m2ps2", 4), ("yaw_rate_radps", 4),
    ("time_since_update_s", 4), ("age_frames", 2), ("held_id", 8), ("packed", 1), ("feature_precision", 1),
    ("feature_streams", 1), ("feature_dim", 2), ("features", 1), ("feature_scales", 4),
)  # fmt: skip


def size_bytes(message: Message) -> int:
    """Of cooptrack_msgs/InstanceFeatures as DDS carries it, with the stamps, names and pose of the message."""
    fields = wire.encode(message)
    at = _text(8, message.sensor_frame)  # behind the stamp
    for name, width in _FIELDS:
        if name == "pose":
            at = _aligned(at, 8) + _POSE_BYTES
        elif name == "pose_stamp":
            at = _aligned(at, 4) + 8
        elif width == 0:
            at = _text(at, fields[name])
        else:
            at = _number_or_array(at, fields[name], width)
    return _ENCAPSULATION + at


def _number_or_array(at: int, value: Any, width: int) -> int:
    if isinstance(value, int):
        return _aligned(at, width) + width
    at = _aligned(at, 4) + 4
    return _aligned(at, width) + len(value) * width if len(value) else at


def _text(at: int, text: str) -> int:
    return _aligned(at, 4) + 4 + len(text.encode()) + 1


def _aligned(at: int, width: int) -> int:
    return -(-at // width) * width


__all__ = ["size_bytes"]
