"""Everything that does not move: ground, houses, plants, street furniture."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import buildings, furniture, ground, plants
from cooptrack_core.data.synthetic.mesh import Mesh, merge
from cooptrack_core.data.synthetic.sensors import pair_turn_rad

Float = NDArray[np.float64]


def build(seed: int, pole_m: Float, units: int = 1) -> Mesh:
    """The static world of a seed around the roadside camera at pole_m, whose view is kept free of trees.

    units: roadside cameras there are; the others stand at the same place of other corners.
    """
    return _build(seed, tuple(pole_m.tolist()), units)


@lru_cache(maxsize=2)  # several sequences play at one place
def _build(seed: int, pole: tuple[float, float, float], units: int) -> Mesh:
    streams = [np.random.default_rng([seed, 77, k]) for k in range(4)]
    clear, turns = [], [pair_turn_rad(pair) for pair in range(units)]
    for turn in turns:
        R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]).round(12)
        for dx, dy, radius in ((0.0, 0.0, 13.0), (-4.0, -12.0, 9.0)):
            x, y = R @ (pole[0] + dx, pole[1] + dy)
            clear.append((float(x), float(y), radius))
    clear.append((62.0, -14.4, 5.0))
    return merge(
        [
            ground.build(streams[0]), buildings.build(streams[1]), plants.build(streams[2], clear),
            furniture.build(streams[3], np.array(pole), turns),
        ]
    )  # fmt: skip


__all__ = ["build"]
