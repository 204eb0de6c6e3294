"""What goes into the network: image, projection and movement."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scenarios import yawed
from small_runtime import camera
from small_runtime import image as picture

from cooptrack_core.model.can_bus import can_bus
from cooptrack_core.model.image_input import image_input, scaled_camera
from cooptrack_core.model.presets import get_preset
from cooptrack_core.perception import FrameRejected
from cooptrack_core.types import CameraView, Frame

FULL_HD = (1920, 1080)
R50, TINY = get_preset("official_r50_veh"), get_preset("tiny_coop")  # 960x544 and 320x192


def view(**changes) -> CameraView:
    return replace(camera(*FULL_HD), **changes)


def frame(**changes) -> Frame:
    values = {"image": picture(0, *FULL_HD), "camera": view()} | changes
    return Frame(0, np.eye(4), **values)


def test_full_hd_becomes_normalised_halved_and_padded_below():
    made = image_input(frame(), R50)
    pixels = picture(0, *FULL_HD).astype(np.float64)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    rgb = (pixels[..., ::-1] - mean) / std
    # Bilinear sampling at half size lies in the middle of four pixels.
    halved = (rgb[::2, ::2] + rgb[1::2, ::2] + rgb[::2, 1::2] + rgb[1::2, 1::2]) / 4
    assert made.image.shape == (3, 544, 960) and made.image.dtype == np.float32
    np.testing.assert_allclose(made.image[:, :540], halved.transpose(2, 0, 1), atol=2e-6)
    assert not made.image[:, 540:].any()


def test_other_sizes_of_the_same_shape_give_about_the_same_input():
    smooth = cv2.resize(picture(1, 16, 9), FULL_HD, interpolation=cv2.INTER_CUBIC)
    full = image_input(frame(image=smooth), TINY)
    small = cv2.resize(smooth, (640, 360), interpolation=cv2.INTER_AREA)
    third = replace(camera(640, 360), K=scaled_camera(view().K, 1 / 3, TINY))  # of the image that INTER_AREA makes
    half = image_input(frame(image=small, camera=third), TINY)
    assert full.image.shape == (3, 192, 320) and not full.image[:, 180:].any()
    np.testing.assert_allclose(half.image, full.image, atol=0.05)
    np.testing.assert_allclose(half.lidar2img, full.lidar2img, rtol=1e-12)


def test_scaling_keeps_the_corners_of_the_image_and_the_published_network_the_middle_of_its_first_pixel():
    corner = np.array([-0.5, -0.5, 1.0])
    K = view().K
    np.testing.assert_allclose(scaled_camera(K, 1 / 6, TINY) @ np.linalg.inv(K) @ corner, corner, atol=1e-12)
    pixel = np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(scaled_camera(K, 0.5, R50) @ np.linalg.inv(K) @ pixel, pixel, atol=1e-12)


def test_a_point_projects_to_the_scaled_pixel():
    seen_by = view(K=np.array([[1300.0, 0.0, 930.0], [0.0, 1250.0, 560.0], [0.0, 0.0, 1.0]]))
    point = np.array([12.0, 2.0, -0.4])
    ray = seen_by.K @ (seen_by.T_camera_from_sensor @ [*point, 1.0])[:3]
    projected = image_input(frame(camera=seen_by), R50).lidar2img @ [*point, 1.0]
    np.testing.assert_allclose(projected[:2] / projected[2], ray[:2] / ray[2] / 2, rtol=1e-12)
    assert projected[2] == pytest.approx(12.0)


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_encoded_bytes_equal_their_pixels(kind):
    encoded = cv2.imencode(kind, picture(2, *FULL_HD))[1].tobytes()
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    a, b = image_input(frame(image=encoded), TINY), image_input(frame(image=pixels), TINY)
    np.testing.assert_array_equal(a.image, b.image)


def encoded(kind: str) -> bytes:
    return cv2.imencode(kind, picture(0, 320, 180))[1].tobytes()


def changed(values: np.ndarray, *where: int, to: float) -> np.ndarray:
    values = values.copy()
    values[where] = to
    return values


CAMERA = view()
BAD = {
    "no image": ({"image": None}, ("image", "expected one", "none")),
    "no camera": ({"camera": None}, ("camera", "expected", "none")),
    "another size": ({"image": picture(0, 960, 540)}, ("expected 1920x1080", "found 960x540")),
    "upright": ({"image": picture(0, 54, 96), "camera": camera(54, 96)}, ("960x544", "found 54x96", "960x1707")),
    "square": ({"image": picture(0, 96, 96), "camera": camera(96, 96)}, ("1920x1080", "found 96x96")),
    "too wide": ({"image": picture(0, 960, 300), "camera": camera(960, 300)}, ("found 960x300", "960x300")),
    "no bytes": ({"image": b""}, ("JPEG or PNG", "found 0 bytes")),
    "no image file": ({"image": b"GIF89a, or so"}, ("JPEG or PNG", "found 13 bytes")),
    "half a JPEG": ({"image": encoded(".jpg")[:900]}, ("whole file", "found 900 bytes", "truncated")),
    "half a PNG": ({"image": encoded(".png")[:900]}, ("whole", "found 900 bytes")),
    "grey": ({"image": picture(0)[..., 0]}, ("[height, width, 3]", "found shape [54, 96]")),
    "four channels": ({"image": np.zeros((54, 96, 4), np.uint8)}, ("found shape [54, 96, 4]",)),
    "no pixels": ({"image": np.zeros((0, 96, 3), np.uint8)}, ("found shape [0, 96, 3]",)),
    "NaN pixel": (
        {"image": changed(picture(0).astype(np.float32), 3, 4, 1, to=np.nan), "camera": camera()},
        ("expected finite pixels", "found 1 "),
    ),
    "zero K": ({"camera": view(K=np.zeros((3, 3)))}, ("camera matrix", "focal", "fx 0", "determinant 0")),
    "singular K": ({"camera": view(K=changed(CAMERA.K, 2, 2, to=0.0))}, ("camera matrix", "determinant 0")),
    "mirrored K": ({"camera": view(K=changed(CAMERA.K, 0, 0, to=-900.0))}, ("positive focal", "found fx -900")),
    "NaN in K": ({"camera": view(K=changed(CAMERA.K, 0, 2, to=np.nan))}, ("camera matrix", "found 1 ")),
    "infinite extrinsics": (
        {"camera": view(T_camera_from_sensor=changed(CAMERA.T_camera_from_sensor, 0, 3, to=np.inf))},
        ("camera extrinsics", "expected finite", "found 1 "),
    ),
    "scaled rotation": (
        {"camera": view(T_camera_from_sensor=CAMERA.T_camera_from_sensor @ np.diag([1.2, 1.2, 1.2, 1.0]))},
        ("camera extrinsics", "expected a rotation", "0.44 off", "determinant 1.7"),
    ),
    "mirrored extrinsics": (
        {"camera": view(T_camera_from_sensor=np.diag([-1.0, 1.0, 1.0, 1.0]))},
        ("camera extrinsics", "determinant -1"),
    ),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_what_cannot_be_used_is_refused_with_expected_and_found_in_one_line(case):
    changes, parts = BAD[case]
    with pytest.raises(FrameRejected) as refusal:
        image_input(frame(**changes), R50)
    text = str(refusal.value)
    assert "\n" not in text and all(part in text for part in parts), text


def test_a_rotation_with_the_skew_of_real_calibrations_is_taken():
    skewed = CAMERA.T_camera_from_sensor @ np.diag([1.01, 0.99, 1.0, 1.0])
    made = image_input(frame(camera=view(T_camera_from_sensor=skewed)), R50)
    np.testing.assert_allclose(made.lidar2img, np.diag([0.5, 0.5, 1, 1]) @ padded(CAMERA.K) @ skewed, rtol=1e-12)


def padded(K: np.ndarray) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3] = K
    return made


def degrees(yaw: float, *position: float) -> np.ndarray:
    return yawed(np.deg2rad(yaw), *position)


def test_the_first_frame_has_not_moved():
    values = can_bus(degrees(90.0, 2600.0, 1700.0, 3.0), None, TINY)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(values, [0] * 3 + [half, 0, 0, half] + [0] * 9 + [np.pi / 2, 0], atol=1e-12)


def test_movement_is_the_difference_to_the_frame_before_in_the_map():
    values = can_bus(degrees(30.0, 2601.0, 1698.0, 3.5), degrees(27.5, 2600.0, 1700.0, 3.0), TINY)
    np.testing.assert_allclose(values[:3], [1.0, -2.0, 0.5], atol=1e-9)
    np.testing.assert_allclose(values[[16, 17]], [np.deg2rad(30.0), 2.5], atol=1e-9)


@pytest.mark.parametrize(("config", "turn"), [(TINY, 3.0), (R50, -357.0)])
def test_the_yaw_step_of_a_full_turn_is_taken_out_by_option(config, turn):
    values = can_bus(degrees(2.0), degrees(359.0), config)
    assert values[17] == pytest.approx(turn) and values[16] == pytest.approx(np.deg2rad(2.0))
    assert can_bus(degrees(359.0), degrees(2.0), config)[17] == pytest.approx(-turn)


@pytest.mark.parametrize("yaw", [0.0, 100.0, 170.0, 190.0, 260.0, 350.0])
def test_the_largest_component_of_the_quaternion_is_positive(yaw):
    w, x, y, z = can_bus(degrees(yaw), None, TINY)[3:7]
    expected = np.array([np.cos(np.deg2rad(yaw) / 2), np.sin(np.deg2rad(yaw) / 2)])
    expected *= np.sign(expected[np.argmax(np.abs(expected))])
    np.testing.assert_allclose([w, z], expected, atol=1e-12)
    assert abs(x) < 1e-12 and abs(y) < 1e-12
