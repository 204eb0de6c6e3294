"""The demo's options: how they reach the launch, when it goes in lock-step, what it says of untrained weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
from fake_networks import FakeNetwork, fake_networks
from recorded_bags import record
from tiny_spd import TinySpd

from cooptrack_core import demo
from cooptrack_core.cli import build_parser, main
from cooptrack_core.config import NetworkConfig, VehicleConfig
from cooptrack_core.data.to_bag import sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.report import write_report
from cooptrack_core.types import CooptrackError


def arguments(*options: str) -> argparse.Namespace:
    return build_parser().parse_args(["demo", *options])


def prepared(monkeypatch: pytest.MonkeyPatch, device: str, *options: str) -> tuple[demo.Demo, dict[str, str]]:
    """A demo whose networks would run on a device, and its launch arguments."""
    monkeypatch.setattr(demo, "find_network", lambda vehicle, roadside: device)
    made = demo.Demo(arguments(*options))
    made._check_network()
    return made, dict(item.split(":=", 1) for item in made._launch_command()[4:])


def test_a_network_on_the_cpu_goes_in_lock_step_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, launch = prepared(monkeypatch, "cpu")
    assert (launch["detector"], launch["mode"], launch["weights"]) == ("network", "learned", "tiny")
    assert launch["lockstep"] == "true" and made.lockstep
    assert "network on the CPU: lock-step, each frame waits for its result" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("device", "options", "lockstep"),
    [
        ("cuda", [], "false"),
        ("cpu", ["--no-lockstep"], "false"),
        ("cuda", ["--lockstep"], "true"),
        ("cpu", ["--detector", "simulated"], "false"),
        ("cpu", ["--detector", "simulated", "--lockstep"], "true"),
    ],
)
def test_lock_step_is_otherwise_as_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], device: str, options: list[str], lockstep: str
) -> None:
    _, launch = prepared(monkeypatch, device, *options)
    assert launch["lockstep"] == lockstep
    assert "each frame waits" not in capsys.readouterr().out


def test_network_options_reach_the_launch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--preset", "r50", "--weights", "a.safetensors", "--roadside-weights", "b.safetensors"]
    _, launch = prepared(monkeypatch, "cpu", "--mode", "distance", "--device", "cpu", *options)
    expected = {
        "detector": "network", "mode": "distance", "preset": "r50", "weights": "a.safetensors", "device": "cpu",
        "roadside_weights": "b.safetensors",
    }  # fmt: skip
    assert {name: launch[name] for name in expected} == expected
    assert "untrained" not in capsys.readouterr().out


def test_scene_multi_is_two_pairs_that_share_what_they_see(monkeypatch: pytest.MonkeyPatch) -> None:
    made, launch = prepared(monkeypatch, "cpu", "--scene", "multi", "--seed", "5")
    assert (launch["vehicle"], launch["roadside"], launch["share"]) == ("vehicle1,vehicle2", "rsu1,rsu2", "true")
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(made, "_cooptrack", lambda number, title, *command: commands.append(command))
    made._make_scene()
    made._make_bag()
    scene, bag = commands
    assert scene[:2] == ("synthesize", "demo/scene_multi") and scene[scene.index("--pairs") + 1] == "2"
    assert bag[:2] == ("to-bag", "demo/scene_multi/1") and bag[bag.index("--with") + 1] == "demo/scene_multi/2"
    _, single = prepared(monkeypatch, "cpu")
    assert not {"vehicle", "roadside", "share"} & set(single)


def test_scene_multi_reports_every_vehicle_and_films_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = prepared(monkeypatch, "cpu", "--scene", "multi")
    reports: list[tuple[str, str, bool]] = []

    def report(recorded: Path, bag: Path, out: Path, *, vehicle: str, video: bool, **more: object) -> None:
        reports.append((vehicle, str(out), video))

    monkeypatch.setattr(demo, "write_report", report)
    made._report()
    assert reports == [("vehicle1", "demo", True), ("vehicle2", "demo/vehicle2", False)]


def test_untrained_weights_are_called_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, launch = prepared(monkeypatch, "cuda", "--weights", "untrained")
    told = capsys.readouterr().out
    assert "untrained: random weights" in told and "tracks mean nothing" in told
    assert launch["weights"] == "untrained" and "roadside_weights" not in launch


def test_a_simulated_demo_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_: object) -> str:
        raise AssertionError("torch is not needed here")

    monkeypatch.setattr(demo, "find_network", unwanted)
    made = demo.Demo(arguments("--detector", "simulated"))
    made._check_network()
    assert "mode:=late" in made._launch_command()
    assert not any("weights" in item or "preset" in item for item in made._launch_command())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--detector", "simulated", "--mode", "learned"],
            "--mode: learned needs features; give --detector network too",
        ),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--weights", "untrained", "--roadside-weights", "nobody"], "nobody"),
        (["--preset", "r50"], "expected weights of preset r50_coop, found those of 'tiny_coop'; choose that preset"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo"), *options]) == 2
    message = capsys.readouterr().err.strip()
    assert says in message and len(message.splitlines()) == 1
    assert not (tmp_path / "demo").exists()


def test_without_torch_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("cooptrack_core.model.loading", "cooptrack_core.checkpoints.store"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(CooptrackError, match=r"detector network: Python package torch is missing; pip install"):
        demo.Demo(arguments())._check_network()


@pytest.mark.parametrize(("weights", "compared"), [("untrained", False), ("mine.safetensors", True)])
def test_a_report_compares_a_network_only_with_the_same_trained_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: str, compared: bool
) -> None:
    sequence_to_bag(Dataset(TinySpd(tmp_path / "spd").write()), "0010", tmp_path / "bag")
    config = VehicleConfig(mode="learned", detector="network", network=NetworkConfig(weights=weights))
    record(tmp_path / "bag", tmp_path / "recorded", config, fake_networks)
    monkeypatch.setattr("cooptrack_core.networks.make_network", lambda config, role, matcher="": FakeNetwork(role))
    summary = write_report(
        tmp_path / "recorded", tmp_path / "bag", tmp_path / "out", pictures=False, network=config.network
    )
    assert set(summary["hidden_recall"]) == ({"learned", "ego"} if compared else {"learned"})
    assert summary["weights"] == weights
    assert ("untrained: random numbers" in capsys.readouterr().out) is not compared
