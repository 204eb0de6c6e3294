"""The sequences of the benchmark: which site, which of its recordings, which split, how long."""

from __future__ import annotations

from dataclasses import dataclass

BENCHMARKS = ("coopsynth-v1",)
TRAIN_SITES, VAL_SITES = 16, 5  # val sites come after the train ones and share no layout with them
TRAIN_WINDOWS, VAL_WINDOWS = 15, 3
TRAIN_S, VAL_S = 2.5, 10.0
RATE_HZ = 10.0
TRAIN_SEQUENCES = TRAIN_SITES * TRAIN_WINDOWS
SEQUENCES = TRAIN_SEQUENCES + VAL_SITES * VAL_WINDOWS


@dataclass(frozen=True)
class SequencePlan:
    """One sequence."""

    site: int
    window: int
    split: str
    duration_s: float


def sequence_plan(number: int) -> SequencePlan:
    """Sequence `number`, 0 .. SEQUENCES - 1; the train sequences come first."""
    if number < TRAIN_SEQUENCES:
        return SequencePlan(number // TRAIN_WINDOWS, number % TRAIN_WINDOWS, "train", TRAIN_S)
    k = number - TRAIN_SEQUENCES
    return SequencePlan(TRAIN_SITES + k // VAL_WINDOWS, k % VAL_WINDOWS, "val", VAL_S)


def first_pair(number: int) -> int:
    """Pairs of all sequences before this one."""
    val = max(0, number - TRAIN_SEQUENCES)
    return round((min(number, TRAIN_SEQUENCES) * TRAIN_S + val * VAL_S) * RATE_HZ)


__all__ = [
    "BENCHMARKS", "RATE_HZ", "SEQUENCES", "TRAIN_S", "TRAIN_SEQUENCES", "TRAIN_SITES", "TRAIN_WINDOWS", "VAL_S",
    "VAL_SITES", "VAL_WINDOWS", "SequencePlan", "first_pair", "sequence_plan",
]  # fmt: skip
