"""Frames of both agents, first timed and then under the profiler of torch, which makes the trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, record_function
from torch.profiler import profile as torch_profile

from cooptrack_core.config import NetworkConfig
from cooptrack_core.model.loading import choose_device
from cooptrack_core.timing.agents import Stopwatch, Timed, roadside_agent, vehicle_agent
from cooptrack_core.timing.frames import TimedFrames, frame_at
from cooptrack_core.timing.table import FRAME_STAGES, Row, rows_of
from cooptrack_core.types import CooptrackError

WARM_UP = 2
FRAME_NAMES = {"roadside": "roadside frame", "vehicle": "vehicle frame"}  # around the stages of a frame in the trace


@dataclass(frozen=True)
class Operator:
    """An operator of torch, in all frames of the trace together."""

    name: str
    calls: int
    own_ms: float  # without the operators that it calls; on a GPU that of its kernels


@dataclass(frozen=True)
class Profile:
    """What profiling tells beside the trace."""

    rows: Mapping[str, list[Row]]  # by agent, without the profiler, which costs time
    operators: list[Operator]
    device: torch.device


def profile(
    frames: TimedFrames,
    roadside: NetworkConfig,
    vehicle: NetworkConfig,
    mode: str,
    count: int,
    out: Path,
    operators: int,
) -> Profile:
    """Runs `count` frames of each agent without and with the profiler and writes the trace to `out`.

    Raises CooptrackError for networks that cannot run here, and for a frame that they reject.
    """
    device = choose_device(vehicle.device)
    unit, car = roadside_agent(roadside), vehicle_agent(vehicle, mode)
    watch = Stopwatch(synchronize=torch.cuda.synchronize if device.type == "cuda" else None)

    def step(number: int) -> tuple[Timed, Timed]:
        with record_function(FRAME_NAMES["roadside"]):
            seen = watch.roadside(unit, frame_at(frames.roadside, number))
        with record_function(FRAME_NAMES["vehicle"]):
            done = watch.vehicle(car, frame_at(frames.vehicle, number), [] if seen.sent is None else [seen.sent])
        if problem := seen.problem or done.problem:
            raise CooptrackError(f"profile: frame {number + 1}: {problem}; give a dataset that the network can use")
        return seen, done

    for number in range(WARM_UP):
        step(number)
    timed = [step(WARM_UP + number) for number in range(count)]
    table = _traced(lambda: [step(WARM_UP + count + number) for number in range(count)], device, out, operators)
    rows = {name: rows_of([pair[k] for pair in timed]) for k, name in enumerate(FRAME_NAMES)}
    return Profile(rows, table, device)


def _traced(work: Callable[[], object], device: torch.device, out: Path, operators: int) -> list[Operator]:
    """Writes the trace of `work`; the operators that took most time by themselves."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch_profile(activities=activities) as profiler:
        work()
    with out.open("w"):
        pass  # an unwritable place is said in our words, not by the profiler
    profiler.export_chrome_trace(str(out))
    return _operators(profiler.key_averages(), "self_device_time_total" if on_gpu else "self_cpu_time_total", operators)


def _operators(events: Iterable[Any], by: str, count: int) -> list[Operator]:
    """Those with most time of their own; what we have named ourselves is no operator."""
    ours = {*FRAME_STAGES, *FRAME_NAMES.values()}
    found = [Operator(e.key, e.count, getattr(e, by) / 1e3) for e in events if e.key not in ours]
    return sorted(found, key=lambda operator: -operator.own_ms)[:count]


__all__ = ["FRAME_NAMES", "Profile", "profile"]
