"""How long the stages of a frame take."""

from __future__ import annotations

import time


class StageClock:
    """Durations of the stages of one frame, ms, on the monotonic clock."""

    def __init__(self) -> None:
        self._last_ns = time.perf_counter_ns()
        self.marks_ms: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        now_ns = time.perf_counter_ns()
        self.marks_ms[stage] = (now_ns - self._last_ns) / 1e6
        self._last_ns = now_ns
