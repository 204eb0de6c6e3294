"""Everything that does not move: ground, houses, plants, street furniture."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import buildings, furniture, ground, plants
from cooptrack_core.data.synthetic.mesh import Mesh, merge

Float = NDArray[np.float64]


def build(seed: int, pole_m: Float) -> Mesh:
    """The static world of a seed around the roadside camera at pole_m, whose view is kept free of trees."""
    return _build(seed, tuple(pole_m.tolist()))


@lru_cache(maxsize=2)  # several sequences play at one place
def _build(seed: int, pole: tuple[float, float, float]) -> Mesh:
    streams = [np.random.default_rng([seed, 77, k]) for k in range(4)]
    x, y, _ = pole
    clear = [(x, y, 13.0), (x - 4.0, y - 12.0, 9.0), (62.0, -14.4, 5.0)]
    return merge(
        [
            ground.build(streams[0]), buildings.build(streams[1]), plants.build(streams[2], clear),
            furniture.build(streams[3], np.array(pole)),
        ]
    )  # fmt: skip


__all__ = ["build"]
