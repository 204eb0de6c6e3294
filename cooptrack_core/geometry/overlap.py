"""Overlap of rotated boxes: intersection over union on the ground and in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.geometry.boxes import corners

Float = NDArray[np.float64]
Int = NDArray[np.int64]

CHUNK = 100_000  # pairs whose polygons are in memory at a time


def box_iou(
    center_a_m: ArrayLike, size_a_m: ArrayLike, heading_a_rad: ArrayLike,
    center_b_m: ArrayLike, size_b_m: ArrayLike, heading_b_rad: ArrayLike,
) -> tuple[Float, Float]:  # fmt: skip
    """Intersection over union of N pairs of boxes: ([N] in bird's-eye view, [N] in space).

    Centres [N, 3] (gravity centre), sizes [N, 3] length width height in m, headings [N], all in one frame with z up.
    Pairs without area or volume have 0. The polygons of the ground plane are intersected by shapely (GEOS).
    """
    centers = [np.asarray(c, np.float64).reshape(-1, 3) for c in (center_a_m, center_b_m)]
    sizes = [np.asarray(s, np.float64).reshape(-1, 3) for s in (size_a_m, size_b_m)]
    headings = [np.asarray(h, np.float64).reshape(-1) for h in (heading_a_rad, heading_b_rad)]
    shared_m2 = np.zeros(len(centers[0]))
    # Boxes whose circles do not meet cannot overlap; that spares nearly all polygons of a scene.
    gap_m = np.hypot(*(centers[0] - centers[1])[:, :2].T)
    near = np.flatnonzero(gap_m < sum(np.hypot(*size[:, :2].T) for size in sizes) / 2)
    for start in range(0, len(near), CHUNK):
        rows = near[start : start + CHUNK]
        origin = centers[0][rows, None, :2]  # small numbers: the map's coordinates are large
        a, b = (
            corners(center[rows], size[rows], heading[rows])[:, :4, :2] - origin
            for center, size, heading in zip(centers, sizes, headings, strict=True)
        )
        shared_m2[rows] = _shared_area(a, b)
    areas = [size[:, 0] * size[:, 1] for size in sizes]
    tops = [center[:, 2] + size[:, 2] / 2 for center, size in zip(centers, sizes, strict=True)]
    bottoms = [center[:, 2] - size[:, 2] / 2 for center, size in zip(centers, sizes, strict=True)]
    shared_m3 = shared_m2 * np.maximum(0.0, np.minimum(*tops) - np.maximum(*bottoms))
    volumes = [size.prod(axis=1) for size in sizes]
    return _share(shared_m2, areas[0] + areas[1]), _share(shared_m3, volumes[0] + volumes[1])


def frame_pairs(frame_a: Int, frame_b: Int, frames: int) -> tuple[Int, Int]:
    """Rows of all pairs of the same frame, given the frames [N] and [M] (non-decreasing) of two tables of boxes.

    Ordered by row of the first, then of the second.
    """
    count_b = np.bincount(frame_b, minlength=frames).astype(np.int64)
    first_b = np.cumsum(count_b) - count_b
    partners = count_b[frame_a]
    rows_a = np.repeat(np.arange(len(frame_a)), partners)
    offset = np.arange(len(rows_a)) - np.repeat(np.cumsum(partners) - partners, partners)
    return rows_a, np.repeat(first_b[frame_a], partners) + offset


def _shared_area(ring_a: Float, ring_b: Float) -> Float:
    """[N] area of the intersections of N pairs of quadrangles [N, 4, 2]."""
    import shapely

    shared = shapely.intersection(shapely.polygons(ring_a), shapely.polygons(ring_b))
    return np.asarray(shapely.area(shared), np.float64)


def _share(shared: Float, together: Float) -> Float:
    """shared / (together - shared), 0 where nothing is shared."""
    union = together - shared
    return np.divide(shared, union, out=np.zeros(len(shared)), where=(shared > 0) & (union > 0))


__all__ = ["box_iou", "frame_pairs"]
