"""What goes into the network: image, movement, tracks of the frame before; and what becomes a track."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from network_cases import REFERENCE, official_config, random_queries, reference, small_config
from scenarios import yawed
from small_runtime import camera
from small_runtime import image as picture

from cooptrack_core.model import box_code
from cooptrack_core.model.can_bus import can_bus
from cooptrack_core.model.image_input import image_input
from cooptrack_core.model.life_cycle import advance
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.propagation import propagate
from cooptrack_core.model.queries import NO_ID, Queries
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
    half = image_input(frame(image=small, camera=camera(640, 360)), TINY)
    assert full.image.shape == (3, 192, 320) and not full.image[:, 180:].any()
    np.testing.assert_allclose(half.image, full.image, atol=0.05)
    np.testing.assert_allclose(half.lidar2img, full.lidar2img, rtol=1e-12)


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


def transform(R: torch.Tensor, t: torch.Tensor) -> np.ndarray:
    """[4, 4] from the transposed rotation and the shift of the files."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R.numpy().T, t.numpy()
    return T


def moved(T: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(T)


def test_ego_motion_equals_the_published_network():
    arrays = reference("helpers.npz")
    old = transform(arrays["ego_l2g_r1"], arrays["ego_l2g_t1"])
    new = transform(arrays["ego_l2g_r2"], arrays["ego_l2g_t2"])
    points = arrays["ego_in"]
    standing = Queries.empty(len(points), dims=4, classes=3, history=4, like=points).with_(ref_pts=points)
    got = propagate(standing, 0.1, moved(np.linalg.inv(new) @ old), get_preset("official_r50_coop"))
    torch.testing.assert_close(got.ref_pts, arrays["ego_out"], atol=1e-5, rtol=0)


def tracks(config, *boxes) -> Queries:
    """Tracks of (x, y, z, w, l, h, psi, vx, vy)."""
    code = box_code.encode(torch.tensor(boxes, dtype=torch.float64).reshape(-1, 9))
    live = random_queries(len(boxes), config, dtype=torch.float64)
    return live.with_(boxes=code, ref_pts=box_code.normalise(box_code.center(code), config.point_range_m))


CAR = (10.0, 4.0, -1.0, 1.8, 4.4, 1.5, 0.4, 6.0, -2.0)


def test_a_track_goes_on_with_constant_velocity():
    config = small_config()
    live = tracks(config, CAR, (0.0, 0.0, 0.0, 1, 1, 1, 0.0, 0.0, 0.0))
    got = propagate(live, 0.5, moved(np.eye(4)), config)
    centers = box_code.center(got.boxes).numpy()
    np.testing.assert_allclose(centers, [[13.0, 3.0, -1.0], [0.0, 0.0, 0.0]], atol=1e-9)
    np.testing.assert_allclose(box_code.denormalise(got.ref_pts, config.point_range_m), centers, atol=1e-9)
    for name in ("query_feats", "history_feats", "history_padding", "track_id", "misses", "scores"):
        assert torch.equal(getattr(got, name), getattr(live, name))


@pytest.mark.parametrize(("config", "turns"), [(small_config(), True), (official_config(), False)])
def test_velocity_and_heading_turn_with_the_vehicle_by_option(config, turns):
    T_new_from_old = np.linalg.inv(degrees(90.0, 3.0, -1.0))
    got = box_code.decode(propagate(tracks(config, CAR), 0.0, moved(T_new_from_old), config).boxes)[0].numpy()
    np.testing.assert_allclose(got[:3], [5.0, -7.0, -1.0], atol=1e-9)
    np.testing.assert_allclose(got[3:6], [1.8, 4.4, 1.5], atol=1e-9)
    # psi grows clockwise: a vehicle that turns left by a quarter sees it grow by as much.
    expected = [0.4 + np.pi / 2, -2.0, -6.0] if turns else [0.4, 6.0, -2.0]
    np.testing.assert_allclose(got[6:], expected, atol=1e-9)


def test_a_car_parked_in_the_map_stays_there_while_the_vehicle_moves():
    config, old, new = small_config(), degrees(20.0, 5e5, 4e6, 30.0), degrees(23.0, 5e5 + 1.0, 4e6 + 0.4, 30.1)
    parked = tracks(config, (20.0, -3.0, -1.5, 1.8, 4.4, 1.5, 0.4, 0.0, 0.0)).to(torch.float32)
    got = propagate(parked, 0.1, moved(np.linalg.inv(new) @ old), config)
    expected = np.linalg.inv(new) @ old @ [20.0, -3.0, -1.5, 1.0]
    np.testing.assert_allclose(box_code.center(got.boxes)[0], expected[:3], atol=2e-5)


def test_a_track_may_leave_the_range():
    config = small_config()
    got = propagate(tracks(config, (50.0, 0, 0, 1, 1, 1, 0, 40.0, 0.0)), 0.1, moved(np.eye(4)), config)
    assert box_code.center(got.boxes)[0, 0] == pytest.approx(54.0) and got.ref_pts[0, 0] > 1.0


def test_no_tracks_stay_no_tracks():
    config = small_config()
    assert len(propagate(random_queries(0, config), 0.1, moved(degrees(5.0, 1.0)), config)) == 0
    done = advance(random_queries(0, config), 7, config)
    assert len(done.queries) == len(done.live) == len(done.reported) == 0 and done.next_id == 7


def scored(config, *scores, ids=None, is_track=None, misses=None) -> Queries:
    n = len(scores)
    return random_queries(n, config).with_(
        scores=torch.tensor(scores),
        track_id=torch.full((n,), NO_ID) if ids is None else torch.tensor(ids),
        is_track=torch.zeros(n, dtype=torch.bool) if is_track is None else torch.tensor(is_track),
        misses=torch.zeros(n, dtype=torch.int64) if misses is None else torch.tensor(misses),
    )


def test_the_life_cycle_equals_the_published_network():
    config = get_preset("official_r50_coop")
    steps = json.loads((REFERENCE / "runtime_tracker.json").read_text())
    assert len(steps) == 4
    for step in steps:
        queries = scored(
            small_config(), *step["scores"], ids=step["ids"], is_track=step["mask"], misses=step["disappear"]
        )
        done = advance(queries, 5, config)
        live = done.queries.select(done.live)
        assert live.track_id.tolist() == step["live_ids_after"] and live.misses.tolist() == step["disappear_after"]
        assert done.next_id == 5


def test_thresholds_are_above_for_a_track_and_from_for_a_report():
    config = small_config()
    low, high = np.float32(config.output_threshold), np.float32(config.score_threshold)
    up, down = np.float32(1.0), np.float32(0.0)
    scores = [np.nextafter(low, down), low, np.nextafter(low, up), high, np.nextafter(high, up)]
    done = advance(scored(config, *(float(s) for s in scores)), 1, config)
    assert done.reported.tolist() == [False, True, True, True, True]
    assert done.live.tolist() == [False, False, False, False, True]
    assert done.queries.is_track.tolist() == done.live.tolist()
    assert done.queries.track_id.tolist() == [NO_ID, 1, 2, 3, 4] and done.next_id == 5


def test_ids_rise_and_background_takes_some_in_the_published_network_only():
    scores = (0.9, 0.05, 0.35, 0.1, 0.8)
    ours = advance(scored(small_config(), *scores), 10, small_config())
    assert ours.queries.track_id.tolist() == [10, NO_ID, 11, NO_ID, 12] and ours.next_id == 13
    theirs = advance(scored(official_config(), *scores), 10, official_config())
    assert theirs.queries.track_id.tolist() == [10, 11, 12, 13, 14] and theirs.next_id == 15


def test_no_id_is_ever_given_twice():
    config, random = small_config(max_misses=2), np.random.default_rng(3)
    queries, next_id, born = random_queries(0, config), 1, []
    for _ in range(30):
        fresh = scored(config, *[0.0] * 8)
        queries = Queries.cat([queries.select(slice(0, 12)), fresh])
        queries = queries.with_(scores=torch.from_numpy(random.random(len(queries))).float())
        had = set(queries.track_id.tolist())
        done = advance(queries, next_id, config)
        born += [i for i in done.queries.track_id.tolist() if i not in had and i != NO_ID]
        assert done.next_id == next_id + len([i for i in born if i >= next_id])
        queries, next_id = done.queries.select(done.live), done.next_id
    assert born == list(range(1, next_id)) and next_id > 50


def test_a_track_that_was_never_active_is_dropped_and_one_that_was_survives_misses():
    config = small_config(max_misses=3)
    queries = scored(config, 0.35, 0.35, ids=[1, 2], is_track=[False, True])
    lives = []
    for _ in range(4):
        done = advance(queries, 9, config)
        lives.append(done.queries.select(done.live).track_id.tolist())
        queries = done.queries.select(done.live).with_(scores=torch.full((int(done.live.sum()),), 0.1))
    assert lives == [[2], [2], [], []]
