"""Casting rays at triangles with embreex."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.scene import Placement

Float = NDArray[np.float64]
Single = NDArray[np.float32]


@dataclass(frozen=True)
class Hits:
    """First hit of each ray: triangle index (-1 none) and distance in m (inf none)."""

    triangle: NDArray[np.int64]
    distance: Single


class Target:
    """A set of triangles that rays can be cast at; indices count through the list of meshes [T, 3, 3]."""

    def __init__(self, meshes: Sequence[Single]) -> None:
        self._scene = EmbreeScene()
        soup = np.concatenate(meshes) if meshes else np.zeros((0, 3, 3), np.float32)
        self._empty = len(soup) == 0
        if not self._empty:
            TriangleMesh(self._scene, np.ascontiguousarray(soup, np.float32))

    def trace(self, origin: Float, directions: Single) -> Hits:
        """First hits of rays from one point [3] along directions [N, 3], in multiples of these."""
        n = len(directions)
        if self._empty or n == 0:
            return Hits(np.full(n, -1, np.int64), np.full(n, np.inf, np.float32))
        starts = np.broadcast_to(origin.astype(np.float32), (n, 3)).copy()
        found = self._scene.run(starts, directions, output=True)
        triangle = found["primID"].astype(np.int64)
        return Hits(triangle, np.where(triangle >= 0, found["tfar"], np.inf).astype(np.float32))

    def blocked(self, starts: Single, directions: Single) -> NDArray[np.bool_]:
        """[N] whether anything lies on each ray from starts [N, 3]."""
        if self._empty or len(starts) == 0:
            return np.zeros(len(starts), bool)
        return np.asarray(self._scene.run(starts, directions, query="OCCLUDED") >= 0)


class Bodies:
    """Meshes of road users, each made ready for rays once and hit in its own axes."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, int], Target] = {}

    def trace(self, placement: Placement, origin: Float, directions: Single) -> Hits:
        """First hits of rays of the scene on one placement, distances in m of the scene."""
        key = (placement.kind, placement.phase)
        if key not in self._targets:
            self._targets[key] = Target([placement.mesh.triangles_m])
        inverse = np.linalg.inv(placement.T_scene_from_mesh)
        # Not made unit vectors again: the distance along them stays that in the scene.
        local = np.ascontiguousarray(directions @ inverse[:3, :3].T, np.float32)
        return self._targets[key].trace(inverse[:3, :3] @ origin + inverse[:3, 3], local)


def in_scene(placement: Placement) -> Single:
    """[T, 3, 3] triangles of a placement in the scene."""
    T = placement.T_scene_from_mesh
    return np.asarray(placement.mesh.triangles_m @ T[:3, :3].T + T[:3, 3], np.float32)


__all__ = ["Bodies", "Hits", "Target", "in_scene"]
