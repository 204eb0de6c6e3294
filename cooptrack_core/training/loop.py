"""The training loop: steps of a stage, checkpoints from which it goes on exactly, evaluations, the finished weights.

What is random in a step depends on (seed, step, micro-batch, process) alone, and streams of frames start anew where
checkpoints are. So weights, their average, the optimizer's state and the number of steps are all that a run consists
of: killed at any time and started again, it ends with the same bits on the same kind of machine (on a GPU as far as
its kernels repeat themselves).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cooptrack_core.model.loading import choose_device
from cooptrack_core.training import distributed
from cooptrack_core.training.ema import Ema
from cooptrack_core.training.metrics_log import EVALUATION, MetricsLog
from cooptrack_core.training.optimizer_state import flat_state, restore_state
from cooptrack_core.training.run_store import RunStore, flat_config, last_checkpoint
from cooptrack_core.training.stage import LoopOptions, Stage, mix
from cooptrack_core.training.step_report import StepReport
from cooptrack_core.training.steps import Stepper, memory_for

WEIGHTS_FOLDER = "weights"
_EVALUATION_SEED = 1  # another stream of random numbers than that of training


@dataclass(frozen=True)
class Result:
    """A finished run."""

    steps: int
    best_step: int  # whose weights were exported
    score: float | None  # theirs; None: nothing was evaluated
    files: list[Path]  # the finished weights
    already: bool = False  # the run had come to its end before


def train(
    stage: Stage,
    options: LoopOptions,
    run_folder: Path,
    settings: Mapping[str, Any] | None = None,
    command: str = "",
    began: Callable[[int], None] = lambda done: None,
) -> Result:
    """Trains a stage to its end, from the last checkpoint in the folder if there is one.

    settings: what else decides the run, by option (`--preset`): plain values, compared when it goes on. began: told, in
    the first process, how many steps a run that is not finished has done. Started by torchrun, call it inside
    `distributed.joined`, in every process. Raises TrainingStopped for losses that are no numbers and for too little
    memory, CooptrackError for a folder of something else or a full disk; what was kept before stays as it is.
    """
    processes = distributed.this_process()
    facts = {"STAGE": stage.name, "role": stage.role, "--steps": stage.total_steps}
    facts |= {"steps between restarts of streams": stage.checkpoint_every, "number of processes": processes.world}
    store = RunStore(run_folder, flat_config(facts, asdict(options), settings or {}, command), options.file_bytes)
    store.check()
    result = store.result()
    if result is not None:
        files = [run_folder / name for name in result["files"]]
        return Result(result["steps"], result["best_step"], result["score"], files, already=True)
    device = choose_device(options.device)
    with contextlib.ExitStack() as opened:
        log = None
        with distributed.all_or_none(device):
            if processes.first:
                opened.enter_context(store.opened())
                log = opened.enter_context(contextlib.closing(MetricsLog(run_folder, last_checkpoint(run_folder))))
        run = _Run(stage, options, store, log, Stepper(stage, options, device, processes.rank))
        if processes.first:
            began(run.done)
        run.go_on()
        return run.finished(command)


class _Run:
    """One run in one process; only the first has a log, and writes."""

    def __init__(
        self, stage: Stage, options: LoopOptions, store: RunStore, log: MetricsLog | None, stepper: Stepper
    ) -> None:
        self.stage, self.options, self.store, self.log, self.stepper = stage, options, store, log, stepper
        self.network, self.optimizer, self.device = stage.network, stepper.optimizer, stepper.device
        self.done = last_checkpoint(store.folder)
        if self.done:
            self.network.load_state_dict(store.load(self.done, "weights"))
            restore_state(self.optimizer, self.network, store.load(self.done, "optimizer"))
        self.ema = Ema(self.network, options.ema_decay) if options.ema_decay > 0 else None
        if self.ema is not None and self.done:
            self.ema.load(store.load(self.done, "ema"))
        self.keep_every = _rounded_up(options.keep_every, stage.checkpoint_every)
        self.evaluate_every = _rounded_up(options.evaluate_every, self.keep_every)

    def go_on(self) -> None:
        """All steps that are left."""
        total = self.stage.total_steps
        with StepReport(self.stage, self.options.log_every, self.done, self.log) as report:
            if self.done:  # killed after the checkpoint and before its evaluation
                with distributed.all_or_none(self.device):
                    self._evaluate()
            self.network.train()
            for step in range(self.done, total):
                taken = self.stepper(step)
                if self.ema is not None:
                    self.ema.update(step)
                self.done = step + 1
                keep = self.done % self.keep_every == 0 or self.done == total
                report.add(self.done, taken, flush=keep)
                if keep:
                    with distributed.all_or_none(self.device):
                        self._keep()
                        self._evaluate()
                    self.network.train()
                    report.restart_clock()

    def finished(self, command: str) -> Result:
        """Exports the best weights and says that the run is done."""
        with distributed.all_or_none(self.device):
            return Result(self.done, self.done, None, []) if self.log is None else self._export(self.log, command)

    def _export(self, log: MetricsLog, command: str) -> Result:
        best_step, score = log.best() or (self.done, None)
        self._load_finished(best_step)
        notes = {"stage": self.stage.name, "step": f"{best_step} of {self.done}", "seed": str(self.options.seed)}
        notes |= {} if score is None else {"score": f"{score:.4f}"}
        notes |= {"made_by": command} if command else {}
        self.network.eval()
        files = self.stage.export(self.store.folder / WEIGHTS_FOLDER, notes)
        names = [str(file.relative_to(self.store.folder)) for file in files]
        self.store.finish({"steps": self.done, "best_step": best_step, "score": score, "files": names})
        return Result(self.done, best_step, score, files)

    def _keep(self) -> None:
        if self.log is not None:
            self.log.sync()
            tensors = {"weights": self.network.state_dict(), "optimizer": flat_state(self.optimizer, self.network)}
            tensors |= {} if self.ema is None else {"ema": self.ema.averages}
            self.store.save(self.done, tensors, {"time_s": time.time()})

    def _evaluate(self) -> None:
        """Measures the weights of the checkpoint just made, where that is due and not done yet."""
        if self.log is None:
            return
        last = self.done == self.stage.total_steps
        due = last or (self.evaluate_every > 0 and self.done % self.evaluate_every == 0)
        if due and not self.log.evaluated(self.done):
            self.network.eval()
            torch.manual_seed(mix(self.options.seed, self.done, _EVALUATION_SEED))
            averaged = self.ema.in_network() if self.ema else contextlib.nullcontext()
            with averaged, memory_for(f"evaluation after step {self.done}"):
                self.log.add(self.done, EVALUATION, self.stage.evaluate())
            self.log.sync()
        best = self.log.best()
        self.store.prune(None if best is None else best[0])

    def _load_finished(self, step: int) -> None:
        """The weights of a checkpoint as they are to be used: averaged, if they are."""
        self.network.load_state_dict(self.store.load(step, "weights"))
        if self.ema is not None:
            self.network.load_state_dict(self.store.load(step, "ema"), strict=False)


def _rounded_up(steps: int, unit: int) -> int:
    return math.ceil(steps / unit) * unit


__all__ = ["WEIGHTS_FOLDER", "Result", "train"]
