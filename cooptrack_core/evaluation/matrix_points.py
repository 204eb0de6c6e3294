"""The points of the robustness matrix: delay against loss, every other impairment alone, and all of them in pairs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cooptrack_core.cooperation.disturbance import Disturbance

DELAYS_MS = (0.0, 100.0, 200.0, 300.0, 500.0, 1000.0)
LOSSES = (0.0, 0.1, 0.3, 0.5)

Setting = tuple[tuple[str, float], ...]  # fields of Disturbance and their values

# What each impairment is alone and in the pairs; the first level of a factor is always none of it.
FACTORS: dict[str, tuple[Setting, ...]] = {
    "delay": ((), (("delay_ms", 200.0),), (("delay_ms", 500.0),), (("delay_ms", 1000.0),)),
    "loss": ((), (("loss", 0.3),), (("loss", 0.5),), (("loss", 0.3), ("burst", 10.0))),
    "jitter": ((), (("jitter_ms", 100.0),), (("jitter_ms", 300.0),)),
    "duplicates": ((), (("duplicated", 0.3),)),
    "reorder": ((), (("reordered", 0.3),)),
    "truncation": ((), (("truncated", 0.3),)),
    "not finite": ((), (("not_finite", 0.3),)),
    "wrong version": ((), (("wrong_version", 0.3),)),
    "empty": ((), (("emptied", 0.3),)),
    "ten times too many": ((), (("crowded", 0.3),)),
    "clock offset": (
        (), (("clock_offset_ms", -500.0),), (("clock_offset_ms", -100.0),), (("clock_offset_ms", 100.0),),
        (("clock_offset_ms", 500.0),),
    ),
    "pose noise": (
        (), (("position_noise_m", 1.0),), (("position_noise_m", 2.0),), (("yaw_noise_deg", 1.0),),
        (("yaw_noise_deg", 2.0),), (("position_noise_m", 2.0), ("yaw_noise_deg", 2.0)),
    ),
    "instance loss": ((), (("instance_loss", 0.5),)),
    "outage": ((), (("drop_roadside", 0.5),)),
}  # fmt: skip

# Left out of the pairs: with these alone nearly every message is refused, and nothing else would show.
_BLOCKING = ("delay_ms", 500.0), ("delay_ms", 1000.0), ("clock_offset_ms", -500.0), ("clock_offset_ms", 500.0)
# Faults that hide each other: a late message of a clock that is ahead looks fresh and shows where objects were.
HIDING: tuple[Setting, ...] = (
    (("delay_ms", 300.0), ("clock_offset_ms", 300.0)),
    (("delay_ms", 500.0), ("clock_offset_ms", 500.0)),
    (("delay_ms", 1000.0), ("clock_offset_ms", 500.0)),
    (("delay_ms", 500.0), ("clock_offset_ms", 500.0), ("position_noise_m", 2.0), ("yaw_noise_deg", 2.0)),
    (("delay_ms", 300.0), ("jitter_ms", 300.0), ("loss", 0.5), ("position_noise_m", 2.0)),
)


@dataclass(frozen=True)
class Point:
    """A disturbance and where it stands: grid (delay x loss), alone, hiding or pairs."""

    group: str
    disturbance: Disturbance


def full_matrix(seed: int = 0) -> list[Point]:
    """Every point once: the grid, each impairment alone, faults that hide each other, all in pairs."""
    grid = [
        Point("grid", Disturbance(delay_ms=delay, loss=loss, seed=seed))
        for delay, loss in itertools.product(DELAYS_MS, LOSSES)
    ]
    alone = [
        Point("alone", _disturbance([setting], seed))
        for name, levels in FACTORS.items()
        for setting in levels[1:]
        if name not in ("delay", "loss") or len(setting) > 1
    ]
    mild = [[level for level in levels if not set(level) & set(_BLOCKING)] for levels in FACTORS.values()]
    pairs = [Point("pairs", _disturbance(row, seed)) for row in pairwise(mild)]
    worst = Point("pairs", _disturbance([levels[-1] for levels in FACTORS.values()], seed))
    hiding = [Point("hiding", _disturbance([setting], seed)) for setting in HIDING]
    return _each_once([*grid, *alone, *hiding, *pairs, worst])


def reduced_matrix(seed: int = 0) -> list[Point]:
    """What fits into a test: the corners of the grid, every impairment alone at its strongest, a tenth of the pairs."""
    points = full_matrix(seed)
    corners = [p for p in points if p.group == "grid" and p.disturbance.delay_ms in (0.0, 300.0, 1000.0)]
    corners = [p for p in corners if p.disturbance.loss in (0.0, 0.5)]
    alone = [Point("alone", _disturbance([levels[-1]], seed)) for levels in list(FACTORS.values())[2:]]
    pairs = [p for p in points if p.group == "pairs"]
    hiding = [p for p in points if p.group == "hiding"]
    return _each_once([*corners, *alone, *hiding[1:4:2], *pairs[::10], pairs[-1]])


def pairwise(factors: Sequence[Sequence[Setting]]) -> list[list[Setting]]:
    """Rows in which every two levels of every two factors meet at least once (a greedy covering array)."""
    left = {
        (a, x, b, y)
        for a, b in itertools.combinations(range(len(factors)), 2)
        for x, y in itertools.product(range(len(factors[a])), range(len(factors[b])))
    }
    rows = []
    while left:
        a, x, b, y = min(left)
        row: dict[int, int] = {a: x, b: y}
        for factor in range(len(factors)):
            if factor in row:
                continue
            gains = [
                sum(_pair(factor, level, other, row[other]) in left for other in row)
                for level in range(len(factors[factor]))
            ]
            row[factor] = gains.index(max(gains))
        left -= {_pair(a, row[a], b, row[b]) for a, b in itertools.combinations(row, 2)}
        rows.append([factors[factor][row[factor]] for factor in range(len(factors))])
    return rows


def _pair(a: int, x: int, b: int, y: int) -> tuple[int, int, int, int]:
    return (a, x, b, y) if a < b else (b, y, a, x)


def _disturbance(settings: Sequence[Setting], seed: int) -> Disturbance:
    values: dict[str, Any] = {name: value for setting in settings for name, value in setting}
    return replace(Disturbance(seed=seed), **values)


def _each_once(points: Sequence[Point]) -> list[Point]:
    found: dict[Disturbance, Point] = {}
    for point in points:
        found.setdefault(point.disturbance, point)
    return list(found.values())


__all__ = ["DELAYS_MS", "FACTORS", "HIDING", "LOSSES", "Point", "full_matrix", "pairwise", "reduced_matrix"]
