"""Counts of scenes give the scores of any multiset of scenes, exactly."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from evaluation_tables import CLASSES, random_set, repeated
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.evaluation.scene_curves import RESAMPLED, amota_of, amota_of_many, scene_curves
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.tracking import tracking_scores

SEEDS = st.integers(0, 2**32 - 1)


def some_scenes(seed: int) -> EvaluationSet:
    """Three scenes with switches, holes and false boxes; sometimes one without predictions, or without any box."""
    data = random_set(seed, (6, 1, 9), missed=0.3, false=0.8, noise_m=1.0, swapped=0.1)
    scene = data.frames.scene[data.predictions.frame]
    data = replace(data, predictions=data.predictions.select((scene != 2) | (seed % 3 != 0)))
    if seed % 4 == 0:
        data = replace(data, truth=data.truth.select(data.frames.scene[data.truth.frame] != 0))
    return data.in_range()


def same(curves: dict[str, float], scores: dict, name: str) -> bool:
    """Whether the values of a class are equal to the last digit."""
    pairs = [(curves[metric], scores["label_metrics"][metric][name]) for metric in RESAMPLED]
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


@settings(max_examples=40)
@given(SEEDS)
def test_every_scene_once_gives_the_scores(seed: int) -> None:
    data = some_scenes(seed)
    scores = tracking_scores(data)
    for name, curves in zip(CLASSES, scene_curves(data), strict=True):
        assert same(amota_of(curves), scores, name)
        assert same(amota_of(curves, np.ones(3)), scores, name)


@settings(max_examples=40)
@given(SEEDS, st.lists(st.integers(0, 3), min_size=3, max_size=3).filter(any))
def test_weights_equal_scenes_that_are_there_so_often(seed: int, times: list[int]) -> None:
    data = some_scenes(seed)
    scores = tracking_scores(repeated(data, times))
    for name, curves in zip(CLASSES, scene_curves(data), strict=True):
        assert same(amota_of(curves, times), scores, name)


def test_many_weightings_at_once_equal_one_at_a_time() -> None:
    weights = np.random.default_rng(0).multinomial(3, [1 / 3] * 3, 50)
    for curves in scene_curves(some_scenes(1)):
        together = amota_of_many(curves, weights)
        for row, weight in enumerate(weights):
            alone = amota_of(curves, weight)
            assert all(np.array_equal(together[m][row], alone[m], equal_nan=True) for m in RESAMPLED)


def test_no_scene_gives_nothing() -> None:
    curves = scene_curves(some_scenes(2))[0]
    assert all(math.isnan(value) for value in amota_of(curves, [0, 0, 0]).values())
    assert all(math.isnan(value) for value in amota_of([]).values())
    assert all(len(values) == 0 for values in amota_of_many(curves, np.zeros((0, 3))).values())
