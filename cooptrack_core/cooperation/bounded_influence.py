"""How far others may move what the own sensor measures: reported positions stay near an own-only filter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.sight import Sight
from cooptrack_core.geometry.transforms import apply, inverse
from cooptrack_core.trust_config import TrustConfig
from cooptrack_core.types import SOURCE_REMOTE, TrackedObjects

Float = NDArray[np.float64]

_POSITION_GAIN, _SPEED_GAIN = 0.5, 0.15  # of the alpha-beta filter
_SCATTER_GAIN, _SETTLED = 0.2, 5
_COASTING_MPS = 1.0  # growth of the bound while the own sensor does not measure the track


@dataclass
class _Own:
    """A track by own measurements alone, in the map."""

    position_m: Float  # [3]
    velocity_mps: Float  # [3]
    stamp_ns: int  # of position_m
    measured_ns: int
    count: int = 1  # measurements
    variance_m2: float = 0.0  # of own measurements around the filter's prediction
    offset_m: Float | None = None  # [3] of what was reported last

    def predict(self, stamp_ns: int) -> None:
        self.position_m = self.position_m + self.velocity_mps * ((stamp_ns - self.stamp_ns) / 1e9)
        self.stamp_ns = stamp_ns

    def measure(self, position_m: Float, stamp_ns: int) -> None:
        since_s = max((stamp_ns - self.measured_ns) / 1e9, 1e-3)
        error = position_m - self.position_m
        # The second measurement tells the speed, later ones correct it.
        self.position_m = self.position_m + max(_POSITION_GAIN, 1.0 / self.count) * error
        self.velocity_mps = self.velocity_mps + max(_SPEED_GAIN, 1.0 / self.count**2) / since_s * error
        if self.count >= _SETTLED:
            self.variance_m2 += _SCATTER_GAIN * (float(error @ error) - self.variance_m2)
        self.count += 1
        self.measured_ns = stamp_ns


class InfluenceBound:
    """Keeps an own-only filter of every track that the own sensor measures, and bounds what is reported by it.

    A track that the own sensor has measured within influence_hold_ms is reported at most influence_m from where own
    measurements alone have it, and this distance grows by at most influence_per_frame_m a frame. Both are larger in
    proportion where influence_sigmas of the scatter of the own measurements, or influence_share of the range, is more
    than influence_m. Whatever messages say, they cannot move a track farther. What only others see is free.
    """

    def __init__(self, config: TrustConfig) -> None:
        self._config = config
        self._own: dict[int, _Own] = {}

    def reset(self) -> None:
        """Forgets all tracks."""
        self._own.clear()

    def bounded(
        self, stamp_ns: int, T_map_from_ego: Float, sight: Sight | None, tracks: TrackedObjects
    ) -> TrackedObjects:  # fmt: skip
        """The tracks of a frame with bounded positions; sight: what the own sensor measured in it."""
        self._update(stamp_ns, T_map_from_ego, sight)
        in_map = apply(T_map_from_ego, tracks.center_m)
        moved = in_map.copy()
        for row, track_id in enumerate(tracks.track_id.tolist()):
            own = self._own.get(track_id)
            if own is None:
                continue
            touched = bool(tracks.sources_ever[row] & SOURCE_REMOTE)
            offset = in_map[row] - own.position_m
            if touched:  # what no message has touched is the tracker's own affair
                offset = self._limited(own, offset, stamp_ns, float(np.hypot(*tracks.center_m[row, :2])))
            own.offset_m = offset
            moved[row] = own.position_m + offset if touched else in_map[row]
        if np.array_equal(moved, in_map):
            return tracks
        changed = (moved != in_map).any(axis=1)
        center_m = np.where(changed[:, None], apply(inverse(T_map_from_ego), moved), tracks.center_m)
        return replace(tracks, center_m=center_m)

    def _limited(self, own: _Own, offset: Float, stamp_ns: int, range_m: float) -> Float:
        config = self._config
        error_m = max(config.influence_sigmas * float(np.sqrt(own.variance_m2)), config.influence_share * range_m)
        scale = max(1.0, error_m / config.influence_m) if config.influence_m else 1.0
        most_m = config.influence_m * scale + _COASTING_MPS * (stamp_ns - own.measured_ns) / 1e9
        if own.offset_m is not None:
            most_m = min(most_m, float(np.linalg.norm(own.offset_m)) + config.influence_per_frame_m * scale)
        length_m = float(np.linalg.norm(offset))
        return offset if length_m <= most_m else offset * (most_m / length_m)

    def _update(self, stamp_ns: int, T_map_from_ego: Float, sight: Sight | None) -> None:
        oldest_ns = stamp_ns - round(self._config.influence_hold_ms * 1e6)
        self._own = {
            i: own for i, own in self._own.items() if own.measured_ns >= oldest_ns and own.stamp_ns <= stamp_ns
        }
        for own in self._own.values():
            own.predict(stamp_ns)
        if sight is None:
            return
        measured = apply(T_map_from_ego, sight.center_m)
        for row in np.flatnonzero(sight.track_id > 0).tolist():
            track_id, position_m = int(sight.track_id[row]), measured[row]
            if track_id in self._own:
                self._own[track_id].measure(position_m, stamp_ns)
            else:
                self._own[track_id] = _Own(position_m, np.zeros(3), stamp_ns, stamp_ns)


__all__ = ["InfluenceBound"]
