"""Paired bootstrap over sequences: weights mean repeated sequences, differences of equals are 0, seeds repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation_tables import random_set

from cooptrack_core.evaluation import bootstrap
from cooptrack_core.evaluation.bootstrap import differences, weights_of
from cooptrack_core.evaluation.scene_statistics import SceneStatistics
from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet, FrameTable

SCENES = [8, 5, 11, 6]


def with_scores_of_their_own(data: EvaluationSet) -> EvaluationSet:
    """No two boxes with the same score: which of equals comes first is arbitrary, and so is a curve through them."""
    score = data.predictions.score + np.random.default_rng(0).random(len(data.predictions)) * 1e-3
    return replace(data, predictions=replace(data.predictions, score=score))


def repeated(data: EvaluationSet, weights: list[int]) -> EvaluationSet:
    """The set with every scene as often as its weight says, each time as another scene with other identities."""
    chosen = np.repeat(np.arange(len(weights)), weights)
    frames = data.frames
    rows = [np.flatnonzero(frames.scene == scene) for scene in chosen]
    starts = np.concatenate([[0], np.cumsum([len(own) for own in rows])]).astype(int)
    row = np.concatenate(rows)

    def boxes(table: BoxTable) -> BoxTable:
        parts, tracks = [], int(table.track.max(initial=0)) + 1
        for copy, own in enumerate(rows):
            part = table.select(np.isin(table.frame, own))
            track = part.track + copy * tracks
            parts.append(replace(part, frame=part.frame - own[0] + starts[copy], track=track, written_id=track))
        names = list(vars(parts[0]))
        return BoxTable(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    table = FrameTable(
        tuple(f"{n:06d}" for n in range(len(row))),
        np.repeat(np.arange(len(chosen)), [len(own) for own in rows]),
        tuple(f"{n:04d}" for n in range(len(chosen))),
        frames.timestamp_us[row], frames.ego_xy_m[row], frames.T_map_from_lidar[row],
    )  # fmt: skip
    return replace(data, frames=table, truth=boxes(data.truth), predictions=boxes(data.predictions))


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [2, 0, 1, 1], [0, 3, 0, 1], [0, 0, 4, 0]])
def test_weights_equal_physically_repeated_sequences(weights):
    data = with_scores_of_their_own(random_set(5, SCENES))
    weighted = SceneStatistics.of(data)(np.array([weights]))
    physical = SceneStatistics.of(repeated(data, weights))(np.ones((1, sum(weights)), np.int64))
    assert {"mAP", "AP car", "AMOTA", "AMOTA car", "MOTA", "recall outside view"} <= set(weighted)
    assert set(weighted) == set(physical)
    for name, values in weighted.items():
        np.testing.assert_allclose(values, physical[name], rtol=0, atol=1e-9, err_msg=name)


def test_weights_of_one_are_the_metrics_themselves():
    from cooptrack_core.evaluation.detection import detection_scores, match_detections
    from cooptrack_core.evaluation.tracking import tracking_scores

    data = random_set(7, SCENES)
    found = SceneStatistics.of(data)(np.ones((1, len(SCENES)), np.int64))
    detection = detection_scores(match_detections(data.in_range()))
    tracking = tracking_scores(data.in_range())
    expected = {
        "mAP": detection["mAP"], "AP car": detection["car"]["ap"], "AMOTA": tracking["mean"]["amota"],
        "AMOTA car": tracking["label_metrics"]["amota"]["car"], "MOTA": tracking["mean"]["mota"],
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-12), name


def test_equal_methods_differ_by_exactly_0():
    data = random_set(5, SCENES)
    found = differences({"a": SceneStatistics.of(data), "b": SceneStatistics.of(data)}, [("a", "b")], 4, resamples=50)
    for item in found["a", "b"].values():
        assert (item.value, item.low, item.high) == (0.0, 0.0, 0.0) and not item.excludes_zero


def test_every_resample_draws_as_many_sequences_as_there_are():
    weights = weights_of(7, 1000, seed=2)
    assert weights.shape == (1000, 7) and (weights.sum(axis=1) == 7).all() and (weights >= 0).all()
    assert np.abs(weights.mean(axis=0) - 1).max() < 0.1


def of_scenes(values):
    """A method whose metric is the mean of a number of each scene."""
    return lambda weights: {"mean": weights @ np.asarray(values, float) / weights.sum(axis=1)}


def test_pairing_leaves_out_what_a_hard_sequence_costs_both():
    hard = np.array([0.1, 0.9, 0.3, 0.7, 0.2, 0.8])
    found = differences({"a": of_scenes(hard + 0.05), "b": of_scenes(hard)}, [("a", "b")], 6)["a", "b"]["mean"]
    assert found.value == pytest.approx(0.05) and found.excludes_zero
    assert found.low == pytest.approx(0.05) and found.high == pytest.approx(0.05)


def test_interval_is_that_of_the_percentiles_of_the_resamples():
    gain = np.array([0.3, -0.1, 0.2, 0.05, -0.2])
    found = differences({"a": of_scenes(gain), "b": of_scenes(0 * gain)}, [("a", "b")], 5, resamples=400, seed=9)
    expected = np.percentile(weights_of(5, 400, seed=9) @ gain / 5, [2.5, 97.5])
    item = found["a", "b"]["mean"]
    np.testing.assert_allclose([item.low, item.high], expected, atol=1e-12)
    assert item.value == pytest.approx(0.05) and not item.excludes_zero and item.defined == 1.0


def test_the_same_seed_gives_the_same_interval_another_one_another():
    gain = np.random.default_rng(0).normal(size=12)
    methods = {"a": of_scenes(gain), "b": of_scenes(0 * gain)}
    first, again, other = (differences(methods, [("a", "b")], 12, seed=seed)["a", "b"]["mean"] for seed in (1, 1, 2))
    assert first == again and first != other


def test_a_metric_that_some_resamples_do_not_define_says_so():
    def partly(weights):
        return {"rare": np.where(weights[:, 0] > 0, 0.5, np.nan)}

    item = differences({"a": partly, "b": lambda w: {"rare": np.zeros(len(w))}}, [("a", "b")], 3)["a", "b"]["rare"]
    assert item.value == 0.5 and 0.5 < item.defined < 0.9  # 1 - (2/3)^3
    nowhere = {"rare": np.nan}
    none = differences(
        {"a": partly, "b": lambda w: {name: np.full(len(w), value) for name, value in nowhere.items()}}, [("a", "b")], 3
    )["a", "b"]["rare"]
    assert np.isnan(none.value) and none.defined == 0.0 and not none.excludes_zero


def test_few_sequences_are_said_to_mean_little_and_one_nothing():
    assert "meaningless" in bootstrap.caution(1)
    assert "Only 4 sequences" in bootstrap.caution(4)
    assert bootstrap.caution(5) == ""
