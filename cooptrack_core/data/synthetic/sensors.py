"""Where the sensors are, how they see and when: calibration and time stamps in the manner of V2X-Seq-SPD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.traffic import RoadUser
from cooptrack_core.geometry.transforms import inverse, make_transform

Float = NDArray[np.float64]

VEHICLE_K_1080P = (3996.487567, 3963.430994, 955.58618, 527.646219)  # fx fy cx cy of a 1920x1080 image
INFRASTRUCTURE_K_1080P = (2186.359688, 2332.160319, 968.712906, 542.356703)
LIDAR_HEIGHT_M = 1.92
NOVATEL_HEIGHT_M = 0.42
VIRTUALLIDAR_HEIGHT_M = 1.78
# The only names that the official converters know.
LOCATIONS = ("yizhuang06", "yizhuang08", "yizhuang09", "yizhuang10", "yizhuang13", "yizhuang16")
EPOCH_US = 1626155122_000000
SEQUENCE_GAP_US = 1000_000000
# The units of further pairs stand where the first would if the intersection were turned: opposite first.
_QUARTERS = (0, 2, 1, 3)


@dataclass(frozen=True)
class View:
    """One camera at one instant: K [3, 3], image size, and the affine map of scene points to camera axes [4, 4]."""

    K: Float
    width_px: int
    height_px: int
    T_camera_from_scene: Float

    @property
    def centre_m(self) -> Float:
        """[3] optical centre in the scene."""
        return inverse(self.T_camera_from_scene)[:3, 3]


@dataclass(frozen=True)
class Stamps:
    """Times of one pair in microseconds since the epoch; scene seconds = (stamp - zero_us) / 1e6."""

    vehicle_us: int
    vehicle_image_us: int
    infrastructure_us: int
    infrastructure_image_us: int
    zero_us: int

    def scene_s(self, stamp_us: int) -> float:
        """Scene time of a stamp."""
        return (stamp_us - self.zero_us) / 1e6


@dataclass(frozen=True)
class Rig:
    """All calibration of one sequence. Poses of the vehicle follow from its road user."""

    vehicle_K: Float
    infrastructure_K: Float
    T_camera_from_lidar: Float
    T_novatel_from_lidar: Float
    T_body_from_lidar: Float
    T_camera_from_virtuallidar: Float  # affine; not orthonormal with skewed_extrinsics
    T_scene_from_virtuallidar: Float
    T_world_from_scene: Float
    offset_m: tuple[float, float]
    location: str
    stamps: tuple[Stamps, ...]
    sway_rad: Float  # [4] amplitudes and phases of the vehicle body's pitch and roll

    def T_scene_from_lidar(self, ego: RoadUser, time_s: float) -> Float:
        """True pose of the vehicle lidar."""
        x, y, heading, speed = ego.pose(time_s)
        _, _, h1, v1 = ego.pose(time_s + 0.25)
        _, _, h0, v0 = ego.pose(time_s - 0.25)
        a, b, p, q = self.sway_rad
        pitch = -0.0035 * (v1 - v0) / 0.5 + a * min(speed, 8.0) * np.sin(5.1 * time_s + p)
        roll = 0.0030 * speed * (h1 - h0) / 0.5 + b * min(speed, 8.0) * np.sin(3.7 * time_s + q)
        R = Rotation.from_euler("ZYX", [heading, pitch, roll]).as_matrix()
        return make_transform(R, (x, y, 0.0)) @ self.T_body_from_lidar

    def T_world_from_novatel(self, ego: RoadUser, time_s: float) -> Float:
        """The pose that is written: off by the pair's offset E, so that E last gives the true registration."""
        E = make_transform(np.eye(3), (*self.offset_m, 0.0))
        return self.T_world_from_scene @ self.T_scene_from_lidar(ego, time_s) @ E @ inverse(self.T_novatel_from_lidar)

    def vehicle_view(self, ego: RoadUser, time_s: float, options: SceneOptions) -> View:
        """The vehicle camera at a scene time."""
        T = self.T_camera_from_lidar @ inverse(self.T_scene_from_lidar(ego, time_s))
        return View(self.vehicle_K, options.width_px, options.height_px, T)

    def infrastructure_view(self, options: SceneOptions) -> View:
        """The roadside camera."""
        T = self.T_camera_from_virtuallidar @ inverse(self.T_scene_from_virtuallidar)
        return View(self.infrastructure_K, options.width_px, options.height_px, T)


def intrinsics(values: tuple[float, ...], width_px: int, height_px: int) -> Float:
    """K [3, 3] of a camera given at 1920x1080, scaled; pixel centres are at integers."""
    fx, fy, cx, cy = values
    sx, sy = width_px / 1920, height_px / 1080
    return np.array([[fx * sx, 0, (cx + 0.5) * sx - 0.5], [0, fy * sy, (cy + 0.5) * sy - 0.5], [0, 0, 1.0]])


def site_of(sequence: int) -> int:
    """Which of the six locations a sequence plays at."""
    return sequence % len(LOCATIONS)


_AXIS_SWAP = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])  # optical axes from x forward, y left, z up


def camera_extrinsics(position_m: tuple[float, float, float], yaw: float, pitch_down: float, roll: float) -> Float:
    """T_camera_from_base of a camera at a position of the base frame, looking along base x turned by the angles."""
    R_base_from_aim = Rotation.from_euler("ZYX", [yaw, pitch_down, roll]).as_matrix()
    R = _AXIS_SWAP @ R_base_from_aim.T
    return make_transform(R, -R @ np.asarray(position_m))


def make_rig(options: SceneOptions, sequence: int) -> Rig:
    """Sensors of one sequence: mounting with realistic deviations, world anchor, offset, time stamps.

    The vehicle is the same in all sequences of a seed; a location keeps its pole, camera and place in the world.
    Further pairs have clocks and registration of their own.
    """
    rng, site = np.random.default_rng([options.seed, 12]), site_of(sequence)
    T_body_from_lidar = make_transform(
        Rotation.from_euler("ZYX", rng.normal(0, [0.004, 0.003, 0.002])).as_matrix(), (0.35, 0.0, LIDAR_HEIGHT_M)
    )
    T_body_from_novatel = make_transform(
        Rotation.from_euler("ZYX", rng.normal(0, [0.006, 0.002, 0.002])).as_matrix(), (-0.55, 0.1, NOVATEL_HEIGHT_M)
    )
    T_camera_from_lidar = camera_extrinsics(
        (0.55, 0.02, -0.24),
        float(rng.normal(0, 0.004)),
        0.012 + float(rng.normal(0, 0.002)),
        float(rng.normal(0, 0.002)),
    )
    rng = np.random.default_rng([options.seed, 13, site])
    pole, yaw, pitch = _pole(rng)
    pole, yaw = _turned(pole, yaw, pair_turn_rad(options.pair))
    T_scene_from_vl = make_transform(
        Rotation.from_euler("z", yaw).as_matrix(), (pole[0], pole[1], VIRTUALLIDAR_HEIGHT_M)
    )
    T_camera_from_vl = camera_extrinsics(
        (0.30, -0.12, pole[2] - VIRTUALLIDAR_HEIGHT_M), 0.0, pitch, float(rng.normal(0, 0.004))
    )
    if options.skewed_extrinsics:
        T_camera_from_vl = _skew(T_camera_from_vl)
    anchor = (float(rng.uniform(2600, 4000)), float(rng.uniform(1600, 2400)), float(rng.uniform(19.5, 20.8)))
    T_world_from_scene = make_transform(Rotation.from_euler("z", float(rng.uniform(-np.pi, np.pi))).as_matrix(), anchor)
    rng = np.random.default_rng([options.seed, 14, sequence, *([options.pair] if options.pair else [])])
    steps = np.clip(np.round(rng.normal(-4, 7, 2)), -27, 16)
    offset = (round(0.04 * float(steps[0]) + 0.02, 2), round(0.04 * float(steps[1]) + 0.02, 2))
    return Rig(
        intrinsics(VEHICLE_K_1080P, options.width_px, options.height_px),
        intrinsics(INFRASTRUCTURE_K_1080P, options.width_px, options.height_px),
        T_camera_from_lidar, inverse(T_body_from_novatel) @ T_body_from_lidar, T_body_from_lidar, T_camera_from_vl,
        T_scene_from_vl, T_world_from_scene, offset, LOCATIONS[site],
        draw_stamps(rng, options, sequence), np.array([*rng.uniform(1e-4, 3e-4, 2), *rng.uniform(0, 6.28, 2)]),
    )  # fmt: skip


def _pole(rng: np.random.Generator) -> tuple[tuple[float, float, float], float, float]:
    """Camera position on the signal mast at the far side of the intersection, yaw, and pitch downward."""
    x, y = 11.5 + float(rng.uniform(-0.7, 0.7)), 16.9
    height = float(rng.uniform(6.6, 7.0))
    look_x, look_y = -1.0, -10.0
    yaw = float(np.arctan2(look_y - y, look_x - x))
    return (x, y, height), yaw, float(np.deg2rad(rng.uniform(8.0, 8.8)))


def pair_turn_rad(pair: int) -> float:
    """By how much the intersection would have to be turned to bring the first unit where that of a pair stands."""
    return _QUARTERS[pair] * np.pi / 2


def _turned(
    position: tuple[float, float, float], yaw: float, turn_rad: float
) -> tuple[tuple[float, float, float], float]:
    if not turn_rad:
        return position, yaw
    x, y, z = Rotation.from_euler("z", turn_rad).apply(position)
    return (float(x), float(y), float(z)), yaw + turn_rad


def _skew(T: Float) -> Float:
    """The extrinsics of a joint re-calibration: the same optical centre, rows of unequal length."""
    centre = inverse(T)[:3, 3]
    A = (
        np.diag([0.994, 0.905, 0.992])
        @ T[:3, :3]
        @ (np.eye(3) + np.array([[0, 4e-3, -6e-3], [2e-3, 0, 5e-3], [0, 3e-3, 0]]))
    )
    return make_transform(A, -A @ centre)


def draw_stamps(rng: np.random.Generator, options: SceneOptions, sequence: int) -> tuple[Stamps, ...]:
    """Time stamps of all pairs of a sequence."""
    zero = EPOCH_US + sequence * SEQUENCE_GAP_US
    skew = float(rng.uniform(-22_000, 56_000))
    out = []
    for i in range(options.frames_of(sequence)):
        vehicle = zero + round(i * 1e6 / options.rate_hz + float(rng.uniform(-80, 80))) + 1522
        image = -(-(vehicle + round(float(rng.uniform(79_000, 126_500)))) // 1000) * 1000
        infra = vehicle + round(float(np.clip(skew + rng.uniform(-6000, 6000), -28_000, 63_000)))
        out.append(Stamps(vehicle, image, infra, infra + round(float(rng.uniform(-9000, 9000))), zero))
    return tuple(out)


__all__ = [
    "EPOCH_US", "LOCATIONS", "Rig", "Stamps", "View", "camera_extrinsics", "draw_stamps", "intrinsics", "make_rig",
    "pair_turn_rad", "site_of",
]  # fmt: skip
