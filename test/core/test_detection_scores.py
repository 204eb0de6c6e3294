"""Detection scores: values that can be computed by hand, and how scenes are weighted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluation_tables import repeated
from submission_files import files, oracle, row, write

from cooptrack_core.evaluation import pairs
from cooptrack_core.evaluation.detection import (
    RECALLS,
    THRESHOLDS_M,
    detection_scores,
    match_detections,
    nds_style,
    precision_curve,
)  # fmt: skip
from cooptrack_core.evaluation.submission import Submission, read_submission


def data_of(tmp_path: Path, gt: dict, pred: dict) -> Submission:
    near = read_submission(*write(tmp_path, gt, pred)).in_range()
    assert isinstance(near, Submission)
    return near


def test_errors_of_a_single_match_are_what_they_are_by_hand(tmp_path: Path) -> None:
    gt, pred = files({"s": 1})
    gt["results"]["sf0"] = [row("a", 10.0)]
    found = row("p", 10.6, score=0.7)
    found["size"] = [1.8, 2.2, 1.5]  # half as long
    found["rotation"] = [np.cos(0.1), 0, 0, np.sin(0.1)]
    found["velocity"] = [1.0, 2.0]
    pred["results"]["sf0"] = [found]
    scores = detection_scores(match_detections(data_of(tmp_path, gt, pred)))
    expected = {"ap_0.5": 0, "ap_1.0": 1, "ap_2.0": 1, "ap_4.0": 1, "ap": 0.75}
    expected |= {"trans_err": 0.6, "scale_err": 0.5, "orient_err": 0.2, "vel_err": 2.0}
    assert scores["car"] == pytest.approx(expected, abs=1e-12)
    assert scores["bicycle"] == {name: 0 if name.startswith("ap") else 1 for name in expected}
    assert scores["mAP"] == pytest.approx(0.375)


def test_a_prediction_between_two_objects_takes_the_nearest_that_is_free(tmp_path: Path) -> None:
    gt, pred = files({"s": 1})
    gt["results"]["sf0"] = [row("a", 0.0), row("b", 1.0)]
    # the second, worse one would be nearest to what the first has taken
    pred["results"]["sf0"] = [row("p", 0.9, score=0.9), row("q", 0.8, score=0.8)]
    matches = match_detections(data_of(tmp_path, gt, pred)).by_class["car"]
    assert matches.is_tp.tolist() == [[True, False], [True, True], [True, True], [True, True]]
    assert matches.error[0] == pytest.approx([0.1, 0.8])


def test_nds_is_of_the_four_errors_that_are_defined(tmp_path: Path) -> None:
    gt, pred = files()
    gt["meta"]["class_range"] = {"car": 50}
    scores = detection_scores(match_detections(data_of(tmp_path, gt, pred)))
    table = nds_style(scores)
    assert table == pytest.approx({"mATE": 0.1, "mASE": 0, "mAOE": 0, "mAVE": 0, "NDS": (5 + 3.9) / 9})


def test_nds_counts_large_errors_as_one_and_leaves_out_undefined_ones() -> None:
    cone = {"ap": 0.5, "trans_err": 2.0, "scale_err": 0.5, "orient_err": np.nan, "vel_err": np.nan}
    car = {"ap": 0.5, "trans_err": 4.0, "scale_err": 0.5, "orient_err": 0.2, "vel_err": 0.4}
    table = nds_style({"traffic_cone": cone, "car": car, "mAP": 0.5})
    assert table == pytest.approx({"mATE": 3, "mASE": 0.5, "mAOE": 0.2, "mAVE": 0.4, "NDS": (2.5 + 1.9) / 9})


def test_a_weight_is_worth_as_many_copies_of_a_scene(tmp_path: Path) -> None:
    data = read_submission(*oracle("realistic")[:2]).in_range()
    matches = match_detections(data)
    for weights in ([1, 1, 1, 1], [2, 0, 1, 3], [0, 0, 1, 0]):
        copies = repeated(data, weights)
        again = detection_scores(match_detections(copies))
        weighted = detection_scores(matches, np.array(weights))
        assert list(again) == list(weighted)
        for name in data.class_names:
            assert weighted[name] == pytest.approx(again[name], abs=2e-3)  # equal scores: another order
        assert detection_scores(matches, np.array(weights), errors=False)["mAP"] == weighted["mAP"]
    assert detection_scores(matches, np.ones(4, np.int64)) == detection_scores(matches)


def test_a_class_without_objects_in_the_weighted_scenes_is_left_out_of_the_mean(tmp_path: Path) -> None:
    gt, pred = files({"s": 1, "u": 1})
    gt["results"]["sf0"] = [row("a", 1.0), row("b", 8.0, name="bicycle")]
    pred["results"]["sf0"] = [row("p", 1.0, score=0.9)]
    gt["results"]["uf0"], pred["results"]["uf0"] = [row("c", 1.0)], [row("q", 1.0, score=0.9)]
    matches = match_detections(data_of(tmp_path, gt, pred))
    assert detection_scores(matches, np.array([1, 1]))["mAP"] == pytest.approx(0.5)
    second = detection_scores(matches, np.array([0, 1]))
    assert second["mAP"] == pytest.approx(1.0) and np.isnan(second["bicycle"]["ap"])
    assert np.isnan(detection_scores(matches, np.array([0, 0]))["mAP"])


def test_the_precision_curve_is_that_of_the_average_precision() -> None:
    matches = match_detections(read_submission(*oracle("realistic")[:2]).in_range())
    scores = detection_scores(matches)
    for at, threshold_m in enumerate(THRESHOLDS_M):
        precision, confidence = precision_curve(matches.by_class["car"], at)
        assert len(precision) == len(confidence) == len(RECALLS) == 101
        average = np.maximum(precision[11:] - 0.1, 0).mean() / 0.9
        assert average == pytest.approx(scores["car"][f"ap_{threshold_m}"])
        assert (np.diff(confidence) <= 0).all()


def test_crowded_frames_are_compared_in_portions_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_submission(*oracle("random_crowded")[:2]).in_range()
    a, b = data.predictions, data.truth
    arguments = (a.frame, a.center_m[:, :2], b.frame, b.center_m[:, :2], 4.0)
    at_once = pairs.pairs_within(*arguments)
    monkeypatch.setattr(pairs, "_PAIRS_AT_ONCE", 7)
    in_portions = pairs.pairs_within(*arguments)
    for column, same in zip(at_once, in_portions, strict=True):
        np.testing.assert_array_equal(column, same)
    distance_m = np.linalg.norm(a.center_m[:, None, :2] - b.center_m[None, :, :2], axis=2)
    near = (distance_m < 4) & (a.frame[:, None] == b.frame[None])
    np.testing.assert_array_equal(np.stack(at_once[:2]), np.stack(np.nonzero(near)))
