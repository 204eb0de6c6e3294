"""The sequences of the benchmark: which site, which of its recordings, which split, how long."""

from __future__ import annotations

from dataclasses import dataclass

# Its test sequences are a dataset of their own: who trains and chooses does not need them.
V1, V1_TEST = "coopsynth-v1", "coopsynth-v1-test"
BENCHMARKS = (V1, V1_TEST)
TRAIN_SITES, VAL_SITES, TEST_SITES = 16, 5, 10  # one after the other; none shares a layout with another
TRAIN_WINDOWS, VAL_WINDOWS, TEST_WINDOWS = 15, 3, 3
TRAIN_S, VAL_S, TEST_S = 2.5, 10.0, 10.0
RATE_HZ = 10.0
SITES = TRAIN_SITES + VAL_SITES + TEST_SITES
TRAIN_SEQUENCES = TRAIN_SITES * TRAIN_WINDOWS
SEQUENCES = TRAIN_SEQUENCES + VAL_SITES * VAL_WINDOWS  # the first of the test sequences has this number
TEST_SEQUENCES = TEST_SITES * TEST_WINDOWS


@dataclass(frozen=True)
class SequencePlan:
    """One sequence."""

    site: int
    window: int
    split: str
    duration_s: float


def sequence_plan(number: int) -> SequencePlan:
    """Sequence `number`, 0 .. SEQUENCES + TEST_SEQUENCES - 1; train comes first, then val, then test."""
    if number < TRAIN_SEQUENCES:
        return SequencePlan(number // TRAIN_WINDOWS, number % TRAIN_WINDOWS, "train", TRAIN_S)
    if number < SEQUENCES:
        k = number - TRAIN_SEQUENCES
        return SequencePlan(TRAIN_SITES + k // VAL_WINDOWS, k % VAL_WINDOWS, "val", VAL_S)
    k = number - SEQUENCES
    return SequencePlan(TRAIN_SITES + VAL_SITES + k // TEST_WINDOWS, k % TEST_WINDOWS, "test", TEST_S)


def first_pair(number: int) -> int:
    """Pairs of all sequences before this one."""
    train, val = min(number, TRAIN_SEQUENCES), min(number, SEQUENCES) - TRAIN_SEQUENCES
    return round((train * TRAIN_S + max(0, val) * VAL_S + max(0, number - SEQUENCES) * TEST_S) * RATE_HZ)


__all__ = [
    "BENCHMARKS", "RATE_HZ", "SEQUENCES", "SITES", "TEST_S", "TEST_SEQUENCES", "TEST_SITES", "TEST_WINDOWS", "TRAIN_S",
    "TRAIN_SEQUENCES", "TRAIN_SITES", "TRAIN_WINDOWS", "V1", "V1_TEST", "VAL_S", "VAL_SITES", "VAL_WINDOWS",
    "SequencePlan", "first_pair", "sequence_plan",
]  # fmt: skip
