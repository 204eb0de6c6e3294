"""Guarantees of the curves of a report: values by hand, None where nothing is reached."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluation_tables import evaluation_set, random_set

from cooptrack_core.evaluation.curve_plots import curve_figures
from cooptrack_core.evaluation.curves import found_objects, metric_curves, recall_by_distance
from cooptrack_core.evaluation.detection import detection_scores, match_detections
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.tracking import curves_of, track_classes


def curves_in(data: EvaluationSet) -> dict[str, Any]:
    return metric_curves(data, match_detections(data), curves_of(track_classes(data)))


def car(frame: int, track: int, x: float, y: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"frame": frame, "track": track, "x": x, "y": y, **more}


def test_average_precision_is_the_mean_of_its_curve() -> None:
    data = random_set(4, (30, 20)).in_range()
    curves, scores = curves_in(data), detection_scores(match_detections(data))
    assert curves["detection"]["recall"] == pytest.approx(np.linspace(0, 1, 101))
    for name in data.class_names:
        for threshold in (0.5, 1.0, 2.0, 4.0):
            values = [0.0 if v is None else v for v in curves["detection"]["precision"][name][str(threshold)]]
            area = np.mean(np.maximum(np.array(values)[11:] - 0.1, 0)) / 0.9
            assert area == pytest.approx(scores[name][f"ap_{threshold}"], abs=1e-5)


def test_a_precision_curve_ends_where_no_recall_is_reached() -> None:
    truth = [car(0, 0, 5.0), car(0, 1, 15.0)]
    precision = curves_in(evaluation_set((1,), truth, [car(0, 0, 5.1, score=0.9)]))["detection"]["precision"]["car"]
    assert precision["1.0"][50] == 1.0 and precision["1.0"][51:] == [None] * 50
    assert curves_in(evaluation_set((1,), truth, []))["detection"]["precision"]["car"]["1.0"] == [None] * 101


def test_recall_is_counted_by_distance_from_the_vehicle() -> None:
    truth = [car(0, 0, 5.0), car(0, 1, 15.0), car(0, 2, 0.0, 18.0), car(0, 3, -45.0)]
    predictions = [car(0, 0, 5.5, score=0.5), car(0, 1, 16.5, score=0.1), car(0, 2, 0.0, 20.5, score=0.9)]
    curves = recall_by_distance(evaluation_set((1,), truth, predictions))
    assert curves["edges_m"] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    assert curves["objects"]["car"] == [1, 2, 0, 0, 1]
    recall = curves["recall"]["car"]
    assert recall[:2] == [1.0, 0.5] and recall[4] == 0.0 and np.isnan(recall[2]) and np.isnan(recall[3])


def test_an_object_needs_a_track_for_itself() -> None:
    data = evaluation_set((2,), [car(0, 0, 5.0), car(0, 1, 6.0), car(1, 0, 5.0)], [car(0, 7, 5.6), car(1, 7, 40.0)])
    assert found_objects(data.truth, data.predictions).tolist() == [False, True, False]


def test_recalls_that_are_not_reached_are_none_in_tracking_curves() -> None:
    truth = [car(n, track, 10.0 * track) for n in range(5) for track in (1, 2)]
    predictions = [car(n, 1, 10.2, score=0.8) for n in range(5)]
    curve = curves_in(evaluation_set((5,), truth, predictions))["tracking"]["car"]
    assert len(curve["motar"]) == 40
    assert {value for value in curve["motar"] if value is not None} == {1.0}
    assert None in curve["motar"] and max(v for v in curve["recall"] if v is not None) == 0.5


@pytest.mark.parametrize("predictions", [[], [car(0, 0, 5.0, score=0.5)]])
@pytest.mark.parametrize("truth", [[], [car(0, 0, 5.0)]])
def test_curves_of_next_to_nothing_are_drawn(truth: list[Any], predictions: list[Any]) -> None:
    curves = curves_in(evaluation_set((1,), truth, predictions))
    figures = curve_figures({"curves": curves, "by_sequence": {"0000": {"mAP": None}, "0001": {"mAP": 0.5}}})
    assert len(figures) == 4 and all(text.startswith("<figure><svg") for text in figures)


def test_metrics_without_curves_give_no_figures() -> None:
    assert curve_figures({}) == []
