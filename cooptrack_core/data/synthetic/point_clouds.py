"""Lidar sweeps of both sides, by casting rays, as binary PCD files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.labels import lidar_time_s
from cooptrack_core.data.synthetic.mesh import Mesh
from cooptrack_core.data.synthetic.ray_tracing import Bodies, Target
from cooptrack_core.data.synthetic.scene import SIDES, Placement, Scene
from cooptrack_core.geometry.transforms import apply, inverse

Float = NDArray[np.float64]
Single = NDArray[np.float32]

BEAMS = {"sparse": (20, 480), "full": (64, 1800)}  # rows, columns
_ELEVATION_DEG = {"vehicle": (-24.0, 6.0), "infrastructure": (-38.0, -1.0)}
_AZIMUTH_DEG = {"vehicle": (-180.0, 180.0), "infrastructure": (-75.0, 75.0)}
_REACH_M = 120.0
_NOISE_M = 0.015


class Lidar:
    """Point clouds of one sequence."""

    def __init__(self, scene: Scene, density: str) -> None:
        self._scene, self._beams = scene, BEAMS[density]
        self._still = Target([scene.surroundings.triangles_m])
        self._bodies = Bodies()
        self._still_grey = _grey(scene.surroundings)

    def sweep(self, side: str, frame: int) -> Single:
        """[N, 4] x, y, z in the side's lidar frame (L or the virtual lidar's), intensity 0..255."""
        scene, time_s = self._scene, lidar_time_s(self._scene, side, frame)
        T_scene_from_frame, origin = self._pose(side, time_s)
        directions = self._directions(side) @ T_scene_from_frame[:3, :3].T
        single = np.ascontiguousarray(directions, np.float32)
        found = self._still.trace(origin, single)
        distance, grey = found.distance, np.zeros(len(single))
        seen = found.triangle >= 0
        grey[seen] = self._still_grey[found.triangle[seen]]
        for placement in scene.placements(time_s, without_ego=side == "vehicle"):
            ray = _towards(placement, origin, directions)
            hits = self._bodies.trace(placement, origin, single[ray])
            nearer = hits.distance < distance[ray]
            distance[ray[nearer]] = hits.distance[nearer]
            grey[ray[nearer]] = _grey(placement.mesh)[hits.triangle[nearer]] * 1.3
        hit = distance < _REACH_M
        rng = np.random.default_rng([scene.options.seed, scene.number, SIDES.index(side), frame, 41])
        measured = distance[hit] + rng.normal(0, _NOISE_M, int(hit.sum()))
        points = apply(inverse(T_scene_from_frame), origin + directions[hit] * measured[:, None])
        intensity = np.clip(grey[hit] * 120 + rng.normal(0, 4, len(points)), 0, 255)
        return np.column_stack([points, intensity]).astype(np.float32)

    def _pose(self, side: str, time_s: float) -> tuple[Float, Float]:
        """The frame of the cloud, and where the rays start (the roadside lidar hangs beside its camera)."""
        rig = self._scene.rig
        if side == "vehicle":
            T = rig.T_scene_from_lidar(self._scene.ego, time_s)
            return T, T[:3, 3]
        camera = self._scene.view("infrastructure", 0).centre_m
        return rig.T_scene_from_virtuallidar, camera - np.array([0.0, 0.0, 0.4])

    def _directions(self, side: str) -> Float:
        """[N, 3] unit directions in the frame of the cloud."""
        rows, columns = self._beams
        elevation = np.deg2rad(np.linspace(*_ELEVATION_DEG[side], rows))[:, None]
        azimuth = np.deg2rad(np.linspace(*_AZIMUTH_DEG[side], columns, endpoint=False))[None]
        flat = np.broadcast_to(np.cos(elevation), (rows, columns))
        up = np.broadcast_to(np.sin(elevation), (rows, columns))
        return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), up], axis=2).reshape(-1, 3)


def _towards(placement: Placement, origin: Float, directions: Float) -> NDArray[np.int64]:
    """Indices of the rays that pass through the bounding sphere of a placement."""
    low, high = placement.mesh.bounds_m
    centre = apply(placement.T_scene_from_mesh, (low + high) / 2) - origin
    distance = float(np.linalg.norm(centre))
    sine = min(1.0, 0.55 * float(np.linalg.norm(high - low)) / distance)
    return np.flatnonzero(directions @ (centre / distance) >= np.sqrt(1.0 - sine * sine))


def _grey(mesh: Mesh) -> Float:
    """[T] brightness of each triangle."""
    return np.asarray(mesh.vertices[::3, 6:9].mean(axis=1), np.float64)


def pcd_bytes(points: Single) -> bytes:
    """A binary PCD file of x, y, z, intensity [N, 4]."""
    n = len(points)
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\n"
        f"COUNT 1 1 1 1\nWIDTH {n}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA binary\n"
    )
    return header.encode("ascii") + np.ascontiguousarray(points, "<f4").tobytes()


__all__ = ["BEAMS", "Lidar", "pcd_bytes"]
