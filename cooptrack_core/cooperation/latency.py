"""Brings instances of the past (or slightly ahead) to the time of the ego frame: constant turn rate and velocity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.boxes import wrap_angle
from cooptrack_core.types import Features, Instances, Motion

Float = NDArray[np.float64]

ACCELERATION_STD_MPS2 = 1.0  # of road users that nobody told to brake; grows the variance of what is moved
LONGEST_FLOW_S = 1.0  # features are not foreseen farther: no more was learned


def reported_motion(instances: Instances, speed_std_mps: float) -> Motion:
    """The motion that the sender reports; an unknown velocity counts as standing still, nobody turns.

    speed_std_mps: uncertainty of the speed where the sender gives no variance.
    """
    variance = instances.velocity_variance_m2ps2
    return Motion(
        np.nan_to_num(instances.velocity_mps),
        np.zeros(len(instances)),
        np.where(np.isfinite(variance), variance, speed_std_mps**2),
    )


def standing(count: int) -> Motion:
    """[N] nobody moves, as far as is told."""
    return Motion(np.zeros((count, 2)), np.zeros(count), np.zeros((count, 2)))


def propagate(instances: Instances, dt_s: float, motion: Motion) -> Instances:
    """Instances moved dt_s along their motion, back in time where it is negative.

    Positions gain variance with the square of the time. Features stay, as what was seen, where no flow foresees them.
    """
    turn = motion.yaw_rate_radps * dt_s  # [N]
    # An arc of the angle `turn` has a chord of the length v dt sinc(turn / 2), in the direction of its middle.
    chord = rotated(motion.velocity_mps, turn / 2) * (dt_s * np.sinc(turn / (2 * np.pi)))[:, None]
    center = instances.center_m.copy()
    center[:, :2] += chord
    grown = motion.velocity_variance_m2ps2 * dt_s**2 + ACCELERATION_STD_MPS2**2 * dt_s**4 / 4
    return replace(
        instances,
        center_m=center,
        heading_rad=wrap_angle(instances.heading_rad + turn),
        velocity_mps=rotated(instances.velocity_mps, turn),
        position_variance_m2=instances.position_variance_m2 + grown,
        features=_foreseen(instances.features, dt_s, motion),
    )


def _foreseen(features: Features | None, dt_s: float, motion: Motion) -> Features | None:
    """Features moved on by their flow, not back in time and not farther than it has learned."""
    change = motion.feature_change_per_s
    if features is None or change is None or features.query.shape != change.shape:
        return features
    return replace(features, query=features.query + change * np.float32(min(max(dt_s, 0.0), LONGEST_FLOW_S)))


def rotated(vectors: Float, angle_rad: Float) -> Float:
    """[N, 2] vectors, each turned by its angle [N]."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.stack([c * vectors[:, 0] - s * vectors[:, 1], s * vectors[:, 0] + c * vectors[:, 1]], axis=1)


__all__ = ["LONGEST_FLOW_S", "propagate", "reported_motion", "rotated", "standing"]
