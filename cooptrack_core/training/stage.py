"""What the training loop asks of a stage, and the options of the loop itself."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from cooptrack_core.config import DEVICES
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:  # the command line shows its help without torch
    from torch import nn

PRECISIONS = ("fp32", "bf16")
_MIX_BYTES = 8


class Stage(Protocol):
    """One stage of a recipe: its network, its data and its measure of success.

    network(step, micro) -> dict[str, Tensor]: scalar losses of micro-batch `micro` of optimizer step `step` (from 0),
    each averaged over the slots of this process; their sum is minimised. What is random in it may come from torch's
    global generator, which the loop seeds anew before every micro-batch, or from `mix(seed, step, micro, rank)`.
    The network keeps in evaluation mode what must not learn, whatever `network.train()` is called with.

    A stage may have `describe(step, micro) -> str`, which says what a batch was made of, for errors.
    """

    name: str  # "pretrain", "detection", "tracking", "cooperation", ...
    role: str  # inf, veh, coop
    checkpoint_every: int  # streams start anew at multiples of this many optimizer steps: state is kept only there
    total_steps: int

    @property
    def network(self) -> nn.Module:
        """Holds every trainable parameter."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of AdamW: "params", "rate" (factor on the learning rate), and what else AdamW takes."""

    def evaluate(self) -> dict[str, float]:
        """Measures of the weights now in the network; "score" decides what is best. Called in one process only."""

    def export(self, folder: Path, notes: Mapping[str, str]) -> list[Path]:
        """Writes the weights now in the network as files for users; returns them."""


@runtime_checkable
class Describes(Protocol):
    """A stage that can say what a batch was made of."""

    def describe(self, step: int, micro: int) -> str:
        """Such as `sequence 0012, frames 3 to 7`."""


# The options of `cooptrack train` that set the fields below.
FLAGS = {
    "learning_rate": "--lr",
    "weight_decay": "--weight-decay",
    "warm_up_steps": "--warm-up",
    "warm_up_from": "--warm-up-from",
    "last_rate": "--last-rate",
    "max_gradient_norm": "--clip",
    "accumulate": "--accumulate",
    "ema_decay": "--ema",
    "precision": "--precision",
    "seed": "--seed",
    "keep_every": "--keep-every",
    "evaluate_every": "--evaluate-every",
    "device": "--device",
    "log_every": "--log-every",
    "file_bytes": "--file-bytes",
}


@dataclass(frozen=True)
class LoopOptions:
    """How a stage is trained. The defaults are the paper's (spec 7.1)."""

    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    warm_up_steps: int = 500
    warm_up_from: float = 1 / 3  # share of the learning rate at the first step
    last_rate: float = 1e-3  # share of the learning rate at the end of the cosine
    max_gradient_norm: float = 35.0  # L2 over all parameters; inf: no clipping
    accumulate: int = 1  # micro-batches per optimizer step
    ema_decay: float = 0.0  # 0: no average of the weights
    precision: str = "fp32"
    seed: int = 0
    keep_every: int = 500  # steps between checkpoints, rounded up to a multiple of the stage's
    evaluate_every: int = 0  # steps between evaluations, rounded up to a multiple of the former; 0: only at the end
    device: str = "auto"
    log_every: int = 10  # steps that a line of the log averages
    file_bytes: int = 2**30  # larger checkpoint files are split

    def __post_init__(self) -> None:
        """Raises CooptrackError for values out of range."""
        for name in ("learning_rate", "max_gradient_norm"):
            self._check(name, getattr(self, name) > 0, "a positive number")
        self._check("learning_rate", math.isfinite(self.learning_rate), "a positive number")
        self._check("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more")
        for name in ("warm_up_from", "last_rate"):
            self._check(name, 0 <= getattr(self, name) <= 1, "0 to 1")
        self._check("ema_decay", 0 <= self.ema_decay < 1, "0 (off) to below 1")
        for name in ("warm_up_steps", "evaluate_every"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        for name in ("accumulate", "keep_every", "log_every", "file_bytes"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        self._check("seed", 0 <= self.seed < 2**31, f"0 to {2**31 - 1}")
        self._check("precision", self.precision in PRECISIONS, " or ".join(PRECISIONS))
        self._check("device", self.device in DEVICES, ", ".join(DEVICES))

    def _check(self, name: str, fine: bool, wanted: str) -> None:
        if not fine:
            raise CooptrackError(f"training: {FLAGS[name]}: {getattr(self, name)} is not possible; give {wanted}")


class TrainingStopped(CooptrackError):
    """Training cannot go on by itself: what it has kept so far is sound."""


class StoppedElsewhere(TrainingStopped):
    """Another process of the run has stopped, and says why."""


def mix(*numbers: int) -> int:
    """A 64-bit seed from integers such as (seed, step, micro, rank), the same everywhere and unlike its neighbours."""
    digest = hashlib.blake2b(struct.pack(f"<{len(numbers)}q", *numbers), digest_size=_MIX_BYTES)
    return int.from_bytes(digest.digest(), "little")


__all__ = ["FLAGS", "PRECISIONS", "Describes", "LoopOptions", "Stage", "StoppedElsewhere", "TrainingStopped", "mix"]
