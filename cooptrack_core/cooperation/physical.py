"""What road users can be: sizes, speeds and accelerations beyond which a report is not believed.

Bounds are of the possible, not of the usual: an articulated bus is a car here, and detectors err.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.types import CLASS_NAMES, Instances

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """Of one class."""

    longest_m: float  # any edge of the box
    fastest_mps: float
    acceleration_mps2: float


# Road trains reach 26 m, sprinters 12.4 m/s, braking cars 10 m/s^2; the rest is room for a detector's error.
LIMITS = {
    "car": Limits(40.0, 90.0, 10.0),
    "bicycle": Limits(8.0, 40.0, 8.0),
    "pedestrian": Limits(6.0, 25.0, 8.0),
    "traffic_cone": Limits(6.0, 25.0, 8.0),
}
_ANY = Limits(60.0, 100.0, 10.0)
_ROWS = [LIMITS[name] for name in CLASS_NAMES] + [_ANY]
_TABLE = np.array([(row.longest_m, row.fastest_mps, row.acceleration_mps2) for row in _ROWS])


def limits_of(class_id: NDArray[np.int64]) -> tuple[Float, Float, Float]:
    """[N] longest edge m, speed m/s and acceleration m/s^2 of each class; of an unknown one those of any."""
    known = (class_id >= 0) & (class_id < len(CLASS_NAMES))
    rows = np.where(known, class_id, len(CLASS_NAMES))
    table = _TABLE[rows]
    return table[:, 0], table[:, 1], table[:, 2]


def impossible(instances: Instances) -> NDArray[np.bool_]:
    """[N] whether a size or speed is beyond what the class can have; an unknown velocity is no objection."""
    longest_m, fastest_mps, _ = limits_of(instances.class_id)
    speed_mps = np.hypot(*np.nan_to_num(instances.velocity_mps).T)
    return np.asarray((instances.size_m.max(axis=1, initial=0.0) > longest_m) | (speed_mps > fastest_mps))


__all__ = ["LIMITS", "Limits", "impossible", "limits_of"]
