"""Robustness: points are those of the runs behind them, each is run once and stored, and the report says all of it."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated import SIMULATED, simulated_run
from tiny_spd import TinySpd

from cooptrack_core import cli
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.evaluation.channel_statistics import channel_statistics, fates, together
from cooptrack_core.evaluation.disturbance_sweeps import chosen
from cooptrack_core.evaluation.robustness import Plan, run_robustness, scores
from cooptrack_core.evaluation.robustness_tables import gain_kept
from cooptrack_core.evaluation.run import SequenceRunner
from cooptrack_core.evaluation.run_options import RunOptions
from cooptrack_core.types import CooptrackError

GRID = ("delay=0,200", "loss=0,0.5,1", "drop-roadside=0,1", "position-noise=1")


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of 16 frames, both of split val."""
    root = tmp_path_factory.mktemp("data") / "spd"
    return TinySpd(root, sequences=("0003", "0007"), frames=16, images=False).write()


def plan(spd: Path, *grid: str, **changes: Any) -> Plan:
    return Plan(simulated_run(spd), ("late", "ego"), tuple(chosen(None, grid or GRID)), **changes)


@pytest.fixture(scope="module")
def done(spd: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A result with two seeds per random point, and its folder."""
    out = tmp_path_factory.mktemp("robustness")
    return run_robustness(plan(spd, repeats=2), out), out


def sweep_of(result: dict[str, Any], name: str, mode: str = "late") -> dict[float, dict[str, Any]]:
    (found,) = [sweep for sweep in result["sweeps"] if sweep["name"] == name]
    return {point["value"]: point for point in found["modes"][mode]}


class CountingRunner(SequenceRunner):
    """Counts its runs and can be interrupted after some."""

    def __init__(self, options: RunOptions, stop_after: int | None = None) -> None:
        super().__init__(options)
        self.runs: list[tuple[str, str]] = []
        self.stop_after = stop_after

    def run(self, sequence_id: str, vehicle: Any = None, roadside: Any = None, disturbance: Any = None, **rest: Any):
        if len(self.runs) == self.stop_after:
            raise KeyboardInterrupt
        self.runs.append((sequence_id, f"{vehicle.mode}: {disturbance.describe()}"))
        return super().run(sequence_id, vehicle, roadside, disturbance, **rest)


def test_a_point_is_what_an_evaluation_of_that_run_gives(spd, done):
    result, _ = done
    options = simulated_run(spd)
    runner = SequenceRunner(options)
    recordings = [runner.run(name, disturbance=Disturbance(delay_ms=200.0)) for name in runner.sequences]
    expected = scores(recordings, options.convention)
    point = sweep_of(result, "delay")[200.0]
    found = {name: value for name, value in point["scores"].items() if value is not None}
    assert found == {name: value for name, value in expected.items() if value == value}
    assert point["messages"] == channel_statistics(recordings)
    assert point["text"] == "delay 200 ms, seed 0" and point["messages"]["age_ms"]["mean"] > 150


def test_without_disturbance_every_curve_begins_at_the_same_point(done):
    result, _ = done
    base = result["undisturbed"]["late"]
    for name in ("delay", "loss", "drop-roadside"):
        assert sweep_of(result, name)[0.0]["scores"] == base["scores"]
    assert base["scores"]["AMOTA"] > result["undisturbed"]["ego"]["scores"]["AMOTA"]


def test_the_gain_that_is_kept_is_the_share_of_the_advantage_over_ego(done):
    result, _ = done
    loss = sweep_of(result, "loss")
    assert gain_kept(result, loss[0.0], "late") == 1.0 and gain_kept(result, loss[1.0], "late") == 0.0
    amota = {name: result["undisturbed"][name]["scores"]["AMOTA"] for name in ("ego", "late")}
    halfway = {"scores": {"AMOTA": (amota["ego"] + amota["late"]) / 2}}
    assert gain_kept(result, halfway, "late") == pytest.approx(0.5)
    assert gain_kept(result, halfway, "ego") is None


@pytest.mark.parametrize("name", ["loss", "drop-roadside"])
def test_without_messages_every_score_is_that_of_ego(done, name):
    result, _ = done
    assert sweep_of(result, name)[1.0]["scores"] == result["undisturbed"]["ego"]["scores"]


def test_random_points_are_means_of_their_seeds_with_the_extremes(spd, done):
    result, out = done
    point = sweep_of(result, "loss")[0.5]
    runs = [json.loads((out / "points" / "late" / f"loss=0.5{seed}.json").read_text()) for seed in ("", ",seed=1")]
    values = [run["scores"]["mAP"] for run in runs]
    assert point["seeds"] == [0, 1] and values[0] != values[1]
    assert point["scores"]["mAP"] == pytest.approx(sum(values) / 2)
    assert point["spread"]["mAP"] == [min(values), max(values)]
    assert point["messages"]["sent"] == sum(run["messages"]["sent"] for run in runs) == 64
    assert sweep_of(result, "delay")[200.0]["seeds"] == [0]


def test_points_do_not_depend_on_the_order_of_the_sequences(spd, tmp_path):
    points = []
    for order in (("0003", "0007"), ("0007", "0003")):
        options = simulated_run(spd, sequences=order)
        made = replace(plan(spd, "loss=0.5"), options=options)
        result = run_robustness(made, tmp_path / "-".join(order))
        messages = result["sweeps"][0]["modes"]["late"][0]["messages"]
        points.append({name: messages[name] for name in ("lost", "used", "arrived", "refused")})
    assert points[0] == points[1] and 0 < points[0]["lost"] < 32


def test_what_is_stored_is_not_run_again_and_more_points_are_added(spd, tmp_path):
    first = CountingRunner(simulated_run(spd))
    run_robustness(plan(spd, "delay=0,100"), tmp_path, runner=first)
    assert len(first.runs) == 3 * 2  # ego, late and late with delay
    again = CountingRunner(simulated_run(spd))
    run_robustness(plan(spd, "delay=0,100"), tmp_path, runner=again)
    assert again.runs == []
    more = CountingRunner(simulated_run(spd))
    run_robustness(plan(spd, "delay=0,100,300"), tmp_path, runner=more)
    assert {what for _, what in more.runs} == {"late: delay 300 ms, seed 0"}


def test_an_interrupted_run_goes_on_with_the_next_sequence_and_gives_the_same(spd, tmp_path):
    whole = run_robustness(plan(spd, "loss=0.5"), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_robustness(plan(spd, "loss=0.5"), tmp_path / "cut", runner=CountingRunner(simulated_run(spd), stop_after=3))
    rest = CountingRunner(simulated_run(spd))
    assert run_robustness(plan(spd, "loss=0.5"), tmp_path / "cut", runner=rest) == whole
    assert len(rest.runs) == 3 and rest.runs[0] == ("0007", "late: none")
    assert not [path for path in (tmp_path / "cut" / "points").glob("*/*") if path.is_dir()]


def test_a_folder_of_other_options_is_one_line_unless_it_may_go(spd, tmp_path):
    run_robustness(plan(spd, "delay=0"), tmp_path)
    other = replace(plan(spd, "delay=0"), options=simulated_run(spd, seed=1))
    with pytest.raises(CooptrackError) as caught:
        run_robustness(other, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'run.json'}: options: the folder holds a run of other options (seed); choose another --out, or "
        "replace it with --overwrite"
    )
    result = run_robustness(other, tmp_path, overwrite=True)
    assert result["run"]["seed"] == 1


def test_a_broken_point_is_made_again(spd, tmp_path):
    run_robustness(plan(spd, "delay=100"), tmp_path)
    (tmp_path / "points" / "late" / "delay_ms=100.json").write_text("{")
    runner = CountingRunner(simulated_run(spd))
    run_robustness(plan(spd, "delay=100"), tmp_path, runner=runner)
    assert {what for _, what in runner.runs} == {"late: delay 100 ms, seed 0"}


def test_fewer_repeats_keep_what_was_made_with_more(spd, tmp_path):
    many = run_robustness(plan(spd, "loss=0.5", repeats=3), tmp_path)
    runner = CountingRunner(simulated_run(spd))
    few = run_robustness(plan(spd, "loss=0.5", "delay=0"), tmp_path, runner=runner)
    assert runner.runs == [] and sweep_of(few, "delay")[0.0]["seeds"] == [0]
    assert sweep_of(few, "loss") == sweep_of(many, "loss") and sweep_of(few, "loss")[0.5]["seeds"] == [0, 1, 2]
    assert few["run"]["repeats"] == 3


def test_one_sequence_is_singular_and_ages_below_zero_are_explained(done):
    from cooptrack_core.evaluation.robustness_tables import about, explanation, short_about

    result, _ = done
    one = result | {"run": result["run"] | {"sequences": ["0003"], "synthetic": True, "max_frames": 5}}
    assert "1 synthetic sequence, detector" in short_about(one) and ": 1 sequence, detector" in about(one)
    assert "ONLY the first 5 vehicle frames" in about(one) and "ONLY the first 5" in short_about(one)
    late = result["undisturbed"]["late"]
    messages = late["messages"] | {"age_ms": late["messages"]["age_ms"] | {"mean": -12.0}}
    ahead = result | {"undisturbed": {"late": late | {"messages": messages}}}
    assert "An age below 0" in explanation(ahead)


def test_messages_are_accounted_for_in_full(done):
    result, _ = done
    for value, point in sweep_of(result, "loss").items():
        messages = point["messages"]
        assert messages["arrived"] == messages["sent"] - messages["lost"] and messages["used"] <= messages["arrived"]
        shares = fates(messages)
        assert sum(shares.values()) == pytest.approx(1.0) and shares["lost"] == pytest.approx(value, abs=0.2)
    gone = sweep_of(result, "drop-roadside")[1.0]["messages"]
    assert gone["in_outage"] == gone["sent"] == 32 and gone["used"] == 0 and gone["age_ms"]["mean"] is None


def test_runs_with_several_seeds_count_as_one_long_run():
    parts = [
        {"runs": 1, "frames": 10, "frames_with_message": 4, "sent": 10, "lost": 5, "in_outage": 0, "arrived": 5,
         "used": 4, "refused": {"stale": 1}, "age_ms": {"mean": 100.0, "min": 50.0, "max": 150.0}},
        {"runs": 1, "frames": 10, "frames_with_message": 1, "sent": 10, "lost": 9, "in_outage": 0, "arrived": 1,
         "used": 1, "refused": {}, "age_ms": {"mean": 200.0, "min": 200.0, "max": 200.0}},
        {"runs": 1, "frames": 10, "frames_with_message": 0, "sent": 10, "lost": 10, "in_outage": 0, "arrived": 0,
         "used": 0, "refused": {"stale": 2}, "age_ms": {"mean": None, "min": None, "max": None}},
    ]  # fmt: skip
    joined = together(parts)
    assert joined["age_ms"] == {"mean": 120.0, "min": 50.0, "max": 200.0}
    assert (joined["runs"], joined["sent"], joined["used"], joined["refused"]) == (3, 30, 5, {"stale": 3})


def test_the_command_prints_and_writes_tables_curves_and_a_page_that_needs_nothing_else(spd, tmp_path, capsys):
    out, params = tmp_path / "out", tmp_path / "params.yaml"
    params.write_text("/**/vehicle_node:\n  ros__parameters:\n    admission:\n      max_age_ms: 400.0\n")
    arguments = ["robustness", str(spd), *SIMULATED, "--grid", "delay=0,500", "loss=1", "--out", str(out)]
    arguments += ["--params", str(params)]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert "detector simulated" in text and "convention: cooptrack (10 Hz" in text
    assert "delay (ms), mode late" in text and "messages lost (share), mode late" in text and " stale" in text
    result = json.loads((out / "robustness.json").read_text())
    assert result["run"]["command"].startswith("cooptrack robustness")
    rows = list(csv.DictReader((out / "robustness.csv").open()))
    assert [(row["sweep"], row["mode"], row["value"]) for row in rows] == [
        ("undisturbed", "ego", "0"), ("undisturbed", "late", "0"), ("delay", "late", "0.0"), ("delay", "late", "500.0"),
        ("loss", "late", "1.0"),
    ]  # fmt: skip
    late = {row["value"]: row for row in rows if row["sweep"] == "delay"}
    assert float(late["500.0"]["AMOTA"]) == sweep_of(result, "delay")[500.0]["scores"]["AMOTA"]
    assert int(late["500.0"]["refused_stale"]) > 0 and late["0.0"]["refused_stale"] == ""
    page = (out / "robustness.html").read_text()
    assert "://" not in page and "src=" not in page and page.count("<svg") == 4
    assert "stale" in page and "simulated" in page
    for name in ("curves", "curves_car", "curves_hidden", "messages"):
        assert (out / f"{name}.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (out / f"{name}.svg").read_text()


def test_numbers_of_untrained_networks_are_called_meaningless_on_page_and_terminal(done, tmp_path, capsys):
    from cooptrack_core.evaluation.robustness_page import write_html
    from cooptrack_core.evaluation.robustness_tables import print_tables, short_about

    result, _ = done
    for weights, expected in (("untrained", True), ("w.safetensors", False)):
        run = result["run"] | {"detector": "network", "weights": "w.safetensors", "roadside_weights": weights}
        untrained = result | {"run": run}
        write_html(untrained, {}, tmp_path / "page.html")
        print_tables(untrained)
        for text in ((tmp_path / "page.html").read_text(), capsys.readouterr().out, short_about(untrained)):
            assert ("UNTRAINED" in text) is expected


def test_equal_results_give_equal_files(done, tmp_path):
    from cooptrack_core.evaluation.robustness_page import write_figures, write_html

    result, _ = done
    written = []
    for name in ("a", "b"):
        figures, files = write_figures(result, tmp_path / name)
        write_html(result, figures, tmp_path / name / "page.html")
        written.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert written[0] == written[1] and len(written[0]) == len(files) + 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--modes", ""], "--modes: names no mode; choose among ego, late, distance, learned"),
        (["--only", ""], "--only: names no disturbance; choose among"),
        (["--modes", "psychic"], "--modes: 'psychic' is unknown; choose among ego, late, distance, learned"),
        (["--modes", "ego"], "--modes: mode ego uses no messages, nothing disturbs it; name another mode too"),
        (["--modes", "learned"], "mode learned: needs detector network; choose it, or mode late or ego"),
        (["--repeats", "0"], "--repeats: 0 is not a positive number; give 1 or more"),
        (["--only", "wind"], "--only: 'wind' is no disturbance; choose among"),
        (["--disturbance-seed", "-3"], "disturbance --disturbance-seed: -3 is outside"),
        (["--noise-correlation-s", "-3"], "disturbance --noise-correlation-s: -3.0 is outside"),
    ],
)
def test_what_cannot_be_run_is_one_line(spd, tmp_path, capsys, arguments, expected):
    assert cli.main(["robustness", str(spd), *SIMULATED, "--out", str(tmp_path), *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"cooptrack robustness: error: {expected}")
    shutil.rmtree(tmp_path)
