"""Recorded motion of road users, played back in place of the simulated one."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.catalog import EGO_KIND, KINDS, PALETTES, WALKERS
from cooptrack_core.data.synthetic.layout import Route
from cooptrack_core.data.synthetic.paths import Path
from cooptrack_core.data.synthetic.traffic import TIME_STEP_S, Plan, RoadUser

Float = NDArray[np.float64]

LEAD_S = 0.8  # a recording begins so long before scene time 0
NOWHERE = Route("recorded", "", "", "recorded", Path([(0.0, 0.0), (1.0, 0.0)]), (), ())


@dataclass
class RecordedUser(RoadUser):
    """A road user whose centre and heading xyh [N, 3] (m, rad, unwrapped) are known every TIME_STEP_S from birth_s on.

    A single sample means that it stands there always.
    """

    xyh: Float = field(default_factory=lambda: np.zeros((1, 3)))

    @cached_property
    def _motion(self) -> tuple[list[list[float]], list[float], list[float]]:
        """Samples, distance travelled and speed at them, as lists, which are quicker to read singly."""
        if len(self.xyh) == 1:
            return self.xyh.tolist(), [0.0], [0.0]
        steps = np.hypot(*np.diff(self.xyh[:, :2], axis=0).T)
        way = np.concatenate([[0.0], np.cumsum(steps)])
        return self.xyh.tolist(), way.tolist(), (np.gradient(way) / TIME_STEP_S).tolist()

    @property
    def end_s(self) -> float:
        """Last instant at which it exists."""
        return self.plan.birth_s + (len(self.xyh) - 1) * TIME_STEP_S if len(self.xyh) > 1 else np.inf

    def exists(self, time_s: float) -> bool:
        """Whether it is in the scene."""
        return self.plan.birth_s - 1e-9 <= time_s <= self.end_s + 1e-9

    def _at(self, time_s: float) -> tuple[int, int, float]:
        x = min(max((time_s - self.plan.birth_s) / TIME_STEP_S, 0.0), len(self.xyh) - 1.0)
        i = min(int(x), max(len(self.xyh) - 2, 0))
        return i, min(i + 1, len(self.xyh) - 1), x - i

    def travelled(self, time_s: float) -> tuple[float, float]:
        """Distance since the first sample and speed."""
        (i, j, u), (_, way, speed) = self._at(time_s), self._motion
        return (1 - u) * way[i] + u * way[j], (1 - u) * speed[i] + u * speed[j]

    def pose(self, time_s: float) -> tuple[float, float, float, float]:
        """x, y, heading, speed in the scene frame."""
        (i, j, u), (samples, _, speed) = self._at(time_s), self._motion
        (xa, ya, ha), (xb, yb, hb) = samples[i], samples[j]
        v = (1 - u) * speed[i] + u * speed[j]
        return xa + u * (xb - xa), ya + u * (yb - ya), ha + u * (hb - ha), v

    def ground_m(self, x: float, y: float) -> float:
        """Sidewalks of the benchmark are level with the road."""
        return 0.0


def recorded_user(
    index: int, kind_name: str, first_sample: int, xyh: Float, seed: tuple[int, ...], *, parked: bool, ego: bool
) -> RecordedUser:
    """A road user of a recording; its size and paint are drawn from the seed."""
    kind = KINDS[EGO_KIND if ego else kind_name]
    rng = np.random.default_rng(seed)
    spread = 0.05 if kind.name in WALKERS else 0.03
    factors = (1.0 + rng.uniform(-spread, spread)) * (1.0 + rng.uniform(-0.02, 0.02, 3))
    length, width, height = (round(float(d * f), 3) for d, f in zip(kind.size_m, factors, strict=True))
    palette = PALETTES[kind.colours]
    paint = tuple(np.clip(np.array(palette[int(rng.integers(len(palette)))]) + rng.normal(0, 0.05, 3), 0.02, 0.97))
    birth_s = -1e6 if parked else first_sample * TIME_STEP_S - LEAD_S
    plan = Plan(
        kind, NOWHERE, birth_s, 0.0, 0.0, (length, width, height), (float(paint[0]), float(paint[1]), float(paint[2])),
        parked=parked, ego=ego,
    )  # fmt: skip
    return RecordedUser(plan, index, [0.0], [0.0], xyh)


__all__ = ["LEAD_S", "RecordedUser", "recorded_user"]
