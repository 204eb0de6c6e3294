"""Point clouds in PCD 0.7: ascii, binary and binary_compressed (LZF, one field after the other)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.files import problem
from cooptrack_core.types import CooptrackError

_RESTORE = "restore the file from the dataset archive"
_KIND = {"F": "f", "I": "i", "U": "u"}


@dataclass(frozen=True)
class Header:
    """Header of a PCD file; dtype has one entry per field, data_offset is where the payload begins."""

    dtype: np.dtype[np.void]
    points: int
    data: str
    data_offset: int


def read(path: Path) -> NDArray[np.float32]:
    """[N, 4] x y z in m and intensity as stored (0..255; 0 where the file has none); rows with NaN are dropped."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise problem(path, "file", f"cannot be read ({error.strerror})", _RESTORE) from None
    columns = _columns(content, parse_header(content, path), path)
    names = columns.dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise problem(path, "FIELDS", f"are {' '.join(names)}, without x y z", _RESTORE)
    zeros = np.zeros(len(columns), np.float32)
    stack = [columns[name].astype(np.float32) if name in names else zeros for name in ("x", "y", "z", "intensity")]
    points = np.stack(stack, axis=1)
    return points[np.isfinite(points).all(axis=1)]


def check(path: Path) -> None:
    """Header and length of a file, without decoding it; CooptrackError for what is wrong."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise problem(path, "file", f"cannot be read ({error.strerror})", _RESTORE) from None
    header = parse_header(start, path)
    expected = header.points * header.dtype.itemsize
    if header.data == "binary_compressed":
        sizes = np.frombuffer(start[header.data_offset : header.data_offset + 8].ljust(8, b"\0"), "<u4")
        if int(sizes[1]) != expected:
            raise problem(path, "DATA", f"announces {sizes[1]} instead of {expected} bytes", _RESTORE)
        expected = 8 + int(sizes[0])
    elif header.data == "ascii":
        expected = 2 * header.points
    if size - header.data_offset < expected:
        raise problem(path, "DATA", f"is truncated: {size - header.data_offset} of {expected} bytes", _RESTORE)


def parse_header(content: bytes, source: Path | str) -> Header:
    """The header of a PCD file; CooptrackError when it is malformed."""
    entries: dict[str, list[str]] = {}
    position = 0
    while "DATA" not in entries:
        end = content.find(b"\n", position)
        if end < 0 or position > 4096:
            raise problem(source, "header", "has no DATA line, so this is not a PCD file", _RESTORE)
        line = content[position:end].decode("ascii", "replace").strip()
        position = end + 1
        if line and not line.startswith("#"):
            key, *values = line.split()
            entries[key] = values
    try:
        names, sizes, kinds = entries["FIELDS"], entries["SIZE"], entries["TYPE"]
        counts = entries.get("COUNT", ["1"] * len(names))
        fields = [
            (name, f"<{_KIND[kind]}{size}") if count == "1" else (name, f"<{_KIND[kind]}{size}", (int(count),))
            for name, size, kind, count in zip(names, sizes, kinds, counts, strict=True)
        ]
        return Header(np.dtype(fields), int(entries["POINTS"][0]), entries["DATA"][0], position)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise problem(source, "header", f"is malformed ({error!r})", _RESTORE) from None


def _columns(content: bytes, header: Header, source: Path | str) -> NDArray[np.void]:
    payload = memoryview(content)[header.data_offset :]
    if header.data == "ascii":
        return _ascii(bytes(payload), header, source)
    size = header.points * header.dtype.itemsize
    if header.data == "binary":
        if len(payload) < size:
            raise problem(source, "DATA", f"is truncated: {len(payload)} of {size} bytes", _RESTORE)
        return np.frombuffer(payload[:size], header.dtype)
    if header.data == "binary_compressed":
        return _compressed(payload, size, header, source)
    raise problem(source, "DATA", f"is {header.data!r}", "store ascii, binary or binary_compressed")


def _ascii(payload: bytes, header: Header, source: Path | str) -> NDArray[np.void]:
    try:
        numbers = np.array(payload.split(), np.float64).reshape(header.points, -1)
        result = np.zeros(header.points, header.dtype)
        for index, name in enumerate(header.dtype.names or ()):
            result[name] = numbers[:, index]
    except (ValueError, IndexError):
        raise problem(source, "DATA", f"is not {header.points} rows of numbers", _RESTORE) from None
    return result


def _compressed(payload: memoryview, size: int, header: Header, source: Path | str) -> NDArray[np.void]:
    """LZF block with its two sizes in front; the fields are stored one after the other."""
    if len(payload) < 8:
        raise problem(source, "DATA", "is truncated", _RESTORE)
    packed, unpacked = (int(v) for v in np.frombuffer(payload[:8], "<u4"))
    if unpacked != size or len(payload) < 8 + packed:
        raise problem(source, "DATA", f"is truncated or holds {unpacked} instead of {size} bytes", _RESTORE)
    try:
        raw = lzf_decompress(payload[8 : 8 + packed], unpacked)
    except CooptrackError as error:
        raise problem(source, "DATA", str(error), _RESTORE) from None
    result = np.zeros(header.points, header.dtype)
    position = 0
    for name in header.dtype.names or ():
        kind = header.dtype[name]
        length = header.points * kind.itemsize
        base = np.frombuffer(raw[position : position + length], kind.base)
        result[name] = base.reshape(header.points, *kind.shape)
        position += length
    return result


def lzf_decompress(packed: bytes | memoryview, size: int) -> bytes:
    """`size` bytes from a block of LibLZF: literal runs, and copies of up to 264 bytes from up to 8 KiB back."""
    data = bytes(packed)
    out = bytearray()
    i, n = 0, len(data)
    try:
        while i < n:
            control = data[i]
            i += 1
            if control < 32:  # a run of control + 1 literal bytes
                out += data[i : i + control + 1]
                i += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[i]
                i += 1
            start = len(out) - ((control & 31) << 8) - data[i] - 1
            i += 1
            length += 2
            if start < 0:
                raise CooptrackError("has a broken LZF block (reference before the beginning)")
            distance = len(out) - start
            if distance >= length:
                out += out[start : start + length]
            else:  # the copy overlaps what it writes: the last `distance` bytes repeat
                out += (out[start:] * (length // distance + 1))[:length]
    except IndexError:
        raise CooptrackError("has a broken LZF block (it ends early)") from None
    if len(out) != size:
        raise CooptrackError(f"has a broken LZF block ({len(out)} instead of {size} bytes)")
    return bytes(out)


__all__ = ["Header", "check", "lzf_decompress", "parse_header", "read"]
