"""The ground truth of one sequence in the map, from the frames of a recording: duplicates dropped, tracks filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.visibility import VIEWS
from cooptrack_core.evaluation.tables import VIEW_ROADSIDE_ONLY
from cooptrack_core.geometry.boxes import wrap_angle
from cooptrack_core.geometry.transforms import apply, rotate_xy, yaw_of
from cooptrack_core.types import SOURCE_REMOTE, VIEW_UNKNOWN

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class MapBoxes:
    """N boxes of one sequence in the map frame, in the order of the frames."""

    frame: Int  # [N] position of the frame in the sequence
    identity: Int  # [N] id as annotated or published; negative: an object that has none
    class_index: Int  # [N]
    center_m: Float  # [N, 3]
    size_m: Float  # [N, 3] length, width, height
    heading_rad: Float  # [N]
    velocity_mps: Float  # [N, 2], NaN: unknown
    score: Float  # [N]
    view: Int  # [N] VIEW_*, VIEW_ROADSIDE_ONLY

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, index: Any) -> MapBoxes:
        """Rows by a boolean or integer index."""
        return MapBoxes(**{name: column[index] for name, column in vars(self).items()})

    def joined(self, other: MapBoxes) -> MapBoxes:
        """The rows of both, ordered by frame; within a frame the own rows first."""
        both = {name: np.concatenate([column, getattr(other, name)]) for name, column in vars(self).items()}
        return MapBoxes(**both).select(np.argsort(both["frame"], kind="stable"))


def boxes_in_map(rows: Sequence[Sequence[Row]], T_map_from_lidar: Sequence[Float], names: Sequence[str]) -> MapBoxes:
    """Tracks or annotated objects of the frames of a sequence (rows of the recording, in the lidar frame) in the map.

    Rows whose class is not among the names are left out.
    """
    index = {name: number for number, name in enumerate(names)}
    parts = [
        _of_frame(n, [row for row in frame if row["class"] in index], T, index)
        for n, (frame, T) in enumerate(zip(rows, T_map_from_lidar, strict=True))
    ]
    if not parts:
        parts = [_of_frame(0, [], np.eye(4), index)]
    return MapBoxes(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def _of_frame(number: int, rows: Sequence[Row], T: Float, index: Mapping[str, int]) -> MapBoxes:
    def column(name: str, width: int) -> Float:
        return np.array([row[name] for row in rows], np.float64).reshape(-1, width)

    return MapBoxes(
        np.full(len(rows), number, np.int64),
        np.array([row["id"] for row in rows], np.int64),
        np.array([index[row["class"]] for row in rows], np.int64),
        apply(T, column("center_m", 3)),
        column("size_m", 3),
        wrap_angle(column("heading_rad", 1)[:, 0] + yaw_of(T)),
        rotate_xy(T, column("velocity_mps", 2)),
        np.array([row.get("score", 1.0) for row in rows], np.float64),
        np.array([_view(row) for row in rows], np.int64),
    )


def _view(row: Row) -> int:
    unknown = VIEW_ROADSIDE_ONLY if row.get("sides") == SOURCE_REMOTE else VIEW_UNKNOWN
    return VIEWS.get(row.get("view", ""), unknown)


def without_duplicates(boxes: MapBoxes) -> MapBoxes:
    """The first box of every id of a frame. If boxes of one frame share the id 0, id 0 means that there is none."""
    zero = boxes.identity == 0
    if zero.any() and np.bincount(boxes.frame[zero]).max() > 1:
        identity = boxes.identity.copy()
        identity[zero] = -1 - np.arange(zero.sum())
        boxes = MapBoxes(**{**vars(boxes), "identity": identity})
    keys = np.stack([boxes.frame, boxes.identity], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    return boxes.select(np.sort(first))


def filled(boxes: MapBoxes, stamps_ns: Sequence[int]) -> MapBoxes:
    """With boxes where a track is missing between two sightings (spec v2x-seq-spd 4.2).

    The centre is linear in time in the map, the heading linear along the shorter way; size and class are those of
    the sighting before, the velocity is that of the interpolation. How a camera sees such a box is not known.
    """
    seconds = (np.asarray(stamps_ns, np.int64) - (stamps_ns[0] if len(stamps_ns) else 0)) / 1e9
    order = np.lexsort((boxes.frame, boxes.identity))
    before, after = order[:-1], order[1:]
    gap = (boxes.identity[before] == boxes.identity[after]) & (boxes.frame[after] - boxes.frame[before] > 1)
    before, after = before[gap], after[gap]
    missing = boxes.frame[after] - boxes.frame[before] - 1
    if not missing.sum():
        return boxes
    offset = np.arange(missing.sum()) - np.repeat(np.cumsum(missing) - missing, missing)
    before, after = np.repeat(before, missing), np.repeat(after, missing)
    frame = boxes.frame[before] + 1 + offset
    span_s = seconds[boxes.frame[after]] - seconds[boxes.frame[before]]
    share = (seconds[frame] - seconds[boxes.frame[before]]) / span_s
    way_m = boxes.center_m[after] - boxes.center_m[before]
    turn_rad = wrap_angle(boxes.heading_rad[after] - boxes.heading_rad[before])
    between = MapBoxes(
        frame, boxes.identity[before], boxes.class_index[before], boxes.center_m[before] + share[:, None] * way_m,
        boxes.size_m[before], wrap_angle(boxes.heading_rad[before] + share * turn_rad), way_m[:, :2] / span_s[:, None],
        np.ones(len(frame)), np.full(len(frame), VIEW_UNKNOWN, np.int64),
    )  # fmt: skip
    return boxes.joined(between)


__all__ = ["MapBoxes", "boxes_in_map", "filled", "without_duplicates"]
