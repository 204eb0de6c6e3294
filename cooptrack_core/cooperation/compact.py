"""Kinematics of instances in 15 bytes each: the field `packed` of the instance message (docs/wire.md, "packed").

0      version, 1
1      flags: bit 0 position variances, bit 1 velocity variances, the others 0
2      H, number of held ids, uint16 little-endian
4      N ids of the instances, then H held ids, each list ascending: differences as LEB128 varints
...    N records of 15 bytes, fields of FIELDS from the most significant bit on, in the order of the ids
...    per flag: N x 2 bytes, standard deviations of x and y
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.types import CLASS_UNKNOWN, Instances

Float = NDArray[np.float64]
Int = NDArray[np.int64]

VERSION = 1
POSITION_VARIANCES, VELOCITY_VARIANCES = 1, 2  # flags
FIELDS = (  # name and bits; 120 together
    ("x", 16), ("y", 16), ("z", 12), ("length", 8), ("width", 8), ("height", 8), ("heading", 10), ("vx", 10),
    ("vy", 10), ("score", 8), ("class", 3), ("age", 6), ("since_update", 4), ("zero", 1),
)  # fmt: skip
RECORD_BYTES = sum(bits for _, bits in FIELDS) // 8
_HEADER_BYTES = 4
XY_STEP_M, Z_STEP_M = 0.01, 0.02
SIZE_FLOOR_M, SIZE_STEPS_PER_OCTAVE = 0.05, 25
HEADING_STEPS = 1024
SPEED_STEP_MPS = 0.1  # code 0: unknown
SINCE_UPDATE_STEP_S = 0.1
STD_FLOOR, STD_STEPS_PER_OCTAVE = 0.01, 16  # m and m/s
_CLASS_UNKNOWN_CODE = 7
_ID_BITS = 63
_VARINT_BYTES = 9  # of 63 bits


class Malformed(Exception):
    """Bytes that no encoder writes; the text says what is wrong."""


@dataclass(frozen=True)
class Packed:
    """What `packed` says."""

    instances: Instances
    held_id: Int


def sent_order(instances: Instances) -> NDArray[np.intp]:
    """[N] rows in the order of the records: by id."""
    return np.argsort(instances.instance_id, kind="stable")


def pack(instances: Instances, held_id: Int) -> bytes:
    """`packed` of instances that are in `sent_order`. Values beyond a field's range take its end.

    Raises ValueError for centres farther than 327 m from the sender, numbers that are not finite or negative ids.
    """
    _check(instances, held_id)
    records = _to_bits(np.stack(_codes(instances), axis=1))
    flags, deviations = 0, b""
    for flag, variance in (
        (POSITION_VARIANCES, instances.position_variance_m2), (VELOCITY_VARIANCES, instances.velocity_variance_m2ps2)
    ):  # fmt: skip
        if len(instances) and np.isfinite(variance).all():
            flags |= flag
            deviations += _deviation_codes(variance).tobytes()
    head = bytes([VERSION, flags]) + len(held_id).to_bytes(2, "little")
    return head + _to_varints(instances.instance_id) + _to_varints(np.sort(held_id)) + records + deviations


def unpack(data: bytes, count: int) -> Packed:
    """Reads `packed` of `count` instances. Raises Malformed."""
    if len(data) < _HEADER_BYTES + count * (1 + RECORD_BYTES):
        raise Malformed(f"packed has {len(data)} bytes, too few for {count} instances")
    version, flags, held = data[0], data[1], int.from_bytes(data[2:4], "little")
    if version != VERSION or flags > (POSITION_VARIANCES | VELOCITY_VARIANCES):
        raise Malformed(f"packed has version {version} and flags {flags}, this receiver reads version {VERSION}")
    if held > len(data):
        raise Malformed(f"packed has {len(data)} bytes, too few for {held} held ids")
    ids, at = _from_varints(data, _HEADER_BYTES, count)
    held_id, at = _from_varints(data, at, held)
    ends = at + count * RECORD_BYTES
    expected = ends + 2 * count * flags.bit_count()
    if len(data) != expected:
        raise Malformed(f"packed has {len(data)} bytes, expected {expected}")
    columns = _values(_from_bits(np.frombuffer(data[at:ends], np.uint8).reshape(count, RECORD_BYTES)))
    for flag, name in (
        (POSITION_VARIANCES, "position_variance_m2"), (VELOCITY_VARIANCES, "velocity_variance_m2ps2")
    ):  # fmt: skip
        if flags & flag:
            codes = np.frombuffer(data[ends : ends + 2 * count], np.uint8).reshape(count, 2)
            columns[name] = (STD_FLOOR * 2.0 ** (codes / STD_STEPS_PER_OCTAVE)) ** 2
            ends += 2 * count
    return Packed(Instances.create(instance_id=ids, **columns), held_id)


def _check(instances: Instances, held_id: Int) -> None:
    columns = (instances.center_m, instances.size_m, instances.heading_rad, instances.score)
    if not all(np.isfinite(column).all() for column in columns):
        raise ValueError("instances: centre, size, heading or score is not finite")
    if len(instances) and np.abs(instances.center_m[:, :2]).max() > XY_STEP_M * (2**15 - 1):
        raise ValueError(f"instances: a centre is farther than {XY_STEP_M * (2**15 - 1):.2f} m from the sender")
    if (instances.instance_id < 0).any() or (held_id < 0).any() or len(held_id) > 65535:
        raise ValueError("instances: an id is negative, or more than 65535 are held")


def _codes(instances: Instances) -> list[Int]:
    """[N] integers of every field."""
    x, y, z = instances.center_m.T
    sizes = np.log2(np.maximum(instances.size_m, SIZE_FLOOR_M) / SIZE_FLOOR_M) * SIZE_STEPS_PER_OCTAVE
    known = np.asarray(np.isfinite(instances.velocity_mps).all(axis=1, keepdims=True))
    speeds = np.where(known, _ranged(np.nan_to_num(instances.velocity_mps) / SPEED_STEP_MPS + 512, 1, 1023), 0)
    named = (instances.class_id >= 0) & (instances.class_id < _CLASS_UNKNOWN_CODE)
    return [
        _ranged(x / XY_STEP_M + 2**15, 0, 2**16 - 1),
        _ranged(y / XY_STEP_M + 2**15, 0, 2**16 - 1),
        _ranged(z / Z_STEP_M + 2**11, 0, 2**12 - 1),
        *(_ranged(column, 0, 255) for column in sizes.T),
        np.rint(instances.heading_rad / (2 * math.pi) * HEADING_STEPS).astype(np.int64) % HEADING_STEPS,
        *speeds.T,
        _ranged(instances.score * 255, 0, 255),
        np.where(named, instances.class_id, _CLASS_UNKNOWN_CODE),
        _ranged(instances.age_frames, 0, 63),
        _ranged(instances.time_since_update_s / SINCE_UPDATE_STEP_S, 0, 15),
        np.zeros(len(instances), np.int64),
    ]


def _values(code: dict[str, Int]) -> dict[str, Any]:
    """Columns of Instances.create from the integers. Raises Malformed."""
    if code["zero"].any():
        raise Malformed("packed has a record that does not end with a zero bit")
    heading = code["heading"] * (2 * math.pi / HEADING_STEPS)
    speeds = np.stack([code["vx"], code["vy"]], axis=1)
    unknown = (speeds == 0).any(axis=1, keepdims=True)
    sizes = np.stack([code["length"], code["width"], code["height"]], axis=1)
    return {
        "center_m": np.stack(
            [
                (code["x"] - 2**15) * XY_STEP_M,
                (code["y"] - 2**15) * XY_STEP_M,
                (code["z"] - 2**11) * Z_STEP_M,
            ],
            axis=1,
        ),
        "size_m": SIZE_FLOOR_M * 2.0 ** (sizes / SIZE_STEPS_PER_OCTAVE),
        "heading_rad": np.where(heading > math.pi, heading - 2 * math.pi, heading),
        "velocity_mps": np.where(unknown, np.nan, (speeds - 512) * SPEED_STEP_MPS),
        "score": code["score"] / 255,
        "class_id": np.where(code["class"] == _CLASS_UNKNOWN_CODE, CLASS_UNKNOWN, code["class"]),
        "age_frames": code["age"],
        "time_since_update_s": code["since_update"] * SINCE_UPDATE_STEP_S,
    }


def _ranged(values: Float | Int, low: int, high: int) -> Int:
    return np.clip(np.rint(values), low, high).astype(np.int64)


def _deviation_codes(variance: Float) -> NDArray[np.uint8]:
    deviation = np.sqrt(np.maximum(variance, STD_FLOOR**2))
    return _ranged(np.log2(deviation / STD_FLOOR) * STD_STEPS_PER_OCTAVE, 0, 255).astype(np.uint8)


def _to_bits(codes: Int) -> bytes:
    """[N, fields] -> N records."""
    columns = []
    for column, (_, bits) in zip(codes.T, FIELDS, strict=True):
        shifts = np.arange(bits - 1, -1, -1)
        columns.append((column[:, None] >> shifts) & 1)
    return np.packbits(np.concatenate(columns, axis=1).astype(np.uint8), axis=1).tobytes()


def _from_bits(records: NDArray[np.uint8]) -> dict[str, Int]:
    """[N, RECORD_BYTES] -> [N] integers by field."""
    bits, found, at = np.unpackbits(records, axis=1).astype(np.int64), {}, 0
    for name, width in FIELDS:
        found[name] = bits[:, at : at + width] @ (1 << np.arange(width - 1, -1, -1))
        at += width
    return found


def _to_varints(ascending: Int) -> bytes:
    out = bytearray()
    for step in np.diff(ascending, prepend=0).tolist():
        while step > 127:
            out.append(step & 127 | 128)
            step >>= 7
        out.append(step)
    return bytes(out)


def _from_varints(data: bytes, at: int, count: int) -> tuple[Int, int]:
    """`count` ascending numbers from byte `at` on, and where they end."""
    numbers, last = np.zeros(count, np.int64), 0
    for row in range(count):
        step = 0
        for place in range(_VARINT_BYTES + 1):
            if place == _VARINT_BYTES or at >= len(data):
                raise Malformed("packed has an id that does not end")
            byte, at = data[at], at + 1
            step |= (byte & 127) << 7 * place
            if byte < 128:
                break
        last += step
        if last >= 1 << _ID_BITS:
            raise Malformed(f"packed has an id of more than {_ID_BITS} bits")
        numbers[row] = last
    return numbers, at


__all__ = ["FIELDS", "RECORD_BYTES", "VERSION", "Malformed", "Packed", "pack", "sent_order", "unpack"]
