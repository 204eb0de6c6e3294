"""A damaged recording is refused by file and entry: no reader stumbles, and nothing is written outside a folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from visualization_recording import FakeWorld

from cooptrack_core.cli import main
from cooptrack_core.data.recording import load_recording
from cooptrack_core.types import CooptrackError

Recording = dict[str, Any]


@pytest.fixture(scope="module")
def sound() -> Recording:
    recording: Recording = FakeWorld(frames=2).recording()
    recording["sent"] = []
    for frame in recording["frames"]:
        frame.setdefault("has_ground_truth", True)
        frame.setdefault("sequence_id", "0001")
        frame.setdefault("frame_id", "000001")
    return recording


DAMAGE: dict[str, tuple[Callable[[Recording], Any], str]] = {
    "frames is no list": (lambda r: r.update(frames={"a": 1}), "frames: is {'a': 1}, not a list"),
    "frame is no object": (lambda r: r["frames"].__setitem__(1, 7), r"frames\[1\]: is 7, not an object"),
    "frame without stamp": (lambda r: r["frames"][0].pop("stamp_ns"), r"frames\[0\].stamp_ns: is missing"),
    "no mode": (lambda r: r.pop("mode"), "mode: is missing"),
    "no messages": (lambda r: r.pop("sent"), "sent: is missing"),
    "unknown whether labelled": (lambda r: r["frames"][1].pop("has_ground_truth"), "has_ground_truth: is missing"),
    "flat box": (
        lambda r: r["frames"][0]["tracks"][0].update(center_m=[1, 2]),
        r"frames\[0\].tracks\[0\].center_m: is \[1, 2\], not 3 finite numbers",
    ),
    "box nowhere": (lambda r: r["frames"][0]["tracks"][0].update(center_m=[None] * 3), "not 3 finite numbers"),
    "absurd box": (lambda r: r["frames"][0]["tracks"][0].update(center_m=[1e300, 0, 0]), "not 3 finite numbers"),
    "class of no name": (lambda r: r["frames"][0]["ground_truth"][0].update({"class": []}), "class: is"),
    "pose of zeros": (lambda r: r["frames"][0].update(T_map_from_lidar=[[0.0] * 4] * 4), "not a pose"),
    "camera without K": (lambda r: r["cameras"]["vehicle"].pop("K"), "cameras.vehicle.K: is missing"),
    "image that is none": (lambda r: r["frames"][0].update(images={"vehicle": 5}), "images.vehicle: is 5"),
    "sequence is a path": (
        lambda r: r["frames"][0].update(sequence_id="../elsewhere"),
        r"frames\[0\].sequence_id: is '../elsewhere', not a name without path",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_recording_is_refused_by_file_and_entry(name: str, sound: Recording, tmp_path: Path) -> None:
    damage, said = DAMAGE[name]
    recording = copy.deepcopy(sound)
    damage(recording)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(recording))
    with pytest.raises(CooptrackError, match=said) as error:
        load_recording(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "write the recording again" in str(error.value)


def test_sound_recording_is_taken_with_what_may_be_unknown(sound: Recording, tmp_path: Path) -> None:
    recording = copy.deepcopy(sound)
    recording["frames"][0].update(T_map_from_lidar_truth=None, T_map_from_lidar=None)
    recording["frames"][0]["tracks"][0]["velocity_mps"] = [None, None]
    recording["frames"][0]["associations"]["pairs"][0]["remote_center_m"] = [1.0, 2.0, None]
    path = tmp_path / "r.json"
    path.write_text(json.dumps(recording))
    assert load_recording(path) == recording


def test_figures_write_nothing_outside_their_folder(
    sound: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = copy.deepcopy(sound)
    for frame in recording["frames"]:
        frame["sequence_id"] = "../elsewhere"
    path = tmp_path / "r.json"
    path.write_text(json.dumps(recording))
    assert main(["figures", str(path), "--out", str(tmp_path / "figures")]) == 2
    assert sorted(item.name for item in tmp_path.iterdir()) == ["r.json"]
    assert "not a name without path" in capsys.readouterr().err


def test_figures_of_a_recording_that_names_no_source_go_without_images(
    sound: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(sound | {"source_bag": None}))
    assert main(["figures", str(path), "--out", str(tmp_path / "figures"), "--kind", "association"]) == 0
    assert "from which the recording came, is not here" in capsys.readouterr().err
