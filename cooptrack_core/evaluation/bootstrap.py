"""Paired bootstrap over sequences: how far differences between methods depend on which sequences were driven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
# Metrics of one method for R weightings [R, S] of its scenes: {metric: [R]}.
Resampled = Callable[[Int], Mapping[str, Float]]

FEW_SEQUENCES = 5
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Metric of one method minus that of another, with its percentile interval; NaN: undefined.

    defined: share of the resamples in which both have the metric.
    """

    value: float
    low: float
    high: float
    defined: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return bool(self.low > 0 or self.high < 0)


def weights_of(sequences: int, resamples: int = RESAMPLES, seed: int = 0) -> Int:
    """[R, S] how often each of S sequences is drawn when S of them are drawn with replacement, R times."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, sequences, size=(resamples, sequences))
    weights = np.zeros((resamples, sequences), np.int64)
    np.add.at(weights, (np.arange(resamples)[:, None], drawn), 1)
    return weights


def differences(
    methods: Mapping[str, Resampled], pairs: list[tuple[str, str]], sequences: int, *,
    resamples: int = RESAMPLES, seed: int = 0,
) -> dict[tuple[str, str], dict[str, Difference]]:  # fmt: skip
    """{(a, b): {metric: a - b}} for pairs of methods over the same sequences in the same order.

    All methods see the same resamples, so what a hard sequence costs both of them does not count. Intervals hold
    the middle 95 % of the resamples (percentile method).
    """
    # Few sequences allow few different resamples: each is computed once. The first row is the data as it is.
    drawn = np.concatenate([np.ones((1, sequences), np.int64), weights_of(sequences, resamples, seed)])
    distinct, place = np.unique(drawn, axis=0, return_inverse=True)
    values = {
        name: {metric: np.asarray(found)[place.reshape(-1)] for metric, found in method(distinct).items()}
        for name, method in methods.items()
    }
    return {(a, b): {m: _difference(values[a][m], values[b][m]) for m in values[a] if m in values[b]} for a, b in pairs}


def _difference(ours: Float, theirs: Float) -> Difference:
    delta = ours - theirs
    known = delta[1:][np.isfinite(delta[1:])]
    if not len(known) or not np.isfinite(delta[0]):
        return Difference(float("nan"), float("nan"), float("nan"), 0.0)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(known, [tail, 100 - tail])
    return Difference(float(delta[0]), float(low), float(high), len(known) / (len(delta) - 1))


def caution(sequences: int) -> str:
    """What must be said about intervals from so few sequences; empty where there are enough."""
    if sequences < 2:
        return "One sequence: resampling it changes nothing, so intervals would be meaningless and are left out."
    if sequences < FEW_SEQUENCES:
        return f"Only {sequences} sequences: the intervals mean little, so none is said to exclude 0."
    return ""


__all__ = ["CONFIDENCE", "FEW_SEQUENCES", "RESAMPLES", "Difference", "caution", "differences", "weights_of"]
