"""Durations as numbers that can be compared: percentiles and shares of the stages of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cooptrack_core.stage_clock import NETWORK_STAGES
from cooptrack_core.timing.agents import Timed

# In the order of a frame; what is none of them is "the rest".
FRAME_STAGES = (
    "decode message", *NETWORK_STAGES, "late fusion", "tracker", "trust", "code features", "encode message",
)  # fmt: skip
WHOLE, REST = "whole frame", "the rest"


@dataclass(frozen=True)
class Row:
    """Percentiles of a part of a frame, ms; share: of the time of all frames."""

    what: str
    p50_ms: float
    p90_ms: float
    p99_ms: float
    share: float


def rows_of(frames: Sequence[Timed], whole_ms: Sequence[float] | None = None) -> list[Row]:
    """The whole frame first, then every stage that occurs, in the order of a frame, and what no stage names.

    whole_ms: of the same work without stages, where taking their times costs time of its own.
    """
    each = [_parts(frame) for frame in frames]
    total = sum(frame.whole_ms for frame in frames)
    order = (*FRAME_STAGES, *sorted(set().union(*each) - {*FRAME_STAGES, REST}), REST)
    first = _row(WHOLE, [frame.whole_ms for frame in frames] if whole_ms is None else whole_ms, 1.0)
    named = [name for name in order if any(name in parts for parts in each)]
    columns = {name: [parts.get(name, 0.0) for parts in each] for name in named}
    return [first, *(_row(name, values, sum(values) / total) for name, values in columns.items())]


def _parts(frame: Timed) -> Mapping[str, float]:
    parts = dict(frame.stages_ms)
    parts[REST] = max(0.0, frame.whole_ms - sum(parts.values()))
    return parts


def _row(what: str, values_ms: Sequence[float], share: float) -> Row:
    p50, p90, p99 = (float(value) for value in np.percentile(values_ms, (50, 90, 99)))
    return Row(what, p50, p90, p99, share)


__all__ = ["FRAME_STAGES", "REST", "WHOLE", "Row", "rows_of"]
