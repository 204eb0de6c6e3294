"""Track queries from one frame to the next: constant velocity, then the vehicle's own motion (spec 6.4, 6.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from cooptrack_core.model import box_code, track_motion
from cooptrack_core.model.constants import constant
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries


def propagate(live: Queries, dt_s: float, T_new_from_old: Tensor, config: ModelConfig) -> Queries:
    """Reference points and boxes of [A] live tracks after dt_s, in the lidar frame of the new time.

    T_new_from_old: [4, 4] from the old lidar frame. Query embeddings are left to the caller, who has the
    network. Points are not clamped: a track may leave the range and come back.
    """
    ref_pts = move_points(live, dt_s, T_new_from_old, config)
    center_m = box_code.denormalise(ref_pts, config.point_range_m)
    boxes = live.boxes
    if config.options.ego_motion_of_velocity_and_heading:
        T = T_new_from_old.to(boxes)
        boxes = box_code.encode(box_code.rotate_translate(box_code.decode(boxes), T[:3, :3], T[:3, 3]))
    boxes = box_code.with_center(boxes, center_m)
    motion = track_motion.moved(live.motion, dt_s, T_new_from_old)
    return live.with_(ref_pts=ref_pts, boxes=boxes, motion=motion)


def move_points(live: Queries, dt_s: float, T_new_from_old: Tensor, config: ModelConfig) -> Tensor:
    """[A, 3] normalised reference points at the new time in the new frame."""
    x0, y0, _, x1, y1, _ = config.point_range_m
    extent_m = constant((x1 - x0, y1 - y0), live.ref_pts)
    xy = live.ref_pts[..., :2] + live.boxes[..., 8:10] * dt_s / extent_m
    points_m = box_code.denormalise(torch.cat([xy, live.ref_pts[..., 2:]], -1), config.point_range_m)
    T = T_new_from_old.to(torch.float64)
    moved_m = points_m.to(torch.float64) @ T[:3, :3].T + T[:3, 3]
    return box_code.normalise(moved_m.to(points_m), config.point_range_m)
