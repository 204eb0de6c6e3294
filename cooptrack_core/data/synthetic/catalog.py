"""The kinds of road users: raw class, nominal size, how they drive, and the shapes they come in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One shape of road user. size_m: length, width, height of its mesh and of its label."""

    name: str
    raw_type: str
    size_m: tuple[float, float, float]
    speed_mps: float
    acceleration_mps2: float
    headway_s: float
    standstill_m: float
    weight: float  # relative frequency within its group
    colours: str = "car"  # palette of its paint


_KINDS = (
    Kind("sedan", "Car", (4.72, 1.84, 1.46), 11.5, 1.7, 1.2, 2.0, 5.0),
    Kind("hatchback", "Car", (4.12, 1.78, 1.50), 11.0, 1.7, 1.2, 2.0, 3.0),
    Kind("suv", "Car", (4.66, 1.90, 1.70), 11.5, 1.6, 1.3, 2.0, 4.0),
    Kind("wagon", "Car", (4.80, 1.85, 1.50), 11.5, 1.6, 1.3, 2.0, 1.5),
    Kind("taxi", "Car", (4.68, 1.82, 1.56), 12.0, 1.8, 1.0, 1.8, 1.0, "taxi"),
    Kind("pickup", "Truck", (5.35, 1.93, 1.82), 11.0, 1.5, 1.3, 2.2, 0.7),
    Kind("minivan", "Van", (4.95, 1.88, 1.86), 10.5, 1.5, 1.3, 2.0, 1.2, "van"),
    Kind("delivery_van", "Van", (5.90, 2.05, 2.60), 10.0, 1.3, 1.4, 2.3, 1.2, "van"),
    Kind("box_truck", "Truck", (7.60, 2.40, 3.25), 9.0, 1.0, 1.6, 2.5, 1.2, "truck"),
    Kind("tipper", "Truck", (8.40, 2.50, 3.20), 8.5, 0.9, 1.7, 2.8, 0.6, "truck"),
    Kind("city_bus", "Bus", (11.6, 2.55, 3.15), 9.0, 1.0, 1.6, 2.8, 1.2, "bus"),
    Kind("coach", "Bus", (10.8, 2.50, 3.45), 9.5, 1.0, 1.6, 2.8, 0.6, "bus"),
    Kind("bicycle", "Cyclist", (1.76, 0.62, 1.74), 4.3, 1.1, 0.8, 0.8, 3.0, "clothes"),
    Kind("city_bike", "Cyclist", (1.80, 0.64, 1.80), 4.8, 1.1, 0.8, 0.8, 2.0, "clothes"),
    Kind("e_scooter", "Motorcyclist", (1.85, 0.74, 1.68), 6.0, 1.4, 0.9, 1.0, 3.0, "scooter"),
    Kind("motorcycle", "Motorcyclist", (2.08, 0.80, 1.64), 7.0, 1.6, 1.0, 1.0, 1.0, "scooter"),
    Kind("cargo_trike", "Tricyclist", (2.75, 1.12, 1.78), 4.8, 1.0, 1.0, 1.0, 1.5, "trike"),
    Kind("adult", "Pedestrian", (0.62, 0.60, 1.74), 1.35, 1.0, 0.4, 0.5, 4.0, "clothes"),
    Kind("woman", "Pedestrian", (0.58, 0.54, 1.64), 1.30, 1.0, 0.4, 0.5, 3.0, "clothes"),
    Kind("walker_bag", "Pedestrian", (0.66, 0.62, 1.70), 1.25, 1.0, 0.4, 0.5, 2.0, "clothes"),
    Kind("child", "Pedestrian", (0.48, 0.46, 1.22), 1.20, 1.0, 0.4, 0.5, 0.7, "clothes"),
)

KINDS = {kind.name: kind for kind in _KINDS}
CARS = ("sedan", "hatchback", "suv", "wagon", "taxi", "minivan", "pickup")
TALL = ("delivery_van", "box_truck", "tipper", "city_bus", "coach")
MOTOR = (*CARS, *TALL)
RIDERS = ("bicycle", "city_bike", "e_scooter", "motorcycle", "cargo_trike")
WALKERS = ("adult", "woman", "walker_bag", "child")
EGO_KIND = "suv"

# sRGB paints, 0..1.
PALETTES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "car": (
        (0.92, 0.92, 0.93), (0.90, 0.90, 0.91), (0.74, 0.76, 0.78), (0.52, 0.54, 0.57), (0.24, 0.25, 0.27),
        (0.10, 0.10, 0.11), (0.12, 0.13, 0.14), (0.58, 0.09, 0.09), (0.10, 0.22, 0.47), (0.16, 0.30, 0.36),
        (0.42, 0.34, 0.25), (0.72, 0.66, 0.55),
    ),
    "taxi": ((0.93, 0.69, 0.08), (0.13, 0.45, 0.34)),
    "van": ((0.92, 0.92, 0.92), (0.80, 0.81, 0.82), (0.85, 0.66, 0.16), (0.20, 0.33, 0.52), (0.62, 0.13, 0.12)),
    "truck": ((0.16, 0.32, 0.60), (0.86, 0.87, 0.88), (0.70, 0.17, 0.10), (0.88, 0.60, 0.10), (0.15, 0.42, 0.33)),
    "bus": ((0.10, 0.45, 0.62), (0.72, 0.14, 0.14), (0.14, 0.50, 0.32), (0.88, 0.88, 0.86), (0.90, 0.55, 0.12)),
    "clothes": (
        (0.12, 0.16, 0.28), (0.62, 0.12, 0.14), (0.85, 0.84, 0.80), (0.18, 0.36, 0.28), (0.75, 0.55, 0.14),
        (0.15, 0.15, 0.17), (0.36, 0.48, 0.62), (0.54, 0.25, 0.42), (0.80, 0.42, 0.22), (0.40, 0.42, 0.44),
    ),
    "scooter": ((0.75, 0.12, 0.12), (0.12, 0.13, 0.15), (0.90, 0.90, 0.90), (0.14, 0.32, 0.60), (0.16, 0.48, 0.38)),
    "trike": ((0.10, 0.34, 0.60), (0.86, 0.52, 0.08), (0.16, 0.45, 0.25), (0.62, 0.13, 0.12)),
}  # fmt: skip

__all__ = ["CARS", "EGO_KIND", "KINDS", "MOTOR", "PALETTES", "RIDERS", "TALL", "WALKERS", "Kind"]
