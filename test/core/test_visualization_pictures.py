"""Guarantees of the bird's-eye view, the composed frame, the film and the stills."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from visualization_recording import FakeWorld

from cooptrack_core.evaluation.summary import summarize
from cooptrack_core.types import CooptrackError
from cooptrack_core.visualization import palette
from cooptrack_core.visualization.bev import View, bounds_of, draw_bev, ground_view, view_of
from cooptrack_core.visualization.canvas import Canvas, decode
from cooptrack_core.visualization.compose import draw_frame, ground_of
from cooptrack_core.visualization.player import write_player
from cooptrack_core.visualization.scene import Scene, build_scene
from cooptrack_core.visualization.stills import telling_frame, write_stills
from cooptrack_core.visualization.video import frame_rate, write_video


@pytest.fixture(scope="module")
def world() -> FakeWorld:
    return FakeWorld(frames=5, road_users=10)


@pytest.fixture(scope="module")
def scene(world: FakeWorld) -> Scene:
    return build_scene(world.recording())


def no_image(agent: str, stamp_ns: int) -> None:
    return None


def empty(world: FakeWorld) -> dict[str, Any]:
    return {**world.recording(), "frames": []}


def only_track(world: FakeWorld, **changes: Any) -> dict[str, Any]:
    """Recording of one frame with one track 10 m ahead of the vehicle and nothing else."""
    recording = world.recording()
    frame = recording["frames"][0]
    track = {**frame["tracks"][0], "center_m": [10.0, 0.0, -1.0], "size_m": [4.5, 1.9, 1.6], "heading_rad": 0.0}
    track |= {"velocity_mps": [0.0, 0.0], "sources": 3, "sources_ever": 3, **changes}
    nothing: dict[str, list[Any]] = {"pairs": [], "unmatched_ego": [], "unmatched_remote": []}
    frame |= {"tracks": [track], "ground_truth": [], "associations": nothing}
    return {**recording, "frames": [frame]}


def close_to(pixel: Any, color: palette.RGB, tolerance: int = 25) -> bool:
    return bool(np.abs(np.subtract(pixel, color, dtype=int)).max() <= tolerance)


@pytest.mark.parametrize("orientation", ["map", "vehicle"])
def test_track_is_drawn_at_its_pixel_in_its_colour(world: FakeWorld, orientation: Any) -> None:
    scene = build_scene(only_track(world))
    view = view_of(scene, 0, 700, 700, orientation)
    image = draw_bev(scene, 0, (700, 700), 1.0, orientation=orientation)
    track = scene.frames[0].tracks[0]
    # The right rim, 0.95 m beside the centre of the body (label and heading mark lie elsewhere).
    rim = track.center_m + np.array([0.95, -1.0, 0])  # the vehicle drives along +y
    x, y = np.round(view.pixels(rim)).astype(int)
    assert any(close_to(image[y, x + k], palette.track_color(track.id)) for k in (-1, 0, 1))
    before = draw_bev(build_scene({**only_track(world), "frames": []}), 0, (700, 700), 1.0)
    assert not close_to(before[y, x], palette.track_color(track.id))


def test_track_known_only_through_the_roadside_has_a_green_rim(world: FakeWorld) -> None:
    scene = build_scene(only_track(world, sources=2, sources_ever=2))
    view = view_of(scene, 0, 700, 700)
    image = draw_bev(scene, 0, (700, 700), 1.0)
    rim = scene.frames[0].tracks[0].center_m + np.array([0.95 + 0.55, 0.5, 0])
    x, y = np.round(view.pixels(rim)).astype(int)
    assert any(close_to(image[y, x + k], palette.REMOTE, 60) for k in (-1, 0, 1))


def test_a_doubtful_track_is_an_outline_alone(world: FakeWorld) -> None:
    def colours(score: float, faint_below_score: float = 0.5) -> tuple[bool, bool]:
        """Whether there is the track's colour in its body, and the green of its rim around it."""
        recording = only_track(world, sources=2, sources_ever=2, score=score)
        scene = build_scene(recording, faint_below_score)
        view, image = view_of(scene, 0, 700, 700), draw_bev(scene, 0, (700, 700), 1.0)
        track = scene.frames[0].tracks[0]
        (x, y), (x_rim, y_rim) = (
            np.round(view.pixels(track.center_m + np.array([dx, -1.0, 0]))).astype(int) for dx in (0.5, 0.95 + 0.55)
        )
        half = palette.mix(palette.BACKGROUND, palette.track_color(track.id), 0.5)
        green = any(close_to(image[y_rim, x_rim + k], palette.REMOTE, 60) for k in (-1, 0, 1))
        return close_to(image[y, x], half, 40), green

    assert colours(0.6) == (True, True)
    assert colours(0.4) == (False, False)
    assert colours(0.4, faint_below_score=0.3) == (True, True)
    low = only_track(world, score=0.4)
    for detector, faint in (("network", True), ("simulated", False)):  # what counts if nobody says
        assert build_scene({**low, "detector": detector}).frames[0].tracks[0].faint == faint


def test_vehicle_view_puts_the_front_up() -> None:
    view = View(np.array([5.0, 5.0]), np.pi / 2, 10.0, 200, 100)
    np.testing.assert_allclose(view.pixels([[5.0, 8.0], [7.0, 5.0]]), [[100, 20], [120, 50]])
    turned = View(np.array([5.0, 5.0]), 0.0, 10.0, 200, 100)
    np.testing.assert_allclose(turned.pixels([[8.0, 5.0], [5.0, 7.0]]), [[100, 20], [80, 50]], atol=1e-9)


def test_map_view_holds_the_way_of_the_vehicle_and_the_roadside_unit(scene: Scene) -> None:
    view = view_of(scene, 0, 640, 480)
    points = [frame.T_world_from_lidar[:3, 3] for frame in scene.frames] + [scene.roadside_position("rsu")]
    pixels = view.pixels(np.array(points))
    assert np.all(pixels > 0) and np.all(pixels < [640, 480])


def test_ground_view_of_a_camera_looking_down_is_its_footprint(scene: Scene) -> None:
    outline = ground_view(scene.cameras["rsu"], scene.T_camera_from_world("rsu", 0), 60.0)
    assert np.all(np.hypot(*outline.T) <= 60.0 + 1e-6)
    toward = np.array([np.cos(-2.35), np.sin(-2.35)])
    assert np.all(outline @ toward > 0)


def test_ground_picture_shows_the_painted_road(world: FakeWorld, scene: Scene) -> None:
    ground = ground_of(scene, world.image, 4.0)
    assert ground is not None
    x0, _, _, y1 = ground.bounds_m
    column, row = round((-13 - x0) * 4), round((y1 + 13) * 4)  # middle of the crossing, 13 m from the mast
    assert ground.alpha[row, column] > 0.9
    assert np.ptp(ground.rgb[row, column]) < 20 and ground.rgb[row, column].mean() > np.mean(palette.BACKGROUND)


def test_ground_picture_without_images_is_transparent(scene: Scene) -> None:
    ground = ground_of(scene, no_image, 2.0)
    assert ground is not None and ground.alpha.max() == 0


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720), (640, 480)])
def test_frame_has_the_size_asked_for(world: FakeWorld, scene: Scene, size: tuple[int, int]) -> None:
    assert draw_frame(scene, 0, world.image, size).shape == (size[1], size[0], 3)


def test_frame_is_drawn_without_images_messages_and_pose(world: FakeWorld) -> None:
    recording = world.recording()
    for frame in recording["frames"]:
        frame.update(images={}, messages=[], T_map_from_lidar=None, pose_known=False, predicted_only=True)
    assert draw_frame(build_scene(recording), 1, no_image, (640, 360)).std() > 5


def test_empty_recording_has_an_empty_view_and_no_film(world: FakeWorld, tmp_path: Path) -> None:
    assert draw_bev(build_scene(empty(world)), 0, (300, 300)).shape == (300, 300, 3)
    with pytest.raises(CooptrackError, match="frames: empty"):
        write_video(empty(world), world.image, tmp_path / "x.mp4")
    with pytest.raises(CooptrackError, match="frames: empty"):
        write_stills(empty(world), world.image, tmp_path)


def test_a_run_without_any_track_still_gives_pictures_film_and_page(world: FakeWorld, tmp_path: Path) -> None:
    nothing: dict[str, list[Any]] = {"pairs": [], "unmatched_ego": [], "unmatched_remote": []}
    recording = world.recording()
    for frame in recording["frames"]:
        frame |= {"tracks": [], "associations": nothing, "messages": [], "predicted_only": True}
    stills = write_stills(recording, world.image, tmp_path)
    assert stills and all(path.stat().st_size > 1000 for path in stills)
    assert write_video(recording, world.image, tmp_path / "x.mp4", size=(640, 360)).stat().st_size > 1000
    write_player(recording, world.image, tmp_path / "player.html")
    assert (tmp_path / "player.html").stat().st_size > 10_000
    summary = summarize(recording)
    assert summary["tracks"] == 0 and summary["recall"] in (0.0, None)


def test_film_has_every_frame_in_the_recordings_rate(world: FakeWorld, tmp_path: Path) -> None:
    path = write_video(world.recording(), world.image, tmp_path / "deep" / "bev.mp4", size=(640, 360))
    film = cv2.VideoCapture(str(path))
    assert film.isOpened()
    assert int(film.get(cv2.CAP_PROP_FRAME_COUNT)) == world.frames
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
    assert (film.get(cv2.CAP_PROP_FRAME_WIDTH), film.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (640, 360)


def test_without_an_encoder_the_film_becomes_numbered_pictures(
    world: FakeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real_import = builtins.__import__

    def without_encoder(name: str, *rest: Any) -> Any:
        if name == "imageio_ffmpeg":
            raise ImportError(name)
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_encoder)
    path = write_video(world.recording(), world.image, tmp_path / "bev.mp4", size=(320, 180))
    assert sorted(p.name for p in path.iterdir()) == [f"{k:05d}.png" for k in range(world.frames)]
    assert "imageio-ffmpeg is not installed" in capsys.readouterr().err


def test_rate_of_a_single_frame_is_ten(world: FakeWorld, scene: Scene) -> None:
    assert frame_rate(scene) == pytest.approx(10.0)
    assert frame_rate(build_scene(only_track(world))) == 10.0


def test_stills_are_written_of_a_frame_with_hidden_tracks(world: FakeWorld, scene: Scene, tmp_path: Path) -> None:
    paths = write_stills(world.recording(), world.image, tmp_path)
    assert [path.name for path in paths] == ["overview.png", "bev.png"]
    assert all(cv2.imread(str(path)) is not None for path in paths)
    assert any(box.only_remote for box in scene.frames[telling_frame(scene)].tracks)


def test_labels_of_one_place_do_not_cover_each_other() -> None:
    canvas = Canvas(np.zeros((200, 300, 3), np.uint8))
    for text in "123456":
        canvas.label((150, 100), text, (255, 255, 255), (0, 0, 0))
    for i, (x, y, w, h) in enumerate(canvas.labels):
        assert 0 <= x <= 300 - w and 0 <= y <= 200 - h
        for a, b, c, d in canvas.labels[:i]:
            assert x + w <= a + 1 or a + c <= x + 1 or y + h <= b + 1 or b + d <= y + 1


def test_drawing_outside_the_image_changes_nothing() -> None:
    canvas = Canvas(np.zeros((50, 50, 3), np.uint8))
    for alpha in (1.0, 0.5):
        canvas.line([[-1e9, -1e9], [-5e5, -10]], (255, 255, 255), 3, alpha)
        canvas.fill([[100, 100], [200, 100], [200, 200]], (255, 255, 255), alpha)
        canvas.circle([-300, 20], 10, (255, 255, 255), alpha=alpha)
    assert canvas.image.max() == 0


def test_bounds_hold_nearly_all_tracks(scene: Scene) -> None:
    x0, y0, x1, y1 = bounds_of(scene)
    centers = np.array([box.center_m[:2] for frame in scene.frames for box in frame.tracks])
    inside = np.all((centers > [x0, y0]) & (centers < [x1, y1]), axis=1)
    assert inside.mean() > 0.95


def test_undecodable_bytes_are_no_image() -> None:
    assert decode(None) is None and decode(b"") is None and decode(b"\x00\x01") is None
