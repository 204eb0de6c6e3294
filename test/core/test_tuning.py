"""Tuning: what is replayed is what runs, the search repeats itself, and its file fits whoever reads parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from fake_networks import fake_networks
from simulated import LATE, SIMULATED, UNIT, simulated_run
from tiny_spd import TinySpd

from cooptrack_core.cli import main
from cooptrack_core.config import RoadsideConfig, VehicleConfig, from_parameters
from cooptrack_core.evaluation.calibration import Calibration
from cooptrack_core.evaluation.detection import detection_scores, match_detections
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.evaluation.reported import reported, truth, with_predictions
from cooptrack_core.evaluation.run import SequenceRunner
from cooptrack_core.evaluation.tracking import tracking_scores
from cooptrack_core.evaluation.tuned_file import text, tuned_sequences
from cooptrack_core.evaluation.tuning import LATE_KNOBS, TRACKER_KNOBS, Tuned, calibrate, changed, scored, tune
from cooptrack_core.evaluation.tuning_data import Tuner, check_apart
from cooptrack_core.parameter_files import read_parameters
from cooptrack_core.types import CooptrackError

FRAMES = 10
OTHER = replace(LATE, min_score=0.3, tracker=replace(LATE.tracker, birth_hits=2, gate_m=2.5))


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of the official train split and one of val, with images."""
    root = tmp_path_factory.mktemp("data") / "spd"
    return TinySpd(root, sequences=("0000", "0001", "0003"), frames=FRAMES).write()


def runner_of(spd: Path, detector: str = "simulated") -> SequenceRunner:
    options = simulated_run(spd, "train", vehicle=VehicleConfig(mode="late", detector=detector),
                         roadside=RoadsideConfig(detector=detector))  # fmt: skip
    return SequenceRunner(options, fake_networks)


@pytest.mark.parametrize("mode", ["late", "ego"])
def test_replayed_tracks_are_those_of_a_run(spd: Path, mode: str) -> None:
    runner = runner_of(spd)
    config = replace(OTHER, mode=mode)
    ours = with_predictions(truth(runner), [(item.sequence_id, item.tracked(config)) for item in reported(runner)])
    runs = evaluation_set([runner.run(name, config) for name in runner.sequences], runner.options.convention)
    assert len(ours.predictions) == len(runs.predictions) > 20
    np.testing.assert_array_equal(ours.truth.center_m, runs.truth.center_m)
    np.testing.assert_array_equal(ours.frames.ego_xy_m, runs.frames.ego_xy_m)
    assert ours.frames.token == runs.frames.token
    for name in ("frame", "class_index", "track"):
        np.testing.assert_array_equal(getattr(ours.predictions, name), getattr(runs.predictions, name), name)
    for name in ("center_m", "size_m", "heading_rad", "velocity_mps", "score"):  # messages carry some as float32
        np.testing.assert_allclose(
            getattr(ours.predictions, name), getattr(runs.predictions, name), atol=1e-6, err_msg=name
        )  # fmt: skip


def test_boxes_of_a_network_are_tracked_as_in_mode_late(spd: Path) -> None:
    """The network runs once; what it reports then is tracked anew, as a run would."""
    runner = runner_of(spd, "network")
    config = VehicleConfig(mode="late", detector="network", min_score=0.2)
    ours = with_predictions(truth(runner), [(item.sequence_id, item.tracked(config)) for item in reported(runner)])
    runs = evaluation_set([runner.run(name, config) for name in runner.sequences], runner.options.convention)
    assert len(ours.predictions) == len(runs.predictions) > 0
    np.testing.assert_allclose(ours.predictions.center_m, runs.predictions.center_m, atol=1e-6)
    np.testing.assert_array_equal(ours.predictions.track, runs.predictions.track)


def test_the_objective_is_that_of_the_metrics(spd: Path) -> None:
    runner = runner_of(spd)
    found = scored(reported(runner), truth(runner), changed(OTHER, {}, "late"))
    data = evaluation_set([runner.run(name, OTHER) for name in runner.sequences], runner.options.convention).in_range()
    assert found["amota"] == pytest.approx(tracking_scores(data)["mean"]["amota"], abs=1e-6)
    assert found["map"] == pytest.approx(detection_scores(match_detections(data))["mAP"], abs=1e-6)
    assert found["objective"] == pytest.approx((found["amota"] + found["map"]) / 2)


def test_calibration_counts_boxes_of_both_sides_once(spd: Path) -> None:
    runner = runner_of(spd)
    sequences, objects = reported(runner), truth(runner)
    found = calibrate(sequences, objects, LATE)
    near = with_predictions(objects, [(s.sequence_id, s.own(0.1)) for s in sequences]).in_range()
    assert found["ego"].samples == len(near.predictions) > 0
    assert 0 < found["ego"].hits <= found["ego"].samples
    assert 0 < found["remote"].hits <= found["remote"].samples
    # every detector errs by less than 2 m here: what was missed are its false boxes
    assert found["ego"].hits / found["ego"].samples > 0.7
    # parameters of an earlier calibration are not calibrated again
    before = replace(LATE, late=replace(LATE.late, remote_score_offset=3.0))
    assert calibrate(sequences, objects, before) == found


def test_the_search_repeats_itself_and_never_loses(spd: Path) -> None:
    runner = runner_of(spd)
    arguments = reported(runner), truth(runner), LATE
    first, again = (tune(*arguments, trials=8, seed=4) for _ in range(2))
    assert first == again and len(first.history) == 8
    assert first.after["objective"] >= first.before["objective"]
    assert first.after["objective"] == max(trial["objective"] for trial in first.history)
    other = tune(*arguments, trials=8, seed=5)
    assert [trial["values"] for trial in other.history[1:]] != [trial["values"] for trial in first.history[1:]]


def test_every_trial_is_within_what_the_parameters_allow(spd: Path) -> None:
    runner = runner_of(spd)
    found = tune(reported(runner), truth(runner), LATE, trials=12)
    for trial in found.history:
        changed(LATE, trial["values"], "late")  # raises CooptrackError where not
    ego = tune(reported(runner), truth(runner), LATE, "ego", trials=3)
    assert not {knob.name for knob in LATE_KNOBS} & set(ego.history[1]["values"])


@pytest.mark.parametrize("birth_hits", [1, 8])
def test_roadside_units_get_the_tracker_of_the_vehicle_where_that_is_better(
    spd: Path, tmp_path: Path, birth_hits: int
) -> None:
    """Units that report an object only when it has been seen for 8 of 10 frames can be bettered."""
    roadside = replace(UNIT, tracker=replace(UNIT.tracker, birth_hits=birth_hits))
    runner = SequenceRunner(simulated_run(spd, "train", roadside=roadside))
    alone = tune(reported(runner), truth(runner), LATE, trials=6)
    found, content = Tuner(runner).tuned("late", 6, 0, "")
    assert found.after["objective"] >= alone.after["objective"]
    assert (found.given, found.before) == (alone.given, alone.before)
    if birth_hits == 8:
        assert found.roadside["tracker.birth_hits"] < 8 and len(found.history) == 12
        assert found.after["objective"] > alone.after["objective"]
    assert bool(found.roadside) == ("/**/roadside_node" in content)
    path = tmp_path / "tuned.yaml"
    path.write_text(content)
    assert read_parameters(path).roadside == found.roadside


@pytest.mark.parametrize("knob", [*TRACKER_KNOBS, *LATE_KNOBS], ids=lambda knob: knob.name)
def test_positions_and_values_of_a_range_agree(knob) -> None:
    assert knob.value(0.0) == pytest.approx(knob.low, rel=1e-2, abs=1e-9)
    assert knob.value(1.0) == pytest.approx(knob.high, rel=1e-2)
    for at in (0.1, 0.35, 0.8):
        assert knob.value(knob.position(knob.value(at))) == pytest.approx(knob.value(at), rel=1e-2)


TUNED = Tuned(
    "late", {"min_score": 0.2, "tracker.birth_hits": 2, "tracker.gate_m": 3.0, "late.ego_score_scale": 1.5},
    {"ego": Calibration(1.5, 0.0, 10, 5, 0.7, 0.6), "remote": Calibration()}, *[{"objective": 0.5, "amota": 0.4,
    "map": 0.6}] * 3, 4, 0,
)  # fmt: skip


def test_the_file_is_what_the_configuration_and_the_nodes_take(tmp_path: Path) -> None:
    path = tmp_path / "tuned.yaml"
    path.write_text(text(TUNED, ["0000", "0001"], ["made by: a test"]))
    assert yaml.safe_load(path.read_text()) == {
        "/**/vehicle_node": {
            "ros__parameters": {
                "min_score": 0.2, "tracker": {"birth_hits": 2, "gate_m": 3.0}, "late": {"ego_score_scale": 1.5},
            }
        }
    }  # fmt: skip
    found = read_parameters(path)
    assert found.vehicle == TUNED.values and found.roadside == {} and found.of_nodes == []
    assert found.vehicle_config(mode="late") == from_parameters(VehicleConfig, TUNED.values | {"mode": "late"})
    assert tuned_sequences(path) == ("0000", "0001")
    path.write_text(text(replace(TUNED, roadside={"tracker.birth_hits": 2}), ["0000"], []))
    found = read_parameters(path)
    assert found.vehicle == TUNED.values and found.roadside == {"tracker.birth_hits": 2}


def test_the_command_writes_parameters_that_reach_what_it_says(spd: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "sub" / "tuned.yaml"
    command = ["tune", str(spd), *SIMULATED, "--trials", "6", "-o", str(path)]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "best of 6 trials" in told and str(path) in told and "sequences: 0000 0001" in told
    content = path.read_text()
    assert f"# made by: cooptrack tune {spd}" in content and "split train" in content
    runner = runner_of(spd)
    file = read_parameters(path)
    roadside = file.roadside_config(detector="simulated")
    vehicle = file.vehicle_config(mode="late", detector="simulated")
    reached = scored(reported(runner, roadside), truth(runner), vehicle)
    expected, _ = Tuner(runner).tuned("late", 6, 0, "")
    assert reached == pytest.approx(expected.after)
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0 and path.read_text().splitlines()[4:] == content.splitlines()[4:]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--split", "val"], "0003"),
        (
            ["--sequence", "0000", "0003"],
            "kept for scoring (val, test, test_A) (0003), which makes scores of them worthless",
        ),
        (["--trials", "0"], "--trials"),
        (["--split", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_tuned_gets_one_line(spd: Path, tmp_path: Path, capsys, options, words) -> None:
    assert main(["tune", str(spd), *SIMULATED, *options, "-o", str(tmp_path / "t.yaml")]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and len(error.splitlines()) == 1
    assert not (tmp_path / "t.yaml").exists()


def test_named_sequences_of_a_held_out_split_need_the_word_for_it(spd: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "t.yaml"
    command = ["tune", str(spd), *SIMULATED, "--trials", "1", "-o", str(path), "--allow-held-out"]
    assert main([*command, "--sequence", "0003"]) == 0
    assert "1 of the sequences belong to splits that are kept for scoring" in capsys.readouterr().err
    assert tuned_sequences(path) == ("0003",), "so that compare can warn"
    assert main([*command, "--overwrite", "--split", "val"]) == 2, "a whole split would leave nothing to score"


def test_shared_sequences_are_refused_unless_the_split_file_shares_them() -> None:
    assert check_apart(["a", "b"], ["c"], by_split_file=False, remedy="") == ""
    assert "flatter" in check_apart(["a", "b"], ["b", "c"], by_split_file=True, remedy="")
    with pytest.raises(CooptrackError, match=r"1 of 2 sequences.*\(b\).*take others"):
        check_apart(["a", "b"], ["b", "c"], by_split_file=False, remedy="take others")


def test_only_object_level_modes_are_tuned() -> None:
    with pytest.raises(CooptrackError, match="mode learned"):
        changed(LATE, {}, "learned")
