"""Which frames figures are drawn of, and the files they become."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import pytest
from figure_recordings import tracks_at
from visualization_recording import FakeWorld

from cooptrack_core.types import CooptrackError
from cooptrack_core.visualization.figures import (
    FigureOptions,
    NothingToDraw,
    parse_frames,
    spread,
    telling_frames,
    write_figures,
)
from cooptrack_core.visualization.scene import build_scene
from cooptrack_core.visualization.tracking_figure import tracking_figure, tracking_strip


@pytest.fixture(scope="module")
def world() -> FakeWorld:
    return FakeWorld(frames=4, road_users=14)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("2:5", [2, 3, 4]), (":2", [0, 1]), ("8:", [8, 9]), (":", list(range(10))), ("0:10:4", [0, 4, 8]), ("3", [3])],
)
def test_ranges_of_frames(text: str, chosen: list[int]) -> None:
    assert list(range(10))[parse_frames(text)] == chosen


@pytest.mark.parametrize("text", ["", "a:b", "1:2:3:4", "-3:", "1:2:0", "1.5:3", "3:2", "2:2", ":0"])
def test_what_is_no_range_of_frames_is_refused(text: str) -> None:
    with pytest.raises(CooptrackError, match="--frames: "):
        parse_frames(text)


def test_frames_are_written_as_numbered_files(world: FakeWorld, tmp_path: Path) -> None:
    paths = write_figures(world.recording(), world.image, tmp_path, FigureOptions(frames=slice(1, 3)))
    names = ["association_00001.png", "tracking_00001.png", "association_00002.png", "tracking_00002.png"]
    assert [path.name for path in paths] == names
    for path in paths:
        image = cv2.imread(str(path))
        assert image is not None and min(image.shape[:2]) > 1000 and image.std() > 5


def test_a_strip_is_one_file_of_each_kind(world: FakeWorld, tmp_path: Path) -> None:
    paths = write_figures(world.recording(), world.image, tmp_path, FigureOptions(strip=True))
    assert [path.name for path in paths] == ["association_strip.png", "tracking_strip.png"]
    assert spread(20, 4) == [0, 6, 13, 19] and spread(2, 4) == [0, 1] and spread(0, 4) == []


def test_a_strip_shows_frames_with_tracks_evenly_spread(world: FakeWorld) -> None:
    scene = build_scene(FakeWorld(frames=20, road_users=14).recording())
    assert telling_frames(scene, 4) == [2, 7, 12, 17]
    empty: dict[int, tuple[float, float]] = {}
    late = build_scene(tracks_at(world, empty, empty, {1: (9.0, 0.0)}, {1: (9.0, 0.0)}))
    assert telling_frames(late, 4) == [2, 3]
    assert telling_frames(build_scene(tracks_at(world, empty, empty)), 4) == [0, 1]


def test_small_images_number_only_what_there_is_room_for(world: FakeWorld) -> None:
    scene = build_scene(world.recording())
    large = tracking_figure(scene, 0, world.image).axes[1]
    small = tracking_strip(scene, [0, 1, 2, 3], world.image).axes[1]
    assert 0 <= len(small.texts) < len(large.texts)


def test_a_recording_that_has_fewer_frames_shows_those_it_has(world: FakeWorld, tmp_path: Path) -> None:
    paths = write_figures(world.recording(), None, tmp_path, FigureOptions(kinds=("association",), frames=slice(2, 9)))
    assert [path.name for path in paths] == ["association_00002.png", "association_00003.png"]


@pytest.mark.parametrize("frames", [slice(4, 9), slice(4, None)])
def test_frames_outside_the_recording_are_an_error(world: FakeWorld, tmp_path: Path, frames: slice) -> None:
    with pytest.raises(NothingToDraw, match=r"here\.json: frames: has 0 to 3, none of .*choose within 0:4"):
        write_figures(world.recording(), None, tmp_path, FigureOptions(frames=frames), where="here.json")
    assert not list(tmp_path.iterdir())


def test_a_recording_without_frames_is_an_error(world: FakeWorld, tmp_path: Path) -> None:
    recording = {**copy.deepcopy(world.recording()), "frames": []}
    with pytest.raises(CooptrackError, match="frames: empty"):
        write_figures(recording, None, tmp_path, FigureOptions())
