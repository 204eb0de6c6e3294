"""Damage to the content of a message: to what it says, to single fields, to its bytes.

Written over the decoded message, over fields by their kind and over bytes, so that no layout has to be known here.
A Codec says how messages become bytes: rosbags offline, rclpy in impairment_node.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cooptrack_core.cooperation.disturbance import DAMAGES
from cooptrack_core.cooperation.wire import WireError, decode
from cooptrack_core.types import Instances, Message, Refusal

CROWD = 5120  # ten times what a vehicle admits (admission.max_instances)
_VERSION = "schema_version"
_BAD_NUMBERS = (np.nan, np.inf, -np.inf)


@dataclass(frozen=True)
class Codec:
    """How InstanceFeatures become bytes and back; fields: any object with the attributes of that message."""

    fields_of: Callable[[bytes], Any]  # raises whatever its library raises for bytes that cannot be read
    fields_of_message: Callable[[Message], Any]
    bytes_of: Callable[[Any], bytes]

    def write(self, message: Message) -> bytes:
        """The bytes of a message."""
        return self.bytes_of(self.fields_of_message(message))

    def read(self, data: bytes, sender: str) -> Message | Refusal:
        """What a receiver makes of bytes; sender: who is meant if they do not say it themselves."""
        try:
            fields = self.fields_of(data)
        except Exception:  # the libraries' own, undocumented types
            return Refusal(sender, 0, "malformed")
        try:
            return decode(fields, len(data))
        except WireError as error:
            return Refusal(fields.agent_id or sender, int(fields.sequence), error.reason)


def damaged(message: Message, kinds: Collection[str], rng: np.random.Generator, codec: Codec) -> bytes:
    """The bytes of a message after damage of some kinds (DAMAGES)."""
    if "emptied" in kinds:
        message = replace(message, instances=message.instances.select(slice(0, 0)), held_id=message.held_id[:0])
    if "crowded" in kinds:
        message = replace(message, instances=_crowd(message.instances))
    fields = codec.fields_of_message(message)
    if "not_finite" in kinds:
        _spoil_number(fields, rng)
    if "wrong_version" in kinds:
        setattr(fields, _VERSION, int(rng.integers(1000, 65536)))
    data = codec.bytes_of(fields)
    return data[: int(rng.integers(0, len(data)))] if "truncated" in kinds else data


def floats_of(fields: Any) -> Iterator[tuple[Any, str, int | None]]:
    """Every number of floating point in fields: (holder, name of its attribute, index or None)."""
    for name in names_of(fields):
        value = getattr(fields, name)
        if isinstance(value, float):
            yield fields, name, None
        elif isinstance(value, array) and value.typecode in "fd":
            yield from ((fields, name, index) for index in range(len(value)))
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            yield from ((fields, name, index) for index in range(value.size))
        elif not isinstance(value, (str, bytes, int, array, np.ndarray, list)):
            yield from floats_of(value)


def names_of(fields: Any) -> list[str]:
    """The fields of a message of rclpy, of rosbags or of a plain namespace."""
    if hasattr(fields, "get_fields_and_field_types"):
        return list(fields.get_fields_and_field_types())
    return [name for name in vars(fields) if not name.startswith("_")]


def put(fields: Any, name: str, index: int | None, value: Any) -> None:
    """Sets a number; arrays are replaced, since those that were read may be read-only."""
    if index is None:
        setattr(fields, name, value)
        return
    old = getattr(fields, name)
    new = array(old.typecode, old) if isinstance(old, array) else np.array(old)
    new[index] = value
    setattr(fields, name, new)


def _spoil_number(fields: Any, rng: np.random.Generator) -> None:
    found = list(floats_of(fields))
    holder, name, index = found[int(rng.integers(len(found)))]
    put(holder, name, index, float(_BAD_NUMBERS[int(rng.integers(len(_BAD_NUMBERS)))]))


def _crowd(instances: Instances) -> Instances:
    """The instances again and again; a message that has none stays as it is."""
    return instances.select(np.arange(CROWD) % len(instances)) if len(instances) else instances


__all__ = ["CROWD", "DAMAGES", "Codec", "damaged", "floats_of", "names_of", "put"]
