"""Constant-velocity Kalman filters of many boxes at once, after AB3DMOT (Weng et al., IROS 2020).

State of one track: x y z heading length width height vx vy vz, in a frame that stands still (m, rad, m/s).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import TrackerConfig
from cooptrack_core.geometry.boxes import wrap_angle

Float = NDArray[np.float64]
STATE, MEASURED = 10, 7
HEADING = 3
POSITION, SIZE, VELOCITY = slice(0, 3), slice(4, 7), slice(7, 10)
_VERTICAL_SHARE = 0.25  # road users accelerate and move far less upwards than along the ground


def measurement_noise(position_covariance_m2: Float, config: TrackerConfig) -> Float:
    """[N, 7, 7] covariance of measured boxes from the ground-plane covariance of their centres [N, 2, 2]."""
    n = len(position_covariance_m2)
    R = np.zeros((n, MEASURED, MEASURED))
    R[:, :2, :2] = position_covariance_m2
    R[:, 2, 2] = np.trace(position_covariance_m2, axis1=1, axis2=2) / 2
    R[:, HEADING, HEADING] = config.heading_std_rad**2
    R[:, range(4, 7), range(4, 7)] = config.size_std_m**2
    return R


def start(boxes: Float, R: Float, velocity_mps: Float, config: TrackerConfig) -> tuple[Float, Float]:
    """States [N, 10] and covariances [N, 10, 10] of new tracks.

    boxes: [N, 7] measured x y z heading l w h; R: [N, 7, 7]; velocity_mps: [N, 2], NaN where unknown.
    """
    n = len(boxes)
    known = np.asarray(np.isfinite(velocity_mps).all(axis=1))
    x = np.zeros((n, STATE))
    x[:, :MEASURED] = boxes
    x[:, 7:9] = np.where(known[:, None], velocity_mps, 0.0)
    P = np.zeros((n, STATE, STATE))
    P[:, :MEASURED, :MEASURED] = R
    speed_variance = np.where(known, config.velocity_std_mps**2, config.initial_speed_std_mps**2)
    for axis, share in ((7, 1.0), (8, 1.0), (9, _VERTICAL_SHARE**2)):
        P[:, axis, axis] = share * speed_variance
    return x, P


def predict(x: Float, P: Float, dt_s: float, config: TrackerConfig) -> tuple[Float, Float]:
    """States and covariances dt_s later."""
    F = np.eye(STATE)
    F[range(3), range(7, 10)] = dt_s
    x = x @ F.T
    P = F @ P @ F.T
    variance = config.acceleration_std_mps2**2
    for position, velocity, share in ((0, 7, 1.0), (1, 8, 1.0), (2, 9, _VERTICAL_SHARE**2)):
        P[:, position, position] += share * variance * dt_s**4 / 4
        P[:, position, velocity] += share * variance * dt_s**3 / 2
        P[:, velocity, position] += share * variance * dt_s**3 / 2
        P[:, velocity, velocity] += share * variance * dt_s**2
    P[:, HEADING, HEADING] += (0.5 * dt_s) ** 2
    P[:, range(4, 7), range(4, 7)] += (0.05 * dt_s) ** 2
    return x, P


def update(x: Float, P: Float, boxes: Float, R: Float) -> tuple[Float, Float]:
    """States and covariances after one measured box [N, 7] each.

    A measured heading more than a quarter turn away is a detector's front-back flip and is turned round.
    """
    innovation = boxes - x[:, :MEASURED]
    turn = wrap_angle(innovation[:, HEADING])
    innovation[:, HEADING] = np.where(np.abs(turn) > np.pi / 2, wrap_angle(turn + np.pi), turn)
    S = P[:, :MEASURED, :MEASURED] + R
    K = np.swapaxes(np.linalg.solve(S, P[:, :MEASURED, :]), 1, 2)
    return _corrected(x, P, K, innovation, R, slice(0, MEASURED))


def update_velocity(x: Float, P: Float, velocity_mps: Float, std_mps: float | Float) -> tuple[Float, Float]:
    """The same for a reported ground velocity [N, 2]; std_mps: of all, or [N]."""
    R = np.eye(2) * np.broadcast_to(np.square(std_mps), len(x))[:, None, None]
    S = P[:, 7:9, 7:9] + R
    K = np.swapaxes(np.linalg.solve(S, P[:, 7:9, :]), 1, 2)
    return _corrected(x, P, K, velocity_mps - x[:, 7:9], R, slice(7, 9))


def _corrected(x: Float, P: Float, K: Float, innovation: Float, R: Float, rows: slice) -> tuple[Float, Float]:
    x = x + np.einsum("nij,nj->ni", K, innovation)
    x[:, HEADING] = wrap_angle(x[:, HEADING])
    # Joseph form: stays symmetric and positive whatever the rounding.
    left = np.broadcast_to(np.eye(STATE), P.shape).copy()
    left[:, :, rows] -= K
    P = left @ P @ np.swapaxes(left, 1, 2) + K @ R @ np.swapaxes(K, 1, 2)
    return x, P
