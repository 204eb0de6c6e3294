"""The vehicle's poses over a sequence, sampled between and a little beyond the dataset's own poses."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.transforms import interpolate

Float = NDArray[np.float64]

EXTRAPOLATE_AT_MOST_NS = 300_000_000


@dataclass(frozen=True)
class VehiclePath:
    """Poses at the perception stamps of the frames, in time order.

    T_map_from_novatel: pose of the vehicle. T_lidar_from_registered: the registration of the frame (inverse of E
    in the convention of SPD); it holds from its frame on, since it is measured per pair and is no motion.
    """

    stamps_ns: tuple[int, ...]
    T_map_from_novatel: tuple[Float, ...]
    T_lidar_from_registered: tuple[Float, ...]

    def pose(self, stamp_ns: int) -> Float:
        """T_map_from_novatel at a time; beyond the ends on with the last motion, at most 0.3 s, then standing."""
        stamps = self.stamps_ns
        if len(stamps) == 1:
            return self.T_map_from_novatel[0]
        limited = min(max(stamp_ns, stamps[0] - EXTRAPOLATE_AT_MOST_NS), stamps[-1] + EXTRAPOLATE_AT_MOST_NS)
        at = min(max(bisect.bisect_right(stamps, limited), 1), len(stamps) - 1)
        fraction = (limited - stamps[at - 1]) / (stamps[at] - stamps[at - 1])
        if fraction in (0.0, 1.0):
            return self.T_map_from_novatel[at - 1 + int(fraction)]
        return interpolate(self.T_map_from_novatel[at - 1], self.T_map_from_novatel[at], fraction)

    def registration(self, stamp_ns: int) -> Float:
        """T_lidar_from_lidar_registered at a time."""
        at = bisect.bisect_right(self.stamps_ns, stamp_ns) - 1
        return self.T_lidar_from_registered[max(at, 0)]

    def sample_stamps(self, first_ns: int, last_ns: int, rate_hz: float) -> list[int]:
        """Regular stamps from first to last, and every frame's own; regular ones next to a frame's are left out."""
        step = round(1e9 / rate_hz)
        regular = range(first_ns, last_ns + step, step)
        own = self.stamps_ns

        def is_free(stamp_ns: int) -> bool:
            at = bisect.bisect_left(own, stamp_ns)
            return all(abs(own[i] - stamp_ns) >= step // 10 for i in (at - 1, at) if 0 <= i < len(own))

        return sorted([*own, *(stamp for stamp in regular if is_free(stamp))])


__all__ = ["VehiclePath"]
