"""Rate curves: bytes are those of the messages, scores those of the runs, and nothing is run twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_networks import FakeNetwork, fake_networks
from simulated import SIMULATED, simulated_run
from tiny_spd import TinySpd

from cooptrack_core import cli
from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.evaluation.rate_curve import RatePlan, run_rate_curve
from cooptrack_core.evaluation.rate_points import OBJECT_POINTS, POINTS, chosen_points
from cooptrack_core.evaluation.remembered import RememberedRoadside
from cooptrack_core.evaluation.robustness import scores
from cooptrack_core.evaluation.run import SequenceRunner
from cooptrack_core.types import CooptrackError, Frame


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of 12 frames, both of split val."""
    root = tmp_path_factory.mktemp("data") / "spd"
    return TinySpd(root, sequences=("0003", "0007"), frames=12, images=False).write()


class CountingRunner(SequenceRunner):
    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.runs: list[str] = []

    def run(self, sequence_id: str, *arguments: Any, **rest: Any) -> dict[str, Any]:
        self.runs.append(sequence_id)
        return super().run(sequence_id, *arguments, **rest)


def plan(spd: Path, names: str | None = "compact,compact-held") -> RatePlan:
    return RatePlan(simulated_run(spd), tuple(chosen_points(names, [], objects=True)))


@pytest.fixture(scope="module")
def done(spd: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("curve")
    return run_rate_curve(plan(spd), out), out


def test_a_point_is_what_its_run_gives(spd, done):
    result, _ = done
    options = simulated_run(spd)
    runner = SequenceRunner(options)
    (_, compact, _) = plan(spd).points
    recordings = [runner.run(name, roadside=compact.config(options.roadside)) for name in runner.sequences]
    point = result["points"][1]
    found = {name: value for name, value in point["scores"].items() if value is not None}
    expected = scores(recordings, options.convention)
    assert found == {name: value for name, value in expected.items() if value == value}
    sizes = [row["bytes"] for recording in recordings for row in recording["sent"]]
    rate = point["rate"]
    assert rate["bytes_per_message"]["max"] == max(sizes)
    assert rate["bytes_per_message"]["p50"] == pytest.approx(np.median(sizes))
    assert rate["bytes_per_second"] == pytest.approx(sum(sizes) / 2.4)  # 2 sequences of 12 frames at 10 Hz


def test_compact_takes_less_and_held_less_still(done):
    reference, compact, held = (point["rate"] for point in done[0]["points"])
    assert held["bytes_per_second"] < compact["bytes_per_second"] < reference["bytes_per_second"]
    assert compact["header_bytes"] < reference["header_bytes"]
    # 15 bytes and an id, and 4 for known variances; 67 as numbers.
    assert compact["bytes_per_instance"] < 22 and reference["bytes_per_instance"] > 60
    assert held["held"] > 0 and compact["held"] == 0
    assert held["held"] + held["instances"] == pytest.approx(compact["instances"])


def test_differences_are_against_the_reference(done):
    reference, compact, _ = done[0]["points"]
    assert done[0]["reference"] == reference["name"] == "fp32" and reference["differences"] == {}
    item = compact["differences"]["AMOTA car"]
    assert item["difference"] == pytest.approx(compact["scores"]["AMOTA_car"] - reference["scores"]["AMOTA_car"])
    assert item["low"] <= item["difference"] <= item["high"]


def test_what_is_stored_is_not_run_again_and_points_are_added(spd, done):
    result, out = done
    runner = CountingRunner(simulated_run(spd))
    again = run_rate_curve(plan(spd), out, runner=runner)
    assert runner.runs == [] and again == result
    run_rate_curve(plan(spd, "compact,compact-held-2000"), out, runner=runner)
    assert runner.runs == ["0003", "0007"]


def test_a_remembered_roadside_says_what_the_network_would(spd):
    frames = [Frame(10**18 + i * 10**8, np.eye(4), image=_image(i), camera=_camera()) for i in range(4)]
    made: list[FakeNetwork] = []

    def networks(config: Any) -> FakeNetwork:
        made.append(fake_networks(config))  # type: ignore[arg-type]
        return made[-1]

    config = RoadsideConfig(detector="network")
    plain = fake_networks(config)
    remembered = RememberedRoadside(networks)
    assert plain is not None
    expected = [plain.step(f, np.eye(4), ()) for f in frames]
    for drive in range(3):
        network = remembered(config)
        assert network is not None
        for frame, then in zip(frames, expected, strict=True):
            got = network.step(frame, np.eye(4), ())
            np.testing.assert_array_equal(got.instances.center_m, then.instances.center_m)
            np.testing.assert_array_equal(got.instances.features.query, then.instances.features.query)
        assert len(made[drive].frames) == (4 if drive == 0 else 0)
    # What was not heard before is seen by the network itself, after all that it has missed.
    network.step(Frame(10**18 + 10**9, np.eye(4), image=_image(9), camera=_camera()), np.eye(4), ())
    assert len(made[2].frames) == 5
    assert isinstance(remembered(VehicleConfig(detector="network", mode="ego")), FakeNetwork)


def _image(i: int) -> Any:
    return np.full((8, 8, 3), 10 * i, np.uint8)


def _camera() -> Any:
    from cooptrack_core.types import CameraView

    return CameraView(np.eye(3), np.eye(4), 8, 8)


def test_points_are_chosen_by_name_and_made_by_hand():
    names = [point.name for point in chosen_points(None, [], objects=False)]
    assert names == list(POINTS) and names[0] == "fp32"
    assert [p.name for p in chosen_points("compact", [], objects=True)] == ["fp32", "compact"]
    own = chosen_points(None, ["mine=feature_precision=int8,redundancy.refresh_ms=300"], objects=False)
    made = own[1].config(RoadsideConfig())
    assert len(own) == 2 and made.feature_precision == "int8" and made.redundancy.refresh_ms == 300.0
    assert set(OBJECT_POINTS["fp32"].values()) == {"none", "fp32"}


@pytest.mark.parametrize(
    ("names", "given", "says"),
    [
        ("nothing", [], "--points: 'nothing' is unknown; choose among fp32"),
        (None, ["x"], "--point: 'x' cannot be read"),
        (None, ["rvq4=feature_codes=1"], "is the name of another"),
        (None, ["x=colour=red"], "no PARAMETER=VALUE"),
        (None, ["x=feature_codes=many"], "is not of type int"),
        (None, ["x=feature_codes=1000"], "feature_codes.*outside"),
    ],
)
def test_a_point_that_cannot_be_is_named(names, given, says):
    with pytest.raises(CooptrackError, match=says):
        chosen_points(names, given, objects=False)


def test_the_command_writes_table_and_picture(spd, tmp_path, capsys):
    arguments = ["rate-curve", str(spd), *SIMULATED, "--points", "compact", "--out", str(tmp_path)]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert "compact" in text and "B/s" in text and "Only 2 sequences" in text
    result = json.loads((tmp_path / "rate_curve.json").read_text())
    with (tmp_path / "rate_curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["fp32", "compact"]
    assert float(rows[1]["bytes_per_second"]) == result["points"][1]["rate"]["bytes_per_second"]
    assert (tmp_path / "rate_curve.png").stat().st_size > 10_000 and (tmp_path / "rate_curve.svg").is_file()
    assert cli.main([*arguments, "--mode", "learned"]) == 2
