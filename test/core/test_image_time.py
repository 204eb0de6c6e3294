"""An image that was taken after its frame: what stands still lies where the image shows it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.model.image_input import Before, image_input, image_time
from cooptrack_core.model.presets import get_preset
from cooptrack_core.types import CameraView, Frame

CONFIG = get_preset("tiny_veh")
AXES = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def pose(time_s: float, speed_mps: float = 10.0, turn_radps: float = 0.35) -> np.ndarray:
    """Of a vehicle on a circle."""
    yaw, radius = turn_radps * time_s, speed_mps / turn_radps
    T = np.eye(4)
    T[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    T[:2, 3] = radius * math.sin(yaw), radius * (1.0 - math.cos(yaw))
    return T


def seen_at(lidar2img: np.ndarray, point: np.ndarray) -> np.ndarray:
    found = lidar2img @ [*point, 1.0]
    return found[:2] / found[2]


def test_a_lamp_post_is_projected_to_where_the_later_image_shows_it() -> None:
    K = np.array([[400.0, 0, 160], [0, 400, 90], [0, 0, 1]])
    camera = CameraView(K, AXES, 320, 180)
    post_map = np.array([32.0, 6.0, -1.0])
    before, now, later = pose(-0.1), pose(0.0), pose(0.1)
    image = np.zeros((180, 320, 3), np.uint8)
    frame = Frame(10**9, now, image=image, camera=camera, image_stamp_ns=1_100_000_000)
    moved = image_time(Before(0.9, before), 1.0, now, 0.1, CONFIG)
    post = (inverse(now) @ [*post_map, 1.0])[:3]
    shown = seen_at(image_input(replace(frame, T_map_from_sensor=later), CONFIG).lidar2img, post_in(later, post_map))
    assert np.abs(seen_at(image_input(frame, CONFIG, moved).lidar2img, post) - shown).max() < 1e-6
    assert np.abs(seen_at(image_input(frame, CONFIG).lidar2img, post) - shown).max() > 10.0


def post_in(T_map_from_sensor: np.ndarray, point: np.ndarray) -> np.ndarray:
    return (inverse(T_map_from_sensor) @ [*point, 1.0])[:3]


@pytest.mark.parametrize(
    ("before", "delay_s"),
    [(None, 0.1), (Before(0.9, pose(-0.1)), 0.0), (Before(-5.0, pose(-6.0)), 0.1), (Before(1.0, pose(0.0)), 0.1)],
    ids=["first frame", "no delay", "after a gap", "no time between"],
)
def test_without_a_known_motion_or_delay_the_calibration_stays(before: Before | None, delay_s: float) -> None:
    assert image_time(before, 1.0, pose(0.0), delay_s, CONFIG) is None


def test_the_published_network_projects_from_the_pose_of_the_frame() -> None:
    official = get_preset("official_r50_veh")
    assert image_time(Before(0.9, pose(-0.1)), 1.0, pose(0.0), 0.1, official) is None


def test_a_camera_that_stands_still_does_not_move() -> None:
    moved = image_time(Before(0.9, pose(2.0)), 1.0, pose(2.0), 0.1, CONFIG)
    assert moved is not None
    np.testing.assert_allclose(moved, np.eye(4), atol=1e-12)
