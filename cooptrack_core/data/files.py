"""Reading JSON and plain values from files, and writing files, with errors that name file, field, what and remedy."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.types import CooptrackError

Float = NDArray[np.float64]

_GZIP_MAGIC = b"\x1f\x8b"
# No length, coordinate or angle of a sound dataset comes near; beyond it integers no longer fit their columns.
_LARGEST = 1e12
_STAMP_DIGITS = 16  # microseconds until the year 2286; in nanoseconds they still fit 64 bits


class DataProblem(CooptrackError):
    """A defect of a file: `<file>: <field>: <what>; <remedy>` in one line, and its parts."""

    def __init__(self, source: Path | str, field: str, what: str, remedy: str) -> None:
        super().__init__(f"{source}: {field}: {what}; {remedy}")
        self.source, self.field, self.what, self.remedy = source, field, what, remedy


def problem(source: Path | str, field: str, what: str, remedy: str) -> DataProblem:
    """The error to raise."""
    return DataProblem(source, field, what, remedy)


def read_json(path: Path, remedy: str = "restore it from the dataset archive") -> Any:
    """Content of a JSON file, compressed by gzip or not; CooptrackError when it is missing, unreadable or not JSON.

    remedy: what to do about a missing or broken file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise problem(path, "file", "is missing", remedy) from None
    except OSError as error:
        raise problem(path, "file", f"cannot be read ({error.strerror})", "check path and permissions") from None
    try:
        return json.loads(gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content)
    except (OSError, EOFError, zlib.error) as error:
        raise problem(path, "file", f"is not sound gzip data ({error})", remedy) from None
    except RecursionError:
        raise problem(path, "file", "is not valid JSON (nested too deeply)", remedy) from None
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise problem(path, "file", f"is not valid JSON ({reason})", remedy) from None


def write_file(path: Path, content: str | bytes) -> None:
    """Writes a file and the folders above it, text as UTF-8; CooptrackError where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise problem(path, "output", f"cannot be written ({error.strerror})", "choose another file") from error


def expect_object(value: Any, source: Path | str, field: str = "top level") -> dict[str, Any]:
    """The value as a JSON object."""
    if not isinstance(value, dict):
        raise problem(source, field, f"is {type(value).__name__}, not an object", "compare with docs/data.md")
    return value


def expect_list(value: Any, source: Path | str, field: str = "top level") -> list[Any]:
    """The value as a JSON list."""
    if not isinstance(value, list):
        raise problem(source, field, f"is {type(value).__name__}, not a list", "compare with docs/data.md")
    return value


def number(value: Any, source: Path | str, field: str) -> float:
    """A finite float from a number or a numeric string (older releases store numbers as strings).

    Absurdly large values count as not finite.
    """
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            result = float(value)
        except (ValueError, OverflowError):
            result = math.nan
        if abs(result) < _LARGEST:
            return result
    raise problem(source, field, f"is {value!r}, not a finite number", "correct the value or drop the frame")


def offset(value: Any, source: Path | str, field: str) -> float:
    """A system_error_offset component in m; the empty string and None mean never measured: 0."""
    return 0.0 if value is None or value == "" else number(value, source, field)


def array(value: Any, shape: tuple[int, ...], source: Path | str, field: str) -> Float:
    """A finite float array of this shape from nested lists of numbers or numeric strings."""
    try:
        result = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise problem(source, field, "is not an array of numbers", f"give {shape} numbers") from None
    if result.size != math.prod(shape):
        raise problem(source, field, f"has {result.size} numbers, not {math.prod(shape)}", "restore the file")
    if not (np.abs(result) < _LARGEST).all():
        raise problem(source, field, "has NaN or infinite values", "correct the value or drop the frame")
    return result.reshape(shape)


def text(row: dict[str, Any], key: str, source: Path | str) -> str:
    """A string entry of a row; integers are taken as their digits."""
    if key not in row:
        raise problem(source, key, "is missing", "compare with docs/data.md")
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise problem(source, key, f"is {value!r}, not a string", "compare with docs/data.md")
    return str(value)


def stamp_ns(row: dict[str, Any], key: str, source: Path | str) -> int:
    """A timestamp entry, microseconds since the epoch as a string or an integer, in ns."""
    value = text(row, key, source)
    if not (value.isascii() and value.isdecimal() and len(value) <= _STAMP_DIGITS):
        raise problem(source, key, f"is {value!r}, not integer microseconds", "correct the timestamp")
    return int(value) * 1000


__all__ = [
    "DataProblem", "array", "expect_list", "expect_object", "number", "offset", "problem", "read_json", "stamp_ns",
    "text", "write_file",
]  # fmt: skip
