"""Frame-by-frame matching of tracks with ground truth, as CLEAR counts it (Bernardin and Stiefelhagen, 2008)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.tracking.assignment import assign, centre_distance

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass
class ClearMatcher:
    """Matches one frame after the other and counts identity switches.

    threshold_m: largest ground-plane centre distance of a match (2 m in the nuScenes tracking protocol).
    A pair of the frame before stays matched while it is within the threshold; the rest is assigned anew,
    within a class. A switch is counted when an object is matched to another track than at its last match.
    """

    threshold_m: float = 2.0
    switches: int = 0
    _current: dict[str, int] = field(default_factory=dict)  # object -> track in the previous frame
    _last: dict[str, int] = field(default_factory=dict)  # object -> track at its last match, however old

    def step(
        self, object_ids: list[str], object_class: Int, object_center_m: Float,
        track_ids: list[int], track_class: Int, track_center_m: Float,
    ) -> dict[str, int]:  # fmt: skip
        """Matches of one frame, object id to track id. Centres are [N, 2+] in any common frame, m."""
        distance = centre_distance(object_center_m, track_center_m)
        allowed = (distance <= self.threshold_m) & (object_class[:, None] == track_class[None])
        column_of = {track: column for column, track in enumerate(track_ids)}
        matches: dict[str, int] = {}
        for row, object_id in enumerate(object_ids):
            track = self._current.get(object_id)
            if track is not None and track in column_of and allowed[row, column_of[track]]:
                matches[object_id] = track
                allowed[row] = False
                allowed[:, column_of[track]] = False
        rows, columns = assign(distance, allowed)
        for row, column in zip(rows, columns, strict=True):
            matches[object_ids[row]] = track_ids[column]
        for object_id, track in matches.items():
            self.switches += self._last.get(object_id, track) != track
            self._last[object_id] = track
        self._current = matches
        return matches
