"""One optimizer step of a stage: micro-batches, gradients, clipping, and what stops it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.stage_clock import collect_stages, stage
from cooptrack_core.training.distributed import all_or_none, replicated, without_exchange
from cooptrack_core.training.optimizer_state import adam_w
from cooptrack_core.training.schedule import rate_factor
from cooptrack_core.training.stage import Describes, LoopOptions, Stage, TrainingStopped, mix
from cooptrack_core.types import CooptrackError

_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class StepTaken:
    """What a step came to."""

    terms: dict[str, float]  # losses by name, averaged over the micro-batches of this process
    loss: float  # their sum
    gradient_norm: float  # L2, before clipping
    learning_rate: float
    stages_ms: Mapping[str, float]  # stages of TRAINING_STAGES and of the network; on a GPU only "data" is all there


class Stepper:
    """Takes the steps of one process, together with the others."""

    def __init__(self, stage: Stage, options: LoopOptions, device: torch.device, rank: int = 0) -> None:
        """Moves the network to the device."""
        self.device, self._stage, self._options, self._rank = device, stage, options, rank
        self._losses_of = replicated(stage.network.to(device), device)
        self.optimizer = adam_w(stage, options)
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16")

    def __call__(self, step: int) -> StepTaken:
        """Takes step `step`, counted from 0. Raises TrainingStopped and leaves the weights as they were."""
        options = self._options
        with collect_stages() as stages_ms, memory_for(f"step {step + 1}"):
            rate = options.learning_rate * rate_factor(step, self._stage.total_steps, options)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["rate"]
            self.optimizer.zero_grad(set_to_none=True)
            sums: dict[str, float] = {}
            for micro in range(options.accumulate):
                for name, value in self._micro_batch(step, micro).items():
                    sums[name] = sums.get(name, 0.0) + value / options.accumulate
            with stage("optimizer"):
                norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, options.max_gradient_norm))
                if not math.isfinite(norm):  # the same in all processes
                    raise TrainingStopped(self._says(step, options.accumulate - 1, f"the gradient is {norm}"))
                self.optimizer.step()
        return StepTaken(sums, sum(sums.values()), norm, rate, stages_ms)

    def _micro_batch(self, step: int, micro: int) -> dict[str, float]:
        """Adds to the gradients; returns the losses. What goes wrong in one process stops all before the backward."""
        torch.manual_seed(mix(self._options.seed, step, micro, self._rank))
        last = micro == self._options.accumulate - 1
        with contextlib.nullcontext() if last else without_exchange(self._losses_of):
            with all_or_none(self.device):
                values, found = self._losses(step, micro)
            with stage("backward"):
                torch.autograd.backward(values.sum() / self._options.accumulate)
        return found

    def _losses(self, step: int, micro: int) -> tuple[Tensor, dict[str, float]]:
        """[L] losses with gradient, and the same by name."""
        try:
            with self._autocast:
                losses: dict[str, Tensor] = self._losses_of(step, micro)
        except CooptrackError as error:  # such as an image that cannot be read
            raise TrainingStopped(f"step {step + 1}: {error}") from error
        values = torch.stack([loss.float() for loss in losses.values()])
        found = dict(zip(losses, values.tolist(), strict=True))
        if bad := [f"{name} is {value}" for name, value in found.items() if not math.isfinite(value)]:
            raise TrainingStopped(self._says(step, micro, f"loss {bad[0]}"))
        return values, found

    def _says(self, step: int, micro: int, what: str) -> str:
        described = f" ({self._stage.describe(step, micro)})" if isinstance(self._stage, Describes) else ""
        where = f"step {step + 1}, micro-batch {micro + 1}, process {self._rank}{described}"
        remedy = "look at that data, or start a new --out with a smaller --lr or --clip"
        return f"{where}: {what}; {remedy}"


@contextlib.contextmanager
def memory_for(what: str) -> Iterator[None]:
    """Inside, too little memory becomes TrainingStopped."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _NO_MEMORY):
            raise
        remedy = "start a new --out with a smaller --batch, and a larger --accumulate for the same total"
        raise TrainingStopped(f"{what}: out of memory; {remedy}") from error


__all__ = ["StepTaken", "Stepper", "memory_for"]
