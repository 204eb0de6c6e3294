"""Loss terms against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from cooptrack_core.training.assignment import Assignment, assign
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.losses import (
    LossTerm,
    association_labels,
    association_loss,
    batch_average,
    box_loss,
    class_loss,
    frame_losses,
    refined_losses,
    sigmoid_focal_loss,
)


def cars(*centres: tuple[float, float]) -> GroundTruth:
    boxes = torch.tensor([[x, y, 0.0, 2.0, 4.0, 1.5, 0.3, 1.0, -1.0] for x, y in centres]).reshape(-1, 9)
    count = len(centres)
    return GroundTruth(boxes, torch.zeros(count, dtype=torch.int64), torch.arange(count) + 1)


def test_focal_loss_by_hand() -> None:
    p = 1 / (1 + math.exp(-0.7))
    logits, ones = torch.tensor([0.7, 0.7]), torch.tensor([1.0, 0.0])
    weighted = sigmoid_focal_loss(logits, ones, 0.25, 2.0)
    assert weighted.tolist() == pytest.approx(
        [-0.25 * (1 - p) ** 2 * math.log(p), -0.75 * p**2 * math.log(1 - p)], rel=1e-5
    )
    plain = sigmoid_focal_loss(logits, ones, -1.0, 1.0)
    assert plain.tolist() == pytest.approx([-(1 - p) * math.log(p), -p * math.log(1 - p)], rel=1e-5)


def test_focal_loss_is_finite_for_extreme_logits() -> None:
    logits = torch.tensor([200.0, -200.0], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([0.0, 1.0]), 0.25, 2.0).sum()
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_class_loss_counts_background_and_divides_by_the_count() -> None:
    logits, labels = torch.zeros(4, 3), torch.tensor([0, 3, 3, 2])
    positive, negative = 0.25 * 0.25 * math.log(2), 0.75 * 0.25 * math.log(2)
    term = class_loss(logits, labels, 2)
    assert term.value.item() == pytest.approx(2.0 * (2 * positive + 10 * negative) / 2, rel=1e-5)
    assert class_loss(logits, labels, 0).normaliser == 1.0


def test_box_loss_weighs_velocity_less_and_divides_by_the_matched() -> None:
    truth = cars((0, 0), (5, 5))
    boxes = truth.codes()[[1, 0, 1]].clone()
    boxes[0, 0] += 2.0
    boxes[1, 8] += 5.0
    term = box_loss(boxes, torch.tensor([1, 0, -1]), truth)
    assert term.value.item() == pytest.approx(0.25 * (2.0 + 0.2 * 5.0) / 2, rel=1e-5)
    assert term.normaliser == 2.0


def test_unknown_velocity_costs_nothing() -> None:
    truth = cars((0, 0))
    boxes = truth.codes().clone().requires_grad_()
    truth.boxes[:, 7:] = float("nan")
    term = box_loss(boxes + 1.0, torch.tensor([0]), truth)
    term.value.backward()
    assert term.value.item() == pytest.approx(0.25 * 8.0, rel=1e-5)
    assert boxes.grad is not None and boxes.grad[0, 8:].tolist() == [0.0, 0.0]


def test_vanished_track_counts_in_the_matched_loss_but_not_in_the_refined_one() -> None:
    truth = cars((0, 0))
    logits, boxes = torch.zeros(3, 3), truth.codes()[[0, 0, 0]]
    assignment = assign(logits, boxes, torch.tensor([77, -1, -1]), truth)
    matched, _ = frame_losses(logits, boxes, assignment, truth)
    refined, _ = refined_losses(logits, boxes, assignment, truth)
    assert (matched.normaliser, refined.normaliser) == (2.0, 1.0)
    assert refined.value.item() == pytest.approx(2.0 * matched.value.item(), rel=1e-6)


def test_losses_agree_where_nothing_vanished() -> None:
    truth = cars((0, 0), (9, 9))
    logits, boxes = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), truth.codes()[[0, 1, 0, 1, 0]] + 0.5
    assignment = assign(logits, boxes, torch.full((5,), -1), truth)
    pairs = zip(
        frame_losses(logits, boxes, assignment, truth), refined_losses(logits, boxes, assignment, truth), strict=True
    )
    assert all(torch.equal(a.value, b.value) for a, b in pairs)


def test_empty_ground_truth_gives_finite_losses_that_push_scores_down() -> None:
    logits, boxes = torch.zeros(4, 3, requires_grad=True), torch.zeros(4, 10, requires_grad=True)
    assignment = assign(logits, boxes, torch.full((4,), -1), GroundTruth.empty())
    class_term, box_term = frame_losses(logits, boxes, assignment, GroundTruth.empty())
    (class_term.value + box_term.value).backward()
    assert box_term.value.item() == 0.0
    assert logits.grad is not None and (logits.grad > 0).all()


def test_association_label_joins_the_two_sides_of_one_object() -> None:
    truth = cars((0, 0), (10, 0), (20, 0))
    ego = cars((0.5, 0), (30, 0), (10, 2.9)).codes()
    remote = cars((10.2, 0), (0, 3.1), (-0.4, 0)).codes()
    labels = association_labels(ego, remote, truth)
    assert labels.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_association_label_gives_an_object_to_one_instance_of_a_side() -> None:
    truth = cars((0, 0))
    labels = association_labels(cars((1.0, 0), (0.2, 0)).codes(), cars((0, 0), (0.1, 0)).codes(), truth)
    assert labels.tolist() == [[0, 0], [1, 0]]


def test_association_loss_by_hand_and_zero_without_pairs() -> None:
    logits = torch.tensor([[2.0, -1.0]], requires_grad=True)
    q, r = 1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(1.0))
    term = association_loss(logits, torch.tensor([[1.0, 0.0]]))
    assert term.value.item() == pytest.approx(10 * (-(1 - q) * math.log(q) - r * math.log(1 - r)) / 2, rel=1e-5)
    for nothing in (association_loss(logits, torch.zeros(1, 2)), association_loss(logits[:0], torch.zeros(0, 2))):
        assert nothing.value.item() == 0.0 and nothing.normaliser == 0.0


def test_association_labels_of_empty_sides_are_empty() -> None:
    truth, one, none = cars((0, 0)), cars((0, 0)).codes(), torch.zeros(0, 10)
    assert association_labels(one, none, truth).shape == (1, 0)
    assert association_labels(none, one, truth).shape == (0, 1)
    assert association_labels(one, one, GroundTruth.empty()).tolist() == [[0.0]]


def test_batch_average_is_weighted_and_never_nan() -> None:
    def terms(*pairs: tuple[float, float]) -> list[dict[str, LossTerm]]:
        return [{"a": LossTerm(torch.tensor(value), weight)} for value, weight in pairs]

    assert batch_average(terms((1.0, 1.0), (4.0, 3.0)))["a"].item() == pytest.approx(3.25)
    assert batch_average(terms((0.0, 0.0), (0.0, 0.0)))["a"].item() == 0.0
    assert batch_average(terms((float("nan"), 1.0)))["a"].item() == 0.0


def test_assignment_takes_no_gradient() -> None:
    truth = cars((0, 0))
    boxes = truth.codes().requires_grad_()
    assignment: Assignment = assign(torch.zeros(1, 3, requires_grad=True), boxes, torch.tensor([-1]), truth)
    assert not assignment.iou.requires_grad


def test_a_track_is_its_object_wherever_it_is_and_nobody_else_takes_it() -> None:
    """One car, its track 5 m off, a fresh query beside it, and another car that the track is nearest to."""
    truth = cars((0, 0), (6, 0))
    ego = cars((5, 0), (1, 0)).codes()
    remote = cars((0.5, 0), (6.5, 0)).codes()
    by_place = association_labels(ego, remote, truth)
    assert by_place.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    by_id = association_labels(ego, remote, truth, torch.tensor([1, -1]))
    assert by_id.tolist() == [[1.0, 0.0], [0.0, 0.0]]
