"""Which traffic makes a good scene: nobody overlaps, the ego vehicle gets through, both sides have much to see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.catalog import MOTOR, WALKERS
from cooptrack_core.data.synthetic.layout import STOP_LINE_U_M
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.sensors import Rig, View
from cooptrack_core.data.synthetic.traffic import RoadUser
from cooptrack_core.geometry.boxes import corners, wrap_angle
from cooptrack_core.geometry.transforms import apply

Float = NDArray[np.float64]

MAX_ATTEMPTS = 10
SHORT_S = 4.0
_SIGHT_M = 95.0


@dataclass(frozen=True)
class Quality:
    """Judgement of one traffic, from geometry alone (occlusion is not looked at)."""

    overlaps: int  # pairs of bodies that touch, summed over instants
    ego_passes: bool  # the ego vehicle is past its stop line before the end
    in_range_share: float  # of what the roadside camera covers, within the evaluation radius of the vehicle
    vehicle_views: float  # mean number of road users in the vehicle's image
    vehicle_views_low: float  # 20th percentile of it
    infrastructure_views: float
    shared_views: float  # mean number in both images
    hidden_views: float  # mean number in both images and in range, but behind something for the vehicle

    @property
    def faults(self) -> int:
        """Number of criteria that are not met."""
        return sum(
            (
                3 * (self.overlaps > 0), not self.ego_passes, self.in_range_share < 0.62, self.vehicle_views < 8.0,
                self.vehicle_views_low < 5.0, self.infrastructure_views < 12.0, self.shared_views < 2.4,
                self.hidden_views < 0.4,
            )
        )  # fmt: skip


def judge(users: list[RoadUser], rig: Rig, options: SceneOptions) -> Quality:
    """Quality of a sequence's traffic. A short one is judged by overlaps only."""
    ego = next(u for u in users if u.plan.ego)
    overlaps = sum(overlap_count(users, float(t)) for t in np.arange(0.0, options.duration_s + 0.4, 0.2))
    if options.duration_s < SHORT_S:
        return Quality(overlaps, True, 1.0, 99.0, 99.0, 99.0, 99.0, 99.0)
    times = np.arange(0.0, options.duration_s + 1e-9, min(0.5, options.duration_s / 2))
    shares, seen, covered, shared, hidden = [], [], [], [], []
    infrastructure = rig.infrastructure_view(options)
    for time_s in times:
        present = [u for u in users if u.exists(time_s) and not u.plan.ego]
        p = np.array([[*u.pose(time_s)[:2], u.plan.size_m[2] / 2] for u in present]).reshape(-1, 3)
        own = ego.pose(time_s)
        distance = np.hypot(p[:, 0] - own[0], p[:, 1] - own[1])
        radius = np.array([50.0 if u.plan.kind.name in MOTOR else 40.0 for u in present])
        by_infra = _inside(infrastructure, p)
        if by_infra.any():
            shares.append(float((distance < radius)[by_infra].mean()))
        by_vehicle = _inside(rig.vehicle_view(ego, float(time_s), options), p)
        seen.append(int(by_vehicle.sum()))
        shared.append(int((by_vehicle & by_infra).sum()))
        camera = rig.vehicle_view(ego, float(time_s), options).centre_m
        behind = _hidden(present, [u.pose(float(time_s))[:3] for u in present], camera)
        hidden.append(int((by_vehicle & by_infra & (distance < radius) & behind).sum()))
        covered.append(int(by_infra.sum()))
    _, y, _, _ = ego.pose(options.duration_s)
    passes = options.duration_s < 8.0 or y > -STOP_LINE_U_M + 6.0
    return Quality(
        overlaps, passes, float(np.mean(shares)) if shares else 0.0, float(np.mean(seen)),
        float(np.percentile(seen, 20)), float(np.mean(covered)), float(np.mean(shared)),
        float(np.mean(hidden)),
    )  # fmt: skip


def views_of(users: list[RoadUser], carrier: RoadUser, rig: Rig, options: SceneOptions, time_s: float) -> int:
    """Number of road users in the image of a camera that a road user carries, without those behind others."""
    present = [u for u in users if u.exists(time_s) and u.index != carrier.index]
    p = np.array([[*u.pose(time_s)[:2], u.plan.size_m[2] / 2] for u in present]).reshape(-1, 3)
    view = rig.vehicle_view(carrier, time_s, options)
    behind = _hidden(present, [u.pose(time_s)[:3] for u in present], view.centre_m)
    return int((_inside(view, p) & ~behind).sum())


def _hidden(users: list[RoadUser], poses: list[tuple[float, float, float]], camera_m: Float) -> NDArray[np.bool_]:
    """[N] whether nearer bodies, as tall as the line of sight to its top, cover all of a road user's breadth."""
    pose, size = np.array(poses).reshape(-1, 3), np.array([u.plan.size_m for u in users]).reshape(-1, 3)
    corner = corners(np.column_stack([pose[:, :2], np.zeros(len(pose))]), size, pose[:, 2])[:, :4, :2] - camera_m[:2]
    bearing = np.arctan2(corner[..., 1], corner[..., 0])
    middle = np.arctan2(pose[:, 1] - camera_m[1], pose[:, 0] - camera_m[0])
    spread = wrap_angle(bearing - middle[:, None])
    low, high = middle + spread.min(axis=1), middle + spread.max(axis=1)
    distance = np.hypot(pose[:, 0] - camera_m[0], pose[:, 1] - camera_m[1])
    top = (size[:, 2] - camera_m[2]) / distance
    samples = low[:, None] + (high - low)[:, None] * np.linspace(0.04, 0.96, 9)
    nearer = (distance[None, :] < distance[:, None] - 1.0) & (top[None, :] > top[:, None] - 0.004)
    at = samples[:, :, None]
    covered = (at > low) & (at < high) & nearer[:, None, :]
    return np.asarray(covered.any(axis=2).all(axis=1))


def _inside(view: View, points_m: Float) -> NDArray[np.bool_]:
    """[N] whether points lie in the image and not too far away."""
    camera = apply(view.T_camera_from_scene, points_m)
    depth = camera[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        uv = (camera @ view.K.T)[:, :2] / depth[:, None]
    size = np.array([view.width_px, view.height_px])
    return np.asarray((depth > 1.0) & (depth < _SIGHT_M) & (uv >= 0).all(axis=1) & (uv < size).all(axis=1))


def overlap_count(users: list[RoadUser], time_s: float) -> int:
    """Pairs of bodies that overlap on the ground; pedestrians among themselves do not count."""
    present = [u for u in users if u.exists(time_s)]
    pose = np.array([u.pose(time_s)[:3] for u in present]).reshape(-1, 3)
    size = np.array([u.plan.size_m[:2] for u in present]).reshape(-1, 2)
    walker = np.array([u.plan.kind.name in WALKERS for u in present])
    reach = np.hypot(size[:, 0], size[:, 1]) / 2
    gap = np.hypot(*(pose[:, None, :2] - pose[None, :, :2]).transpose(2, 0, 1)) - reach[:, None] - reach[None]
    close = np.argwhere(np.triu((gap < 0) & ~(walker[:, None] & walker[None]), 1))
    return sum(_rectangles_meet(pose[i], size[i], pose[j], size[j]) for i, j in close)


def _rectangles_meet(pose_a: Float, size_a: Float, pose_b: Float, size_b: Float) -> bool:
    """Whether two ground rectangles (x, y, heading; length, width) overlap: no axis separates them."""
    axes_a, axes_b = (np.array([[np.cos(h), np.sin(h)], [-np.sin(h), np.cos(h)]]) for h in (pose_a[2], pose_b[2]))
    d = pose_b[:2] - pose_a[:2]
    for axis in (*axes_a, *axes_b):
        extent = 0.5 * (np.abs(axes_a @ axis) @ size_a + np.abs(axes_b @ axis) @ size_b)
        if abs(float(d @ axis)) >= extent:
            return False
    return True


__all__ = ["MAX_ATTEMPTS", "Quality", "judge", "overlap_count", "views_of"]
