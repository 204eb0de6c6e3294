"""The whole system as a user starts it: `ros2 launch` with a bag, five processes, a recorded bag out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from processes import launch

from cooptrack_core import cli
from cooptrack_core.config import VehicleConfig
from cooptrack_core.data.recording import recording_from_bags
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.evaluation.summary import summarize
from cooptrack_core.offline_bag import repeat_bag, track_bag

LATE = VehicleConfig(mode="late", detector="simulated")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic scene of 2 s without images, as a bag; the scene lies beside it."""
    folder = tmp_path_factory.mktemp("scene")
    assert cli.main(["synthesize", str(folder / "scene"), "--renderer", "none", "--duration-s", "2"]) == 0
    assert cli.main(["to-bag", str(folder / "scene"), str(folder / "bag")]) == 0
    return folder / "bag"


@pytest.fixture(scope="module")
def bag_with_images(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first second with noise in place of pictures, in which a network finds something, too."""
    folder = tmp_path_factory.mktemp("with_images")
    shutil.copytree(bag.parent / "scene", folder / "scene")
    rng, dataset = np.random.default_rng(5), Dataset(folder / "scene")
    for row in (*dataset.frames("vehicle"), *dataset.frames("infrastructure")):
        row.image_path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (90, 160, 3), np.uint8)
        row.image_path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    assert cli.main(["to-bag", str(folder / "scene"), str(folder / "bag"), "--frames", "10"]) == 0
    return folder / "bag"


@pytest.fixture(scope="module")
def played(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The bag played in lock-step and recorded: the recorded bag and the log."""
    recorded = tmp_path_factory.mktemp("run") / "recorded"
    result = launch(f"bag:={bag}", f"record:={recorded}", "lockstep:=true", "detector:=simulated")
    assert result.returncode == 0, result.stdout + result.stderr
    return recorded, result.stdout + result.stderr


def plain(recording: dict[str, Any]) -> list[dict[str, Any]]:
    """What both ways must agree on, in the single precision in which messages carry some of it."""
    keys = ("stamp_ns", "frame_index", "predicted_only", "pose_known", "tracks", "associations", "messages", "refused")
    return [{key: frame[key] for key in keys} for frame in recording["frames"]]


def assert_same(a: Any, b: Any, where: str = "frames") -> None:
    """Equal structure, names and integers; floats to the resolution of float32."""
    assert type(a) is type(b) or {type(a), type(b)} == {int, float}, where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{index}]")
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=2e-6, abs=1e-6), where
    else:
        assert a == b, where


def test_every_frame_in_gives_tracks_out_and_a_recorded_bag(played: tuple[Path, str], bag: Path) -> None:
    summary = summarize(recording_from_bags(played[0], bag))
    assert summary["frames_in"] == summary["frames_out"] == 20
    assert summary["frames_predicted_only"] == 0 and summary["messages"] == 20
    assert summary["tracks_only_via_roadside"] > 0 and summary["message_bytes_mean"] > 100
    assert summary["messages_refused"] == {}


def test_nothing_in_a_clean_run_is_a_warning_or_an_error(played: tuple[Path, str]) -> None:
    suspicious = [
        line for line in played[1].splitlines() if "[WARN]" in line or "[ERROR]" in line or "Traceback" in line
    ]
    assert suspicious == []


def test_offline_repeats_the_nodes_run_number_by_number(played: tuple[Path, str], bag: Path) -> None:
    nodes = recording_from_bags(played[0], bag)
    assert_same(plain(repeat_bag(bag, played[0], LATE)), plain(nodes))


def test_offline_repeats_the_nodes_tracks_byte_for_byte_from_bag_and_dataset(
    played: tuple[Path, str], bag: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in (bag, bag.parent / "scene"):
        assert cli.main(["track", str(source), "--schedule", str(played[0])]) == 0
        assert "repeated: the tracks of 20 of 20 frames are byte for byte those in" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["learned", "late"])
def test_offline_repeats_what_the_nodes_networks_tracked_byte_for_byte(
    bag_with_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    recorded = tmp_path / "recorded"
    options = [f"mode:={mode}", "weights:=untrained", "device:=cpu", "lockstep:=true"]
    result = launch(f"bag:={bag_with_images}", f"record:={recorded}", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    options = ["--schedule", str(recorded), "--weights", "untrained", "--device", "cpu"]
    for source in (bag_with_images, bag_with_images.parent / "scene"):
        assert cli.main(["track", str(source), *options]) == 0
        told = capsys.readouterr().out
        assert f"{mode}, network" in told
        assert "repeated: the tracks of 10 of 10 frames are byte for byte those in" in told
    nodes = recording_from_bags(recorded, bag_with_images)
    # Some of what random numbers make of a street is refused; that is news as well.
    assert sum(len(frame["messages"]) + len(frame["refused"]) for frame in nodes["frames"]) >= 8
    assert sum(len(frame["messages"]) for frame in nodes["frames"]) >= 4
    assert not any(frame["predicted_only"] for frame in nodes["frames"])


def test_a_free_offline_run_of_the_same_bag_gives_the_same_tracks(played: tuple[Path, str], bag: Path) -> None:
    nodes, offline = recording_from_bags(played[0], bag), track_bag(bag, LATE)
    assert_same([f["tracks"] for f in offline["frames"]], [f["tracks"] for f in nodes["frames"]])


def test_behind_a_bad_radio_every_frame_has_tracks_and_what_is_refused_has_a_name(bag: Path, tmp_path: Path) -> None:
    (tmp_path / "radio.yaml").write_text("{delay_ms: 100.0, loss: 0.2, duplicated: 0.3, truncated: 0.3}")
    options = [f"record:={tmp_path / 'recorded'}", f"impair:={tmp_path / 'radio.yaml'}", "detector:=simulated"]
    result = launch(f"bag:={bag}", "lockstep:=true", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    recording = recording_from_bags(tmp_path / "recorded", bag)
    summary = summarize(recording)
    assert summary["frames_in"] == summary["frames_out"] == 20 and summary["frames_predicted_only"] == 0
    assert 3 < sum(bool(frame["messages"]) for frame in recording["frames"]) < 18
    assert {"malformed", "duplicate"} <= set(summary["messages_refused"])


def test_an_unknown_mode_is_one_clear_line(bag: Path) -> None:
    result = launch(f"bag:={bag}", "mode:=psychic")
    text = result.stdout + result.stderr
    assert result.returncode != 0 and "Traceback" not in text
    assert "psychic" in text and "late" in text


def test_a_bag_that_does_not_exist_ends_the_launch_with_a_clear_line(tmp_path: Path) -> None:
    result = launch(f"bag:={tmp_path / 'nothing'}")
    text = result.stdout + result.stderr
    assert result.returncode != 0 and "Traceback" not in text and "nothing" in text
