"""What a file of weights says of itself, read without torch; believed only after store.load has checked the file."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

_LENGTH_BYTES = 8  # of the header of a safetensors file, little-endian, at its beginning
_MAX_HEADER_BYTES = 100_000_000  # as safetensors itself has it


@dataclass(frozen=True)
class Header:
    """Empty where the file does not say."""

    preset: str = ""  # such as tiny_coop
    fingerprint: str = ""  # hexadecimal
    roadside_fingerprint: str = ""  # of the roadside network that a vehicle's was trained with

    @property
    def family(self) -> str:
        """Of the preset."""
        return self.preset.rpartition("_")[0]

    @property
    def role(self) -> str:
        """Of the preset."""
        return self.preset.rpartition("_")[2]


def read_header(path: Path) -> Header:
    """The header of a file; an empty one for what is no file of weights, of which store.load says more."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(_LENGTH_BYTES))
            content = json.loads(file.read(min(length, _MAX_HEADER_BYTES)))
        found = content["__metadata__"]
        values = {name: found.get(name, "") for name in vars(Header())}
    except (OSError, ValueError, RecursionError, struct.error, KeyError, TypeError, AttributeError):
        return Header()
    return Header(**values) if all(isinstance(value, str) for value in values.values()) else Header()


__all__ = ["Header", "read_header"]
