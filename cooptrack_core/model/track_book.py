"""What is told of a network's tracks beside their boxes: since when, how often and by whom they were seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Biography:
    """Columns for N tracks."""

    age_frames: Int
    hits: Int
    sources_ever: Int
    time_since_update_s: NDArray[np.float64]


def _none() -> Int:
    return np.zeros(0, np.int64)


@dataclass
class TrackBook:
    """Biographies by track id; ids are kept in ascending order."""

    _id: Int = field(default_factory=_none)
    _born: Int = field(default_factory=_none)  # index of the frame
    _hits: Int = field(default_factory=_none)
    _sources: Int = field(default_factory=_none)
    _updated_ns: Int = field(default_factory=_none)

    def clear(self) -> None:
        """Forgets all tracks."""
        self.__init__()  # type: ignore[misc]

    def record(self, track_id: Int, sources: Int, frame_index: int, stamp_ns: int) -> None:
        """Notes that the tracks [N] were seen by `sources` (bits; 0: not at all, only predicted)."""
        new = track_id[~np.isin(track_id, self._id)]
        if len(new):
            self._begin(np.unique(new), frame_index, stamp_ns)
        rows = np.searchsorted(self._id, track_id)
        seen = rows[sources > 0]
        self._hits[seen] += 1
        self._updated_ns[seen] = stamp_ns
        self._sources[rows] |= sources

    def _begin(self, new: Int, frame_index: int, stamp_ns: int) -> None:
        order = np.argsort(np.concatenate([self._id, new]), kind="stable")
        blank = np.zeros(len(new), np.int64)
        self._id = np.concatenate([self._id, new])[order]
        self._born = np.concatenate([self._born, blank + frame_index])[order]
        self._hits = np.concatenate([self._hits, blank])[order]
        self._sources = np.concatenate([self._sources, blank])[order]
        self._updated_ns = np.concatenate([self._updated_ns, blank + stamp_ns])[order]

    def keep(self, track_id: Int) -> None:
        """Forgets all tracks but these."""
        known = np.isin(self._id, track_id)
        if known.all():
            return
        for name in ("_id", "_born", "_hits", "_sources", "_updated_ns"):
            setattr(self, name, getattr(self, name)[known])

    def of(self, track_id: Int, frame_index: int, stamp_ns: int) -> Biography:
        """Biographies of tracks that have been recorded."""
        rows = np.searchsorted(self._id, track_id)
        since_s = (stamp_ns - self._updated_ns[rows]) / 1e9
        return Biography(frame_index - self._born[rows] + 1, self._hits[rows], self._sources[rows], since_s)
