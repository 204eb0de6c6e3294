"""What a training run shows while it goes: a progress bar with loss terms, and lines in its log."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from cooptrack_core.progress import ProgressLines, progress_bar
from cooptrack_core.training.metrics_log import TRAIN, MetricsLog
from cooptrack_core.training.stage import Stage
from cooptrack_core.training.steps import StepTaken

_SHOWN_TERMS = 4  # the largest
_REFRESH_S = 0.5


class StepReport:
    """Averages steps into lines of the log; silent where there is none, in all processes but the first."""

    def __init__(self, stage: Stage, log_every: int, done: int, log: MetricsLog | None) -> None:
        self._stage, self._log_every, self._first_step, self._log = stage, log_every, done, log
        self._began_s = self._line_s = self._shown_s = time.monotonic()
        self._taken: list[StepTaken] = []
        self._bar: Any = None

    def __enter__(self) -> StepReport:
        if self._log is not None:
            title = f"{self._stage.name} {self._stage.role}"
            bar = progress_bar(total=self._stage.total_steps, initial=self._first_step, desc=title, unit="step")
            self._stack = contextlib.ExitStack()
            self._bar = self._stack.enter_context(bar)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._stack.close()

    def add(self, done: int, taken: StepTaken, *, flush: bool) -> None:
        """A step was taken, the last of `done`; flush: the line of the log ends here."""
        if self._log is None:
            return
        self._taken.append(taken)
        now_s = time.monotonic()
        if now_s - self._shown_s >= _REFRESH_S:
            self._shown_s = now_s
            self._bar.set_description(self._description(done, taken, now_s))
        self._bar.update(1)
        if flush or done % self._log_every == 0:
            self._log.add(done, TRAIN, self._averages(now_s))
            self._taken, self._line_s = [], now_s

    def restart_clock(self) -> None:
        """What was done since the last step is not part of the next one."""
        self._line_s = time.monotonic()

    def _averages(self, now_s: float) -> dict[str, float]:
        count = len(self._taken)
        totals: dict[str, float] = {}
        for taken in self._taken:
            named = {f"loss/{name}": value for name, value in taken.terms.items()}
            for name, value in {"loss": taken.loss, **named, "gradient_norm": taken.gradient_norm}.items():
                totals[name] = totals.get(name, 0.0) + value / count
        rate = self._taken[-1].learning_rate
        data_ms = sum(taken.stages_ms.get("data", 0.0) for taken in self._taken) / count
        clock = {"seconds_per_step": (now_s - self._line_s) / count, "data_ms_per_step": data_ms}
        return {**totals, "learning_rate": rate, **clock}

    def _description(self, done: int, taken: StepTaken, now_s: float) -> str:
        largest = sorted(taken.terms.items(), key=lambda term: -abs(term[1]))[:_SHOWN_TERMS]
        terms = ", ".join(f"{name} {value:.3g}" for name, value in largest)
        text = f"{self._stage.name} {self._stage.role}: loss {taken.loss:.4g} ({terms})"
        if "data" in taken.stages_ms:
            text += f", data {taken.stages_ms['data']:.0f} ms"
        if isinstance(self._bar, ProgressLines):  # a bar on a terminal says that itself
            left_s = (now_s - self._began_s) / (done - self._first_step) * (self._stage.total_steps - done)
            text += f", {_duration(left_s)} left"
        return text


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


__all__ = ["StepReport"]
