"""Submission files: read as they are meant, written so that they read the same, scored by the command."""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from submission_files import START_US, differences, files, oracle, row, write

from cooptrack_core.cli import main
from cooptrack_core.commands.evaluate_files import hota_table, run_files, scene_table
from cooptrack_core.evaluation.kit_report import kit_scores
from cooptrack_core.evaluation.scene_statistics import by_scene
from cooptrack_core.evaluation.submission import read_submission, write_submission
from cooptrack_core.types import CooptrackError


def test_columns_hold_what_the_files_say(tmp_path: Path) -> None:
    gt, pred = files({"s0": 1, "s1": 2})
    pred["results"]["s1f1"] = [row("z", 3.0, -4.0, name="bicycle", score=0.25)]
    pred["results"]["s1f1"][0] |= {"rotation": [math.cos(0.3), 0, 0, math.sin(0.3)], "size": [1, 2, 3]}
    data = read_submission(*write(tmp_path, gt, pred))
    assert data.class_names == ("bicycle", "car") and data.class_range_m == (40.0, 50.0)
    assert data.frames.token == ("s0f0", "s1f0", "s1f1") and data.frames.scene.tolist() == [0, 1, 1]
    assert data.frames.scene_names == ("s0", "s1") and data.frames.timestamp_us[2] == START_US + 100_000
    assert data.frames.ego_xy_m.tolist() == [[0, 0], [0, 0], [0.5, 0]]
    last = data.predictions.select(slice(-1, None))
    assert last.frame == 2 and last.class_index == 0 and last.score == 0.25
    np.testing.assert_allclose(last.center_m, [[3, -4, 0.5]])
    np.testing.assert_allclose(last.size_m, [[2, 1, 3]])  # length first
    np.testing.assert_allclose(last.heading_rad, 0.6)
    assert data.truth.score.tolist() == [1.0] * 6


def test_an_id_is_another_object_in_another_scene(tmp_path: Path) -> None:
    data = read_submission(*write(tmp_path, *files({"s0": 2, "s1": 1})))
    a0, b0, a1, b1 = data.truth.track[[0, 1, 4, 5]].tolist()
    assert data.truth.track.tolist() == [a0, b0, a0, b0, a1, b1] and len({a0, b0, a1, b1}) == 4
    assert data.truth.written_id[0] == data.truth.written_id[4] != data.truth.written_id[1]


def test_order_in_the_files_does_not_change_the_frames(tmp_path: Path) -> None:
    gt, pred = files()
    shuffled = copy.deepcopy((gt, pred))
    shuffled[0]["meta"]["scenes"]["s0"].reverse()
    for content in shuffled:
        content["results"] = dict(reversed(content["results"].items()))
    (tmp_path / "other").mkdir()
    data, other = read_submission(*write(tmp_path, gt, pred)), read_submission(*write(tmp_path / "other", *shuffled))
    assert data.frames.token == other.frames.token
    np.testing.assert_array_equal(data.predictions.center_m, other.predictions.center_m)
    assert other.frame_order.tolist() == [5, 4, 3, 2, 1, 0]


def test_compressed_files_read_the_same_whatever_their_name(tmp_path: Path) -> None:
    plain = read_submission(*write(tmp_path, *files()))
    packed = read_submission(*write(tmp_path, *files(), suffix=".json.gz"))
    (tmp_path / "gt.json.gz").rename(tmp_path / "renamed.json")
    renamed = read_submission(tmp_path / "renamed.json", tmp_path / "pred.json")
    for other in (packed, renamed):
        np.testing.assert_array_equal(plain.truth.center_m, other.truth.center_m)


def test_unknown_velocities_are_nan_however_they_are_written(tmp_path: Path) -> None:
    gt, pred = files({"s": 2})
    boxes = [box for rows in pred["results"].values() for box in rows]
    for box, velocity in zip(boxes, (None, [None, None], [math.nan, math.nan], [1, 2]), strict=True):
        box["velocity"] = velocity
    data = read_submission(*write(tmp_path, gt, pred))
    assert np.isnan(data.predictions.velocity_mps).tolist() == [[True] * 2] * 3 + [[False] * 2]


def test_frames_that_are_not_listed_have_no_boxes_and_are_told(tmp_path: Path) -> None:
    gt, pred = files()
    del pred["results"]["s0f1"], pred["results"]["s1f0"]
    gt_path, pred_path = write(tmp_path, gt, pred)
    data = read_submission(gt_path, pred_path)
    assert data.notes == (
        f"{pred_path}: results: 2 of 6 frames are not listed (first s0f1); they count as frames without boxes",
    )
    assert 1 not in data.predictions.frame and len(data.frames) == 6


def test_another_meta_in_the_predictions_does_not_count_and_is_told(tmp_path: Path) -> None:
    gt, pred = files()
    pred["meta"] = copy.deepcopy(gt["meta"]) | {"class_range": {"car": 10}}
    data = read_submission(*write(tmp_path, gt, pred))
    assert data.class_range_m == (40.0, 50.0)
    assert len(data.notes) == 1 and "meta.class_range: differs" in data.notes[0]


def test_written_files_read_as_what_was_written(tmp_path: Path) -> None:
    for case in ("realistic", "unknown_velocities", "at_the_borders"):
        data = read_submission(*oracle(case)[:2])
        again = read_submission(*write_submission(data, tmp_path / "made" / case))
        assert again.frames.token == data.frames.token and again.class_range_m == data.class_range_m
        for one, other in ((data.truth, again.truth), (data.predictions, again.predictions)):
            for column in ("frame", "class_index", "center_m", "size_m", "velocity_mps", "score"):
                np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
            np.testing.assert_allclose(np.cos(one.heading_rad - other.heading_rad), 1, atol=1e-12)
        for part in ("detection", "tracking"):
            assert differences(kit_scores(data)[part], kit_scores(again)[part]) == []


def test_the_command_prints_both_tables_and_writes_the_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gt, pred, kit = oracle("realistic")
    out = tmp_path / "made" / "m.json"
    assert run_files(argparse.Namespace(gt=gt, pred=pred, out=out)) == 0
    scores = json.loads(out.read_text())
    assert scores["detection"]["mAP"] == pytest.approx(kit["detection"]["mAP"], abs=1e-9)
    assert scores["tracking"]["mean"]["amota"] == pytest.approx(kit["tracking"]["mean"]["amota"], abs=1e-9)
    assert set(scores) == {"detection", "tracking"} and set(scores["tracking"]) == {"label_metrics", "mean"}
    printed = capsys.readouterr().out
    assert "160 frames in 4 scenes" in printed and f"{kit['detection']['mAP']:.4f}" in printed
    assert f"{kit['tracking']['mean']['amota']:.4f}" in printed and str(out) in printed
    assert "HOTA (TrackEval; similarity max(0, 1 - d / 2 m)" in printed and "by scene, over the classes" in printed
    assert run_files(argparse.Namespace(gt=gt, pred=pred, out=tmp_path / "m.json.gz")) == 0
    assert json.loads(gzip.decompress((tmp_path / "m.json.gz").read_bytes())) == scores


def test_scores_that_are_not_defined_are_null_and_print_as_a_dash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gt, pred, _ = oracle("no_ground_truth")
    run_files(argparse.Namespace(gt=gt, pred=pred, out=tmp_path / "m.json"))
    assert json.loads((tmp_path / "m.json").read_text())["tracking"]["mean"]["amota"] is None
    assert "NaN" not in (tmp_path / "m.json").read_text() and "nan" not in capsys.readouterr().out


def test_a_result_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    gt, pred = write(tmp_path, *files())
    with pytest.raises(CooptrackError, match=r"output: cannot be written \(.*\); choose another file"):
        run_files(argparse.Namespace(gt=gt, pred=pred, out=tmp_path / "gt.json" / "m.json"))


def test_the_command_line_ends_with_one_line_about_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gt, pred = files()
    pred["results"]["s0f1"][1]["translation"][0] = math.nan
    gt_path, pred_path = write(tmp_path, gt, pred, suffix=".json.gz")
    assert main(["evaluate", "--gt", str(gt_path), "--pred", str(pred_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert f"{pred_path}: results.s0f1[1].translation: has nan in" in captured.err


def test_the_command_line_scores_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gt_path, pred_path = write(tmp_path, *files())
    out = tmp_path / "m.json"
    assert main(["evaluate", "--gt", str(gt_path), "--pred", str(pred_path), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["detection"]["car"]["ap"] == pytest.approx(1)
    assert "mAP 0.5000" in capsys.readouterr().out  # no bicycle


def test_scores_by_scene_are_those_of_a_pair_of_files_with_that_scene_alone() -> None:
    data = read_submission(*oracle("realistic")[:2])
    found = by_scene(data)
    for scene, mean_ap, amota in zip(range(4), found["mAP"], found["AMOTA"], strict=True):
        own = np.flatnonzero(data.frames.scene == scene)
        truth, predictions = (boxes.select(np.isin(boxes.frame, own)) for boxes in (data.truth, data.predictions))
        scores = kit_scores(replace(data, truth=truth, predictions=predictions))
        amotas = scores["tracking"]["label_metrics"]["amota"]
        there = [name for name, value in amotas.items() if value is not None]
        assert amota == pytest.approx(np.mean([amotas[name] for name in there]), abs=1e-9)
        assert mean_ap == pytest.approx(np.mean([scores["detection"][name]["ap"] for name in there]), abs=1e-9)


def test_the_table_by_scene_is_left_out_where_it_could_not_be_read() -> None:
    data = read_submission(*oracle("realistic")[:2])
    names = data.frames.scene_names
    assert len(scene_table(data)) == 3 + len(names)
    many = tuple(f"{n}" for n in range(31))
    assert scene_table(replace(data, frames=replace(data.frames, scene_names=many))) == []
    one = replace(data.frames, scene_names=names[:1], scene=0 * data.frames.scene)
    assert scene_table(replace(data, frames=one)) == []


def test_without_trackeval_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_submission(*oracle("realistic")[:2])
    monkeypatch.setattr("cooptrack_core.evaluation.hota.why_no_hota", lambda: "TrackEval is not installed; pip")
    assert hota_table(data) == ["", "HOTA: TrackEval is not installed; pip"]


def test_an_output_that_is_a_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gt_path, pred_path = write(tmp_path, *files())
    for out in (str(tmp_path), f"{tmp_path}/new/"):
        assert main(["evaluate", "--gt", str(gt_path), "--pred", str(pred_path), "--out", out]) == 2
        said = "--out: is a folder; with --gt give a file for the scores, such as M.json"
        assert capsys.readouterr().err == f"cooptrack evaluate: error: {Path(out)}: {said}\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", ["gt", "pred"])
def test_the_scores_never_replace_a_file_that_is_scored(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"{name}.json" for name in ("gt", "pred")}
    for path in files.values():
        path.write_text("mine")
    out = tmp_path / "." / files[option].name
    arguments = ["--gt", str(files["gt"]), "--pred", str(files["pred"]), "--out", str(out)]
    assert main(["evaluate", *arguments]) == 2
    said = f"{out}: --out: is the file of --{option}, it would be replaced; choose another file"
    assert capsys.readouterr().err == f"cooptrack evaluate: error: {said}\n"
    assert [path.read_text() for path in files.values()] == ["mine", "mine"]
