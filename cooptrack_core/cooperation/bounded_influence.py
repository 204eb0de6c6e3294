"""How far others may move what the own sensor measures: reported positions stay near an own-only filter."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.sight import Sight
from cooptrack_core.geometry.transforms import apply, inverse
from cooptrack_core.trust_config import TrustConfig
from cooptrack_core.types import SOURCE_REMOTE, TrackedObjects

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_POSITION_GAIN, _SPEED_GAIN = 0.5, 0.15  # of the alpha-beta filter
_SCATTER_GAIN, _SETTLED = 0.2, 5
_COASTING_MPS = 1.0  # growth of the bound while the own sensor does not measure the track


@dataclass(frozen=True)
class _Own:
    """N tracks by own measurements alone, in the map, at one time."""

    track_id: Int  # [N]
    position_m: Float  # [N, 3]
    velocity_mps: Float  # [N, 3]
    measured_ns: Int  # [N]
    count: Int  # [N] measurements
    variance_m2: Float  # [N] of own measurements around the filter's prediction
    offset_m: Float  # [N, 3] of what was reported last, NaN before

    @staticmethod
    def begun(track_id: Int, position_m: Float, stamp_ns: int) -> _Own:
        """Tracks that are measured for the first time, at positions [N, 3]."""
        n = len(track_id)
        zeros, ones = np.zeros((n, 3)), np.ones(n, np.int64)
        return _Own(track_id, position_m, zeros, ones * stamp_ns, ones, np.zeros(n), np.full((n, 3), np.nan))

    def select(self, rows: Int | NDArray[np.bool_]) -> _Own:
        """Some of them."""
        return _Own(*(getattr(self, item.name)[rows] for item in fields(self)))

    def joined(self, other: _Own) -> _Own:
        """Both."""
        names = [item.name for item in fields(self)]
        return _Own(*(np.concatenate((getattr(self, name), getattr(other, name))) for name in names))

    def measure(self, rows: Int, position_m: Float, stamp_ns: int) -> None:
        """Measurements [M, 3] of some rows [M], each at most once."""
        since_s = np.maximum((stamp_ns - self.measured_ns[rows]) / 1e9, 1e-3)
        error, count = position_m - self.position_m[rows], self.count[rows]
        # The second measurement tells the speed, later ones correct it.
        self.position_m[rows] += np.maximum(_POSITION_GAIN, 1.0 / count)[:, None] * error
        self.velocity_mps[rows] += (np.maximum(_SPEED_GAIN, 1.0 / count**2) / since_s)[:, None] * error
        scatter = _SCATTER_GAIN * (np.square(error).sum(axis=1) - self.variance_m2[rows])
        self.variance_m2[rows] += np.where(count >= _SETTLED, scatter, 0.0)
        self.count[rows] += 1
        self.measured_ns[rows] = stamp_ns


class InfluenceBound:
    """Keeps an own-only filter of every track that the own sensor measures, and bounds what is reported by it.

    A track that the own sensor has measured within influence_hold_ms is reported at most influence_m from where own
    measurements alone have it, and this distance grows by at most influence_per_frame_m a frame. Both are larger in
    proportion where influence_sigmas of the scatter of the own measurements, or influence_share of the range at which
    they have it, is more than influence_m. Whatever messages say, they cannot move a track farther. What only others
    see is free.
    """

    def __init__(self, config: TrustConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """Forgets all tracks."""
        self._own, self._stamp_ns = _Own.begun(np.zeros(0, np.int64), np.zeros((0, 3)), 0), 0

    def bounded(
        self, stamp_ns: int, T_map_from_ego: Float, sight: Sight | None, tracks: TrackedObjects
    ) -> TrackedObjects:  # fmt: skip
        """The tracks of a frame with bounded positions; sight: what the own sensor measured in it."""
        self._update(stamp_ns, T_map_from_ego, sight)
        row_of = {track_id: row for row, track_id in enumerate(self._own.track_id.tolist())}
        known = [(row, row_of[i]) for row, i in enumerate(tracks.track_id.tolist()) if i in row_of]
        if not known:
            return tracks
        rows, own_rows = (np.array(column, np.int64) for column in zip(*known, strict=True))
        own, center_m = self._own.select(own_rows), tracks.center_m[rows]
        in_map = apply(T_map_from_ego, center_m)
        touched = (tracks.sources_ever[rows] & SOURCE_REMOTE) != 0
        offset = in_map - own.position_m
        # The range of the own filter: a report far away must not earn itself more room.
        own_in_ego = apply(inverse(T_map_from_ego), own.position_m)
        limited = self._limited(own, offset, stamp_ns, np.hypot(own_in_ego[:, 0], own_in_ego[:, 1]))
        # What no message has touched is the tracker's own affair.
        offset = np.where(touched[:, None], limited, offset)
        self._own.offset_m[own_rows] = offset
        moved = np.where(touched[:, None], own.position_m + offset, in_map)
        changed = (moved != in_map).any(axis=1)
        if not changed.any():
            return tracks
        bounded_m = tracks.center_m.copy()
        bounded_m[rows[changed]] = apply(inverse(T_map_from_ego), moved[changed])
        return replace(tracks, center_m=bounded_m)

    def _limited(self, own: _Own, offset: Float, stamp_ns: int, range_m: Float) -> Float:
        """[N, 3] offsets from the own filters, cut to what is allowed; range_m [N]."""
        config = self._config
        error_m = np.maximum(config.influence_sigmas * np.sqrt(own.variance_m2), config.influence_share * range_m)
        scale = np.maximum(1.0, error_m / config.influence_m) if config.influence_m else np.ones(len(error_m))
        most_m = config.influence_m * scale + _COASTING_MPS * (stamp_ns - own.measured_ns) / 1e9
        before_m = np.sqrt(np.square(own.offset_m).sum(axis=1)) + config.influence_per_frame_m * scale
        most_m = np.fmin(most_m, before_m)  # the second is NaN in the first frame
        length_m = np.sqrt(np.square(offset).sum(axis=1))
        share = most_m / np.maximum(length_m, 1e-12)
        return np.where((length_m <= most_m)[:, None], offset, offset * share[:, None])

    def _update(self, stamp_ns: int, T_map_from_ego: Float, sight: Sight | None) -> None:
        oldest_ns = stamp_ns - round(self._config.influence_hold_ms * 1e6)
        kept = (self._own.measured_ns >= oldest_ns) & (self._stamp_ns <= stamp_ns)
        own = self._own.select(kept)
        own.position_m[:] += own.velocity_mps * ((stamp_ns - self._stamp_ns) / 1e9)
        self._own, self._stamp_ns = own, stamp_ns
        if sight is None:
            return
        track_id, center_m = sight.track_id[sight.track_id > 0], sight.center_m[sight.track_id > 0]
        measured = apply(T_map_from_ego, center_m)
        while len(track_id):  # once, unless a track is measured twice
            ids, first = np.unique(track_id, return_index=True)
            self._measure(ids, measured[first], stamp_ns)
            track_id, measured = np.delete(track_id, first), np.delete(measured, first, axis=0)

    def _measure(self, ids: Int, position_m: Float, stamp_ns: int) -> None:
        """Measurements [M, 3] of different tracks [M]."""
        row_of = {track_id: row for row, track_id in enumerate(self._own.track_id.tolist())}
        rows = np.array([row_of.get(i, -1) for i in ids.tolist()], np.int64)
        self._own.measure(rows[rows >= 0], position_m[rows >= 0], stamp_ns)
        if (rows < 0).any():
            self._own = self._own.joined(_Own.begun(ids[rows < 0], position_m[rows < 0], stamp_ns))


__all__ = ["InfluenceBound"]
