"""Label rows from where road users are and what each side sees of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.scene import Scene
from cooptrack_core.data.synthetic.traffic import RoadUser
from cooptrack_core.data.synthetic.visibility import OUTSIDE, Sight
from cooptrack_core.geometry.transforms import apply, inverse

Float = NDArray[np.float64]

MIN_VISIBLE_PX_1080P = 100  # of 1920x1080; scaled with the area of the image
MAX_DISTANCE_M = 105.0

Row = dict[str, Any]


@dataclass(frozen=True)
class TrackIds:
    """The three id spaces of one sequence: track id by road user index."""

    vehicle: dict[int, str]
    infrastructure: dict[int, str]
    cooperative: dict[int, str]


def track_ids(scene: Scene) -> TrackIds:
    """Ids in three different orders, so that none can stand in for another."""
    indices = sorted(user.index for user in scene.users)
    rng = np.random.default_rng([scene.options.seed, scene.number, 31])
    spaces = []
    for first in (1000, 3000, 6000):
        order = rng.permutation(len(indices))
        spaces.append({index: f"{first + int(k):06d}" for index, k in zip(indices, order, strict=True)})
    return TrackIds(*spaces)


def seen_by_side(scene: Scene, side: str, frame: int, sights: dict[int, Sight]) -> list[RoadUser]:
    """Road users that an annotator of this side's image would label, in order of their index."""
    width, height = scene.options.width_px, scene.options.height_px
    least = max(2.0, MIN_VISIBLE_PX_1080P * width * height / (1920 * 1080))
    time_s = lidar_time_s(scene, side, frame)
    sensor = (
        scene.rig.T_scene_from_lidar(scene.ego, time_s) if side == "vehicle" else scene.rig.T_scene_from_virtuallidar
    )[:2, 3]
    out = []
    for user in scene.users:
        sight = sights.get(user.index, OUTSIDE)
        if sight.view != "visible" or sight.visible_px < least or not user.exists(time_s):
            continue
        if side == "vehicle" and user.plan.ego:
            continue
        x, y, _, _ = user.pose(time_s)
        if np.hypot(x - sensor[0], y - sensor[1]) <= MAX_DISTANCE_M:
            out.append(user)
    return out


def lidar_time_s(scene: Scene, side: str, frame: int) -> float:
    """Scene time of a side's point cloud."""
    stamps = scene.rig.stamps[frame]
    return stamps.scene_s(stamps.vehicle_us if side == "vehicle" else stamps.infrastructure_us)


def row(user: RoadUser, time_s: float, T_sensor_from_scene: Float, track_id: str, sight: Sight, name: str) -> Row:
    """One label: the road user at a time, in a sensor frame. name makes the token unique."""
    x, y, heading, _ = user.pose(time_s)
    length, width, height = user.plan.size_m
    centre = apply(T_sensor_from_scene, [x, y, user.ground_m(x, y) + height / 2])
    forward = T_sensor_from_scene[:3, :3] @ [np.cos(heading), np.sin(heading), 0.0]
    rotation = round(float(np.arctan2(forward[1], forward[0])), 6)
    alpha = float(np.arctan2(centre[1], centre[0])) - rotation - np.pi / 2
    box = dict(zip(("xmin", "ymin", "xmax", "ymax"), (round(v, 3) for v in sight.box_px), strict=True))
    return {
        "token": str(uuid.uuid3(uuid.NAMESPACE_DNS, name)),
        "type": user.plan.kind.raw_type,
        "track_id": track_id,
        "truncated_state": sight.truncated_state,
        "occluded_state": sight.occluded_state,
        "alpha": round(float((alpha + np.pi) % (2 * np.pi) - np.pi), 6),
        "2d_box": box,
        "3d_dimensions": {"h": height, "w": width, "l": length},
        "3d_location": {k: round(float(v), 6) for k, v in zip("xyz", centre, strict=True)},
        "rotation": rotation,
    }


@dataclass(frozen=True)
class FrameLabels:
    """All label files of one pair, and the visibility sidecar."""

    vehicle_lidar: list[Row]
    vehicle_camera: list[Row]
    infrastructure_lidar: list[Row]
    infrastructure_camera: list[Row]
    cooperative: list[Row]
    visibility: Row


def frame_labels(
    scene: Scene, frame: int, ids: TrackIds, frame_ids: tuple[str, str], sights: dict[str, dict[int, Sight]]
) -> FrameLabels:
    """Labels of pair `frame`; frame_ids of the vehicle and of the infrastructure."""
    rig, ego = scene.rig, scene.ego
    stamps = rig.stamps[frame]
    veh_s, inf_s = stamps.scene_s(stamps.vehicle_us), stamps.scene_s(stamps.infrastructure_us)
    veh_image_s, inf_image_s = scene.image_time_s("vehicle", frame), scene.image_time_s("infrastructure", frame)
    T_L, T_L_image = (inverse(rig.T_scene_from_lidar(ego, t)) for t in (veh_s, veh_image_s))
    T_VL = inverse(rig.T_scene_from_virtuallidar)
    by_veh = seen_by_side(scene, "vehicle", frame, sights["vehicle"])
    by_inf = seen_by_side(scene, "infrastructure", frame, sights["infrastructure"])
    stem = f"{scene.options.seed}/{scene.number}"

    def rows(
        side: str, users: list[RoadUser], space: dict[int, str], variant: str, time_s: float, T: Float
    ) -> list[Row]:
        return [
            row(u, time_s, T, space[u.index], sights[side][u.index], f"{stem}/{side}/{variant}/{frame}/{u.index}")
            for u in users
        ]

    veh = rows("vehicle", by_veh, ids.vehicle, "lidar", veh_s, T_L)
    inf = rows("infrastructure", by_inf, ids.infrastructure, "lidar", inf_s, T_VL)
    veh_camera = rows("vehicle", by_veh, ids.vehicle, "camera", veh_image_s, T_L_image)
    inf_camera = rows("infrastructure", by_inf, ids.infrastructure, "camera", inf_image_s, T_VL)
    tokens = (
        {u.index: r["token"] for u, r in zip(by_veh, veh, strict=True)},
        {u.index: r["token"] for u, r in zip(by_inf, inf, strict=True)},
    )
    # The vehicle is no road user to itself, although the roadside labels it.
    union = [
        u for u in scene.users if (u.index in tokens[0] or u.index in tokens[1]) and u.exists(veh_s) and not u.plan.ego
    ]
    coop = [_cooperative_row(scene, frame, u, ids, frame_ids, sights, tokens, (veh_s, T_L), stem) for u in union]
    # Where other pairs look on, it matters how this one sees what only they label.
    told = union if scene.options.pairs == 1 else [u for u in scene.users if u.exists(veh_s) and not u.plan.ego]
    visibility = {
        ids.cooperative[user.index]: {
            side: {"visible_px": s.visible_px, "unoccluded_px": s.unoccluded_px, "view": s.view}
            for side in ("vehicle", "infrastructure")
            for s in (sights[side].get(user.index, OUTSIDE),)
        }
        for user in told
    }
    return FrameLabels(
        veh, veh_camera, inf, inf_camera, coop, {"schema": "cooptrack/visibility/1", "objects": visibility}
    )


def _cooperative_row(
    scene: Scene,
    frame: int,
    user: RoadUser,
    ids: TrackIds,
    frame_ids: tuple[str, str],
    sights: dict[str, dict[int, Sight]],
    tokens: tuple[dict[int, str], dict[int, str]],
    at: tuple[float, Float],
    stem: str,
) -> Row:
    """Row of the union: where the road user truly is at the vehicle's point cloud time."""
    i, stamps = user.index, scene.rig.stamps[frame]
    in_veh, in_inf = i in tokens[0], i in tokens[1]
    sight = sights["vehicle" if in_veh else "infrastructure"][i]
    base = row(user, at[0], at[1], ids.cooperative[i], sight, f"{stem}/cooperative/{frame}/{i}")
    return base | {
        "from_side": "coop" if in_veh and in_inf else ("veh" if in_veh else "inf"),
        "veh_pointcloud_timestamp": str(stamps.vehicle_us),
        "inf_pointcloud_timestamp": str(stamps.infrastructure_us),
        "veh_frame_id": frame_ids[0],
        "inf_frame_id": frame_ids[1],
        "veh_track_id": ids.vehicle[i] if in_veh else "-1",
        "inf_track_id": ids.infrastructure[i] if in_inf else "-1",
        "veh_token": tokens[0].get(i, "-1"),
        "inf_token": tokens[1].get(i, "-1"),
    }


__all__ = ["FrameLabels", "TrackIds", "frame_labels", "lidar_time_s", "seen_by_side", "track_ids"]
