"""The instance message: what goes into cooptrack_msgs/InstanceFeatures and what is believed of it on arrival."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.transforms import from_quaternion
from cooptrack_core.types import Features, Instances, Message

SCHEMA_VERSION = 1
PRECISION_CODES = {"none": 0, "fp32": 1, "fp16": 2, "int8": 3}
STREAM_QUERY, STREAM_EMBEDDING, STREAM_MOTION = 1, 2, 4
_VALUE_BYTES = {1: 4, 2: 2, 3: 1}
_DTYPE = {1: "<f4", 2: "<f2", 3: "i1"}
_FP16_MAX = 65504.0
_FARTHEST_M = 1e8  # no place on earth is farther from another; single precision overflows at 3e38


class WireError(Exception):
    """A message that cannot be believed; `reason` is the name it is counted under."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def encode(message: Message, precision: str = "fp16") -> dict[str, Any]:
    """Field values of cooptrack_msgs/InstanceFeatures by name, except header, pose and pose_stamp.

    precision: number format of the features, 'none' leaves them out. Every primitive array is an
    array.array, which rclpy copies without looking at each element.
    """
    instances = message.instances
    fields: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "agent_id": message.agent_id,
        "session_id": message.session_id,
        "sequence": message.sequence,
        "map_frame": message.map_frame,
        "point_range_m": np.asarray(message.point_range_m, np.float32),
        "instance_count": len(instances),
        "instances_withheld": message.instances_withheld,
        "instance_id": _packed("Q", instances.instance_id, np.uint64),
        "class_id": _packed("B", instances.class_id, np.uint8),
        "score": _packed("f", instances.score, np.float32),
        "center_m": _packed("f", instances.center_m, np.float32),
        "size_m": _packed("f", instances.size_m, np.float32),
        "heading_rad": _packed("f", instances.heading_rad, np.float32),
        "velocity_mps": _packed("f", instances.velocity_mps, np.float32),
        "position_variance_m2": _packed("f", _known(instances.position_variance_m2), np.float32),
        "velocity_variance_m2ps2": _packed("f", _known(instances.velocity_variance_m2ps2), np.float32),
        "yaw_rate_radps": array("f"),
        "time_since_update_s": _packed("f", instances.time_since_update_s, np.float32),
        "age_frames": _packed("H", np.minimum(instances.age_frames, 65535), np.uint16),
    }
    features = instances.features if precision != "none" else None
    fields |= _encode_features(features, PRECISION_CODES[precision])
    return fields


def _encode_features(features: Features | None, code: int) -> dict[str, Any]:
    if features is None:
        return {
            "model_preset": "", "model_fingerprint": np.zeros(32, np.uint8), "feature_precision": 0,
            "feature_streams": 0, "feature_dim": 0, "features": array("B"), "feature_scales": array("f"),
        }  # fmt: skip
    streams = [(STREAM_QUERY, features.query), (STREAM_EMBEDDING, features.embedding), (STREAM_MOTION, features.motion)]
    present = [(bit, values) for bit, values in streams if values is not None]
    stacked = np.stack([np.asarray(values, np.float32) for _, values in present])  # [S, N, C]
    scales = np.zeros(0, np.float32)
    if code == PRECISION_CODES["int8"]:
        peak = np.abs(stacked).max(axis=1, initial=0.0)  # [S, C]
        scales = np.where(peak > 0, peak / 127.0, 1.0).astype(np.float32)
        stacked = np.rint(stacked / scales[:, None])
    elif code == PRECISION_CODES["fp16"]:
        stacked = np.clip(stacked, -_FP16_MAX, _FP16_MAX)
    return {
        "model_preset": features.preset,
        "model_fingerprint": np.frombuffer(features.fingerprint, np.uint8),
        "feature_precision": code,
        "feature_streams": sum(bit for bit, _ in present),
        "feature_dim": stacked.shape[2],
        "features": _packed("B", np.frombuffer(stacked.astype(_DTYPE[code]).tobytes(), np.uint8), np.uint8),
        "feature_scales": _packed("f", scales, np.float32),
    }


def decode(fields: Any, size_bytes: int = 0) -> Message:
    """A Message from any object with the attributes of cooptrack_msgs/InstanceFeatures.

    Raises WireError('schema_version' | 'malformed' | 'not_finite', detail). A pose that is absent (all
    zero quaternion) or not finite gives T_map_from_sensor None: whether that is tolerable is for admission.
    """
    with np.errstate(all="ignore"):  # absurd values are refused by name below, not announced by numpy
        return _decode(fields, size_bytes)


def _decode(fields: Any, size_bytes: int) -> Message:
    if fields.schema_version != SCHEMA_VERSION:
        raise WireError("schema_version", f"version {fields.schema_version}, this receiver reads {SCHEMA_VERSION}")
    if not fields.agent_id:
        raise WireError("malformed", "agent_id is empty")
    n = int(fields.instance_count)
    if fields.header.stamp.sec < 0 or fields.header.stamp.nanosec >= 1_000_000_000:
        raise WireError("malformed", "header.stamp is not a time")
    instances = Instances.create(
        _floats(fields, "center_m", n, 3),
        _positive(_floats(fields, "size_m", n, 3), "size_m"),
        _floats(fields, "heading_rad", n, 1),
        np.asarray(_column(fields, "class_id", n, 1, np.uint8), np.int64),
        _in_unit_range(_floats(fields, "score", n, 1), "score"),
        velocity_mps=_floats(fields, "velocity_mps", n, 2, unknown_allowed=True),
        instance_id=np.asarray(_column(fields, "instance_id", n, 1, np.uint64), np.int64),
        position_variance_m2=_optional(fields, "position_variance_m2", n, 2),
        velocity_variance_m2ps2=_optional(fields, "velocity_variance_m2ps2", n, 2),
        time_since_update_s=_floats(fields, "time_since_update_s", n, 1),
        age_frames=np.asarray(_column(fields, "age_frames", n, 1, np.uint16), np.int64),
        features=_decode_features(fields, n),
    )
    point_range_m = tuple(float(v) for v in fields.point_range_m)
    if not np.all(np.isfinite(point_range_m)):
        raise WireError("not_finite", "point_range_m")
    return Message(
        agent_id=fields.agent_id,
        session_id=int(fields.session_id),
        sequence=int(fields.sequence),
        stamp_ns=fields.header.stamp.sec * 1_000_000_000 + fields.header.stamp.nanosec,
        sensor_frame=fields.header.frame_id,
        T_map_from_sensor=_pose(fields.pose.pose),
        instances=instances,
        point_range_m=point_range_m,
        instances_withheld=int(fields.instances_withheld),
        size_bytes=size_bytes,
        map_frame=fields.map_frame,
    )


def _decode_features(fields: Any, n: int) -> Features | None:
    code, bits, channels = int(fields.feature_precision), int(fields.feature_streams), int(fields.feature_dim)
    if code == 0:
        if len(fields.features) or channels:
            raise WireError("malformed", "features present although feature_precision says none")
        return None
    if code not in _VALUE_BYTES or bits not in (5, 7) or channels == 0:
        raise WireError("malformed", f"feature_precision {code}, feature_streams {bits}, feature_dim {channels}")
    count = bits.bit_count()
    expected = count * n * channels * _VALUE_BYTES[code]
    if len(fields.features) != expected:
        raise WireError("malformed", f"features has {len(fields.features)} bytes, expected {expected}")
    raw = np.frombuffer(fields.features, np.uint8).view(_DTYPE[code]).reshape(count, n, channels)
    values = raw.astype(np.float32)
    if code == PRECISION_CODES["int8"]:
        values *= _floats(fields, "feature_scales", count * channels, 1).reshape(count, 1, channels).astype(np.float32)
    elif not np.all(np.isfinite(values)):
        raise WireError("not_finite", "features")
    embedding = values[1] if bits & STREAM_EMBEDDING else None
    fingerprint = bytes(bytearray(fields.model_fingerprint))
    return Features(values[0], embedding, values[-1], fields.model_preset, fingerprint)


def _pose(pose: Any) -> NDArray[np.float64] | None:
    q = np.array([pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w])
    t = np.array([pose.position.x, pose.position.y, pose.position.z])
    if not (np.all(np.isfinite(q)) and np.all(np.isfinite(t))) or abs(np.linalg.norm(q) - 1) > 0.01:
        return None
    if np.abs(t).max() > _FARTHEST_M:
        return None
    return from_quaternion(q, t)


def _packed(code: str, values: NDArray[Any], dtype: Any) -> array[Any]:
    packed = array(code)
    packed.frombytes(np.ascontiguousarray(values, dtype).tobytes())
    return packed


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The column, or nothing where any of it is unknown."""
    return values if np.all(np.isfinite(values)) else values[:0]


def _column(fields: Any, name: str, n: int, width: int, dtype: Any) -> NDArray[Any]:
    values = np.asarray(getattr(fields, name), dtype)
    if values.size != n * width:
        raise WireError("malformed", f"{name} has {values.size} values, expected {n * width}")
    return values


def _floats(fields: Any, name: str, n: int, width: int, *, unknown_allowed: bool = False) -> NDArray[np.float64]:
    values = _column(fields, name, n, width, np.float32).astype(np.float64)
    bad = np.isinf(values) if unknown_allowed else ~np.isfinite(values)
    if bad.any():
        raise WireError("not_finite", name)
    return values.reshape(n, width) if width > 1 else values


def _optional(fields: Any, name: str, n: int, width: int) -> NDArray[np.float64] | None:
    if not len(getattr(fields, name)):
        return None
    values = _floats(fields, name, n, width)
    if (values < 0).any():
        raise WireError("malformed", f"{name} is negative")
    return values


def _positive(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    if (values <= 0).any():
        raise WireError("malformed", f"{name} is not positive")
    return values


def _in_unit_range(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    if ((values < 0) | (values > 1)).any():
        raise WireError("malformed", f"{name} is outside 0..1")
    return values
