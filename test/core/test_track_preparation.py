"""Tracks are scored with their mean score, and holes in them are filled as the nuScenes kit fills them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from evaluation_tables import evaluation_set, random_set

from cooptrack_core.evaluation.track_pairs import track_pairs
from cooptrack_core.evaluation.tracks import prepared
from cooptrack_core.types import CooptrackError


def test_every_box_has_the_mean_score_of_its_track() -> None:
    scores = {1: (0.2, 0.4, 0.9), 2: (0.7,)}
    rows = [{"frame": n, "track": t, "score": s} for t, of in scores.items() for n, s in enumerate(of)]
    predictions = prepared(evaluation_set((3,), [], rows)).predictions
    assert predictions.track.tolist() == [1, 2, 1, 1]
    assert predictions.score.tolist() == [np.mean(scores[1]), 0.7, np.mean(scores[1]), np.mean(scores[1])]


def test_the_mean_is_the_kits_to_the_last_digit() -> None:
    scores = np.random.default_rng(0).random(157)
    rows = [{"frame": n, "track": 3, "score": s} for n, s in enumerate(scores)]
    predictions = prepared(evaluation_set((157,), [], rows)).predictions
    assert set(predictions.score.tolist()) == {float(np.mean(scores.tolist()))}


def test_holes_are_filled_with_the_weights_of_the_kit() -> None:
    rows = [{"frame": 0, "track": 5, "x": 0.0, "heading": 3.0}]
    rows += [{"frame": 3, "track": 5, "x": 9.0, "y": 3.0, "heading": -3.0, "class_index": 2, "score": 0.5}]
    data = evaluation_set((4,), rows, rows)
    times_us = np.array([0, 100_000, 150_000, 400_000])
    ready = prepared(replace(data, frames=replace(data.frames, timestamp_us=times_us)))
    for boxes in (ready.truth, ready.predictions):
        # the share of the time that is left to the later box weighs the later box
        assert boxes.center_m[:, 0].tolist() == pytest.approx([0, 0.75 * 9, 0.625 * 9, 9])
        assert boxes.class_index.tolist() == [0, 2, 2, 2]
        assert boxes.frame.tolist() == [0, 1, 2, 3]
        short_way_rad = (3.0 + 0.75 * (2 * math.pi - 6.0)) % (2 * math.pi)
        assert boxes.heading_rad[1] % (2 * math.pi) == pytest.approx(short_way_rad)
    assert ready.predictions.score.tolist() == pytest.approx([0.75] * 4)


def test_filled_boxes_follow_the_others_in_the_order_in_which_their_tracks_begin() -> None:
    begin = [{"frame": 0, "track": track, "x": 1.0 * track} for track in (8, 2, 6)]
    end = [{"frame": 2, "track": track, "x": 1.0 * track} for track in (2, 6, 8)]
    ready = prepared(evaluation_set((3,), [*begin, {"frame": 1, "track": 9}, *end], []))
    assert ready.truth.track[ready.truth.frame == 1].tolist() == [9, 8, 2, 6]


def test_without_holes_nothing_changes_and_scenes_are_apart() -> None:
    rows = [{"frame": 0, "track": 1}, {"frame": 3, "track": 2}]
    ready = prepared(evaluation_set((2, 2), rows, []))
    assert len(ready.truth) == 2 and len(ready.predictions) == 0


def test_two_boxes_of_a_track_in_a_frame_are_refused() -> None:
    rows = [{"frame": 1, "track": 4, "x": 0.0}, {"frame": 1, "track": 4, "x": 9.0}]
    with pytest.raises(CooptrackError, match=r"^frame 000001: track 4: has two boxes; keep one of them$"):
        prepared(evaluation_set((2,), [], rows))


def test_distances_are_to_the_last_digit_those_between_the_boxes_that_count() -> None:
    # far from the origin the last digits of a distance depend on how many boxes it is computed for
    data = random_set(0, (6, 6), objects=9, noise_m=0.0)
    far_m = np.array([3211.7, -1234.5, 0.0])
    truth, predictions = (replace(boxes, center_m=boxes.center_m + far_m) for boxes in (data.truth, data.predictions))
    best = [max(np.flatnonzero(predictions.frame == frame), key=lambda i: predictions.score[i]) for frame in range(12)]
    classless = [replace(boxes, class_index=np.zeros(len(boxes), np.int64)) for boxes in (truth, predictions)]
    together = replace(data, truth=classless[0], predictions=classless[1])
    alone = replace(together, predictions=classless[1].select(np.array(best)))
    for all_pairs, single in zip(track_pairs(together, 0), track_pairs(alone, 0), strict=True):
        there = set(zip(single.prediction_frame.tolist(), single.track.tolist(), strict=True))
        columns = (all_pairs.prediction_frame[all_pairs.column], all_pairs.track[all_pairs.column])
        chosen = np.array([name in there for name in zip(*(c.tolist() for c in columns), strict=True)])
        assert np.array_equal(all_pairs.lone_distance_m[chosen], single.distance_m)
        assert np.array_equal(all_pairs.lone_distance_m[~chosen], all_pairs.distance_m[~chosen])
        assert all_pairs.distance_m == pytest.approx(0, abs=1e-3) and len(single.row) > 0
