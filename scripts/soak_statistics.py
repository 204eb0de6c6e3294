"""Whether a series grows: its last third against its first, with a confidence interval that knows of its memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 1.96  # 95 %, two-sided
WARM_UP = 0.2  # of a run that does not count: caches fill, memory pools find their size


@dataclass(frozen=True)
class Bound:
    """What may be there of growth between the first and the last third: the larger of both."""

    absolute: float
    relative: float = 0.0

    def allowed(self, level: float) -> float:
        """In the unit of the series, at its level in the first third."""
        return max(self.absolute, self.relative * abs(level))


@dataclass(frozen=True)
class Growth:
    """Levels of both thirds, their difference and its 95 % interval; the slope of the regression over all."""

    first: float
    last: float
    low: float
    high: float
    slope_per_hour: float
    allowed: float

    @property
    def failed(self) -> bool:
        """Whether the growth is beyond what is allowed, with confidence."""
        return self.low > self.allowed


def growth(times_s: np.ndarray, values: np.ndarray, bound: Bound) -> Growth:
    """Of a series [T] after its warm-up. Raises ValueError with fewer than 6 values."""
    begin = times_s[0] + WARM_UP * (times_s[-1] - times_s[0])
    known = (times_s >= begin) & np.isfinite(values)
    times_s, values = times_s[known], values[known]
    if len(values) < 6:
        raise ValueError(f"{len(values)} values after the warm-up; a third needs two: let it run longer")
    third = len(values) // 3
    first, last = values[:third], values[-third:]
    difference = float(last.mean() - first.mean())
    # Neighbours are alike: as many values count as there are independent ones.
    error = math.sqrt(sum(float(part.var(ddof=1)) / _independent(part) for part in (first, last)))
    slope = float(np.polyfit(times_s - times_s[0], values, 1)[0]) * 3600.0
    level, margin = float(first.mean()), CONFIDENCE * error
    return Growth(
        level, float(last.mean()), difference - margin, difference + margin, slope, bound.allowed(level)
    )  # fmt: skip


def _independent(values: np.ndarray) -> float:
    """Effective number of independent values of a first-order process: n (1 - r) / (1 + r)."""
    n = len(values)
    spread = values - values.mean()
    power = float(np.dot(spread, spread))
    if power == 0.0:
        return float(n)
    r = min(max(float(np.dot(spread[1:], spread[:-1])) / power, 0.0), 0.99)
    return max(1.0, n * (1.0 - r) / (1.0 + r))
