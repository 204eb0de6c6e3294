"""The sequences of the benchmark: which site, which of its recordings, which split, how long."""

from __future__ import annotations

from dataclasses import dataclass

# Its test sequences are a dataset of their own: who trains and chooses does not need them.
# The second version has more of train; val and test are the same.
V1, V1_TEST, V2 = "coopsynth-v1", "coopsynth-v1-test", "coopsynth-v2"
BENCHMARKS = (V1, V1_TEST, V2)
TRAIN_SITES, VAL_SITES, TEST_SITES, MORE_SITES = 16, 5, 10, 64  # in this order; none shares a layout with another
TRAIN_WINDOWS, VAL_WINDOWS, TEST_WINDOWS, MORE_WINDOWS = 15, 3, 3, 6
TRAIN_S, VAL_S, TEST_S = 2.5, 10.0, 10.0
RATE_HZ = 10.0
V1_SITES = TRAIN_SITES + VAL_SITES + TEST_SITES
SITES = V1_SITES + MORE_SITES
TRAIN_SEQUENCES = TRAIN_SITES * TRAIN_WINDOWS
SEQUENCES = TRAIN_SEQUENCES + VAL_SITES * VAL_WINDOWS  # the first of the test sequences has this number
TEST_SEQUENCES = TEST_SITES * TEST_WINDOWS
V1_SEQUENCES = SEQUENCES + TEST_SEQUENCES  # the first that only the second version trains on
MORE_SEQUENCES = MORE_SITES * MORE_WINDOWS


@dataclass(frozen=True)
class SequencePlan:
    """One sequence."""

    site: int
    window: int
    split: str
    duration_s: float


def sequence_plan(number: int) -> SequencePlan:
    """Sequence `number`, 0 .. V1_SEQUENCES + MORE_SEQUENCES - 1: train, val, test, what v2 adds to train."""
    if number < TRAIN_SEQUENCES:
        return SequencePlan(number // TRAIN_WINDOWS, number % TRAIN_WINDOWS, "train", TRAIN_S)
    if number < SEQUENCES:
        k = number - TRAIN_SEQUENCES
        return SequencePlan(TRAIN_SITES + k // VAL_WINDOWS, k % VAL_WINDOWS, "val", VAL_S)
    if number < V1_SEQUENCES:
        k = number - SEQUENCES
        return SequencePlan(TRAIN_SITES + VAL_SITES + k // TEST_WINDOWS, k % TEST_WINDOWS, "test", TEST_S)
    k = number - V1_SEQUENCES
    return SequencePlan(V1_SITES + k // MORE_WINDOWS, k % MORE_WINDOWS, "train", TRAIN_S)


def first_pair(number: int) -> int:
    """Pairs of all sequences before this one."""
    train = min(number, TRAIN_SEQUENCES) + max(0, number - V1_SEQUENCES)
    val, test = (min(max(0, number - first), count) for first, count in (
        (TRAIN_SEQUENCES, SEQUENCES - TRAIN_SEQUENCES), (SEQUENCES, TEST_SEQUENCES),
    ))  # fmt: skip
    return round((train * TRAIN_S + val * VAL_S + test * TEST_S) * RATE_HZ)


__all__ = [
    "BENCHMARKS", "MORE_SEQUENCES", "MORE_SITES", "MORE_WINDOWS", "RATE_HZ", "SEQUENCES", "SITES", "TEST_S",
    "TEST_SEQUENCES", "TEST_SITES", "TEST_WINDOWS", "TRAIN_S", "TRAIN_SEQUENCES", "TRAIN_SITES", "TRAIN_WINDOWS", "V1",
    "V1_SEQUENCES", "V1_SITES", "V1_TEST", "V2", "VAL_S", "VAL_SITES", "VAL_WINDOWS", "SequencePlan", "first_pair",
    "sequence_plan",
]  # fmt: skip
