"""Frames and boxes of an evaluation as columns: what every metric reads, whatever it came from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.types import VIEW_UNKNOWN

Float = NDArray[np.float64]
Int = NDArray[np.int64]
# In a view column beside VIEW_*: how the camera sees it is unknown, but only the roadside annotated it (from_side inf).
VIEW_ROADSIDE_ONLY = 4


@dataclass(frozen=True)
class FrameTable:
    """F frames, ordered by scene and by time within it. Positions are in the map (global) frame."""

    token: tuple[str, ...]  # unique
    scene: Int  # [F] row of scene_names, non-decreasing
    scene_names: tuple[str, ...]
    timestamp_us: Int  # [F] increasing within a scene
    ego_xy_m: Float  # [F, 2] origin of the ego vehicle, from which ranges count (novatel, spec v2x-seq-spd.md 5.1)
    T_map_from_lidar: Float | None = None  # [F, 4, 4] pose of the vehicle's lidar, for ranges along its axes

    def __len__(self) -> int:
        return len(self.token)


@dataclass(frozen=True)
class BoxTable:
    """N boxes in the map frame, ordered by frame: gravity centre, heading counter-clockwise from +x."""

    frame: Int  # [N] row of the FrameTable, non-decreasing
    class_index: Int  # [N] row of the class names of the evaluation
    track: Int  # [N] identity, 0..T-1; one number stands for one (scene, id)
    center_m: Float  # [N, 3]
    size_m: Float  # [N, 3] length, width, height
    heading_rad: Float  # [N]
    velocity_mps: Float  # [N, 2]; NaN: unknown
    score: Float  # [N] 0..1; 1 for ground truth
    view: Int = field(default_factory=lambda: np.zeros(0, np.int64))  # [N] VIEW_* of ground truth, VIEW_ROADSIDE_ONLY
    # [N] equal where the ids as written are equal, also across scenes (the kit counts lost objects by it); else track
    written_id: Int = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if len(self.view) != len(self.frame):
            object.__setattr__(self, "view", np.full(len(self.frame), VIEW_UNKNOWN, np.int64))
        if len(self.written_id) != len(self.frame):
            object.__setattr__(self, "written_id", self.track)

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, index: Any) -> BoxTable:
        """Rows chosen by a boolean or integer index that keeps them ordered by frame."""
        return BoxTable(**{item.name: getattr(self, item.name)[index] for item in fields(self)})

    def of_frames(self, first: int, end: int) -> BoxTable:
        """The boxes of frames first..end-1."""
        return self.select(slice(*np.searchsorted(self.frame, (first, end))))

    @staticmethod
    def empty() -> BoxTable:
        """No boxes."""
        none, zero = np.zeros(0, np.int64), np.zeros(0)
        return BoxTable(none, none, none, np.zeros((0, 3)), np.zeros((0, 3)), zero, np.zeros((0, 2)), zero)


@dataclass(frozen=True)
class EvaluationSet:
    """Ground truth and predictions over the same frames.

    class_range_m: radius per class around the ego origin in the ground plane; boxes at or beyond it do not count.
    """

    frames: FrameTable
    truth: BoxTable
    predictions: BoxTable
    class_names: tuple[str, ...]
    class_range_m: tuple[float, ...]

    def in_range(self) -> EvaluationSet:
        """The same without boxes at or beyond the radius of their class (as the nuScenes kit filters)."""
        truth, predictions = self.truth, self.predictions
        return replace(
            self, truth=truth.select(self.near(truth)), predictions=predictions.select(self.near(predictions))
        )

    def near(self, boxes: BoxTable) -> NDArray[np.bool_]:
        """[N] whether boxes of these frames are within the radius of their class."""
        offset_m = boxes.center_m[:, :2] - self.frames.ego_xy_m[boxes.frame]
        distance_m: Float = np.sqrt((offset_m**2).sum(axis=1))
        return distance_m < np.asarray(self.class_range_m)[boxes.class_index]

    def of_class(self, index: int) -> EvaluationSet:
        """The same with the boxes of one class only."""
        truth, predictions = self.truth, self.predictions
        return replace(
            self,
            truth=truth.select(truth.class_index == index),
            predictions=predictions.select(predictions.class_index == index),
        )


__all__ = ["VIEW_ROADSIDE_ONLY", "BoxTable", "EvaluationSet", "FrameTable"]
