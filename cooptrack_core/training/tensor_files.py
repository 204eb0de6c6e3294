"""Tensors by name as safetensors: one file, or numbered parts with an index where they are large."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from cooptrack_core.data.files import expect_object, read_json
from cooptrack_core.training.disk import write_synced
from cooptrack_core.types import CooptrackError

_REMEDY = "delete this checkpoint to go on from the one before"


def write_tensors(folder: Path, stem: str, tensors: Mapping[str, Tensor], file_bytes: int) -> None:
    """`<stem>.safetensors`; above file_bytes `<stem>-00001-of-00002.safetensors`, ... and `<stem>.index.json`.

    A tensor is never split. Raises OSError.
    """
    parts = _parts(tensors, file_bytes)
    if len(parts) == 1:
        write_synced(folder / f"{stem}.safetensors", _content(parts[0]))
        return
    files: dict[str, str] = {}
    for number, part in enumerate(parts, start=1):
        name = f"{stem}-{number:05}-of-{len(parts):05}.safetensors"
        write_synced(folder / name, _content(part))
        files |= dict.fromkeys(part, name)
    write_synced(folder / f"{stem}.index.json", json.dumps({"files": files}, indent=1).encode())


def read_tensors(folder: Path, stem: str) -> dict[str, Tensor]:
    """What `write_tensors` wrote, on the CPU. Raises CooptrackError that names the file."""
    index = folder / f"{stem}.index.json"
    if not index.is_file():
        return _read(folder / f"{stem}.safetensors")
    files = expect_object(expect_object(read_json(index, _REMEDY), index).get("files"), index, "files")
    names = sorted({str(name) for name in files.values()})
    if bad := [name for name in names if Path(name).name != name]:
        raise CooptrackError(f"{index}: files: {bad[0]!r} is not a file name; {_REMEDY}")
    tensors = {name: tensor for file in names for name, tensor in _read(folder / file).items()}
    if missing := sorted(files.keys() - tensors.keys()):
        raise CooptrackError(f"{index}: files: {missing[0]} is in none of them; {_REMEDY}")
    return tensors


def _parts(tensors: Mapping[str, Tensor], file_bytes: int) -> list[dict[str, Tensor]]:
    parts: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if parts[-1] and filled + size > file_bytes:
            parts.append({})
            filled = 0
        parts[-1][name] = tensor
        filled += size
    return parts


def _content(tensors: Mapping[str, Tensor]) -> bytes:
    # Cloned, because parameters may share memory, which safetensors refuse.
    return to_bytes({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()})


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return from_bytes(path.read_bytes())
    except OSError as error:
        raise CooptrackError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from error
    except SafetensorError as error:
        raise CooptrackError(f"{path}: is not whole safetensors ({' '.join(str(error).split())}); {_REMEDY}") from error


__all__ = ["read_tensors", "write_tensors"]
