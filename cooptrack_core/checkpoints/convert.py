"""A published PyTorch checkpoint as our weights: the one place where a pickle is opened, and only for numbers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cooptrack_core.checkpoints import official
from cooptrack_core.checkpoints.store import expected_entries, some
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.types import CooptrackError

COOPERATIVE_PRESET = "official_r50_coop"
SINGLE_PRESETS = ("official_r50_veh", "official_r50_inf")
# Entries that no result depends on; without them a network is still complete.
_DISPENSABLE = re.compile(r"unused\.|.*\.num_batches_tracked$")


@dataclass(frozen=True)
class KeyReport:
    """How the entries of a file fit a network. Names are the published ones where there are such."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # of which something depends on
    missing_unused: tuple[str, ...]  # of modules that are never used
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]  # another shape than expected, with both

    def lines(self) -> list[str]:
        """For people: counts, and every name that did not simply load."""
        shown = []
        for kind in ("loaded", "missing", "missing_unused", "unexpected", "reshaped"):
            names = getattr(self, kind)
            shown.append(f"{kind.replace('_', ' ') + ':':16}{len(names):5}")
            shown += [f"  {name}" for name in names] if kind != "loaded" else []
        return shown


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a PyTorch checkpoint by published name; `module.` of a parallel wrapper is left out.

    Accepts {"state_dict": {...}, anything} and a bare state dict. Objects other than plain containers, numbers and
    tensors are refused unopened, since a pickle can name any code to be run.
    """
    content = _read(path)
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else None
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in (inner.items() if isinstance(inner, Mapping) else ())
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise _refusal(path, f"expected a state dict of tensors, found {_kind(content)}", "use the published .pth file")
    return tensors


def _read(path: Path) -> Any:
    try:
        path.open("rb").close()
    except OSError as error:
        raise _refusal(path, f"cannot be read ({error.strerror})", "check path and permissions") from error
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_numbers()):
            warnings.simplefilter("ignore")  # on formats that are refused below
            return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # torch has many ways to fail on a broken file
        text = " ".join(str(error).split())
        if named := re.search(r"GLOBAL (\S+)", text):
            what = f"expected numbers only, found the object {named[1]}, which can stand for code"
            raise _refusal(path, what, "nothing was run; ask for a file with the state_dict alone") from error
        raise _broken(path, f"{type(error).__name__} {text}"[:100]) from error


def _numpy_numbers() -> list[Any]:
    """What a numpy number in the notes of a training run (a loss, a metric) is made of; none of it runs code."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    return [np.dtype, *kinds, (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]


def _broken(path: Path, reason: str) -> CooptrackError:
    return _refusal(path, f"expected a PyTorch checkpoint, found a part or something else ({reason})", "get it again")


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary with {some([str(name) for name in content]) or 'nothing in it'}"
    return f"a {type(content).__name__}"


def infer_preset(path: Path, entries: Mapping[str, Tensor]) -> str:
    """The preset that the names tell. The two networks without cooperation have the same names."""
    if official.is_cooperative(entries):
        return COOPERATIVE_PRESET
    if not any(official.our_name(name) for name in entries):
        what = f"expected entries of the published network, found {some(sorted(entries))}"
        raise _refusal(path, what, "use the published .pth file")
    choices = " or ".join(f"--preset {name}" for name in SINGLE_PRESETS)
    raise _refusal(path, "holds a network without cooperation, of a vehicle or a roadside unit", f"say {choices}")


def convert(entries: Mapping[str, Tensor], config: ModelConfig) -> tuple[dict[str, Tensor], KeyReport]:
    """Entries under our names, as far as they fit the network, and the report on all of them.

    What is missing of modules that are never used is filled with zeros.
    """
    expected = expected_entries(config)
    named, unexpected = official.to_ours(entries)
    unexpected += [_published(name) for name in named if name not in expected]
    state: dict[str, Tensor] = {}
    missing, unused, reshaped = [], [], []
    for name, wanted in expected.items():
        value = named.get(name)
        if value is None and _DISPENSABLE.match(name):
            unused.append(_published(name))
            state[name] = torch.zeros(wanted.shape, dtype=wanted.dtype)
        elif value is None:
            missing.append(_published(name))
        elif value.shape != wanted.shape or value.layout != torch.strided or value.is_complex():
            found = f"{list(value.shape)} {value.dtype}".replace("torch.", "")
            reshaped.append(f"{_published(name)}: expected {list(wanted.shape)}, found {found}")
        else:
            state[name] = value.to(wanted.dtype)
    loaded = [_published(name) for name in expected if name in named and name in state]
    return state, KeyReport(*map(tuple, (loaded, missing, unused, unexpected, reshaped)))


def _published(name: str) -> str:
    return official.published_name(name) or name


def check(path: Path, report: KeyReport, config: ModelConfig, *, allow_missing: bool) -> None:
    """Raises CooptrackError if the network cannot be made of the file."""
    total = len(report.loaded) + len(report.missing) + len(report.missing_unused) + len(report.reshaped)
    found = f"expected the {total} entries of {config.name}, found {len(report.loaded)}"
    if report.missing:
        raise _refusal(path, f"{found}: missing {some(report.missing)}", "use another --preset or file")
    if report.reshaped:
        raise _refusal(path, f"{found}: other shapes, {report.reshaped[0]}", "use another --preset or file")
    if report.missing_unused and not allow_missing:
        what = f"{found}: missing, though never used, {some(report.missing_unused)}"
        raise _refusal(path, what, "--allow-missing fills them with zeros")


def _refusal(path: Path, what: str, remedy: str) -> CooptrackError:
    return CooptrackError(f"{path}: {what}; {remedy}")
