"""Guarantees of the recording in the world frame and of the projection into the cameras."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from visualization_recording import HEIGHT, ORIGIN_MAP_M, WIDTH, FakeWorld

from cooptrack_core.types import CooptrackError
from cooptrack_core.visualization import palette
from cooptrack_core.visualization.agents import colors_of, draw_feeders
from cooptrack_core.visualization.camera import draw_camera, project_box, seen_by_camera
from cooptrack_core.visualization.canvas import Canvas, blank
from cooptrack_core.visualization.scene import Box, Camera, Scene, build_scene

LOOKING_ALONG_X = np.array([[0, -1, 0, 0], [0, 0, -1, 2.0], [1, 0, 0, 0], [0, 0, 0, 1]])
CAMERA = Camera(np.array([[1000.0, 0, 480], [0, 1000, 270], [0, 0, 1]]), 960, 540, np.eye(4), None)


@pytest.fixture(scope="module")
def world() -> FakeWorld:
    return FakeWorld(frames=4, road_users=12)


@pytest.fixture(scope="module")
def scene(world: FakeWorld) -> Scene:
    return build_scene(world.recording())


def box(center: list[float], size: list[float], velocity: tuple[float, float] = (0, 0), seen: str = "both") -> Box:
    return Box(7, "car", np.array(center), np.array(size), 0.0, np.array(velocity), seen, seen == "remote", {})


def test_box_ahead_is_projected_where_the_pinhole_model_says() -> None:
    outline = project_box(CAMERA, LOOKING_ALONG_X, box([21, 0, 2], [2, 2, 2]))
    assert outline is not None and outline.corners_px is not None and len(outline.segments) == 12
    np.testing.assert_allclose(outline.corners_px[2], [530, 320])  # rear right bottom, 20 m ahead
    np.testing.assert_allclose(outline.corners_px[7], [430, 220])  # rear left top


@pytest.mark.parametrize("center", [[-21, 0, 2], [10, 40, 2], [30, 0, 90]])
def test_box_behind_or_beside_the_camera_is_not_drawn(center: list[float]) -> None:
    assert project_box(CAMERA, LOOKING_ALONG_X, box(center, [2, 2, 2])) is None


def test_box_through_the_near_plane_is_clipped_to_the_image() -> None:
    outline = project_box(CAMERA, LOOKING_ALONG_X, box([1, 0, 1.5], [6, 2, 1.5]))
    assert outline is not None and outline.corners_px is None
    assert np.all(outline.segments >= -1e-6) and np.all(outline.segments <= np.array([960, 540]) + 1e-6)


def test_box_is_drawn_where_it_is_when_the_image_is_taken() -> None:
    outline = project_box(CAMERA, LOOKING_ALONG_X, box([21, 0, 2], [2, 2, 2], velocity=(10, 5)), 0.2)
    assert outline is not None and outline.corners_px is not None
    expected = project_box(CAMERA, LOOKING_ALONG_X, box([23, 1, 2], [2, 2, 2]))
    assert expected is not None and expected.corners_px is not None
    np.testing.assert_allclose(outline.corners_px, expected.corners_px)


def test_world_is_level_with_the_ground_and_near_zero(world: FakeWorld, scene: Scene) -> None:
    bottoms = [item.center_m[2] - item.size_m[2] / 2 for item in scene.frames[0].truth]
    np.testing.assert_allclose(bottoms, 0, atol=1e-6)
    np.testing.assert_allclose(scene.roadside_position("rsu"), [0, 0, 6.2], atol=1e-6)
    np.testing.assert_allclose(scene.origin_map_m[:2], ORIGIN_MAP_M[:2] + 13)


def test_every_object_lands_in_the_image_where_the_painter_put_it(world: FakeWorld, scene: Scene) -> None:
    frame = scene.frames[1]
    for agent in ("vehicle", "rsu"):
        stamp = frame.image_stamps_ns[agent]
        seconds = (stamp - scene.frames[0].stamp_ns) * 1e-9
        T = scene.T_camera_from_world(agent, stamp)
        for row, item in zip(world.users, frame.truth, strict=True):
            painted = world.camera_of(agent, seconds) @ [*world.user(row, seconds)[0], 1]
            drawn = T @ [*item.moved((stamp - frame.stamp_ns) * 1e-9), 1]
            np.testing.assert_allclose(drawn, painted, atol=1e-6)


def test_frame_without_pose_is_drawn_where_the_vehicle_was_last(world: FakeWorld) -> None:
    recording = world.recording()
    recording["frames"][2]["T_map_from_lidar"] = None
    recording["frames"][2]["pose_known"] = False
    scene = build_scene(recording)
    np.testing.assert_array_equal(scene.frames[2].T_world_from_lidar, scene.frames[1].T_world_from_lidar)


def test_recording_without_any_pose_still_makes_a_scene(world: FakeWorld) -> None:
    recording = world.recording()
    for frame in recording["frames"]:
        frame["T_map_from_lidar"] = None
    del recording["cameras"]["rsu"]
    assert len(build_scene(recording).frames[0].tracks) == len(recording["frames"][0]["tracks"])


def test_null_velocity_means_standing(world: FakeWorld) -> None:
    recording = world.recording()
    recording["frames"][0]["tracks"][0]["velocity_mps"] = [None, float("nan")]
    np.testing.assert_array_equal(build_scene(recording).frames[0].tracks[0].velocity_mps, [0, 0])


@pytest.mark.parametrize(
    ("sources", "ever", "seen", "hidden"),
    [
        (1, 1, "ego", False), (2, 2, "remote", True), (3, 3, "both", False), (0, 2, "predicted", True),
        (2, 3, "remote", False),
    ],
)  # fmt: skip
def test_who_saw_a_track_is_told_from_its_sources(
    world: FakeWorld, sources: int, ever: int, seen: str, hidden: bool
) -> None:
    recording = world.recording()
    recording["frames"][0]["tracks"][0].update(sources=sources, sources_ever=ever)
    track = build_scene(recording).frames[0].tracks[0]
    assert (track.seen, track.only_remote) == (seen, hidden)


def test_other_schema_is_refused_with_a_remedy() -> None:
    with pytest.raises(CooptrackError, match=r"recording: schema: .*from-bag"):
        build_scene({"schema": "other/1"})


def test_missing_field_is_named(world: FakeWorld) -> None:
    recording = copy.deepcopy(world.recording())
    del recording["frames"][1]["tracks"]
    with pytest.raises(CooptrackError, match="tracks: field missing"):
        build_scene(recording)


def test_camera_panel_shows_the_box_of_a_track_in_its_colour(world: FakeWorld, scene: Scene) -> None:
    frame = scene.frames[0]
    visible = [b for b in frame.tracks if b.seen == "both"]
    assert visible
    panel = draw_camera(scene, frame, "rsu", world.image, (WIDTH, HEIGHT), 1.0)
    stamp = frame.image_stamps_ns["rsu"]
    T = scene.T_camera_from_world("rsu", stamp)
    seconds = (stamp - frame.stamp_ns) * 1e-9
    outlines = [project_box(scene.cameras["rsu"], T, item, seconds) for item in visible]
    shown = [outline for outline in outlines if outline is not None]
    nearest = min(shown, key=lambda outline: outline.distance_m)
    middle = nearest.segments.mean(axis=1)
    colors = np.array([panel[int(np.clip(y, 0, HEIGHT - 1)), int(np.clip(x, 0, WIDTH - 1))] for x, y in middle], float)
    distance = np.abs(colors - palette.track_color(nearest.box.id)).max(axis=1)
    assert np.sum(distance < 60) >= 3  # some edges may lie under labels


def test_missing_and_broken_images_leave_a_neutral_panel(world: FakeWorld, scene: Scene) -> None:
    for data in (None, b"", b"\xff\xd8 not a picture"):
        panel = draw_camera(scene, scene.frames[0], "vehicle", lambda agent, stamp, data=data: data, (320, 180), 0.4)
        assert panel.shape == (180, 320, 3)
        np.testing.assert_array_equal(panel[170, 10], palette.PANEL)
    nothing = SimpleNamespace(**{**vars(scene.frames[0]), "image_stamps_ns": {}})
    assert draw_camera(scene, nothing, "vehicle", world.image, (320, 180), 0.4).shape == (180, 320, 3)  # type: ignore[arg-type]


def test_colour_of_a_track_is_stable_and_differs_from_its_neighbours() -> None:
    for track_id in range(1, 200):
        assert palette.track_color(track_id) == palette.track_color(track_id + len(palette.TRACKS))
        difference = np.subtract(palette.track_color(track_id), palette.track_color(track_id + 1))
        assert np.abs(difference).max() > 40


def crowd(world: FakeWorld) -> dict:
    """The same recording with a second unit's camera carried by a vehicle that drives 1 m a frame along the map's x."""
    recording = copy.deepcopy(world.recording())
    recording["roadside"] = ["rsu", "van"]
    recording["cameras"]["van"] = {k: v for k, v in recording["cameras"]["rsu"].items() if k != "T_map_from_lidar"}
    start = np.array(recording["cameras"]["rsu"]["T_map_from_lidar"])
    for k, frame in enumerate(recording["frames"]):
        T = start.copy()
        T[0, 3] += 1.0 * k
        frame["poses"] = {"van": T.tolist()}
        for row, track in enumerate(frame["tracks"]):
            track["agents"] = [["rsu"], ["van"], ["rsu", "van"], []][row % 4]
    return recording


def test_an_agent_that_moves_is_where_its_poses_say_between_the_frames_too(world: FakeWorld) -> None:
    made = build_scene(crowd(world))
    assert made.crowded and list(made.ways) == ["van"]
    first, second = (frame.stamp_ns for frame in made.frames[:2])
    at = [made.position("van", stamp) for stamp in (first, (first + second) // 2, second)]
    np.testing.assert_allclose(np.diff([p[0] for p in at]), [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(made.position("rsu", first), made.roadside_position("rsu"))
    moved = made.T_camera_from_world("van", second) - made.T_camera_from_world("van", first)
    assert np.abs(moved[:3, 3]).max() > 0.1
    assert build_scene(world.recording()).ways == {}


def test_in_a_crowd_each_camera_tells_what_its_own_agent_measured(world: FakeWorld) -> None:
    made = build_scene(crowd(world))
    boxes = made.frames[1].tracks
    assert [seen_by_camera(item, made, "rsu") for item in boxes[:4]] == [True, False, True, False]
    assert [seen_by_camera(item, made, "van") for item in boxes[:4]] == [False, True, True, False]
    alone = build_scene(world.recording())
    for item in alone.frames[1].tracks:
        assert seen_by_camera(item, alone, "rsu") == (item.seen in ("both", "remote"))


def test_the_agents_that_feed_a_track_are_signs_in_their_colours(world: FakeWorld) -> None:
    made = build_scene(crowd(world))
    colors = colors_of(made)
    assert len(set(colors.values())) == 3 and colors["vehicle"] == palette.EGO and colors["rsu"] == palette.REMOTE
    view = SimpleNamespace(pixels=lambda p: np.asarray(p)[..., :2] * 0 + 50.0, px_per_m=0.0)
    for agents, present in ((["van"], [False, True]), (["rsu", "van"], [True, True]), ([], [False, False])):
        image = blank(100, 100, palette.BACKGROUND)
        track = replace(made.frames[1].tracks[0], seen="remote", source={"agents": agents})
        draw_feeders(Canvas(image), made, view, track)
        found = [bool((image == np.array(colors[name])).all(-1).any()) for name in ("rsu", "van")]
        assert found == present
        assert not (image == np.array(palette.EGO)).all(-1).any(), "the vehicle did not measure it"
