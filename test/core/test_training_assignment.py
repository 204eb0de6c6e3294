"""Which query answers for which object, and which go on to the next training frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cooptrack_core.model import box_code
from cooptrack_core.model.queries import NO_ID, Queries
from cooptrack_core.training.assignment import NOT_MATCHED, Assignment, assign, matching_cost
from cooptrack_core.training.carry import CarryOptions, carried_rows
from cooptrack_core.training.ground_truth import GroundTruth

CLASSES = 3


def truth_at(*centres: tuple[float, float], ids: tuple[int, ...], labels: tuple[int, ...] | None = None) -> GroundTruth:
    """Cars of 2 x 4 x 1.5 m, heading along psi = 0."""
    boxes = torch.tensor([[x, y, 0.0, 2.0, 4.0, 1.5, 0.0, 1.0, -1.0] for x, y in centres]).reshape(-1, 9)
    return GroundTruth(boxes, torch.tensor(labels or (0,) * len(ids)), torch.tensor(ids))


def outputs_at(*centres: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and box codes of queries that say 'car' at these places."""
    logits = torch.tensor([[2.0, -3.0, -3.0]]).repeat(len(centres), 1)
    return logits, truth_at(*centres, ids=(0,) * len(centres)).codes()


def no_ids(count: int) -> torch.Tensor:
    return torch.full((count,), NO_ID)


def test_nearest_query_gets_the_object_and_its_id() -> None:
    logits, boxes = outputs_at((0, 0), (10, 0), (20, 0))
    result = assign(logits, boxes, no_ids(3), truth_at((19, 0), (1, 0), ids=(7, 8)))
    assert result.gt_index.tolist() == [1, NOT_MATCHED, 0]
    assert result.track_id.tolist() == [8, NO_ID, 7]
    assert result.labels.tolist() == [0, CLASSES, 0]
    assert not result.vanished.any()


def test_track_keeps_its_object_however_far_it_is_and_nobody_else_gets_it() -> None:
    logits, boxes = outputs_at((0, 0), (30, 0))
    result = assign(logits, boxes, torch.tensor([NO_ID, 5]), truth_at((0, 0), ids=(5,)))
    assert result.gt_index.tolist() == [NOT_MATCHED, 0]
    assert result.labels.tolist() == [CLASSES, 0]
    assert result.track_id.tolist() == [NO_ID, 5]


def test_track_of_a_vanished_object_is_background_and_takes_no_other_object() -> None:
    logits, boxes = outputs_at((0, 0), (30, 0))
    result = assign(logits, boxes, torch.tensor([9, NO_ID]), truth_at((0, 0), ids=(5,)))
    assert result.gt_index.tolist() == [NOT_MATCHED, 0]
    assert result.vanished.tolist() == [True, False]
    assert result.labels.tolist() == [CLASSES, 0]
    assert result.track_id.tolist() == [9, 5]


def test_more_objects_than_queries_leaves_objects_without_query() -> None:
    logits, boxes = outputs_at((0, 0))
    result = assign(logits, boxes, no_ids(1), truth_at((50, 0), (1, 0), ids=(1, 2)))
    assert result.gt_index.tolist() == [1]


def test_cost_ignores_velocity_and_weighs_class_and_box() -> None:
    logits, boxes = outputs_at((0, 0))
    faster = boxes.clone()
    faster[:, 8:] += 10.0
    truth = truth_at((3, 1), ids=(1,))
    assert matching_cost(logits, faster, truth).item() == matching_cost(logits, boxes, truth).item()
    p = 1 / (1 + np.exp(-2.0))
    focal = -np.log(p) * 0.25 * (1 - p) ** 2 + np.log(1 - p) * 0.75 * p**2
    assert matching_cost(logits, boxes, truth).item() == pytest.approx(2.0 * focal + 0.25 * 4.0, rel=1e-5)


def test_matching_is_the_cheapest_of_all_permutations() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(6, CLASSES, generator=generator)
    boxes = torch.randn(6, 10, generator=generator) * 5
    truth = truth_at((1, 2), (-3, 4), (5, -6), ids=(1, 2, 3), labels=(0, 2, 1))
    cost = matching_cost(logits, boxes, truth)
    result = assign(logits, boxes, no_ids(6), truth)
    chosen = sum(cost[row, result.gt_index[row]].item() for row in torch.nonzero(result.matched).flatten())
    permutations = torch.cartesian_prod(*[torch.arange(6)] * 3)
    distinct = [p for p in permutations.tolist() if len(set(p)) == 3]
    assert chosen == pytest.approx(min(sum(cost[p[g], g].item() for g in range(3)) for p in distinct))


def test_iou_is_that_of_the_matched_object() -> None:
    logits, boxes = outputs_at((1, 0), (40, 0))
    result = assign(logits, boxes, no_ids(2), truth_at((0, 0), ids=(1,)))
    assert result.iou.tolist() == pytest.approx([1 / 3, 0.0], abs=1e-6)  # 2 m wide, shifted by half


def test_no_objects_and_no_queries_are_fine() -> None:
    logits, boxes = outputs_at((0, 0), (10, 0))
    none = assign(logits, boxes, torch.tensor([NO_ID, 3]), GroundTruth.empty())
    assert none.labels.tolist() == [CLASSES, CLASSES] and none.vanished.tolist() == [False, True]
    empty = assign(torch.zeros(0, CLASSES), torch.zeros(0, 10), no_ids(0), truth_at((0, 0), ids=(1,)))
    assert len(empty.gt_index) == 0


def test_prediction_that_is_not_finite_is_the_last_choice() -> None:
    logits, boxes = outputs_at((0, 0), (30, 0))
    boxes[0] = float("nan")
    assert assign(logits, boxes, no_ids(2), truth_at((0, 0), ids=(1,))).gt_index.tolist() == [NOT_MATCHED, 0]


def test_objects_outside_the_range_do_not_count() -> None:
    truth = truth_at((0, 0), (51.2, 0), (-60, 0), ids=(1, 2, 3))
    assert truth.within((-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)).ids.tolist() == [1]


def carried(count: int, matched: int, options: CarryOptions, seed: int = 0) -> list[int]:
    """Rows carried of `count` queries of which the first `matched` are right, scores falling from the last on."""
    gt_index = torch.where(torch.arange(count) < matched, torch.arange(count), NOT_MATCHED)
    track_id = torch.where(gt_index >= 0, gt_index + 100, NO_ID)
    iou = torch.where(gt_index >= 0, 0.8, 0.0)
    assignment = Assignment(gt_index, gt_index, track_id, torch.zeros(count, dtype=torch.bool), iou)
    blank = Queries.empty(count, dims=4, classes=CLASSES, history=2, like=torch.zeros(()))
    queries = blank.with_(scores=torch.arange(count) / count)
    return carried_rows(queries, assignment, options, torch.Generator().manual_seed(seed)).tolist()


def test_without_augmentation_what_is_matched_and_well_placed_goes_on() -> None:
    assert carried(10, 4, CarryOptions.none()) == [0, 1, 2, 3]
    assert carried(10, 4, replace(CarryOptions.none(), min_iou=0.8)) == []


def test_false_positives_are_the_best_scoring_queries_without_id() -> None:
    rows = carried(10, 4, CarryOptions(drop_probability=0.0, false_positive_ratio=1.0))
    assert rows == [0, 1, 2, 3, 9, 8, 7, 6]


def test_drop_and_false_positive_rates_are_as_asked() -> None:
    rows = carried(20000, 10000, CarryOptions(), seed=1)
    right = sum(row < 10000 for row in rows)
    assert right / 10000 == pytest.approx(0.9, abs=0.01)
    assert (len(rows) - right) / right == pytest.approx(0.3, abs=0.02)


def test_same_seed_carries_the_same() -> None:
    assert carried(50, 30, CarryOptions(), seed=5) == carried(50, 30, CarryOptions(), seed=5)
    assert carried(50, 30, CarryOptions(), seed=5) != carried(50, 30, CarryOptions(), seed=6)


def test_boxes_of_the_ground_truth_survive_the_code() -> None:
    truth = truth_at((3, -4), ids=(1,))
    assert torch.allclose(box_code.decode(truth.codes()), truth.boxes, atol=1e-6)
