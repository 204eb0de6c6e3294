"""The whole system with networks: `ros2 launch` with camera images, features on the air, the run repeated offline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import launch

from cooptrack_core import cli
from cooptrack_core.config import NetworkConfig, VehicleConfig
from cooptrack_core.cooperation import wire
from cooptrack_core.data.bag import Bag
from cooptrack_core.data.recording import recording_from_bags
from cooptrack_core.offline_bag import track_bag

FRAMES = 6
UNTRAINED = "UNTRAINED random weights: tracks are meaningless"


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic scene of a few small images, as a bag."""
    folder = tmp_path_factory.mktemp("scene")
    small = ["--image-size", "320x180", "--renderer", "rays", "--point-clouds", "none", "--jobs", "1"]
    assert cli.main(["synthesize", str(folder / "scene"), "--duration-s", str(FRAMES / 10), *small]) == 0
    assert cli.main(["to-bag", str(folder / "scene"), str(folder / "bag")]) == 0
    return folder / "bag"


@pytest.fixture(scope="module")
def played(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The bag played in lock-step through untrained networks, and recorded: the recorded bag and the log."""
    return _played(bag, tmp_path_factory.mktemp("run") / "recorded", "weights:=untrained")


@pytest.fixture(scope="module")
def shipped(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The bag played in lock-step through the networks that ship, and recorded: the recorded bag and the log."""
    return _played(bag, tmp_path_factory.mktemp("shipped") / "recorded")


def _played(bag: Path, recorded: Path, *arguments: str) -> tuple[Path, str]:
    result = launch(f"bag:={bag}", f"record:={recorded}", "lockstep:=true", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return recorded, result.stdout + result.stderr


def test_without_any_choice_the_shipped_networks_run_in_mode_learned(shipped: tuple[Path, str], bag: Path) -> None:
    recorded, text = shipped
    assert not any(word in text for word in ("[WARN]", "[ERROR]", "Traceback")), text
    assert "tiny_inf.safetensors" in text and "tiny_coop.safetensors" in text
    recording = recording_from_bags(recorded, bag)
    assert (recording["mode"], recording["detector"]) == ("learned", "network")
    assert len(recording["frames"]) == FRAMES and not any(frame["predicted_only"] for frame in recording["frames"])
    assert all(len(frame["messages"]) == 1 and not frame["refused"] for frame in recording["frames"])


@pytest.mark.parametrize("engine", ["onnxruntime", "eager"])
def test_nodes_with_another_engine_publish_the_same_tracks(
    engine: str, shipped: tuple[Path, str], bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recorded, text = _played(bag, tmp_path / "recorded", f"engine:={engine}")
    assert text.count(f"engine {engine}") == 2, text
    usual, other = (recording_from_bags(path, bag)["frames"] for path in (shipped[0], recorded))
    assert sum(len(frame["tracks"]) for frame in usual) > FRAMES
    for a, b in zip(usual, other, strict=True):
        assert [track["id"] for track in a["tracks"]] == [track["id"] for track in b["tracks"]]
        for x, y in zip(a["tracks"], b["tracks"], strict=True):
            assert x["center_m"] == pytest.approx(y["center_m"], abs=1e-2)
            assert x["score"] == pytest.approx(y["score"], abs=1e-3)


def test_every_image_gives_tracks_that_use_the_features_of_the_roadside_unit(
    played: tuple[Path, str], bag: Path
) -> None:
    frames = recording_from_bags(played[0], bag)["frames"]
    assert len(frames) == FRAMES and not any(frame["predicted_only"] for frame in frames)
    assert all(len(frame["messages"]) == 1 and not frame["refused"] for frame in frames)
    # How much random weights find is another matter, but not nothing at all.
    assert sum(len(frame["tracks"]) for frame in frames) > FRAMES
    with Bag(played[0]) as recorded:
        messages = [wire.decode(item.message) for item in recorded.messages(["/rsu/instances"])]
    assert len(messages) == FRAMES and sum(len(message.instances) for message in messages) > 0
    # Random weights have no codebook.
    assert {(message.precision, message.kinematics) for message in messages} == {("fp16", "compact")}
    assert {len(message.instances.features.fingerprint) for message in messages} == {8}


def test_the_only_warnings_are_that_the_weights_are_untrained(played: tuple[Path, str]) -> None:
    suspicious = [
        line for line in played[1].splitlines() if "[WARN]" in line or "[ERROR]" in line or "Traceback" in line
    ]
    assert len(suspicious) == 2 and all(UNTRAINED in line for line in suspicious)
    assert sorted(name for name in ("tiny_inf", "tiny_coop") for line in suspicious if name in line) == [
        "tiny_coop", "tiny_inf",
    ]  # fmt: skip


def test_offline_repeats_the_run_byte_for_byte(
    played: tuple[Path, str], bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "recording.json"
    options = ["--weights", "untrained", "--schedule", str(played[0]), "--output", str(output)]
    assert cli.main(["track", str(bag), *options]) == 0
    assert f"{FRAMES} of {FRAMES} frames are byte for byte" in capsys.readouterr().out
    repeated = json.loads(output.read_text())
    assert repeated["mode"] == "learned" and repeated["repeated"]["equal"] == FRAMES


def test_a_free_offline_run_gives_the_same_tracks(played: tuple[Path, str], bag: Path) -> None:
    nodes = recording_from_bags(played[0], bag)
    untrained = NetworkConfig(weights="untrained")
    offline = track_bag(bag, VehicleConfig(mode="learned", detector="network", network=untrained))
    for a, b in zip(nodes["frames"], offline["frames"], strict=True):
        assert [use["sequence"] for use in a["messages"]] == [use["sequence"] for use in b["messages"]]
        assert [track["id"] for track in a["tracks"]] == [track["id"] for track in b["tracks"]]
        for x, y in zip(a["tracks"], b["tracks"], strict=True):
            assert x["center_m"] == pytest.approx(y["center_m"], rel=1e-6)


@pytest.mark.parametrize("mode", ["learned", "distance"])
def test_a_mode_that_needs_features_without_a_network_is_one_line_and_nothing_starts(bag: Path, mode: str) -> None:
    result = launch(f"bag:={bag}", "detector:=simulated", f"mode:={mode}")
    text = result.stdout + result.stderr
    assert result.returncode != 0 and "Traceback" not in text and "process started" not in text
    assert f"mode:={mode}: needs features; give detector:=network too" in text
