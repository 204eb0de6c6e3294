"""Seeded mutations of instance messages: of their bytes and of their fields, whatever the layout is."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cooptrack_core.cooperation.damage import Codec, names_of

_FLOATS = (np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e-40, 1e-3, 249.0, 1e6, 1e19, 3.4e38, -3.4e38)
_INTS = (0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 513, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_TEXTS = ("", "rsu", "vehicle", "map", "nowhere", "a" * 300, "x\x00y", "\u00fcn\u00ef", "../../etc", "{}%s")
_WORDS = (
    b"\x00" * 4,
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\x01\x00\x00\x00",
    b"\x00\x00\xc0\x7f",
    b"\xff\xff\x7f\x7f",
)


def mutated(data: bytes, other: bytes, codec: Codec, rng: np.random.Generator) -> tuple[bytes, str]:
    """Bytes made of a valid message (and, to splice, another one), and the name of what was done."""
    if rng.random() < 0.5:
        name = str(rng.choice(sorted(_BYTES)))
        return _BYTES[name](data, other, rng), name
    for _ in range(20):
        fields = codec.fields_of(data)
        try:
            for _ in range(int(rng.integers(1, 4))):
                _change_field(fields, rng)
            return codec.bytes_of(fields), "field"
        except Exception:  # a value that the field's type does not hold: another try
            continue
    return data, "unchanged"


def _flip(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, len(changed) * 8, int(rng.integers(1, 17))):
        changed[place // 8] ^= 1 << int(place % 8)
    return bytes(changed)


def _overwrite(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    first, last = _slice(data, rng)
    return data[:first] + rng.bytes(last - first) + data[last:]


def _word(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A number as large or as small as can be where a length or a value may stand (CDR aligns to 4 bytes)."""
    place = 4 * int(rng.integers(0, max(1, len(data) // 4)))
    return data[:place] + _WORDS[int(rng.integers(len(_WORDS)))] + data[place + 4 :]


def _cut(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _extend(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 200)))


def _remove(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    first, last = _slice(data, rng)
    return data[:first] + data[last:]


def _repeat(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    first, last = _slice(data, rng)
    return data[:last] + data[first:last] + data[last:]


def _splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(0, min(len(data), len(other))))
    return data[:place] + other[place:]


_BYTES: dict[str, Callable[[bytes, bytes, np.random.Generator], bytes]] = {
    "flip": _flip, "overwrite": _overwrite, "word": _word, "cut": _cut, "extend": _extend, "remove": _remove,
    "repeat": _repeat, "splice": _splice,
}  # fmt: skip


def _slice(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    first = int(rng.integers(0, len(data)))
    return first, min(len(data), first + int(rng.geometric(1 / 16)))


def _leaves(fields: Any) -> Iterator[tuple[Any, str]]:
    for name in names_of(fields):
        value = getattr(fields, name)
        if isinstance(value, (bool, int, float, str, bytes, array, np.ndarray, list)):
            yield fields, name
        else:
            yield from _leaves(value)


def _change_field(fields: Any, rng: np.random.Generator) -> None:
    leaves = list(_leaves(fields))
    holder, name = leaves[int(rng.integers(len(leaves)))]
    setattr(holder, name, _other(getattr(holder, name), rng))


def _other(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, str):
        return _TEXTS[int(rng.integers(len(_TEXTS)))]
    if isinstance(value, float):
        return float(_FLOATS[int(rng.integers(len(_FLOATS)))])
    if isinstance(value, int):
        return int(_INTS[int(rng.integers(len(_INTS)))])
    if isinstance(value, array):
        return array(value.typecode, _other(np.array(value), rng).tolist())
    return _other_array(np.array(value), rng)


def _other_array(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Longer, shorter, empty, in another order, or with some other elements."""
    kind = int(rng.integers(6))
    if kind == 0 or not values.size:
        return np.resize(values, int(rng.integers(0, 2 * values.size + 8))) if values.size else values
    if kind == 1:
        return values[: int(rng.integers(0, values.size))]
    if kind == 2:
        return rng.permutation(values)
    places = rng.integers(0, values.size, int(rng.integers(1, 4)))
    if values.dtype.kind == "f":
        values[places] = rng.choice(np.array(_FLOATS, values.dtype), len(places))
    else:
        values[places] = rng.integers(0, np.iinfo(values.dtype).max, len(places), values.dtype, endpoint=True)
    return values
