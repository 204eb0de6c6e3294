"""HOTA: cases known by hand, and scenes that combine to what TrackEval gives for all of them."""

import contextlib
import importlib.util
import io
import math
from dataclasses import fields, replace

import numpy as np
import pytest
from evaluation_tables import evaluation_set, random_set

from cooptrack_core.evaluation.hota import METRICS, SIMILARITY, SceneHota, combined_hota, hota, hota_by_scene
from cooptrack_core.types import CooptrackError

ALPHAS = np.arange(0.05, 0.99, 0.05)


def way(track, frames, *, scene_start=0, x=10.0, y=0.0, **row):
    return [{"frame": scene_start + n, "track": track, "x": x, "y": y, **row} for n in frames]


def trackeval():
    with contextlib.redirect_stdout(io.StringIO()):
        from trackeval.metrics import HOTA
    return HOTA()


def test_perfect_tracks_have_one_everywhere_and_the_similarity_is_said():
    result = hota(evaluation_set([4], way(0, range(4)), way(7, range(4))))
    assert result["car"] == pytest.approx(dict.fromkeys(METRICS, 1.0))
    assert result["similarity"] == SIMILARITY == "max(0, 1 - d / 2 m), d: ground-plane distance of the centres"
    assert result["mean"] == result["car"] and math.isnan(result["bicycle"]["hota"])


def test_a_track_cut_in_half_loses_association_only():
    # DetA = 1. Each half shares 2 boxes of 4: A(c) = 2 / (4 + 2 - 2) = 1/2, so AssA = 1/2, HOTA = sqrt(1/2).
    result = hota(evaluation_set([4], way(0, range(4)), way(1, [0, 1]) + way(2, [2, 3])))["car"]
    assert result == pytest.approx(
        {"hota": math.sqrt(0.5), "deta": 1, "assa": 0.5, "loca": 1, "detre": 1, "detpr": 1, "assre": 0.5, "asspr": 1}
    )


def test_missed_and_false_boxes_lower_detection():
    # 3 of 4 boxes found, one false: DetA = 3 / 5, recall and precision 3 / 4; A(c) = 3 / (4 + 3 - 3) = 3 / 4.
    result = hota(evaluation_set([4], way(0, range(4)), way(1, range(3)) + way(2, [3], x=30)))["car"]
    assert result["deta"] == pytest.approx(3 / 5) and result["assa"] == pytest.approx(3 / 4)
    assert result["detre"] == result["detpr"] == pytest.approx(3 / 4)
    assert result["hota"] == pytest.approx(math.sqrt(3 / 5 * 3 / 4))


def test_distance_is_similarity_and_hits_end_at_two_metres():
    # 0.5 m: similarity 0.75, hits at the 15 thresholds from 0.05 to 0.75; 1.99 m: none.
    result = hota(evaluation_set([3], way(0, range(3)), way(0, range(3), x=10.5)))["car"]
    assert result["hota"] == pytest.approx(15 / 19) and result["loca"] == pytest.approx((15 * 0.75 + 4) / 19)
    assert hota(evaluation_set([3], way(0, range(3)), way(0, range(3), x=11.99)))["car"]["hota"] == 0


def test_height_does_not_matter():
    assert hota(evaluation_set([2], way(0, range(2)), way(0, range(2), z=1.0)))["car"]["hota"] == pytest.approx(1)


def test_only_boxes_in_range_and_of_the_same_class_count():
    far = way(1, range(4), x=50.0)
    result = hota(evaluation_set([4], way(0, range(4)) + far, way(0, range(4)) + way(5, range(4), x=49.0, y=11)))
    assert result["car"]["hota"] == pytest.approx(1)
    mixed = hota(evaluation_set([4], way(0, range(4)), way(0, range(4), class_index=1)))
    assert mixed["car"]["hota"] == 0 and math.isnan(mixed["bicycle"]["hota"]) and mixed["mean"]["hota"] == 0


def test_nothing_at_all():
    for data in (evaluation_set([], [], []), evaluation_set([3], [], []), evaluation_set([2], [], way(0, [0]))):
        assert all(math.isnan(value) for value in hota(data)["mean"].values())


def test_a_scene_without_predictions_or_without_truth_counts_its_boxes():
    both = evaluation_set([2, 2], way(0, [0, 1]) + way(1, [2, 3]), way(0, [0, 1]))
    assert hota(both)["car"]["detre"] == pytest.approx(0.5)
    false = evaluation_set([2, 2], way(0, [0, 1]), way(0, [0, 1]) + way(1, [2, 3]))
    assert hota(false)["car"]["detpr"] == pytest.approx(0.5)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_equals_trackeval_given_the_same_similarities(seed):
    data = random_set(seed, [15, 9], objects=9).in_range()
    metric = trackeval()
    result = hota(data)
    for index, name in enumerate(data.class_names):
        own, sequences = data.of_class(index), {}
        for scene in range(2):
            frames = np.flatnonzero(data.frames.scene == scene)
            sides = []
            for boxes in (own.truth, own.predictions):
                rows = [np.flatnonzero(boxes.frame == frame) for frame in frames]
                names = sorted({int(track) for row in rows for track in boxes.track[row]})
                ids = [np.array([names.index(track) for track in boxes.track[row]], np.int64) for row in rows]
                sides.append((ids, len(names), [boxes.center_m[row] for row in rows]))
            (gt, gt_ids, gt_at), (tracker, tracker_ids, tracker_at) = sides
            similarity = [
                np.array([[max(0, 1 - math.dist(a[:2], b[:2]) / 2) for b in bs] for a in as_]).reshape(
                    len(as_), len(bs)
                )
                for as_, bs in zip(gt_at, tracker_at, strict=True)
            ]
            sequences[str(scene)] = metric.eval_sequence(
                {
                    "num_gt_dets": sum(map(len, gt)), "num_tracker_dets": sum(map(len, tracker)),
                    "num_gt_ids": gt_ids, "num_tracker_ids": tracker_ids, "gt_ids": gt, "tracker_ids": tracker,
                    "similarity_scores": similarity,
                }
            )  # fmt: skip
        expected = metric.combine_sequences(sequences)
        keys = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr")
        assert result[name] == pytest.approx(
            {metric: float(np.mean(expected[key])) for metric, key in zip(METRICS, keys, strict=True)}, abs=1e-12
        )
        assert 0.1 < result[name]["hota"] < 0.9


def test_weights_are_scenes_played_more_than_once():
    parts = [random_set(seed, [8], objects=6) for seed in range(3)]
    by_scene = [hota_by_scene(part) for part in parts]

    def of(scenes):
        return {
            name: SceneHota(
                *(np.concatenate([getattr(by_scene[k][name], item.name) for k in scenes]) for item in fields(SceneHota))
            )
            for name in by_scene[0]
        }

    twice = combined_hota(of([0, 0, 2]))
    weighted = combined_hota(of([0, 1, 2]), np.array([2, 0, 1]))
    for name in (*parts[0].class_names, "mean"):
        assert weighted[name] == pytest.approx(twice[name], abs=1e-12)


def test_ids_of_other_scenes_do_not_matter():
    data = random_set(4, [10, 10])
    renamed = replace(data, predictions=replace(data.predictions, track=data.predictions.track * 1000 + 17))
    assert hota(renamed)["mean"] == hota(data)["mean"]


def test_without_trackeval_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CooptrackError, match="pip install --no-deps trackeval"):
        hota(evaluation_set([1], [], []))


def test_loading_trackeval_prints_nothing(capfd):
    hota(evaluation_set([1], way(0, [0]), way(0, [0])))
    assert capfd.readouterr().out == ""
