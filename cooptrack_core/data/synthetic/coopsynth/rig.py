"""Cameras of the benchmark: a few test vehicles, and every site's poles."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from cooptrack_core.data.synthetic.coopsynth.site import Pole
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.sensors import (
    INFRASTRUCTURE_K_1080P,
    LIDAR_HEIGHT_M,
    LOCATIONS,
    NOVATEL_HEIGHT_M,
    VEHICLE_K_1080P,
    VIRTUALLIDAR_HEIGHT_M,
    Rig,
    camera_extrinsics,
    draw_stamps,
    intrinsics,
)
from cooptrack_core.geometry.transforms import inverse, make_transform

VEHICLES = 4
_GRID_M = 330.0  # between sites in the world


def location_of(site: int) -> str:
    """The name, of those that the converters know, under which a site is filed."""
    return LOCATIONS[site % len(LOCATIONS)]


def make_rig(options: SceneOptions, number: int, site: int, pole: Pole) -> Rig:
    """Sensors of a sequence: one of the vehicles, the pole's camera, offset and time stamps."""
    vehicle = int(np.random.default_rng([options.seed, 15, number]).integers(VEHICLES))
    rng = np.random.default_rng([options.seed, 12, vehicle])
    height = LIDAR_HEIGHT_M + float(rng.uniform(-0.12, 0.12))
    turns = rng.normal(0, [[0.004, 0.003, 0.002], [0.006, 0.002, 0.002]])
    R_body, R_novatel = (Rotation.from_euler("ZYX", t).as_matrix() for t in turns)
    T_body_from_lidar = make_transform(R_body, (0.35, 0.0, height))
    T_body_from_novatel = make_transform(R_novatel, (-0.55, 0.1, NOVATEL_HEIGHT_M))
    T_camera_from_lidar = camera_extrinsics(
        (0.55, 0.02, -0.24), float(rng.normal(0, 0.005)), 0.014 + float(rng.normal(0, 0.004)),
        float(rng.normal(0, 0.002)),
    )  # fmt: skip
    zoom = float(rng.uniform(0.97, 1.03))
    rng = np.random.default_rng([options.seed, 13, site, round(pole.height_m * 1000)])
    T_scene_from_vl = make_transform(
        Rotation.from_euler("z", pole.yaw_rad).as_matrix(), (pole.x_m, pole.y_m, VIRTUALLIDAR_HEIGHT_M)
    )
    lift = pole.height_m - VIRTUALLIDAR_HEIGHT_M
    T_camera_from_vl = camera_extrinsics((0.0, 0.0, lift), 0.0, pole.pitch_rad, float(rng.normal(0, 0.006)))
    fx, fy, cx, cy = INFRASTRUCTURE_K_1080P
    pole_K = (fx * pole.zoom, fy * pole.zoom, cx + float(rng.normal(0, 12)), cy + float(rng.normal(0, 10)))
    rng = np.random.default_rng([options.seed, 16, site])
    anchor = (2600.0 + _GRID_M * (site % 5), 1000.0 + _GRID_M * (site // 5), float(rng.uniform(19.5, 20.8)))
    T_world_from_scene = make_transform(Rotation.from_euler("z", float(rng.uniform(-np.pi, np.pi))).as_matrix(), anchor)
    rng = np.random.default_rng([options.seed, 14, number])
    steps = np.clip(np.round(rng.normal(-4, 7, 2)), -27, 16)
    offset = (round(0.04 * float(steps[0]) + 0.02, 2), round(0.04 * float(steps[1]) + 0.02, 2))
    vx, vy, ux, uy = VEHICLE_K_1080P
    size = (options.width_px, options.height_px)
    return Rig(
        intrinsics((vx * zoom, vy * zoom, ux, uy), *size), intrinsics(pole_K, *size),
        T_camera_from_lidar, inverse(T_body_from_novatel) @ T_body_from_lidar, T_body_from_lidar, T_camera_from_vl,
        T_scene_from_vl, T_world_from_scene, offset, location_of(site), draw_stamps(rng, options, number),
        np.array([*rng.uniform(1e-4, 3e-4, 2), *rng.uniform(0, 6.28, 2)]),
    )  # fmt: skip


__all__ = ["VEHICLES", "location_of", "make_rig"]
