"""Calibration: parsing, registration, and cameras said as pinhole times rigid motion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.data.calibration import (
    CameraModel,
    camera_center,
    parse_camera,
    parse_transform,
    registered_pose,
    rigid_camera,
)
from cooptrack_core.geometry.transforms import apply, is_rotation, make_transform
from cooptrack_core.types import CooptrackError

# Printed in the data specification: a jointly calibrated extrinsic has R R^T = diag(0.988, 0.684, 0.985).
SCALES = np.sqrt([0.988, 0.684, 0.985])
AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
K = np.array([[2183.375, 0.0, 940.590], [0.0, 2329.297, 567.568], [0.0, 0.0, 1.0]])


def test_skewed_extrinsics_give_the_same_pixels_through_a_rigid_camera() -> None:
    rng = np.random.default_rng(3)
    T = make_transform(np.diag(SCALES) @ AXES + 0.02 * rng.standard_normal((3, 3)), (0.4, 6.0, 1.1))
    camera, T_rigid = rigid_camera(CameraModel(K, np.zeros(5)), T)
    points = np.stack([rng.uniform(10, 90, 50), rng.uniform(-20, 20, 50), rng.uniform(-2, 2, 50)], axis=1)
    before, _ = CameraModel(K, np.zeros(5)).project(apply(T, points))
    after, depth = camera.project(apply(T_rigid, points))
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert is_rotation(T_rigid[:3, :3], 1e-9)
    assert (depth > 0).all()
    np.testing.assert_allclose(camera_center(T_rigid), camera_center(T), atol=1e-9)
    np.testing.assert_allclose(camera.K[2], [0, 0, 1], atol=1e-12)


def test_rigid_extrinsics_are_left_alone() -> None:
    T = make_transform(AXES, (1.0, 2.0, 3.0))
    camera = CameraModel(K, np.zeros(5))
    assert rigid_camera(camera, T) == (camera, T)


@settings(max_examples=30)
@given(st.floats(-1.1, 0.7), st.floats(-1.1, 0.7), st.floats(-3.1, 3.1))
def test_registration_moves_the_pose_by_the_offset(dx: float, dy: float, yaw: float) -> None:
    c, s = np.cos(yaw), np.sin(yaw)
    T = make_transform([[c, -s, 0], [s, c, 0], [0, 0, 1]], (3000.0, 2000.0, 20.0))
    point = np.array([10.0, -4.0, 1.0])
    spd = apply(np.linalg.inv(registered_pose(T, (dx, dy), "spd")), apply(T, point))
    np.testing.assert_allclose(spd, point + np.array([dx, dy, 0]), atol=1e-6)
    dair = apply(np.linalg.inv(registered_pose(T, (dx, dy), "dair-v2x-c")), apply(T, point) - np.array([dx, dy, 0]))
    np.testing.assert_allclose(dair, point, atol=1e-6)


def test_point_behind_the_camera_has_no_pixel() -> None:
    pixels, depth = CameraModel(K, np.zeros(5)).project([[0.0, 0.0, -5.0], [0.0, 0.0, 5.0]])
    assert np.isnan(pixels[0]).all()
    np.testing.assert_allclose(pixels[1], [940.590, 567.568])
    np.testing.assert_array_equal(depth, [-5, 5])


def test_nested_transform_and_extra_keys_are_read() -> None:
    inner = {"rotation": np.eye(3).tolist(), "translation": [["1.5"], [2], [3]]}
    T = parse_transform({"header": {}, "transform": inner}, "x.json")
    np.testing.assert_array_equal(T[:3, 3], [1.5, 2, 3])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, "x.json: cam_K: is missing"),
        ({"cam_K": [1, 2]}, "x.json: cam_K: has 2 numbers, not 9"),
        ({"cam_K": ["a"] * 9}, "x.json: cam_K: is not an array of numbers"),
        ({"cam_K": [0.0] * 9}, "x.json: cam_K: has a focal length that is not positive"),
        ([], "x.json: top level: is list, not an object"),
    ],
)
def test_broken_intrinsics_are_named(content: object, expected: str) -> None:
    with pytest.raises(CooptrackError, match=expected.replace("(", r"\(")):
        parse_camera(content, "x.json")


def test_singular_extrinsic_is_named() -> None:
    with pytest.raises(CooptrackError, match="rotation: is singular"):
        parse_transform({"rotation": np.zeros((3, 3)).tolist(), "translation": [0, 0, 0]}, "x.json")
