"""Recall of hidden objects: what counts as found, by view, and how scenes add up."""

import math

import numpy as np
import pytest
from evaluation_tables import evaluation_set, random_set

from cooptrack_core.evaluation.conventions import CONVENTIONS
from cooptrack_core.evaluation.hidden import (
    DEFINITION,
    HiddenCounts,
    combined_hidden,
    hidden_by_scene,
    hidden_recall,
)
from cooptrack_core.evaluation.recordings import evaluation_set as set_of_recordings
from cooptrack_core.evaluation.summary import tracking_quality
from cooptrack_core.evaluation.tables import VIEW_ROADSIDE_ONLY
from cooptrack_core.geometry.transforms import make_transform
from cooptrack_core.types import VIEW_OCCLUDED, VIEW_OUTSIDE, VIEW_UNKNOWN, VIEW_VISIBLE


def thing(track, x, view=VIEW_VISIBLE, **row):
    return {"frame": 0, "track": track, "x": x, "view": view, **row}


def test_each_way_of_being_hidden_has_its_own_recall():
    truth = [
        thing(0, 10, VIEW_OUTSIDE), thing(1, 15, VIEW_OUTSIDE), thing(2, 20, VIEW_OCCLUDED), thing(3, 25),
        thing(4, 30, VIEW_UNKNOWN), thing(5, 35, VIEW_ROADSIDE_ONLY),
    ]  # fmt: skip
    found = [thing(7, 10.5), thing(8, 25), thing(9, 35.9)]
    result = hidden_recall(evaluation_set([1], truth, found))["car"]
    assert result.pop("objects") == {
        "visible": 1, "outside_view": 2, "occluded": 1, "roadside_only": 1, "unknown": 1, "hidden": 3, "any": 6,
    }  # fmt: skip
    assert result == {
        "visible": 1, "outside_view": 0.5, "occluded": 0, "hidden": pytest.approx(1 / 3), "roadside_only": 1,
        "unknown": 0, "any": 0.5,
    }  # fmt: skip


def test_classes_are_apart_and_together():
    truth = [thing(0, 10, VIEW_OCCLUDED), thing(1, 20, VIEW_OCCLUDED, class_index=2)]
    result = hidden_recall(evaluation_set([1], truth, [thing(0, 10), thing(1, 20, class_index=1)]))
    assert result["car"]["occluded"] == 1 and result["pedestrian"]["occluded"] == 0 and result["all"]["occluded"] == 0.5
    assert math.isnan(result["bicycle"]["occluded"]) and math.isnan(result["car"]["outside_view"])
    assert result["definition"] == DEFINITION and "proxy" in DEFINITION


def test_objects_out_of_range_do_not_count_but_their_tracks_may_be_just_outside():
    truth = [thing(0, 49.5, VIEW_OUTSIDE), thing(1, 50.5, VIEW_OUTSIDE, y=10)]
    result = hidden_recall(evaluation_set([1], truth, [thing(0, 50.5), thing(1, 50.5, y=10)]))["car"]
    assert result["outside_view"] == 1 and result["objects"]["outside_view"] == 1


def test_a_pair_stays_together_although_another_object_comes_nearer():
    # Object 0 keeps track 5 at 1.9 m, so that nothing is left for object 1, which is nearer.
    truth = [thing(0, 10, VIEW_OUTSIDE), {**thing(0, 10, VIEW_OUTSIDE), "frame": 1}, {**thing(1, 12), "frame": 1}]
    tracks = [thing(5, 10), {**thing(5, 11.9), "frame": 1}]
    result = hidden_recall(evaluation_set([2], truth, tracks))["car"]
    assert result["outside_view"] == 1 and result["visible"] == 0
    # In another scene nothing is remembered.
    assert hidden_recall(evaluation_set([1, 1], truth, tracks))["car"]["outside_view"] == 0.5


def recording_of(data, T_map_from_lidar):
    """The set as a recording of one sequence: positions in the lidar frame."""
    names = {VIEW_VISIBLE: "visible", VIEW_OCCLUDED: "occluded", VIEW_OUTSIDE: "outside", VIEW_UNKNOWN: "unknown"}
    T_lidar_from_map = np.linalg.inv(T_map_from_lidar)

    def rows(boxes, frame):
        own = boxes.select(boxes.frame == frame)
        return [
            {
                "id": int(own.track[k]), "class": data.class_names[own.class_index[k]], "view": names[int(own.view[k])],
                "center_m": (T_lidar_from_map[:3, :3] @ own.center_m[k] + T_lidar_from_map[:3, 3]).tolist(),
                "size_m": own.size_m[k].tolist(), "heading_rad": 0.0, "velocity_mps": [0.0, 0.0],
                "score": float(own.score[k]), "sides": 3,
            }
            for k in range(len(own))
        ]  # fmt: skip

    frames = [
        {
            "stamp_ns": 10**18 + n * 100_000_000, "sequence_id": "0001", "frame_id": f"{n:06d}",
            "has_ground_truth": True, "T_map_from_lidar_truth": T_map_from_lidar.tolist(),
            "tracks": rows(data.predictions, n), "ground_truth": rows(data.truth, n),
        }
        for n in range(len(data.frames))
    ]  # fmt: skip
    return {"frames": frames, "missed": [], "T_novatel_from_lidar": np.eye(4).tolist(), "source_bag": "random"}


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_the_summary_of_the_same_recording(seed):
    data = random_set(seed, [30], objects=12, noise_m=0.9)
    T = make_transform([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [4.0, -3.0, 20.0])
    recording = recording_of(data, T)
    quality = tracking_quality(recording)
    result = hidden_recall(set_of_recordings([recording], CONVENTIONS["cooptrack"]))["all"]
    for name in ("outside_view", "occluded"):
        assert quality["hidden_recall"][name] == round(result[name], 4)
        assert quality["hidden_objects"][name] == result["objects"][name]
    assert quality["visible_recall"] == round(result["visible"], 4)
    assert quality["recall"] == round(result["any"], 4) and quality["objects"] == result["objects"]["any"]
    assert 0 < quality["recall"] < 1


def test_on_real_data_what_only_the_roadside_annotated_is_the_proxy():
    data = evaluation_set([1], [thing(0, 10, VIEW_UNKNOWN), thing(1, 20, VIEW_UNKNOWN), thing(2, 30)], [thing(0, 10)])
    recording = recording_of(data, np.eye(4))
    recording["frames"][0]["ground_truth"][0]["sides"] = 2
    recording["frames"][0]["ground_truth"][2]["sides"] = 2  # its view is known: no proxy needed
    result = hidden_recall(set_of_recordings([recording], CONVENTIONS["cooptrack"]))["car"]
    assert result["roadside_only"] == 1 and result["unknown"] == 0 and result["visible"] == 0
    assert result["objects"]["roadside_only"] == 1


def test_weights_are_scenes_played_more_than_once():
    counts = hidden_by_scene(random_set(0, [8, 8, 8], objects=9))
    rows = [0, 0, 2]
    twice = combined_hidden(HiddenCounts(counts.class_names, counts.seen[rows], counts.found[rows]))
    weighted = combined_hidden(counts, np.array([2, 0, 1]))
    for name in (*counts.class_names, "all"):
        assert weighted[name]["objects"] == twice[name]["objects"]
        assert weighted[name]["any"] == pytest.approx(twice[name]["any"]) and 0 < weighted[name]["any"] < 1


def test_nothing_at_all():
    for frames in ([], [3]):
        result = hidden_recall(evaluation_set(frames, [], []))["all"]
        assert math.isnan(result["hidden"]) and result["objects"]["any"] == 0
