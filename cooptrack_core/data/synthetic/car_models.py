"""Side views of the passenger cars."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CarShape:
    """Side view of a car in metres. deck: (x, z) of the body's upper edge from the tail to the nose; roof:
    (x, z) of rear glass foot, roof rear, roof front, windscreen foot; axles: x of rear and front."""

    width: float
    deck: tuple[tuple[float, float], ...]
    roof: tuple[tuple[float, float], ...]
    axles: tuple[float, float]
    wheel: float = 0.33
    sill: float = 0.24
    pillars: tuple[float, ...] = (0.05,)  # x of pillars between the side windows
    solid_from: float = -9.0  # side of the greenhouse is sheet metal behind this x
    roof_rails: bool = False


SEDAN = CarShape(
    1.84,
    (
        (-2.36, 0.78),
        (-2.30, 0.98),
        (-1.95, 1.06),
        (-1.2, 1.02),
        (0.0, 0.95),
        (0.95, 0.96),
        (1.6, 0.88),
        (2.15, 0.74),
        (2.34, 0.58),
    ),
    ((-1.72, 1.04), (-0.85, 1.43), (0.15, 1.46), (1.12, 0.97)),
    (-1.42, 1.43),
    pillars=(-0.12,),
)
HATCHBACK = CarShape(
    1.78,
    (
        (-2.06, 0.70),
        (-2.04, 0.98),
        (-1.6, 1.02),
        (-0.8, 1.0),
        (0.3, 0.96),
        (0.9, 0.97),
        (1.45, 0.88),
        (1.9, 0.74),
        (2.05, 0.58),
    ),
    ((-1.98, 1.00), (-1.42, 1.44), (0.1, 1.50), (1.05, 0.98)),
    (-1.22, 1.32),
    pillars=(-0.10,),
    solid_from=-1.35,
)
WAGON = CarShape(
    1.85,
    (
        (-2.40, 0.72),
        (-2.38, 0.98),
        (-1.9, 1.02),
        (-0.8, 1.0),
        (0.2, 0.95),
        (0.98, 0.96),
        (1.6, 0.88),
        (2.2, 0.74),
        (2.38, 0.58),
    ),
    ((-2.30, 1.00), (-1.85, 1.44), (0.1, 1.49), (1.14, 0.97)),
    (-1.42, 1.43),
    pillars=(-0.12, -1.15),
    roof_rails=True,
)
SUV = CarShape(
    1.90,
    (
        (-2.32, 0.82),
        (-2.30, 1.12),
        (-1.8, 1.16),
        (-0.8, 1.12),
        (0.3, 1.08),
        (0.95, 1.10),
        (1.55, 1.04),
        (2.1, 0.92),
        (2.31, 0.70),
    ),
    ((-2.22, 1.14), (-1.75, 1.62), (0.05, 1.68), (1.02, 1.11)),
    (-1.38, 1.40),
    wheel=0.37,
    sill=0.32,
    pillars=(-0.12, -1.12),
    roof_rails=True,
)
MINIVAN = CarShape(
    1.88,
    (
        (-2.47, 0.72),
        (-2.45, 1.10),
        (-1.9, 1.14),
        (-0.8, 1.12),
        (0.5, 1.08),
        (1.30, 1.06),
        (1.85, 0.96),
        (2.3, 0.82),
        (2.46, 0.60),
    ),
    ((-2.40, 1.12), (-2.15, 1.78), (0.35, 1.86), (1.62, 1.02)),
    (-1.50, 1.55),
    wheel=0.34,
    pillars=(0.25, -1.05),
    solid_from=-2.2,
)
PICKUP = CarShape(
    1.93,
    (
        (-2.66, 0.90),
        (-2.64, 1.08),
        (-1.9, 1.10),
        (-0.6, 1.10),
        (0.3, 1.10),
        (1.05, 1.12),
        (1.7, 1.08),
        (2.4, 1.00),
        (2.66, 0.74),
    ),
    ((-0.62, 1.10), (-0.42, 1.76), (0.35, 1.81), (1.18, 1.13)),
    (-1.62, 1.68),
    wheel=0.39,
    sill=0.38,
    pillars=(0.08,),
)

__all__ = ["HATCHBACK", "MINIVAN", "PICKUP", "SEDAN", "SUV", "WAGON", "CarShape"]
