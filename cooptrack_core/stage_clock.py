"""How long the stages of a frame take, from the outside (StageClock) and within a network (stage, collect_stages)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What a profile and `make bench` call the stages of a network, in the order of a frame.
NETWORK_STAGES = (
    "decode image", "prepare image", "frame graph", "backbone", "BEV encoder", "proposals", "decoder", "MDFE",
    "history", "CAA", "GBA", "heads", "life cycle", "outputs",
)  # fmt: skip

_local = threading.local()


class StageClock:
    """Durations of the stages of one frame, ms, on the monotonic clock."""

    def __init__(self) -> None:
        self._last_ns = time.perf_counter_ns()
        self.marks_ms: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        now_ns = time.perf_counter_ns()
        self.marks_ms[stage] = (now_ns - self._last_ns) / 1e6
        self._last_ns = now_ns


class _Collector:
    def __init__(self, synchronize: Callable[[], object] | None) -> None:
        self.total_ms: dict[str, float] = {}
        self.synchronize = synchronize


@contextmanager
def collect_stages(synchronize: Callable[[], object] | None = None) -> Iterator[dict[str, float]]:
    """{stage: ms} of what this thread does meanwhile; stages that come twice are added up.

    synchronize: called at both ends of every stage; torch.cuda.synchronize where kernels run on.
    """
    before, collector = getattr(_local, "collector", None), _Collector(synchronize)
    _local.collector = collector
    try:
        yield collector.total_ms
    finally:
        _local.collector = before


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
            taken_ms = (_now_ns(collector) - start_ns) / 1e6
            collector.total_ms[name] = collector.total_ms.get(name, 0.0) + taken_ms
        if record is not None:
            record.__exit__(None, None, None)


def _now_ns(collector: _Collector | None) -> int:
    if collector is not None and collector.synchronize is not None:
        collector.synchronize()
    return time.perf_counter_ns()
