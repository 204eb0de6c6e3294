"""The pose of the agent in the map, also while nobody reports it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.transforms import interpolate

Float = NDArray[np.float64]
_MAX_EXTRAPOLATION_NS = 2_000_000_000


class EgoMotion:
    """Last known poses; a missing one is continued at constant velocity for up to 2 s, then held."""

    def __init__(self) -> None:
        self._known: list[tuple[int, Float]] = []

    def reset(self) -> None:
        """Forgets the poses."""
        self._known.clear()

    @property
    def ever_known(self) -> bool:
        """Whether a pose has been reported since the start or the last reset."""
        return bool(self._known)

    def update(self, stamp_ns: int, T_map_from_sensor: Float | None) -> tuple[Float, bool]:
        """Pose to use at stamp_ns and whether it was reported; the identity while none was ever reported."""
        if T_map_from_sensor is not None and np.all(np.isfinite(T_map_from_sensor)):
            self._known = [*self._known[-1:], (stamp_ns, T_map_from_sensor)]
            return T_map_from_sensor, True
        if not self._known:
            return np.eye(4), False
        if len(self._known) == 1 or self._known[1][0] <= self._known[0][0]:
            return self._known[-1][1], False
        (t0, T0), (t1, T1) = self._known
        ahead_ns = min(stamp_ns - t1, _MAX_EXTRAPOLATION_NS)
        return interpolate(T0, T1, 1.0 + ahead_ns / (t1 - t0)), False
