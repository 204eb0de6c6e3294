"""Weights as safetensors files that know their preset, configuration and fingerprint.

The header's metadata, all of it text:

    format                cooptrack
    schema                1
    preset                such as tiny_coop
    config                the ModelConfig as canonical JSON
    fingerprint           SHA-256 of configuration and tensors as loaded, hexadecimal
    roadside_fingerprint  of the roadside network that a vehicle's network was trained with; empty: unknown
    notes                 what the creator says about it, a JSON object

Floats may be stored as F16: half the size, and loaded as the float32 numbers that they are.

A file is believed only after all of that has been checked against the preset and the tensors. No other format is
ever tried: safetensors hold numbers, and cannot hold code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.types import CooptrackError

FORMAT, SCHEMA = "cooptrack", "1"
UNTRAINED = "untrained"
SUFFIX = ".safetensors"
SHIPPED = Path(__file__).resolve().parent.parent / "weights"
# What a file is that is not safetensors, by its first bytes.
_PICKLES = (b"PK\x03\x04", b"\x80")
_DTYPES = {"F16": torch.float32, "F32": torch.float32, "I64": torch.int64}  # of a file -> of the network
_NAMED_AT_MOST = 4


@dataclass(frozen=True)
class Metadata:
    """What goes into a file beside configuration and tensors."""

    roadside_fingerprint: bytes | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A file that has been checked."""

    path: Path
    config: ModelConfig
    state: dict[str, Tensor]  # on the CPU, as AgentModel(config).load_state_dict takes it
    fingerprint: bytes
    metadata: Metadata


def canonical_config(config: ModelConfig) -> str:
    """The configuration as JSON with one spelling: sorted keys, no spaces, infinity as text."""
    return json.dumps(_plain(asdict(config)), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def stored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as they go into a file: on the CPU, contiguous, float32 or int64."""
    return {
        name: value.detach().to("cpu", torch.float32 if value.is_floating_point() else torch.int64).contiguous()
        for name, value in state.items()
    }


def fingerprint_of(config: ModelConfig, state: Mapping[str, Tensor]) -> bytes:
    """SHA-256 over the canonical configuration and, sorted by name, each tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(canonical_config(config).encode())
    for name, value in sorted(stored(state).items()):
        digest.update(f"\n{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.numpy().data)
    return digest.digest()


def save(path: Path, model: AgentModel, metadata: Metadata | None = None) -> bytes:
    """Writes the weights of a model; returns their fingerprint."""
    return save_state(path, model.config, model.state_dict(), metadata)


def save_state(
    path: Path, config: ModelConfig, state: Mapping[str, Tensor], metadata: Metadata | None = None, *,
    half: bool = False,
) -> bytes:  # fmt: skip
    """Writes weights so that a killed run leaves the old file or none, never half of one.

    half: floats rounded to float16. Returns the fingerprint of the network as it will be loaded.
    """
    metadata = metadata or Metadata()
    tensors = stored(state)
    if half:
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    if bad := [name for name, value in tensors.items() if not value.isfinite().all()]:
        raise CooptrackError(f"{path}: not written: {some(bad)} hold numbers that are not finite; train anew")
    fingerprint = fingerprint_of(config, tensors)
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "preset": config.name,
        "config": canonical_config(config),
        "fingerprint": fingerprint.hex(),
        "roadside_fingerprint": (metadata.roadside_fingerprint or b"").hex(),
        "notes": json.dumps(dict(metadata.notes), sort_keys=True),
    }
    _write(path, to_bytes(tensors, header))
    return fingerprint


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise CooptrackError(f"{path}: cannot be written ({error.strerror}); choose another file") from error


def find(weights: str, preset: str) -> Path | None:
    """The file that the parameter `weights` means for a preset; None: untrained.

    A path, or the name of weights that come with the package.
    """
    if weights == UNTRAINED:
        return None
    role = get_preset(preset).role
    is_path = weights.endswith(SUFFIX) or os.sep in weights
    if not is_path and shipped(weights, role).is_file():
        return shipped(weights, role)
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    names = sorted(file.name.removesuffix(f"_{role}{SUFFIX}") for file in SHIPPED.glob(f"*_{role}{SUFFIX}"))
    what = "no such file" if is_path else f"no weights of that name for {preset}"
    raise CooptrackError(
        f"weights {weights!r}: {what}; take detector simulated, a {SUFFIX} file or one of: "
        f"{', '.join([UNTRAINED, *names])}"
    )


def shipped(weights: str, role: str) -> Path:
    """Where weights of that name would be if they came with the package."""
    return SHIPPED / f"{weights}_{role}{SUFFIX}"


def load(path: Path, preset: str) -> Checkpoint:
    """A checked file of weights. Raises CooptrackError with file, what was expected and found, and the remedy."""
    config = get_preset(preset)
    try:
        path.open("rb").close()  # its errors say more than those of safe_open
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            _check_header(path, header, config)
            found = {name: (_dtype(file, name), file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            _check_entries(path, found, config)
            state = stored({name: file.get_tensor(name).clone() for name in found})
    except OSError as error:
        raise _refusal(path, f"cannot be read ({error.strerror or error})", "check path and permissions") from error
    except SafetensorError as error:
        raise _unreadable(path, error) from error
    if bad := [name for name, value in state.items() if not value.isfinite().all()]:
        raise _refusal(path, f"expected finite numbers, found others in {some(bad)}", "use another file")
    fingerprint = fingerprint_of(config, state)
    if fingerprint.hex() != header["fingerprint"]:
        what = f"expected fingerprint {_short(header['fingerprint'])}, found {_short(fingerprint.hex())}"
        raise _refusal(path, f"{what}: the content has changed", "copy or make the file again")
    return Checkpoint(path, config, state, fingerprint, _metadata(path, header))


def _check_header(path: Path, header: Mapping[str, str], config: ModelConfig) -> None:
    if header.get("format") != FORMAT:
        raise _refusal(
            path, "expected cooptrack weights, found safetensors of something else", "see convert-checkpoint"
        )
    if header.get("schema") != SCHEMA:
        what = f"expected schema {SCHEMA}, found {header.get('schema')!r}"
        raise _refusal(path, what, "use the cooptrack version that made it, or make it again")
    if header.get("preset") != config.name:
        what = f"expected weights of preset {config.name}, found those of {header.get('preset')!r}"
        raise _refusal(path, what, f"choose that preset, other weights or {UNTRAINED}")
    for name in ("fingerprint", "config"):
        if name not in header:
            raise _refusal(path, f"expected {name} in the header, found none", "make the file again")
    difference = _difference(_json(path, header, "config"), json.loads(canonical_config(config)))
    if difference:
        raise _refusal(path, f"config {difference}", "use the cooptrack version that made it, or train anew")


def _difference(found: Any, expected: Any, name: str = "") -> str:
    """The first field that differs, with both values; empty: none."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys()):
            inner = _difference(found.get(key), expected.get(key), f"{name}.{key}" if name else key)
            if inner:
                return inner
        return ""
    if type(found) is type(expected) and found == expected:
        return ""
    return f"{name or 'as a whole'}: expected {json.dumps(expected)}, found {json.dumps(found)[:60]}"


def _check_entries(path: Path, found: Mapping[str, tuple[str, list[int]]], config: ModelConfig) -> None:
    expected = expected_entries(config)
    remedy = f"make the file again with preset {config.name}"
    for what, names in (("lacks", expected.keys() - found.keys()), ("has unknown", found.keys() - expected.keys())):
        if names:
            count = f"expected {len(expected)} tensors, found {len(found)}"
            raise _refusal(path, f"{count}: {what} {some(sorted(names))}", remedy)
    for name, tensor in expected.items():
        dtype, shape = found[name]
        if _DTYPES.get(dtype) != tensor.dtype or shape != list(tensor.shape):
            wanted = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
            raise _refusal(path, f"{name}: expected {wanted}, found {dtype} {shape}", remedy)


def expected_entries(config: ModelConfig) -> dict[str, Tensor]:
    """Names, shapes and dtypes of a network's entries, as tensors without memory."""
    with torch.device("meta"):
        model: nn.Module = AgentModel(config)
    return dict(model.state_dict())


def _metadata(path: Path, header: Mapping[str, str]) -> Metadata:
    try:
        roadside = bytes.fromhex(header.get("roadside_fingerprint", ""))
    except ValueError:
        roadside = b"?"
    if len(roadside) not in (0, 32):
        raise _refusal(path, "expected 64 hexadecimal digits as roadside_fingerprint, found others", "make it again")
    notes = _json(path, {"notes": "{}", **header}, "notes")
    if not isinstance(notes, dict):
        raise _refusal(path, f"expected an object as notes, found {type(notes).__name__}", "make the file again")
    return Metadata(roadside or None, {str(name): str(value) for name, value in notes.items()})


def _json(path: Path, header: Mapping[str, str], name: str) -> Any:
    try:
        return json.loads(header[name])
    except (ValueError, RecursionError) as error:
        raise _refusal(path, f"expected JSON as {name} in the header, found other text", "make it again") from error


def _dtype(file: Any, name: str) -> str:
    return str(file.get_slice(name).get_dtype())


def _unreadable(path: Path, error: SafetensorError) -> CooptrackError:
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(4).startswith(_PICKLES):
            return _refusal(path, "expected safetensors, found a PyTorch file", "use cooptrack convert-checkpoint")
    reason = " ".join(str(error).split())
    return _refusal(path, f"expected safetensors, found something else or a part ({reason})", "copy the file again")


def _refusal(path: Path, what: str, remedy: str) -> CooptrackError:
    return CooptrackError(f"{path}: {what}; {remedy}")


def some(names: Sequence[str]) -> str:
    """The first few names."""
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _short(fingerprint: str) -> str:
    return f"{fingerprint[:12]}..."
