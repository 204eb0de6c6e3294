"""Scalars as TensorBoard event files, without TensorBoard.

A file is a row of records: length (uint64), its checksum, the content, its checksum; all little-endian. Checksums are
CRC-32C, rotated and shifted. The content is a protocol buffer, `Event`:

    1 wall_time (double), 2 step (int64), 3 file_version (string), 5 summary { 1 value { 1 tag, 2 simple_value } }
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

VERSION = "brain.Event:2"
_POLYNOMIAL = 0x82F63B78
_LARGEST = 3.4e38  # of 32-bit floats
_DOUBLE, _LENGTH, _FLOAT, _VARINT = 1, 2, 5, 0  # wire types


def file_head(time_s: float) -> bytes:
    """The first record of a file."""
    return record(_field(1, _DOUBLE) + struct.pack("<d", time_s) + _delimited(3, VERSION.encode()))


def scalars(time_s: float, step: int, values: Mapping[str, float]) -> bytes:
    """The record of values by tag at a step; time_s: seconds since 1970."""
    summary = b"".join(
        _delimited(1, _delimited(1, tag.encode()) + _field(2, _FLOAT) + _float(value)) for tag, value in values.items()
    )
    event = _field(1, _DOUBLE) + struct.pack("<d", time_s) + _field(2, _VARINT) + _varint(step)
    return record(event + _delimited(5, summary))


def record(content: bytes) -> bytes:
    """Content with length and checksums."""
    length = struct.pack("<Q", len(content))
    return length + _masked(length) + content + _masked(content)


def crc32c(content: bytes) -> int:
    """CRC-32C (Castagnoli)."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = tuple(_entry(value) for value in range(256))


def _masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _float(value: float) -> bytes:
    return struct.pack("<f", value if abs(value) < _LARGEST else math.copysign(math.inf, value))


def _field(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _delimited(number: int, content: bytes) -> bytes:
    return _field(number, _LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


__all__ = ["VERSION", "crc32c", "file_head", "record", "scalars"]
