"""Submission files: read as they are meant, written so that they read the same, refused with file and entry."""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from submission_files import START_US, files, oracle, row, write

from cooptrack_core.cli import main
from cooptrack_core.commands.evaluate_files import run_files
from cooptrack_core.evaluation.detection import detection_scores, match_detections
from cooptrack_core.evaluation.submission import read_submission, write_submission
from cooptrack_core.types import CooptrackError

Spoil = Callable[[dict[str, Any], dict[str, Any]], None]


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
        scores, same = (detection_scores(match_detections(d.in_range()))["mAP"] for d in (data, again))
        assert scores == same


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


def spoiled(field: str, value: Any, frame: str = "s0f1", index: int = 1) -> Spoil:
    def spoil(gt: dict[str, Any], pred: dict[str, Any]) -> None:
        pred["results"][frame][index][field] = value

    return spoil


def meta(key: str, value: Any) -> Spoil:
    return lambda gt, pred: gt["meta"].__setitem__(key, value)


def frame(entry: Any) -> Spoil:
    return lambda gt, pred: gt["meta"]["scenes"]["s0"].__setitem__(2, entry)


def without(*keys: Any, of: int = 1) -> Spoil:
    def spoil(*contents: dict[str, Any]) -> None:
        place: Any = contents[of]
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return spoil


BAD_BOXES = {
    "NaN in translation": (spoiled("translation", [1.0, math.nan, 0]), "translation: has nan in"),
    "infinite translation": (spoiled("translation", [math.inf, 0, 0]), "translation: has inf in"),
    "absurd translation": (spoiled("translation", [1e300, 0, 0]), "translation: has 1e+300 in"),
    "huge integer": (spoiled("translation", [10**400, 0, 0]), "translation: has 1000"),
    "two coordinates": (spoiled("translation", [1.0, 2.0]), "translation: has 2 numbers, not 3 numbers"),
    "translation is a string": (spoiled("translation", "here"), "translation: is 'here', not 3 numbers"),
    "strings in translation": (spoiled("translation", ["1", "2", "3"]), "translation: has '1' in"),
    "null in translation": (spoiled("translation", [None, 2, 3]), "translation: has None in"),
    "nested translation": (spoiled("translation", [[1], [2], [3]]), "translation: has [1] in"),
    "NaN in size": (spoiled("size", [1.0, 2.0, math.nan]), "size: has nan in"),
    "size zero": (spoiled("size", [0, 4.0, 1.5]), "size: [0, 4.0, 1.5] is not above 0"),
    "negative size": (spoiled("size", [1.0, -4.0, 1.5]), "size: [1.0, -4.0, 1.5] is not above 0"),
    "size missing": (without("results", "s0f1", 1, "size"), "size: is missing"),
    "no rotation": (spoiled("rotation", [0, 0, 0, 0]), "rotation: [0, 0, 0, 0] is no rotation"),
    "NaN in rotation": (spoiled("rotation", [1, 0, 0, math.nan]), "rotation: has nan in"),
    "yaw as rotation": (spoiled("rotation", 0.5), "rotation: is 0.5, not 4 numbers"),
    "velocity of three": (spoiled("velocity", [1, 2, 3]), "velocity: has 3 numbers, not 2 numbers"),
    "infinite velocity": (spoiled("velocity", [math.inf, 0]), "velocity: has inf in"),
    "velocity missing": (without("results", "s0f1", 1, "velocity"), "velocity: is missing"),
    "velocity is a string": (spoiled("velocity", "fast"), "velocity: is 'fast', not 2 numbers"),
    "score NaN": (spoiled("tracking_score", math.nan), "tracking_score: has nan, not a finite number"),
    "score is a string": (spoiled("tracking_score", "0.5"), "tracking_score: has '0.5', not a finite number"),
    "score is null": (spoiled("tracking_score", None), "tracking_score: has None, not a finite number"),
    "negative score": (spoiled("tracking_score", -0.1), "tracking_score: -0.1 is negative"),
    "score missing": (without("results", "s0f1", 1, "tracking_score"), "tracking_score: is missing"),
    "unknown class": (spoiled("tracking_name", "tank"), "tracking_name: is 'tank', not a class of meta.class_range"),
    "class is a list": (spoiled("tracking_name", ["car"]), "tracking_name: is ['car'], not a class"),
    "id is null": (spoiled("tracking_id", None), "tracking_id: is None, not a string"),
    "id missing": (without("results", "s0f1", 1, "tracking_id"), "tracking_id: is missing"),
    "id twice": (spoiled("tracking_id", "a"), "tracking_id: 'a' is twice in this frame (also results.s0f1[0])"),
    "of another frame": (spoiled("sample_token", "s0f2"), "sample_token: is 's0f2', but the box is listed under"),
}


@pytest.mark.parametrize("name", BAD_BOXES)
def test_a_bad_box_is_named_by_file_frame_place_and_field(tmp_path: Path, name: str) -> None:
    spoil, expected = BAD_BOXES[name]
    gt, pred = files()
    spoil(gt, pred)
    gt_path, pred_path = write(tmp_path, gt, pred)
    with pytest.raises(CooptrackError) as raised:
        read_submission(gt_path, pred_path)
    text = str(raised.value)
    assert text.startswith(f"{pred_path}: results.s0f1[1].{expected}") and "\n" not in text and "; " in text


BAD_FILES: dict[str, tuple[Spoil, str, str]] = {
    "unknown frame": (
        lambda gt, pred: pred["results"].update(nowhere=[]),
        "pred",
        "results.nowhere: is a sample token that meta.scenes of the ground truth does not list",
    ),
    "unknown frame of the truth": (lambda gt, pred: gt["results"].update(nowhere=[]), "gt", "results.nowhere: is a"),
    "boxes are an object": (lambda gt, pred: pred["results"].update(s0f1={}), "pred", "results.s0f1: is dict, not a"),
    "a box is a list": (lambda gt, pred: pred["results"].update(s0f1=[[]]), "pred", "results.s0f1[0]: is list, not an"),
    "too many boxes": (
        lambda gt, pred: pred["results"].update(s0f1=[row(str(i)) for i in range(501)]),
        "pred",
        "results.s0f1: has 501 boxes, more than 500",
    ),
    "a bad box of the truth": (
        lambda gt, pred: gt["results"]["s1f2"][0].update(size=[1, 1, -1]),
        "gt",
        "results.s1f2[0].size: [1, 1, -1] is not above 0",
    ),
    "an id twice in the truth": (
        lambda gt, pred: gt["results"]["s1f2"][1].update(tracking_id="a"),
        "gt",
        "results.s1f2[1].tracking_id: 'a' is twice in this frame (also results.s1f2[0])",
    ),
    "no results": (without("results"), "pred", "results: is missing"),
    "results are a list": (lambda gt, pred: pred.update(results=[]), "pred", "results: is list, not an object"),
    "no meta": (without("meta", of=0), "gt", "meta: is missing"),
    "no scenes": (without("meta", "scenes", of=0), "gt", "meta.scenes: is missing"),
    "no class_range": (without("meta", "class_range", of=0), "gt", "meta.class_range: is missing"),
    "empty split": (meta("scenes", {}), "gt", "meta.scenes: has no frames"),
    "empty scenes": (meta("scenes", {"s0": []}), "gt", "meta.scenes: has no frames"),
    "scenes are a list": (meta("scenes", []), "gt", "meta.scenes: is list, not an object"),
    "no class": (meta("class_range", {}), "gt", "meta.class_range: names no class"),
    "range zero": (meta("class_range", {"car": 0}), "gt", "meta.class_range.car: is 0 m"),
    "range NaN": (meta("class_range", {"car": math.nan}), "gt", "meta.class_range.car: is nan, not a finite number"),
    "frame of two": (frame(["s0f2", START_US]), "gt", "meta.scenes.s0[2]: has 2 entries, not 3"),
    "frame is a token": (frame("s0f2"), "gt", "meta.scenes.s0[2]: is str, not a list"),
    "frame twice": (frame(["s0f1", START_US * 2, [0, 0]]), "gt", "meta.scenes.s0[2]: sample token 's0f1' is listed"),
    "token is a number": (frame([7, START_US, [0, 0]]), "gt", "meta.scenes.s0[2][0]: is 7, not a sample token"),
    "time is a string": (frame(["s0f2", "1", [0, 0]]), "gt", "meta.scenes.s0[2][1]: is '1', not integer microseconds"),
    "time is NaN": (frame(["s0f2", math.nan, [0, 0]]), "gt", "meta.scenes.s0[2][1]: is nan, not integer"),
    "ego of three": (frame(["s0f2", START_US * 2, [0, 0, 0]]), "gt", "meta.scenes.s0[2][2]: is [0, 0, 0], not two"),
    "ego NaN": (frame(["s0f2", START_US * 2, [0, math.nan]]), "gt", "meta.scenes.s0[2][2][1]: is nan, not a finite"),
    "same time": (frame(["s0f2", START_US, [0, 0]]), "gt", "meta.scenes.s0: frames 's0f0' and 's0f2' have the same"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_with_the_entry(tmp_path: Path, name: str) -> None:
    spoil, which, expected = BAD_FILES[name]
    gt, pred = files()
    spoil(gt, pred)
    paths = dict(zip(("gt", "pred"), write(tmp_path, gt, pred), strict=True))
    with pytest.raises(CooptrackError) as raised:
        read_submission(paths["gt"], paths["pred"])
    text = str(raised.value)
    assert text.startswith(f"{paths[which]}: {expected}") and "\n" not in text and "; " in text


def test_files_that_are_no_json_are_refused_in_one_line(tmp_path: Path) -> None:
    gt, pred = write(tmp_path, *files())
    packed = gzip.compress(pred.read_bytes())
    for content, expected in (
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"[]", "is list, not an object"),
        (b"\xff\xfe{}", "is not valid JSON"),
        (b'{"results": ' + b"[" * 200_000, "is n"),
        (packed[:-20], "is not sound gzip data"),
        (packed[:40] + b"\0" * 40 + packed[80:], "is not sound gzip data"),
        (packed[:5], "is not sound gzip data"),
    ):
        pred.write_bytes(content)
        with pytest.raises(CooptrackError) as raised:
            read_submission(gt, pred)
        assert str(raised.value).startswith(f"{pred}: ") and expected in str(raised.value)
        assert "\n" not in str(raised.value)
    for path, expected in ((tmp_path / "none.json", "file: is missing"), (tmp_path, "file: cannot be read")):
        with pytest.raises(CooptrackError, match=f"{path}: {expected}"):
            read_submission(gt, path)


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
