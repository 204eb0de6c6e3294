"""A stage that takes milliseconds: a small network learns a fixed function of random points.

As a script it is `cooptrack` with this stage as `small`, for tests that need processes of their own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cooptrack_core.training import stages
from cooptrack_core.training.stage import mix

Before = Callable[[int, int], None]  # step, micro-batch
CHECKPOINT_EVERY = 4
DATA_SEED = 11


class SmallNetwork(nn.Module):
    """Losses of a step. Like the real ones it has dropout, frozen entries, a part without gradient and a memory."""

    def __init__(self, options: stages.StageOptions, before: Before, plain: bool) -> None:
        super().__init__()
        self.options, self.before, self.plain = options, before, plain
        self.micros = 1
        self.layers = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.0 if plain else 0.1), nn.Linear(16, 2))
        self.sometimes = nn.Linear(2, 1)
        self.never = nn.Linear(2, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.memory: Tensor | None = None
        self.spoil: Callable[[int, int], float] = lambda step, micro: 1.0

    def forward(self, step: int, micro: int) -> dict[str, Tensor]:
        """Losses averaged over the slots of this process."""
        self.before(step, micro)
        points = self.points_of(step, micro)
        if step % CHECKPOINT_EVERY == 0 and micro == 0:
            self.memory = None
        out = self.layers(points)
        if self.memory is not None:
            out = out + 0.01 * self.memory.mean(0)
        self.memory = None if self.plain else out.detach()
        target = torch.stack([points.prod(-1), points.sum(-1)], -1)
        losses = {"first": (out - target)[:, 0].square().mean(), "second": (out - target)[:, 1].square().mean()}
        if step % 2:
            losses["third"] = 0.1 * (self.sometimes(out)[:, 0] - points[:, 0]).square().mean()
        return {name: loss * self.spoil(step, micro) for name, loss in losses.items()}

    def points_of(self, step: int, micro: int) -> Tensor:
        """[slots, 3] the points of this process out of those of the step, which all micro-batches share."""
        generator = torch.Generator().manual_seed(mix(self.options.seed, DATA_SEED, step))
        batch = self.options.batch or 8
        points = torch.rand(self.micros, batch, 3, generator=generator)[micro % self.micros]
        return points[self.options.rank :: self.options.world]


class SmallStage:
    """See the module."""

    name, role = "small", "veh"

    def __init__(
        self, options: stages.StageOptions | None = None, *, before: Before = lambda *step: None, plain: bool = False
    ) -> None:
        """before: called in every micro-batch. plain: a step is a function of weights and points alone."""
        self.options = options or stages.StageOptions()
        torch.manual_seed(self.options.seed)
        self.network = SmallNetwork(self.options, before, plain)
        self.checkpoint_every = CHECKPOINT_EVERY
        self.total_steps = self.options.steps or 20

    def parameter_groups(self) -> list[dict[str, Any]]:
        net = self.network
        return [
            {"params": net.layers.parameters(), "rate": 1.0},
            {"params": [*net.sometimes.parameters(), *net.never.parameters()], "rate": 0.1},
        ]

    def evaluate(self) -> dict[str, float]:
        assert not self.network.training
        points = torch.rand(64, 3, generator=torch.Generator().manual_seed(DATA_SEED))
        with torch.no_grad():
            error = float((self.network.layers(points)[:, 1] - points.sum(-1)).abs().mean())
        return {"score": -error, "error": error}

    def export(self, folder: Path, notes: Mapping[str, str]) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "small_veh.safetensors"
        save_file(dict(self.network.state_dict()), path, dict(notes))
        return [path]

    def describe(self, step: int, micro: int) -> str:
        return f"points {step}.{micro}"


def recipe(stage: str, preset: str) -> dict[str, Any]:
    """As `stages.loop_options` asks for it."""
    return {
        "learning_rate": 0.01, "warm_up_steps": 3, "keep_every": 4, "evaluate_every": 8, "ema_decay": 0.9,
        "device": "cpu", "log_every": 3,
    }  # fmt: skip


def build(stage: str, preset: str, data: Path, options: stages.StageOptions) -> SmallStage:
    """As `stages.build` asks for it. The environment says in which step the process kills itself."""
    deadly = int(os.environ.get("SMALL_STAGE_DIES_AT", -1))

    def before(step: int, micro: int) -> None:
        if step == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    built = SmallStage(options, before=before, plain=preset == "plain")
    _built.append(built)
    return built


ENTRY = stages.StageEntry("a small network for tests", "small_stage")
_built: list[SmallStage] = []


def main() -> int:
    """The command, and the weights that every process ends with under SMALL_STAGE_WEIGHTS."""
    import small_stage  # the module that the command builds from, not this script

    from cooptrack_core.cli import main

    torch.set_num_threads(1)
    stages.STAGES["small"] = ENTRY
    code = main(sys.argv[1:])
    if folder := os.environ.get("SMALL_STAGE_WEIGHTS"):
        for built in small_stage._built:
            save_file(dict(built.network.state_dict()), Path(folder) / f"{built.options.rank}.safetensors")
    return code


if __name__ == "__main__":
    sys.exit(main())
