"""Average precision by IoU: matching, range and precision envelope as DAIR-V2X has them."""

import math

import numpy as np
import pytest
from evaluation_tables import box_table, evaluation_set, random_set

from cooptrack_core.evaluation.iou_ap import CAR_IOU, OTHER_IOU, average_precision, iou_ap
from cooptrack_core.geometry.boxes import corners
from cooptrack_core.geometry.overlap import box_iou
from cooptrack_core.geometry.transforms import make_transform


def car(x, **fields):
    return {"frame": 0, "track": 0, "x": x, **fields}


def ahead_by(iou, length=4.0):
    """Shift along a box of this length that leaves the IoU."""
    return length * (1 - iou) / (1 + iou)


def test_average_precision_by_hand():
    # hit, false, hit: precision 1, 1/2, 2/3; envelope 1, 2/3, 2/3; of four objects two are found
    score, hit = np.array([0.9, 0.8, 0.7]), np.array([True, False, True])
    assert average_precision(score, hit, 4) == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision(score[::-1], hit[::-1], 4) == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision(np.zeros(0), np.zeros(0, bool), 4) == 0.0
    assert math.isnan(average_precision(score, hit, 0))


def test_each_threshold_counts_the_boxes_that_reach_it():
    truth = [car(20), car(40, track=1), car(60, track=2)]
    predictions = [
        car(20 + ahead_by(0.75), score=0.9), car(40 + ahead_by(0.6), score=0.8), car(60 + ahead_by(0.4), score=0.7),
    ]  # fmt: skip
    result = iou_ap(evaluation_set([1], truth, predictions))["car"]
    assert result["bev"] == pytest.approx({"0.3": 1, "0.5": 2 / 3, "0.7": 1 / 3})
    assert result["3d"] == pytest.approx(result["bev"])


def test_a_wrong_height_counts_in_space_only():
    result = iou_ap(evaluation_set([1], [car(20)], [car(20, z=-0.75)]))["car"]
    assert result["bev"] == {"0.3": 1, "0.5": 1, "0.7": 1} and result["3d"] == {"0.3": 1, "0.5": 0, "0.7": 0}


def test_one_object_takes_the_box_that_fits_best_whatever_its_score():
    predictions = [car(20 + ahead_by(0.8), score=0.9, track=1), car(20, score=0.2, track=2)]
    result = iou_ap(evaluation_set([1], [car(20)], predictions))["car"]
    assert result["3d"] == pytest.approx({"0.3": 0.5, "0.5": 0.5, "0.7": 0.5})


def test_boxes_count_inside_the_range_of_the_benchmark_if_a_corner_does():
    inside = [car(-1.9, track=1), car(101.9, track=2), car(50, y=40.6, track=3), car(50, z=1.7, track=4)]
    outside = [car(-2.1, track=5), car(102.1, track=6), car(50, y=-40.8, track=7), car(50, z=-3.8, track=8)]
    for row in inside:
        assert iou_ap(evaluation_set([1], [row], [row]))["car"]["3d"]["0.7"] == 1
    for row in outside:
        assert math.isnan(iou_ap(evaluation_set([1], [row], [row]))["car"]["3d"]["0.7"])


def test_the_range_lies_along_the_axes_of_the_lidar_at_its_place():
    T = make_transform([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [1000.0, 2000.0, 10.0])[None]  # facing +y of the map
    ahead, behind = (
        {"frame": 0, "track": 0, "x": 1000.0, "y": y, "z": 10.0, "heading": np.pi / 2} for y in (2060.0, 1940.0)
    )
    data = evaluation_set([1], [ahead], [ahead], T)
    assert iou_ap(data)["car"]["3d"]["0.7"] == pytest.approx(1)
    assert math.isnan(iou_ap(evaluation_set([1], [behind], [behind], T))["car"]["3d"]["0.7"])


def test_classes_have_their_own_thresholds_and_do_not_mix():
    truth = [car(20), car(30, class_index=1), car(40, class_index=2)]
    wrong = [car(20, class_index=1), car(30, class_index=2), car(40, class_index=0)]
    result = iou_ap(evaluation_set([1], truth, wrong))
    assert {name: list(values["3d"]) for name, values in result.items()} == {
        "car": ["0.3", "0.5", "0.7"], "bicycle": ["0.25", "0.5"], "pedestrian": ["0.25", "0.5"],
    }  # fmt: skip
    assert all(ap == 0 for views in result.values() for values in views.values() for ap in values.values())


def test_without_poses_of_the_lidar_it_says_so():
    data = evaluation_set([1], [car(20)], [])
    frames = data.frames.__class__(**{**vars(data.frames), "T_map_from_lidar": None})
    with pytest.raises(ValueError, match="T_map_from_lidar"):
        iou_ap(data.__class__(**{**vars(data), "frames": frames}))


def test_no_boxes_at_all():
    result = iou_ap(evaluation_set([2], [], []))
    assert all(math.isnan(ap) for views in result.values() for values in views.values() for ap in values.values())


def naive(data, class_index, view, threshold):
    """The rule of the benchmark, box by box."""
    pooled, objects = [], 0
    for frame in range(len(data.frames)):
        sides = []
        for boxes in (data.truth, data.predictions):
            own = boxes.select((boxes.frame == frame) & (boxes.class_index == class_index))
            points = corners(own.center_m, own.size_m, own.heading_rad)
            near = [any(0 <= x <= 100 and abs(y) <= 39.68 and -3 <= z <= 1 for x, y, z in box) for box in points]
            sides.append(own.select(np.array(near, bool)))
        truth, left = sides[0], sides[1].select(np.argsort(-sides[1].score, kind="stable"))
        left = [left.select([k]) for k in range(len(left))]
        objects += len(truth)
        for k in range(len(truth)):
            best, taken = threshold, None
            for number, box in enumerate(left):
                pair = box_iou(
                    truth.center_m[k], truth.size_m[k], truth.heading_rad[k], box.center_m, box.size_m, box.heading_rad
                )
                value = float(pair[0 if view == "bev" else 1][0])
                if value >= best:
                    best, taken = value, number
            if taken is not None:
                pooled.append((float(left.pop(taken).score[0]), True))
        pooled += [(float(box.score[0]), False) for box in left]
    pooled.sort(key=lambda entry: -entry[0])
    hits, curve = 0, []
    for rank, (_, hit) in enumerate(pooled, start=1):
        hits += hit
        curve.append((hits, hits / rank))
    area, before = 0.0, 0
    for number, (found, _) in enumerate(curve):
        area += (found - before) * max(precision for _, precision in curve[number:])
        before = found
    return area / objects if objects else math.nan


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_equals_the_rule_of_the_benchmark_followed_box_by_box(seed):
    data = random_set(seed, [12, 8], objects=12, noise_m=0.4, false=0.9)
    result = iou_ap(data)
    for index, name in enumerate(data.class_names):
        for view in ("3d", "bev"):
            for threshold in CAR_IOU if name == "car" else OTHER_IOU:
                expected = naive(data, index, view, threshold)
                assert result[name][view][f"{threshold:g}"] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_equal_overlaps_go_to_the_later_score_and_equal_scores_put_hits_first():
    # Two boxes fit one object equally well; the benchmark's loop keeps the last of them in falling order of score.
    predictions = [car(20, score=0.9, track=1), car(20, score=0.5, track=2)]
    assert iou_ap(evaluation_set([1], [car(20)], predictions))["car"]["3d"]["0.7"] == pytest.approx(0.5)
    predictions = [car(70, score=0.5, track=1), car(20, score=0.5, track=2)]
    assert iou_ap(evaluation_set([1], [car(20)], predictions))["car"]["3d"]["0.7"] == pytest.approx(1)
    assert len(box_table([])) == 0
