"""Tracking metrics: equal to a plain implementation and to values by hand, whatever the order; edges; bootstrap."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from evaluation_tables import CLASSES, evaluation_set, random_set
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_tracking import tracking_of_class

from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.tracking import METRICS, curves_of, track_classes, tracking_scores

SEEDS = st.integers(0, 2**32 - 1)


def crowded_set(seed: int) -> EvaluationSet:
    """A few scenes in which objects and tracks are near each other; positions are sometimes on a grid, so tie."""
    rng = np.random.default_rng(seed)
    data = random_set(
        seed, tuple(int(n) for n in rng.integers(1, 9, rng.integers(1, 4))), objects=int(rng.integers(1, 8)),
        missed=0.3, false=0.8, noise_m=float(rng.choice((0.0, 0.4, 1.2))), swapped=0.1,
    )  # fmt: skip
    shrink = float(rng.choice((1.0, 0.2, 0.1)))
    grid_m = rng.choice((0.0, 0.5))

    def squeezed(boxes):
        center_m = boxes.center_m * shrink
        return replace(boxes, center_m=np.round(center_m / grid_m) * grid_m if grid_m else center_m)

    return replace(data, truth=squeezed(data.truth), predictions=squeezed(data.predictions)).in_range()


def equal(left: dict, right: dict) -> bool:
    """Whether nested results are the same to the last digit, NaN included."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return left == right or (math.isnan(left) and math.isnan(right))


@settings(max_examples=80)
@given(SEEDS)
def test_scores_equal_those_of_a_plain_implementation(seed: int) -> None:
    data = crowded_set(seed)
    label_metrics = tracking_scores(data)["label_metrics"]
    for index, name in enumerate(CLASSES):
        if not (data.truth.class_index == index).any() or math.isnan(label_metrics["ids"][name]):
            continue  # nothing to match: see the tests of the edges
        expected = tracking_of_class(data, index)
        for metric in METRICS:
            # the kit's distances, and so ours, lose digits where boxes are in the same place
            tolerance = 1e-6 if metric in ("motp", "amotp") else 1e-9
            assert label_metrics[metric][name] == pytest.approx(expected[metric], abs=tolerance, nan_ok=True), metric


@settings(max_examples=40)
@given(SEEDS)
def test_order_and_names_do_not_matter(seed: int) -> None:
    data = random_set(seed, (6, 4), missed=0.3, false=0.8, noise_m=1.0, swapped=0.1).in_range()
    rng = np.random.default_rng(seed)

    def shuffled(boxes, order: bool):
        if order:
            boxes = boxes.select(np.lexsort((rng.random(len(boxes)), boxes.frame)))
        names = rng.permutation(int(boxes.track.max(initial=-1)) + 1)
        return replace(boxes, track=names[boxes.track], written_id=names[boxes.track])

    expected = tracking_scores(data)
    for side in ({"predictions"}, {"truth"}, {"predictions", "truth"}):
        # Of two objects that would go on with the same track the kit, and so ours, takes the first of the list.
        again = tracking_scores(replace(data, **{n: shuffled(getattr(data, n), n == "predictions") for n in side}))
        assert equal(again["label_metrics"], expected["label_metrics"])


@settings(max_examples=30)
@given(SEEDS)
def test_perfect_tracks_have_amota_1_and_no_switches(seed: int) -> None:
    data = random_set(seed, (5, 3)).in_range()
    scores = np.random.default_rng(seed).uniform(0.1, 1, int(data.truth.track.max()) + 1)
    data = replace(data, predictions=replace(data.truth, score=scores[data.truth.track]))
    result = tracking_scores(data)
    for name in {CLASSES[index] for index in data.truth.class_index}:
        of = {metric: values[name] for metric, values in result["label_metrics"].items()}
        assert of["mota"] == of["recall"] == of["motar"] == 1
        assert of["amota"] == pytest.approx(1, abs=0.15)  # fewer than all tracks at the lower recalls
        assert of["ids"] == of["fp"] == of["fn"] == of["frag"] == of["ml"] == of["tid"] == of["lgd"] == 0
        assert of["motp"] == pytest.approx(0, abs=1e-5) and of["mt"] > 0
    certain = tracking_scores(replace(data, predictions=replace(data.truth, score=np.full(len(data.truth), 0.8))))
    assert certain["mean"]["amota"] == 1 and certain["mean"]["ids"] == 0


def test_values_by_hand() -> None:
    # one car for ten frames: unseen for one, track 1 for three, a hole of two and track 2 from then on, 0.5 m beside it
    truth = [{"frame": n, "track": 0, "x": float(n), "y": 5.0} for n in range(10)]
    seen = [(n, 1) for n in (1, 2, 3)] + [(n, 2) for n in (6, 7, 8, 9)]
    predictions = [{"frame": n, "track": track, "x": float(n), "y": 5.5, "score": 0.9} for n, track in seen]
    predictions += [{"frame": 4, "track": 3, "x": 20.0, "y": 20.0, "score": 0.9}]
    scores = tracking_scores(evaluation_set((10,), truth, predictions))
    got = {metric: values["car"] for metric, values in scores["label_metrics"].items()}
    # MOTAR: the switch is no match, so among the 4 that its recall of 0.6 allows to be missed; the false box counts
    expected = {
        "recall": 0.7, "motar": 1 - 1 / 6, "gt": 10, "mota": 0.5, "motp": 0.5, "mt": 0, "ml": 0, "faf": 10, "tp": 6,
        "fp": 1, "fn": 3, "ids": 1, "frag": 1, "tid": 0.5, "lgd": 1.0,
    }  # fmt: skip
    # matches that are no switch reach a recall of 0.6: 22 of the 40 recalls between 0.1 and 1
    expected |= {"amota": 22 / 40 * (1 - 1 / 6), "amotp": 22 / 40 * 0.5 + 18 / 40 * 2}
    assert got == pytest.approx(expected, abs=1e-9)
    assert scores["seconds"]["mean"] == pytest.approx({"tid_s": 0.1, "lgd_s": 0.2})


def test_a_match_outlives_a_better_one_and_only_the_first_object_keeps_a_track() -> None:
    # track 1 follows object 0; in frame 1 track 2 is nearer, which is no reason to switch
    truth = [{"frame": n, "track": 0, "x": 0.0} for n in range(2)]
    predictions = [{"frame": n, "track": 1, "x": 1.0 * n, "score": 0.9} for n in range(2)]
    predictions += [{"frame": 1, "track": 2, "x": 0.1, "score": 0.9}]
    scores = tracking_scores(evaluation_set((2,), truth, predictions))["mean"]
    assert (scores["ids"], scores["motp"], scores["fp"]) == (0, pytest.approx(0.5, abs=1e-9), 1)
    # object 1 takes track 1 over while object 0 is away; when both are there, the first of the list keeps it
    truth = [{"frame": 0, "track": 0}, {"frame": 1, "track": 1}]
    truth += [{"frame": 2, "track": 0, "x": 1.0}, {"frame": 2, "track": 1}]
    truth += [{"frame": 1, "track": 0, "x": 30.0}]
    predictions = [{"frame": n, "track": 1, "score": 0.9} for n in range(3)]
    scores = tracking_scores(evaluation_set((3,), truth, predictions))["mean"]
    assert (scores["tp"], scores["ids"], scores["fn"]) == (3, 0, 2)
    assert scores["motp"] == pytest.approx(1 / 3, abs=1e-9)


def test_without_ground_truth_nothing_is_defined_and_sums_are_0() -> None:
    data = random_set(1, (4,))
    scores = tracking_scores(replace(data, truth=data.truth.select(slice(0, 0))))
    assert all(math.isnan(value) for values in scores["label_metrics"].values() for value in values.values())
    summed = ("mt", "ml", "tp", "fp", "fn", "ids", "frag")
    assert all(scores["mean"][metric] == 0 for metric in summed)
    assert all(math.isnan(scores["mean"][metric]) for metric in METRICS if metric not in summed)
    nothing = tracking_scores(evaluation_set((3,), [], []))
    assert nothing["mean"]["tp"] == 0 and math.isnan(nothing["mean"]["amota"])
    assert tracking_scores(evaluation_set((), [], []))["mean"]["ids"] == 0


@pytest.mark.parametrize("predictions", [[], [{"frame": 1, "track": 7, "x": -9.0, "score": 0.5}]])
def test_without_any_match_the_kits_worst_values_hold(predictions: list) -> None:
    # the same ids in both scenes: the kit counts them once among the lost
    truth = [{"frame": n, "track": 2 * (n // 2) + k, "x": 3.0 * k} for n in range(4) for k in range(2)]
    data = evaluation_set((2, 2), truth, predictions)
    data = replace(data, truth=replace(data.truth, written_id=data.truth.track % 2))
    scores = tracking_scores(data)
    got = {metric: values["car"] for metric, values in scores["label_metrics"].items()}
    worst = {"amota": 0, "amotp": 2, "recall": 0, "motar": 0, "gt": 8, "mota": 0, "motp": 2, "mt": 0, "ml": 2}
    worst |= {"faf": 500, "tp": 0, "fp": math.nan, "fn": 8, "ids": math.nan, "frag": math.nan, "tid": 20, "lgd": 20}
    assert got == pytest.approx(worst, nan_ok=True)
    assert math.isnan(scores["seconds"]["mean"]["tid_s"]) and math.isnan(scores["seconds"]["mean"]["lgd_s"])


def test_curves_hold_what_the_scores_are_made_of() -> None:
    data = random_set(3, (20, 12), noise_m=0.9).in_range()
    scores, curves = tracking_scores(data)["label_metrics"], curves_of(track_classes(data))
    for name in CLASSES:
        of = {key: np.array(values) for key, values in curves[name].items()}
        assert all(len(values) == 40 for values in of.values())
        reached = ~np.isnan(of["threshold"])
        assert (np.diff(of["threshold"][reached]) >= 0).all() and (np.diff(of["recall_aimed_at"]) < 0).all()
        assert of["recall_aimed_at"][0] == 1 and of["recall_aimed_at"][-1] == 0.1
        assert np.isnan(of["motar"][~reached]).all() and not np.isnan(of["mota"][reached]).any()
        best = np.nanargmax(of["mota"])
        assert all(scores[metric][name] == of[metric][best] for metric in ("mota", "ids", "fp", "fn", "recall"))
        assert scores["amota"][name] == pytest.approx(np.nan_to_num(of["motar"]).mean())
    empty = curves_of(track_classes(evaluation_set((2,), [], [])))
    assert all(len(values) == 40 for values in empty["car"].values())
    assert np.isnan(empty["car"]["threshold"]).all()


def test_many_thresholds_equal_few_at_a_time() -> None:
    from cooptrack_core.evaluation.sweep import sweep
    from cooptrack_core.evaluation.track_pairs import track_pairs
    from cooptrack_core.evaluation.tracks import prepared

    pairs = track_pairs(prepared(crowded_set(5)), 0)[0]
    thresholds = np.linspace(0, 1, 300)
    together = sweep(pairs, thresholds)
    alone = [sweep(pairs, thresholds[index : index + 1]) for index in range(0, 300, 7)]
    assert np.array_equal(together.counts[:, ::7], np.concatenate([one.counts for one in alone], axis=1))
    assert np.array_equal(together.match_scores, alone[0].match_scores) and len(together.match_scores)


@settings(max_examples=20)
@given(SEEDS)
def test_at_10_hz_durations_in_seconds_are_a_fifth_of_the_kits(seed: int) -> None:
    scores = tracking_scores(random_set(seed, (9, 12), missed=0.4, noise_m=0.9).in_range())
    for ours, theirs in (("tid_s", "tid"), ("lgd_s", "lgd")):
        seconds, kit = scores["seconds"]["label_metrics"][ours], scores["label_metrics"][theirs]
        for name in CLASSES:
            if not math.isnan(scores["label_metrics"]["ids"][name]):
                assert seconds[name] == pytest.approx(kit[name] / 5, nan_ok=True)
