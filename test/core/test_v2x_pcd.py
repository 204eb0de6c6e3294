"""Point clouds in all three encodings."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_spd import pcd_header

from cooptrack_core.data import pcd
from cooptrack_core.types import CooptrackError

POINTS = np.array([[1.5, -2.0, 0.25, 10.0], [30.0, 4.0, -1.75, 255.0], [5.0, 5.0, 5.0, 0.0]], np.float32)


def lzf_compress(data: bytes) -> bytes:
    """LibLZF's format, greedily: literal runs of up to 32 bytes, copies of 3 to 264 bytes from up to 8 KiB back."""
    out, literals, i = bytearray(), bytearray(), 0
    table: dict[bytes, int] = {}

    def flush() -> None:
        for start in range(0, len(literals), 32):
            run = literals[start : start + 32]
            out.append(len(run) - 1)
            out.extend(run)
        literals.clear()

    while i < len(data):
        key = data[i : i + 3]
        at = table.get(key, -1) if len(key) == 3 else -1
        table[key] = i
        if at >= 0 and i - at <= 8192:
            length = 3
            while i + length < len(data) and length < 264 and data[at + length] == data[i + length]:
                length += 1
            flush()
            back, code = i - at - 1, length - 2
            out.extend([min(code, 7) << 5 | back >> 8] + ([code - 7] if code >= 7 else []) + [back & 255])
            i += length
        else:
            literals.append(data[i])
            i += 1
    flush()
    return bytes(out)


def write(path: Path, encoding: str, points: np.ndarray = POINTS) -> Path:
    if encoding == "ascii":
        body = "".join(" ".join(repr(float(v)) for v in row) + "\n" for row in points).encode()
    elif encoding == "binary":
        body = points.astype("<f4").tobytes()
    else:
        packed = lzf_compress(points.astype("<f4").T.tobytes())
        body = struct.pack("<II", len(packed), points.size * 4) + packed
    path.write_bytes(pcd_header(len(points), encoding) + body)
    return path


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_every_encoding_gives_the_same_points(tmp_path: Path, encoding: str) -> None:
    np.testing.assert_array_equal(pcd.read(write(tmp_path / "a.pcd", encoding)), POINTS)


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_rows_with_nan_are_dropped(tmp_path: Path, encoding: str) -> None:
    points = POINTS.copy()
    points[1, 2] = np.nan
    np.testing.assert_array_equal(pcd.read(write(tmp_path / "a.pcd", encoding, points)), POINTS[[0, 2]])


@settings(max_examples=60)
@given(st.binary(max_size=400), st.integers(1, 60))
def test_lzf_restores_what_was_packed(data: bytes, repeat: int) -> None:
    data = data * repeat
    assert pcd.lzf_decompress(lzf_compress(data), len(data)) == data


def test_lzf_copy_may_overlap_what_it_writes() -> None:
    # literal "ab", then a copy of 9 bytes from 2 bytes back: control 7 << 5, extra length 0, distance - 1
    assert pcd.lzf_decompress(bytes([1]) + b"ab" + bytes([0xE0, 0, 1]), 11) == b"abababababa"


def test_large_cloud_survives_compression(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    points = np.round(rng.uniform(-60, 60, (5000, 4)), 1).astype(np.float32)
    np.testing.assert_array_equal(pcd.read(write(tmp_path / "a.pcd", "binary_compressed", points)), points)


@pytest.mark.parametrize("encoding", ["binary", "binary_compressed"])
def test_truncated_file_is_one_line(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.pcd", encoding)
    path.write_bytes(path.read_bytes()[:-5])
    for look in (pcd.read, pcd.check):
        with pytest.raises(CooptrackError, match=r"a.pcd: DATA: is truncated.*; restore the file"):
            look(path)


@pytest.mark.parametrize("block", [b"\xff", b"\x20\x05", b"\x05ab", b""])
def test_broken_lzf_block_is_refused(block: bytes) -> None:
    with pytest.raises(CooptrackError, match="broken LZF block"):
        pcd.lzf_decompress(block, 40)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"hello", "has no DATA line"),
        (pcd_header(3, "zip"), "DATA: is 'zip'"),
        (pcd_header(3, "ascii") + b"1 2 3\n", "is not 3 rows of numbers"),
        (pcd_header(3, "ascii").replace(b"POINTS 3", b"POINTS x") + b"1 2 3\n", "header: is malformed"),
        (pcd_header(1, "ascii").replace(b"x y z", b"a b c") + b"1 2 3 4\n", "without x y z"),
    ],
)
def test_file_that_is_no_point_cloud_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "a.pcd"
    path.write_bytes(content)
    with pytest.raises(CooptrackError, match=expected):
        pcd.read(path)
