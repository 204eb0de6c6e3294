"""The 18 numbers by which the network learns how its agent has moved (spec 2.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.transforms import to_quaternion, yaw_of
from cooptrack_core.model.presets import ModelConfig

Float = NDArray[np.float64]


def can_bus(T_map_from_sensor: Float, previous: Float | None, config: ModelConfig) -> Float:
    """[18] movement since the previous pose [4, 4], quaternion w x y z, nine zeros, yaw in rad, turn in degrees.

    Position and turn are zero where there is no previous pose. The yaw lies in [0, 360) degrees before the
    difference is taken; its step of 360 degrees over the x axis is taken out by the option wrap_yaw_difference.
    """
    values = np.zeros(18)
    yaw_deg = _yaw_deg(T_map_from_sensor)
    values[3:7] = _quaternion_wxyz(T_map_from_sensor)
    values[16] = np.deg2rad(yaw_deg)
    if previous is not None:
        values[:3] = T_map_from_sensor[:3, 3] - previous[:3, 3]
        turn_deg = yaw_deg - _yaw_deg(previous)
        values[17] = (turn_deg + 180.0) % 360.0 - 180.0 if config.options.wrap_yaw_difference else turn_deg
    return values


def _yaw_deg(T: Float) -> float:
    return float(np.rad2deg(yaw_of(T)) % 360.0)


def _quaternion_wxyz(T: Float) -> Float:
    """Of the two signs the one whose largest component is positive, as in the data the network learned from."""
    x, y, z, w = to_quaternion(T)
    found = np.array([w, x, y, z])
    return np.asarray(found * np.sign(found[np.argmax(np.abs(found))]), np.float64)
