"""How long the stages of a frame take, from the outside (StageClock) and within a network (stage, collect_stages)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

# What a profile and `make bench` call the stages of a network, in the order of a frame.
NETWORK_STAGES = (
    "decode image", "prepare image", "frame graph", "backbone", "BEV encoder", "proposals", "decoder", "MDFE",
    "history", "CAA", "GBA", "heads", "life cycle", "outputs",
)  # fmt: skip
# Of a training step, beside those of the network that its forward pass has.
TRAINING_STAGES = ("data", "losses", "backward", "optimizer")
MESSAGE_STAGES = ("decode message", "code features", "encode message")

_PART_OF = "."
_local = threading.local()


class StageClock:
    """Durations of the stages of one frame, ms, on the monotonic clock; `network.decode image` is part of `network`."""

    def __init__(self) -> None:
        self._last_ns = time.perf_counter_ns()
        self.marks_ms: dict[str, float] = {}

    def mark(self, stage: str, parts_ms: Mapping[str, float] | None = None) -> None:
        """Ends a stage. parts_ms: what it consists of, as far as that was collected."""
        now_ns = time.perf_counter_ns()
        self.marks_ms[stage] = (now_ns - self._last_ns) / 1e6
        self.marks_ms |= {f"{stage}{_PART_OF}{part}": taken_ms for part, taken_ms in (parts_ms or {}).items()}
        self._last_ns = now_ns


def sum_ms(timings_ms: Mapping[str, float]) -> float:
    """All stages together, none counted twice."""
    return sum(taken_ms for stage, taken_ms in timings_ms.items() if _PART_OF not in stage)


class _Collector:
    def __init__(self, synchronize: Callable[[], object] | None) -> None:
        self.total_ms: dict[str, float] = {}
        self.synchronize = synchronize

    def add(self, more_ms: Mapping[str, float]) -> None:
        for name, taken_ms in more_ms.items():
            self.total_ms[name] = self.total_ms.get(name, 0.0) + taken_ms


@contextmanager
def collect_stages(synchronize: Callable[[], object] | None = None) -> Iterator[dict[str, float]]:
    """{stage: ms} of what this thread does meanwhile; stages that come twice are added up.

    synchronize: called at both ends of every stage; torch.cuda.synchronize where kernels run on. Whoever collects
    around it gets the same, and has his own synchronize called.
    """
    before: _Collector | None = getattr(_local, "collector", None)
    collector = _Collector(synchronize or (None if before is None else before.synchronize))
    _local.collector = collector
    try:
        yield collector.total_ms
    finally:
        _local.collector = before
        if before is not None:
            before.add(collector.total_ms)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """A named part of a frame, for whoever collects, and for a running profiler of torch. Else nearly free.

    Stages do not lie within each other, so that their times add up to that of the frame.
    """
    collector: _Collector | None = getattr(_local, "collector", None)
    torch = sys.modules.get("torch")
    profiled = torch is not None and torch.autograd._profiler_enabled()
    if collector is None and not profiled:
        yield
        return
    record = torch.profiler.record_function(name) if profiled and torch is not None else None
    if record is not None:
        record.__enter__()
    start_ns = _now_ns(collector)
    try:
        yield
    finally:
        if collector is not None:
            collector.add({name: (_now_ns(collector) - start_ns) / 1e6})
        if record is not None:
            record.__exit__(None, None, None)


def _now_ns(collector: _Collector | None) -> int:
    if collector is not None and collector.synchronize is not None:
        collector.synchronize()
    return time.perf_counter_ns()
