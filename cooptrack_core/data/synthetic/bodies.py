"""Meshes of all road users by kind; walking and pedalling ones in several phases of motion."""

from __future__ import annotations

from functools import cache

from cooptrack_core.data.synthetic.catalog import KINDS, WALKERS
from cooptrack_core.data.synthetic.mesh import BODY, CLOTH, GLASS, Mesh, box, merge

PHASES = 8  # of one gait or pedal cycle


@cache
def body(kind: str, phase: int = 0) -> Mesh:
    """Mesh of a kind in its own axes: x forward, standing on z = 0, of exactly the kind's size."""
    length, width, height = KINDS[kind].size_m
    material = CLOTH if kind in WALKERS else BODY
    if KINDS[kind].raw_type in ("Car", "Van", "Truck", "Bus"):
        parts = [
            box((-0.5, -0.5, 0.12), (0.5, 0.5, 0.62), (1, 1, 1), material),
            box((-0.4, -0.42, 0.62), (0.2, 0.42, 1.0), (0.1, 0.1, 0.12), GLASS),
            box((-0.4, -0.45, 0.0), (0.4, 0.45, 0.12), (0.05, 0.05, 0.05)),
        ]
    else:
        parts = [box((-0.5, -0.5, 0), (0.5, 0.5, 1), (1, 1, 1), material)]
    return merge(parts).fitted((length, width, height))


__all__ = ["PHASES", "body"]
