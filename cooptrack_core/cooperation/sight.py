"""What the vehicle itself sees in a frame, without what others say: the ground that others are judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.types import SOURCE_EGO, Associations, Instances, TrackedObjects

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Sight:
    """K objects that the own sensor measured in a frame, where it measured them, in the ego sensor frame."""

    center_m: Float  # [K, 3]
    size_m: Float  # [K, 3]
    heading_rad: Float  # [K]
    class_id: Int  # [K]
    track_id: Int  # [K] the reported track that each feeds, 0 if none

    def __len__(self) -> int:
        return len(self.class_id)

    def select(self, rows: NDArray[np.bool_]) -> Sight:
        """Some of them."""
        return Sight(
            self.center_m[rows], self.size_m[rows], self.heading_rad[rows], self.class_id[rows], self.track_id[rows]
        )


def sight_of(seen: Instances | None, associations: Associations, tracks: TrackedObjects) -> Sight | None:
    """The own sight of a frame, None if the frame brought nothing of its own.

    seen: what a detector reports, before any fusion; its rows are the own instances of the associations. None: a
    network tracks by itself; where it measured its own tracks before fusion, the associations say.
    """
    index = np.concatenate([associations.pair_ego_index, associations.unmatched_ego_index])
    track_id = np.concatenate([associations.pair_track_id, associations.unmatched_ego_track_id])
    if seen is not None:
        of_row = np.zeros(len(seen), np.int64)
        known = (index >= 0) & (index < len(seen))
        of_row[index[known]] = track_id[known]
        return Sight(seen.center_m, seen.size_m, seen.heading_rad, seen.class_id, of_row)
    center_m = np.concatenate([associations.pair_ego_center_m, associations.unmatched_ego_center_m])
    measured = {int(i): row for row, i in enumerate(tracks.track_id) if tracks.sources[row] & SOURCE_EGO}
    chosen = np.array([i for i, track in enumerate(track_id.tolist()) if track in measured], np.int64)
    rows = np.array([measured[int(track)] for track in track_id[chosen]], np.int64)
    return Sight(
        center_m[chosen], tracks.size_m[rows], tracks.heading_rad[rows], tracks.class_id[rows], track_id[chosen]
    )


__all__ = ["Sight", "sight_of"]
