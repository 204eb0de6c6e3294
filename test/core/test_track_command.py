"""`cooptrack track`: sources, networks, repetition, and one line for what cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_networks import FakeNetwork, fake_networks
from recorded_bags import record
from simulated import LATE, SIMULATED
from tiny_spd import TinySpd

from cooptrack_core.cli import main
from cooptrack_core.config import NetworkConfig, VehicleConfig
from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset

FRAMES = 5


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence with images of a width to height that networks take."""
    root = TinySpd(tmp_path_factory.mktemp("data") / "spd", frames=FRAMES).write()
    rng = np.random.default_rng(1)
    for path in root.glob("*/image/*.jpg"):
        image = rng.integers(0, 255, (45, 80, 3), np.uint8)
        path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    sequence_to_bag(Dataset(root), "0010", root.parent / "bag", BagOptions(seed=6))
    return root


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[NetworkConfig, str]]:
    """The networks that the command asks for; it gets fake ones."""
    asked: list[tuple[NetworkConfig, str]] = []

    def make_network(config: NetworkConfig, role: str, matcher: str = "affinity") -> FakeNetwork:
        asked.append((config, f"{role} {matcher}"))
        return FakeNetwork(role)

    monkeypatch.setattr("cooptrack_core.networks.make_network", make_network)
    return asked


def frames_of(path: Path) -> list[dict]:
    frames = json.loads(path.read_text())["frames"]
    return [{key: value for key, value in frame.items() if key != "timings_ms"} for frame in frames]


def test_a_dataset_equals_its_bag_of_the_same_seed(spd: Path, tmp_path: Path) -> None:
    assert main(["track", str(spd), *SIMULATED, "--seed", "6", "-o", str(tmp_path / "a.json")]) == 0
    options = [*SIMULATED, "--sequence", "0010", "--seed", "6"]
    assert main(["track", str(spd), *options, "-o", str(tmp_path / "b.json")]) == 0
    assert main(["track", str(spd.parent / "bag"), *SIMULATED, "-o", str(tmp_path / "c.json")]) == 0
    a, b, c = (frames_of(tmp_path / f"{name}.json") for name in "abc")
    assert a == b == c and len(a) == FRAMES
    assert main(["track", str(spd), *SIMULATED, "--seed", "7", "-o", str(tmp_path / "d.json")]) == 0
    assert frames_of(tmp_path / "d.json") != a


def test_networks_get_their_options(spd: Path, made: list, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--preset", "r50", "--weights", "a.safetensors", "--roadside-weights", "b.safetensors"]
    more = ["--device", "cpu", "--seed", "4"]
    assert main(["track", str(spd), "--detector", "network", "--mode", "distance", *options, *more]) == 0
    assert made == [
        (NetworkConfig("r50", "b.safetensors", "cpu", seed=4), "inf affinity"),
        (NetworkConfig("r50", "a.safetensors", "cpu", seed=4), "coop distance"),
    ]
    table = capsys.readouterr().out
    assert "distance, network" in table and "a.safetensors" in table and "untrained" not in table


def test_untrained_networks_are_called_so(spd: Path, made: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", str(spd), "--weights", "untrained", "--mode", "ego", "--roadside", ""]) == 0
    assert "untrained: random numbers, so the tracks mean nothing" in capsys.readouterr().out
    assert [role for _, role in made] == ["coop affinity"]


@pytest.mark.parametrize("option", ["--schedule", "--repeat"])
@pytest.mark.parametrize("kind", ["spd", "bag"])
def test_a_recorded_run_is_repeated_in_its_mode_and_says_how_well(
    spd: Path, tmp_path: Path, made: list, capsys: pytest.CaptureFixture[str], option: str, kind: str
) -> None:
    recorded = tmp_path / "recorded"
    config = VehicleConfig(mode="learned", detector="network")
    record(spd.parent / "bag", recorded, config, fake_networks, heard=lambda sequence: sequence % 2 == 0)
    assert main(["track", str(spd.parent / kind), option, str(recorded)]) == 0
    told = capsys.readouterr().out
    assert "learned, network" in told
    assert f"repeated: the tracks of 5 of 5 frames are byte for byte those in {recorded}\n" in told
    assert main(["track", str(spd.parent / kind), option, str(recorded), "--mode", "ego"]) == 0
    told = capsys.readouterr().out
    assert "frames are byte for byte" in told and "do mode, detector, weights and source agree" in told


def test_a_recording_that_begins_late_says_so(spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(spd.parent / "bag", tmp_path / "recorded", LATE, fake_networks, index_from=3)
    assert main(["track", str(spd.parent / "bag"), "--schedule", str(tmp_path / "recorded")]) == 0
    assert "the recording begins with frame 3 of its run" in capsys.readouterr().out


def test_a_dataset_with_several_sequences_asks_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = TinySpd(tmp_path / "spd", sequences=("0010", "0011"), frames=2).write()
    assert main(["track", str(root), *SIMULATED]) == 2
    assert f"{root}: sequence: has 2 of them (0010, 0011); choose with --sequence" in capsys.readouterr().err
    assert main(["track", str(root), *SIMULATED, "--sequence", "0011"]) == 0
    assert main(["track", str(root), *SIMULATED, "--sequence", "0012"]) == 2
    assert "0012 has no vehicle frames; choose one of 0010, 0011" in capsys.readouterr().err


def test_a_frame_that_cannot_be_read_is_left_out_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = TinySpd(tmp_path / "spd").write()
    (root / "vehicle-side" / "calib" / "novatel_to_world" / "000002.json").unlink()
    assert main(["track", str(root), *SIMULATED]) == 2
    assert "000002.json: file: is missing" in capsys.readouterr().err
    assert main(["track", str(root), *SIMULATED, "--skip-broken"]) == 0
    captured = capsys.readouterr()
    assert "frames in / out                           3 / 3" in captured.out
    assert "cooptrack track: warning: frame 000002 left out" in captured.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([*SIMULATED, "--mode", "learned"], "mode learned: needs detector network"),
        (["--sequence", "0010", "--roadside", "rsu,rsu2"], "--roadside: rsu, rsu2: a dataset has one roadside unit"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--seed", "-1"], "seed"),
        (["--schedule", "nowhere"], "nowhere: bag: does not exist"),
    ],
)
def test_what_cannot_work_is_one_line(
    spd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["track", str(spd), *options]) == 2
    message = capsys.readouterr().err.strip()
    assert says in message and len(message.splitlines()) == 1


def test_a_network_needs_no_labels(tmp_path: Path, made: list, capsys: pytest.CaptureFixture[str]) -> None:
    root = TinySpd(tmp_path / "spd").write()
    for path in root.rglob("label/**/*.json"):
        path.unlink()
    assert main(["track", str(root)]) == 0
    assert "frames in / out                           4 / 4" in capsys.readouterr().out
    assert main(["track", str(root), *SIMULATED]) == 2
    assert "label/lidar/000000.json: file: is missing" in capsys.readouterr().err


def test_a_dataset_without_images_is_one_line_for_a_network(
    tmp_path: Path, made: list, capsys: pytest.CaptureFixture[str]
) -> None:
    root = TinySpd(tmp_path / "spd", images=False).write()
    assert main(["track", str(root)]) == 2
    message = capsys.readouterr().err
    assert "vehicle-side/image/000000.jpg: image: is missing, as is every other image of sequence 0010" in message


def test_a_real_network_runs_from_dataset_and_bag_alike(spd: Path, tmp_path: Path) -> None:
    for name, source in (("a", spd), ("b", spd.parent / "bag")):
        options = ["--weights", "untrained", "--device", "cpu", "-o", str(tmp_path / f"{name}.json")]
        assert main(["track", str(source), *options]) == 0
    a, b = json.loads((tmp_path / "a.json").read_text()), json.loads((tmp_path / "b.json").read_text())
    assert frames_of(tmp_path / "a.json") == frames_of(tmp_path / "b.json")
    assert a["networks"] == b["networks"] and a["networks"]["vehicle"]["preset"] == "tiny_coop"
    assert len(a["sent"]) == FRAMES and not any(frame["predicted_only"] for frame in a["frames"])
    # What random numbers put into each other is refused, the rest is used; nothing is lost.
    assert all(len(frame["messages"]) + len(frame["refused"]) == 1 for frame in a["frames"][1:])


def test_the_estimated_clock_of_a_sender_is_printed_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, recording = tmp_path / "scene", tmp_path / "run.json"
    made = ["synthesize", str(scene), "--renderer", "none", "--point-clouds", "none", "--duration-s", "7"]
    assert main(made) == 0
    capsys.readouterr()
    assert main(["track", str(scene), *SIMULATED, "--clock-offset-ms", "80", "-o", str(recording)]) == 0
    clock = json.loads(recording.read_text())["clock_offsets"]["rsu"]
    assert abs(clock["offset_ms"] - 80.0) < 3.0 * clock["std_ms"] < 60.0
    assert clock["pairs"] >= 20 and clock["objects"] >= 3
    line = next(text for text in capsys.readouterr().out.splitlines() if "clock of rsu ahead by" in text)
    assert f"{clock['offset_ms']:+.0f} ms" in line
