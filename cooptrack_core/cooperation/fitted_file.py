"""Files beside the weights that were fitted to one roadside network: tensors in half precision, and whose they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.types import CooptrackError

Single = NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """What such a file holds: name is `codebook` or `flow`."""

    name: str
    schema: str
    # What is wrong with tensors that do not fit; empty: nothing.
    wrong: Callable[[Mapping[str, Single]], str]

    @property
    def format(self) -> str:
        """Of the header."""
        return f"cooptrack-{self.name}"


@dataclass(frozen=True)
class Content:
    """tensors: by name, float32. roadside_fingerprint: of the network that they were fitted to."""

    tensors: Mapping[str, Single]
    roadside_fingerprint: bytes
    notes: str = ""

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 over the network's and, by name, each tensor's name, shape and bytes."""
        digest = hashlib.sha256(self.roadside_fingerprint)
        for name, values in sorted(self.tensors.items()):
            digest.update(f"\n{name} {list(values.shape)}\n".encode())
            digest.update(np.ascontiguousarray(values, "<f4").tobytes())
        return digest.digest()


def save_fitted(kind: Kind, content: Content, path: Path) -> None:
    """Writes them as safetensors, in the half precision in which their numbers were made."""
    from safetensors.numpy import save

    header = {
        "format": kind.format, "schema": kind.schema, "fingerprint": content.fingerprint.hex(),
        "roadside_fingerprint": content.roadside_fingerprint.hex(), "notes": content.notes,
    }  # fmt: skip
    temporary = path.with_name(path.name + ".part")  # a killed run leaves the old file or none
    temporary.write_bytes(save({name: values.astype(np.float16) for name, values in content.tensors.items()}, header))
    temporary.replace(path)


def load_fitted(kind: Kind, path: Path) -> Content:
    """Reads and checks a file. Raises CooptrackError with file, what is wrong and the remedy."""
    from safetensors import SafetensorError, safe_open

    what, remedy = f"{path}: {kind.name}:", f"make it again with cooptrack fit-{kind.name}"
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CooptrackError(f"{what} cannot be read ({error}); {remedy}") from None
    if header.get("format") != kind.format or header.get("schema") != kind.schema:
        raise CooptrackError(f"{what} is no {kind.name} of schema {kind.schema}; {remedy}")
    if wrong := kind.wrong(tensors):
        raise CooptrackError(f"{what} {wrong}; {remedy}")
    try:
        roadside = bytes.fromhex(header.get("roadside_fingerprint", ""))
    except ValueError:
        roadside = b""
    found = Content(tensors, roadside, header.get("notes", ""))
    if found.fingerprint.hex() != header.get("fingerprint"):
        raise CooptrackError(f"{what} its fingerprint is not that of its numbers; {remedy}")
    return found


__all__ = ["Content", "Kind", "load_fitted", "save_fitted"]
