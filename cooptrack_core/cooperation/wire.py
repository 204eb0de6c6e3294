"""The instance message: what goes into cooptrack_msgs/InstanceFeatures and what is believed of it on arrival.

Byte by byte in docs/wire.md. Two choices are independent: how features are written (`precision`), and whether
kinematics have a column each in single precision or are packed into 15 bytes an instance (`kinematics`).
"""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation import compact
from cooptrack_core.cooperation.codebook import PREFIX_BYTES
from cooptrack_core.geometry.transforms import from_quaternion
from cooptrack_core.stage_clock import stage
from cooptrack_core.types import Features, Instances, Message

SCHEMA_VERSION = 2
PRECISION_CODES = {"none": 0, "fp32": 1, "fp16": 2, "int8": 3, "rvq": 4}
STREAM_QUERY, STREAM_EMBEDDING, STREAM_MOTION = 1, 2, 4
_STREAMS = ((STREAM_QUERY, "query"), (STREAM_EMBEDDING, "embedding"), (STREAM_MOTION, "motion"))
_NAMES = {code: name for name, code in PRECISION_CODES.items()}
_DTYPE = {1: "<f4", 2: "<f2", 3: "i1"}
_FP16_MAX = 65504.0
_FINGERPRINT_BYTES = 32
# Columns of one entry or more per instance that `packed` replaces: type code and what they are stored as.
_COLUMNS = {
    "instance_id": ("Q", np.uint64), "class_id": ("B", np.uint8), "score": ("f", np.float32),
    "center_m": ("f", np.float32), "size_m": ("f", np.float32), "heading_rad": ("f", np.float32),
    "velocity_mps": ("f", np.float32), "position_variance_m2": ("f", np.float32),
    "velocity_variance_m2ps2": ("f", np.float32), "yaw_rate_radps": ("f", np.float32),
    "time_since_update_s": ("f", np.float32), "age_frames": ("H", np.uint16), "held_id": ("Q", np.uint64),
}  # fmt: skip
_FARTHEST_M = 1e8  # no place on earth is farther from another; single precision overflows at 3e38


class WireError(Exception):
    """A message that cannot be believed; `reason` is the name it is counted under."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@stage("encode message")
def encode(message: Message, precision: str | None = None, kinematics: str | None = None) -> dict[str, Any]:
    """Field values of cooptrack_msgs/InstanceFeatures by name, except header, pose and pose_stamp.

    precision: number format of the features, 'none' leaves them out, 'rvq' needs them as codes; kinematics: 'fp32' or
    'compact'; those of the message unless given. Every primitive array is an array.array, which rclpy copies without
    looking at each element. Raises ValueError for what has no place in the format.
    """
    packed = (kinematics or message.kinematics) == "compact"
    instances = message.instances.select(compact.sent_order(message.instances)) if packed else message.instances
    fields: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "agent_id": message.agent_id,
        "session_id": message.session_id,
        "sequence": message.sequence,
        "map_frame": message.map_frame,
        "pose_covariance": array("f"),
        "point_range_m": array("f") if packed else _packed("f", message.point_range_m, np.float32),
        "instance_count": len(instances),
        "instances_withheld": message.instances_withheld,
        **{name: array(code) for name, (code, _) in _COLUMNS.items()},
        "packed": array("B", compact.pack(instances, message.held_id) if packed else b""),
    }
    if not packed:
        fields |= _encode_columns(instances, message.held_id)
    return fields | _encode_features(instances.features, PRECISION_CODES[precision or message.precision], short=packed)


def _encode_columns(instances: Instances, held_id: NDArray[np.int64]) -> dict[str, Any]:
    columns = {name: getattr(instances, name) for name in _COLUMNS if name not in ("yaw_rate_radps", "held_id")}
    columns |= {"held_id": held_id, "age_frames": np.minimum(instances.age_frames, 65535)}
    for name in ("position_variance_m2", "velocity_variance_m2ps2"):
        columns[name] = _known(columns[name])
    return {name: _packed(*_COLUMNS[name][:1], values, _COLUMNS[name][1]) for name, values in columns.items()}


def _encode_features(features: Features | None, code: int, *, short: bool) -> dict[str, Any]:
    """short: only what a receiver needs to know of who made them."""
    if features is None or code == 0:
        return {
            "model_preset": "", "model_fingerprint": array("B"), "codebook_fingerprint": array("B"),
            "feature_precision": 0, "feature_streams": 0, "feature_dim": 0, "features": array("B"),
            "feature_scales": array("f"),
        }  # fmt: skip
    if (features.codes is not None) != (_NAMES[code] == "rvq"):
        raise ValueError(f"features: precision {_NAMES[code]} with{'' if features.codes is not None else 'out'} codes")
    bits, data, scales = _coded(features) if features.codes is not None else _plain(features, code)
    return {
        "model_preset": "" if short else features.preset,
        "model_fingerprint": array("B", features.fingerprint[: PREFIX_BYTES if short else None]),
        "codebook_fingerprint": array("B", features.codebook[:PREFIX_BYTES]),
        "feature_precision": code,
        "feature_streams": bits,
        "feature_dim": features.size,
        "features": array("B", data),
        "feature_scales": _packed("f", scales, np.float32),
    }


def _coded(features: Features) -> tuple[int, bytes, NDArray[np.float32]]:
    assert features.codes is not None
    codes = np.swapaxes(features.codes, 0, 1)  # [S, N, K]
    bits = STREAM_QUERY if len(codes) == 1 else STREAM_QUERY | STREAM_MOTION
    return bits, np.ascontiguousarray(codes, np.uint8).tobytes(), np.zeros(0, np.float32)


def _plain(features: Features, code: int) -> tuple[int, bytes, NDArray[np.float32]]:
    present = [(bit, getattr(features, name)) for bit, name in _STREAMS]
    present = [(bit, values) for bit, values in present if values is not None]
    stacked = np.stack([np.asarray(values, np.float32) for _, values in present])  # [S, N, C]
    scales = np.zeros(0, np.float32)
    if _NAMES[code] == "int8":
        peak = np.abs(stacked).max(axis=2, initial=0.0)  # [S, N]
        scales = np.where(peak > 0, peak / 127.0, 1.0).astype(np.float32)
        stacked = np.rint(stacked / scales[..., None])
    elif _NAMES[code] == "fp16":
        stacked = np.clip(stacked, -_FP16_MAX, _FP16_MAX)
    return sum(bit for bit, _ in present), stacked.astype(_DTYPE[code]).tobytes(), scales


@stage("decode message")
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
    for name, count in (("pose_covariance", 36), ("yaw_rate_radps", n)):  # not used; right or not there all the same
        if len(getattr(fields, name)):
            _floats(fields, name, count, 1)
    packed = len(fields.packed) > 0
    instances, held_id = _decode_packed(fields, n) if packed else _decode_columns(fields, n)
    return Message(
        agent_id=fields.agent_id,
        session_id=int(fields.session_id),
        sequence=int(fields.sequence),
        stamp_ns=fields.header.stamp.sec * 1_000_000_000 + fields.header.stamp.nanosec,
        sensor_frame=fields.header.frame_id,
        T_map_from_sensor=_pose(fields.pose),
        instances=replace(instances, features=_decode_features(fields, n)),
        point_range_m=_point_range(fields),
        instances_withheld=int(fields.instances_withheld),
        size_bytes=size_bytes,
        map_frame=fields.map_frame,
        held_id=held_id,
        precision=_NAMES[int(fields.feature_precision)],
        kinematics="compact" if packed else "fp32",
    )


def _decode_packed(fields: Any, n: int) -> tuple[Instances, NDArray[np.int64]]:
    if filled := [name for name in _COLUMNS if len(getattr(fields, name))]:
        raise WireError("malformed", f"{filled[0]} is given beside packed")
    try:
        found = compact.unpack(bytes(bytearray(fields.packed)), n)
    except compact.Malformed as error:
        raise WireError("malformed", str(error)) from None
    return found.instances, found.held_id


def _decode_columns(fields: Any, n: int) -> tuple[Instances, NDArray[np.int64]]:
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
    )
    return instances, np.asarray(np.asarray(fields.held_id, np.uint64), np.int64)


def _decode_features(fields: Any, n: int) -> Features | None:
    code, bits, channels = int(fields.feature_precision), int(fields.feature_streams), int(fields.feature_dim)
    if code == 0:
        if len(fields.features) or channels:
            raise WireError("malformed", "features present although feature_precision says none")
        return None
    allowed = (1, 5) if code == PRECISION_CODES["rvq"] else (1, 3, 5, 7)
    if code not in _NAMES or bits not in allowed or channels == 0:
        raise WireError("malformed", f"feature_precision {code}, feature_streams {bits}, feature_dim {channels}")
    fingerprint, codebook = (_fingerprint(fields, f"{name}_fingerprint") for name in ("model", "codebook"))
    about, raw = (fields.model_preset, fingerprint), np.frombuffer(bytes(bytearray(fields.features)), np.uint8)
    count = bits.bit_count()
    if code == PRECISION_CODES["rvq"]:
        if raw.size % max(count * n, 1) or (n > 0) != (raw.size > 0) or not codebook:
            raise WireError("malformed", f"features has {raw.size} bytes of codes for {count * n} streams")
        codes = np.swapaxes(raw.reshape(count, n, raw.size // max(count * n, 1)), 0, 1)
        return Features(np.zeros((n, 0), np.float32), None, None, *about, codes, codebook, channels)
    expected = count * n * channels * np.dtype(_DTYPE[code]).itemsize
    if raw.size != expected:
        raise WireError("malformed", f"features has {raw.size} bytes, expected {expected}")
    values = raw.view(_DTYPE[code]).reshape(count, n, channels).astype(np.float32)
    if code == PRECISION_CODES["int8"]:
        values *= _floats(fields, "feature_scales", count * n, 1).reshape(count, n, 1).astype(np.float32)
    if not np.all(np.isfinite(values)):
        raise WireError("not_finite", "features")
    streams = dict(zip([name for bit, name in _STREAMS if bits & bit], values, strict=True))
    return Features(streams["query"], streams.get("embedding"), streams.get("motion"), *about)


def _fingerprint(fields: Any, name: str) -> bytes:
    found = bytes(bytearray(getattr(fields, name)))
    if found and not PREFIX_BYTES <= len(found) <= _FINGERPRINT_BYTES:
        raise WireError("malformed", f"{name} has {len(found)} bytes, expected {PREFIX_BYTES} to {_FINGERPRINT_BYTES}")
    return found


def _point_range(fields: Any) -> tuple[float, ...]:
    """Six numbers, or none where it is unknown."""
    values = tuple(float(v) for v in fields.point_range_m)
    if len(values) not in (0, 6):
        raise WireError("malformed", f"point_range_m has {len(values)} values, expected 6")
    if not np.all(np.isfinite(values)):
        raise WireError("not_finite", "point_range_m")
    return values


def _pose(pose: Any) -> NDArray[np.float64] | None:
    q = np.array([pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w])
    t = np.array([pose.position.x, pose.position.y, pose.position.z])
    if not (np.all(np.isfinite(q)) and np.all(np.isfinite(t))) or abs(np.linalg.norm(q) - 1) > 0.01:
        return None
    if np.abs(t).max() > _FARTHEST_M:
        return None
    return from_quaternion(q, t)


def _packed(code: str, values: Any, dtype: Any) -> array[Any]:
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
