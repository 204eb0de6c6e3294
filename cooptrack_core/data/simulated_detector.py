"""A stand-in for a camera detector: single-side labels with seeded noise, as detections without ids.

Position noise grows along the line of sight, as with a camera that judges depth badly. The result of a
frame depends only on (seed, side, frame id) and the labels, never on the order of calls.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.labels import Labels
from cooptrack_core.data.rows import Side
from cooptrack_core.geometry.boxes import wrap_angle
from cooptrack_core.geometry.ranges import INFRASTRUCTURE_RANGE_M, VEHICLE_RANGE_M, inside
from cooptrack_core.types import CLASS_NAMES, CLASS_UNKNOWN, Instances

Float = NDArray[np.float64]

DEFAULT_RANGE_M: dict[Side, tuple[float, ...]] = {
    "vehicle": VEHICLE_RANGE_M,
    "infrastructure": INFRASTRUCTURE_RANGE_M,
}
# Length, width, height of a typical false detection by class id.
_TYPICAL_SIZE_M = ((4.4, 1.8, 1.6), (1.7, 0.6, 1.6), (0.6, 0.6, 1.7), (0.4, 0.4, 0.7))
_FALSE_CLASS_SHARE = (0.5, 0.2, 0.25, 0.05)


@dataclass(frozen=True)
class NoiseParameters:
    """How the simulated detector errs. Ranges are distances in the ground plane from the sensor."""

    radial_sigma_m: float = 0.10  # position along the line of sight, at range 0
    radial_sigma_per_m: float = 0.006  # its growth with range
    lateral_sigma_m: float = 0.08  # position across the line of sight, at range 0
    lateral_sigma_per_m: float = 0.002
    height_sigma_m: float = 0.08  # z of the centre
    heading_sigma_rad: float = 0.04
    flip_probability: float = 0.01  # heading turned by 180 degrees
    size_sigma: float = 0.04  # relative, each of length, width, height
    miss_probability: float = 0.02  # near and unoccluded
    miss_free_range_m: float = 20.0  # misses grow with range from here
    miss_per_m: float = 0.002
    miss_occluded: tuple[float, float, float] = (0.0, 0.08, 0.30)  # added by occluded_state 0, 1, 2
    miss_probability_max: float = 0.95
    false_per_frame: float = 0.3  # mean of a Poisson distribution
    score_best: float = 0.92  # of a near, unoccluded, well-placed detection
    score_per_m: float = 0.004  # loss with range
    score_occluded: tuple[float, float, float] = (0.0, 0.06, 0.18)  # loss by occluded_state
    score_per_sigma: float = 0.07  # loss per standard deviation of position error
    score_sigma: float = 0.05
    score_false: tuple[float, float] = (0.30, 0.12)  # mean and standard deviation of false detections
    score_min: float = 0.05
    score_max: float = 0.99


NO_NOISE = NoiseParameters(
    radial_sigma_m=0, radial_sigma_per_m=0, lateral_sigma_m=0, lateral_sigma_per_m=0, height_sigma_m=0,
    heading_sigma_rad=0, flip_probability=0, size_sigma=0, miss_probability=0, miss_per_m=0,
    miss_occluded=(0, 0, 0), false_per_frame=0, score_sigma=0,
)  # fmt: skip


def detect(
    labels: Labels,
    side: Side,
    frame_id: str,
    seed: int,
    noise: NoiseParameters | None = None,
    point_range_m: Sequence[float] | None = None,
) -> Instances:
    """Detections of one side in its lidar frame, best score first.

    labels: the side's lidar labels; objects of unknown type or outside point_range_m (x0 y0 z0 x1 y1 z1,
    default that of the side) are not seen. The velocity is unknown and instance_id is 0.
    """
    noise = noise or NoiseParameters()
    bounds = point_range_m or DEFAULT_RANGE_M[side]
    rng = np.random.default_rng([seed & 0xFFFFFFFF, zlib.crc32(side.encode()), zlib.crc32(frame_id.encode())])
    truth = labels.instances
    seen = inside(truth.center_m, bounds) & (truth.class_id != CLASS_UNKNOWN)
    range_m = np.hypot(truth.center_m[:, 0], truth.center_m[:, 1])
    occlusion = np.clip(labels.occluded_state, 0, 2)
    # Draws are made for every label before any is dropped, so a changed miss rate leaves the others' noise alone.
    seen &= rng.random(len(truth)) >= _miss_probability(range_m, occlusion, noise)
    center, error_sigmas = _displace(truth.center_m, range_m, noise, rng)
    heading = truth.heading_rad + noise.heading_sigma_rad * rng.standard_normal(len(truth))
    heading = heading + np.pi * (rng.random(len(truth)) < noise.flip_probability)
    size = truth.size_m * np.exp(noise.size_sigma * rng.standard_normal((len(truth), 3)))
    score = (
        noise.score_best
        - noise.score_per_m * range_m
        - np.asarray(noise.score_occluded)[occlusion]
        - noise.score_per_sigma * error_sigmas
        + noise.score_sigma * rng.standard_normal(len(truth))
    )
    found = Instances.create(center, size, wrap_angle(heading), truth.class_id, score).select(seen)
    return _ranked(found, _false_detections(bounds, noise, rng), noise)


def _miss_probability(range_m: Float, occlusion: NDArray[np.int64], noise: NoiseParameters) -> Float:
    far = noise.miss_per_m * np.maximum(range_m - noise.miss_free_range_m, 0.0)
    probability = noise.miss_probability + far + np.asarray(noise.miss_occluded)[occlusion]
    return np.asarray(np.minimum(probability, noise.miss_probability_max))


def _displace(center_m: Float, range_m: Float, noise: NoiseParameters, rng: np.random.Generator) -> tuple[Float, Float]:
    """Noisy centres [N, 3] and the size [N] of each ground-plane error in standard deviations."""
    normal = rng.standard_normal((len(center_m), 3))
    radial = normal[:, 0] * (noise.radial_sigma_m + noise.radial_sigma_per_m * range_m)
    lateral = normal[:, 1] * (noise.lateral_sigma_m + noise.lateral_sigma_per_m * range_m)
    bearing = np.arctan2(center_m[:, 1], center_m[:, 0])
    c, s = np.cos(bearing), np.sin(bearing)
    shift = np.stack([c * radial - s * lateral, s * radial + c * lateral, noise.height_sigma_m * normal[:, 2]], axis=1)
    moved = bool(noise.radial_sigma_m or noise.lateral_sigma_m)
    return center_m + shift, np.hypot(normal[:, 0], normal[:, 1]) * moved


def _false_detections(bounds: Sequence[float], noise: NoiseParameters, rng: np.random.Generator) -> Instances:
    n = int(rng.poisson(noise.false_per_frame))
    class_id = rng.choice(len(CLASS_NAMES), n, p=_FALSE_CLASS_SHARE)
    size = np.asarray(_TYPICAL_SIZE_M)[class_id] * np.exp(0.15 * rng.standard_normal((n, 3)))
    x, y = rng.uniform(bounds[0], bounds[3], n), rng.uniform(bounds[1], bounds[4], n)
    center = np.stack([x, y, -1.8 + size[:, 2] / 2], axis=1)  # on the ground, roughly
    mean, sigma = noise.score_false
    score = mean + sigma * rng.standard_normal(n)
    return Instances.create(center, size, rng.uniform(-np.pi, np.pi, n), class_id, score)


def _ranked(found: Instances, false: Instances, noise: NoiseParameters) -> Instances:
    both = Instances.create(
        np.concatenate([found.center_m, false.center_m]),
        np.concatenate([found.size_m, false.size_m]),
        np.concatenate([found.heading_rad, false.heading_rad]),
        np.concatenate([found.class_id, false.class_id]),
        np.clip(np.concatenate([found.score, false.score]), noise.score_min, noise.score_max),
    )
    return both.select(np.argsort(-both.score, kind="stable"))


__all__ = ["DEFAULT_RANGE_M", "NO_NOISE", "NoiseParameters", "detect"]
