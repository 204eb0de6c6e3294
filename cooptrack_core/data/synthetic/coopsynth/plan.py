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


def _blocks() -> tuple[tuple[int, int, str, float], ...]:
    """Sites, sequences at each, split and length of these: train, val, test, what v2 adds to train."""
    return (
        (TRAIN_SITES, TRAIN_WINDOWS, "train", TRAIN_S), (VAL_SITES, VAL_WINDOWS, "val", VAL_S),
        (TEST_SITES, TEST_WINDOWS, "test", TEST_S), (MORE_SITES, MORE_WINDOWS, "train", TRAIN_S),
    )  # fmt: skip


def sequence_plan(number: int) -> SequencePlan:
    """Sequence `number`, 0 .. V1_SEQUENCES + MORE_SEQUENCES - 1, block after block."""
    first_site = 0
    for sites, windows, split, duration_s in _blocks():
        if number < sites * windows:
            return SequencePlan(first_site + number // windows, number % windows, split, duration_s)
        number, first_site = number - sites * windows, first_site + sites
    raise ValueError("there is no such sequence")


def first_pair(number: int) -> int:
    """Pairs of all sequences before this one."""
    before_s = 0.0
    for sites, windows, _, duration_s in _blocks():
        count = min(number, sites * windows)
        before_s, number = before_s + count * duration_s, number - count
    return round(before_s * RATE_HZ)


def windows_at(site: int) -> tuple[int, float]:
    """How many sequences a site has, and how long they are."""
    for sites, windows, _, duration_s in _blocks():
        if site < sites:
            return windows, duration_s
        site -= sites
    raise ValueError("there is no such site")


__all__ = [
    "BENCHMARKS", "MORE_SEQUENCES", "MORE_SITES", "MORE_WINDOWS", "RATE_HZ", "SEQUENCES", "SITES", "TEST_S",
    "TEST_SEQUENCES", "TEST_SITES", "TEST_WINDOWS", "TRAIN_S", "TRAIN_SEQUENCES", "TRAIN_SITES", "TRAIN_WINDOWS", "V1",
    "V1_SEQUENCES", "V1_SITES", "V1_TEST", "V2", "VAL_S", "VAL_SITES", "VAL_WINDOWS", "SequencePlan", "first_pair",
    "sequence_plan", "windows_at",
]  # fmt: skip
