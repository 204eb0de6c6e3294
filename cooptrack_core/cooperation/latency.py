"""Brings instances of the past (or slightly ahead) to the time of the ego frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cooptrack_core.types import Instances


def propagate(instances: Instances, dt_s: float, speed_std_mps: float) -> Instances:
    """Instances moved dt_s along their velocity, with growing position variance.

    An unknown velocity counts as standing still. speed_std_mps: uncertainty of the speed where the
    sender gives no variance.
    """
    velocity = np.nan_to_num(instances.velocity_mps)
    center = instances.center_m.copy()
    center[:, :2] += velocity * dt_s
    speed_variance = np.where(
        np.isfinite(instances.velocity_variance_m2ps2), instances.velocity_variance_m2ps2, speed_std_mps**2
    )
    return replace(
        instances, center_m=center, position_variance_m2=instances.position_variance_m2 + speed_variance * dt_s**2
    )
