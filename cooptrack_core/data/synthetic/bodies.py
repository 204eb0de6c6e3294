"""Meshes of all road users by kind; walking and pedalling ones in several phases of motion."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import car_models, car_shapes, heavy_shapes, people_shapes, rider_shapes
from cooptrack_core.data.synthetic.catalog import KINDS, WALKERS
from cooptrack_core.data.synthetic.mesh import Mesh

Float = NDArray[np.float64]

PHASES = 8  # of one stride or pedal cycle
_PEDALLED = ("bicycle", "city_bike", "cargo_trike")
STRIDE_M = {"bicycle": 5.0, "city_bike": 4.6, "cargo_trike": 3.4}  # way travelled in one cycle; walkers below
_WALK_STRIDE_M = 1.42


@cache
def body(kind: str, phase: int = 0) -> Mesh:
    """Mesh of a kind in its own axes: x forward, standing on z = 0.

    All phases together have exactly the kind's size.
    """
    low, high = _bounds(kind)
    factors = np.asarray(KINDS[kind].size_m) / (high - low)
    middle = (low + high) / 2
    shape = _shape(kind, phase / PHASES).placed(-float(middle[0]), -float(middle[1]), -float(low[2]))
    return shape.placed(scale=factors)


@cache
def _bounds(kind: str) -> tuple[Float, Float]:
    """Lowest and highest corner [3] over all phases, so that a walker does not change in size."""
    phases = range(PHASES) if kind in WALKERS or kind in _PEDALLED else range(1)
    points = [_shape(kind, phase / PHASES).vertices[:, :3] for phase in phases]
    low = np.min([p.min(axis=0) for p in points], axis=0)
    return low.astype(np.float64), np.max([p.max(axis=0) for p in points], axis=0).astype(np.float64)


def phase_at(kind: str, distance_m: float, *, moving: bool) -> int:
    """Phase after a distance; 0 for what has no phases or stands."""
    if not moving or not (kind in WALKERS or kind in _PEDALLED):
        return 0
    stride = _WALK_STRIDE_M * KINDS[kind].size_m[2] / 1.74 if kind in WALKERS else STRIDE_M[kind]
    return int(distance_m / stride * PHASES) % PHASES


def _shape(kind: str, phase: float) -> Mesh:
    cars = {
        "sedan": car_models.SEDAN, "hatchback": car_models.HATCHBACK, "suv": car_models.SUV, "wagon": car_models.WAGON,
        "minivan": car_models.MINIVAN,
    }  # fmt: skip
    if kind in cars:
        return car_shapes.build(cars[kind])
    if kind == "taxi":
        return car_shapes.build(car_models.SEDAN, taxi=True)
    if kind == "pickup":
        return car_shapes.build(car_models.PICKUP, bed=True)
    if kind in WALKERS:
        return people_shapes.pedestrian(kind, phase)
    if kind in ("bicycle", "city_bike"):
        return rider_shapes.bicycle(phase, city=kind == "city_bike")
    if kind == "cargo_trike":
        return rider_shapes.cargo_trike(phase)
    if kind in ("e_scooter", "motorcycle"):
        return rider_shapes.scooter(motorcycle=kind == "motorcycle")
    if kind in ("city_bus", "coach"):
        return heavy_shapes.bus(coach=kind == "coach")
    makers = {
        "box_truck": heavy_shapes.box_truck,
        "tipper": heavy_shapes.tipper,
        "delivery_van": heavy_shapes.delivery_van,
    }
    return makers[kind]()


__all__ = ["PHASES", "body", "phase_at"]
