"""Second implementation of one stage-2 iteration of the published network (see reference_network.py)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from reference_bev import View, bev_start, project_pillars
from reference_cooperation import (
    Memory,
    Message,
    Observation,
    affinity,
    align,
    begin,
    fuse,
    match_near,
    perceive,
    propagate,
    remember,
    summarise,
    wrap,
)
from reference_network import (
    Instances,
    Params,
    decode_box,
    encode_box,
    metres,
    refine,
)
from scipy.optimize import linear_sum_assignment
from torch import Tensor

CODE_WEIGHTS = torch.tensor((1, 1, 1, 1, 1, 1, 1, 1, 0.2, 0.2))


@dataclass
class Truth:
    """Ground truth: boxes [G, 9] with bottom centres, labels [G], ids [G]."""

    boxes: Tensor
    labels: Tensor
    ids: Tensor


@dataclass
class Outcome:
    """Losses of one sample with their normalisers, what was carried and what it overlapped with."""

    terms: dict[str, tuple[Tensor, float]]
    carried: Instances
    matched_gt: Tensor  # of the carried rows
    iou: Tensor
    final: Instances
    own: Instances  # the vehicle's queries before fusion
    pairs: list[tuple[int, int]]


def focal(logits: Tensor, labels: Tensor, classes: int = 3) -> Tensor:
    """Summed focal loss, alpha 0.25, gamma 2; label K is background."""
    total = logits.new_zeros(())
    for k in range(classes):
        prob = logits[:, k].sigmoid()
        hit = labels == k
        total = total - (0.25 * (1 - prob) ** 2 * prob.clamp(min=1e-38).log())[hit].sum()
        total = total - (0.75 * prob**2 * (1 - prob).clamp(min=1e-38).log())[~hit].sum()
    return total


def association_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss with gamma 1 and no alpha, mean of all pairs, times ten."""
    if labels.numel() == 0 or labels.sum() == 0:
        return logits.sum() * 0
    prob = logits.sigmoid()
    p_true = torch.where(labels > 0, prob, 1 - prob)
    return 10 * ((1 - p_true) * -p_true.log()).mean()


def association_labels(ego_boxes: Tensor, infra_boxes: Tensor, truth: Truth) -> Tensor:
    """[V', I]: 1 where both lie within 3 m of the same object."""
    centres = truth.boxes[:, :2]
    ego = dict(match_near(ego_boxes[:, :2], centres, 3.0))
    infra = dict(match_near(infra_boxes[:, :2], centres, 3.0))
    labels = torch.zeros(len(ego_boxes), len(infra_boxes))
    for v, g in ego.items():
        for i, other in infra.items():
            labels[v, i] = float(g == other)
    return labels


def assign(logits: Tensor, codes: Tensor, ids: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
    """For every query its ground truth row (-1: none, -2: its object has vanished) and its id."""
    rows, ids = torch.full_like(ids, -1), ids.clone()
    known = {int(g): j for j, g in enumerate(truth.ids)}
    for i, number in enumerate(ids.tolist()):
        if number >= 0:
            rows[i] = known.get(number, -2)
    free_gt = [j for j in range(len(truth.ids)) if j not in rows.tolist()]
    free = [i for i, number in enumerate(ids.tolist()) if number < 0]
    target = encode_box(truth.boxes)
    prob = logits.detach().sigmoid()
    cost = np.zeros((len(free), len(free_gt)))
    for a, i in enumerate(free):
        for b, j in enumerate(free_gt):
            q = float(prob[i, truth.labels[j]])
            positive = -math.log(q + 1e-12) * 0.25 * (1 - q) ** 2
            negative = -math.log(1 - q + 1e-12) * 0.75 * q**2
            distance = float((codes[i, :8].detach() - target[j, :8]).abs().sum())
            cost[a, b] = 2 * (positive - negative) + 0.25 * distance
    for a, b in zip(*linear_sum_assignment(cost), strict=True):
        rows[free[a]], ids[free[a]] = free_gt[b], truth.ids[free_gt[b]]
    return rows, ids


def overlap(a: Tensor, b: Tensor) -> float:
    """IoU of two boxes [9] on the ground, each turned to the nearer axis."""

    def rectangle(box: Tensor) -> tuple[float, float, float, float]:
        x, y, w, length, yaw = (float(box[i]) for i in (0, 1, 3, 4, 6))
        yaw = yaw - math.floor(yaw / math.pi + 0.5) * math.pi
        if abs(yaw) > math.pi / 4:
            w, length = length, w
        return x - w / 2, y - length / 2, x + w / 2, y + length / 2

    (ax, ay, aX, aY), (bx, by, bX, bY) = rectangle(a), rectangle(b)
    common = max(0.0, min(aX, bX) - max(ax, bx)) * max(0.0, min(aY, bY) - max(ay, by))
    return common / ((aX - ax) * (aY - ay) + (bX - bx) * (bY - by) - common)


def supervise(final: Instances, truth: Truth) -> tuple[dict[str, tuple[Tensor, float]], Tensor, Tensor]:
    """Box and class losses of the refined output -> terms, row of the ground truth of each query, IoU."""
    logits, codes = final.cache["logits"], final.cache["bboxes"]
    rows, final.obj_idxes = assign(logits, codes, final.obj_idxes, truth)
    labels = torch.tensor([int(truth.labels[j]) if j >= 0 else 3 for j in rows.tolist()])
    matched = rows >= 0
    n_box = int(matched.sum())
    n_all = n_box + int((rows == -2).sum())
    target = encode_box(truth.boxes)[rows[matched]]
    distance = ((codes[matched] - target).abs() * CODE_WEIGHTS).sum()
    cls = 2 * focal(logits, labels)
    terms = {
        "fused_cls": (cls / max(n_all, 1), n_all),
        "fused_bbox": (0.25 * distance / n_box, n_box),
        "ref_cls": (cls / max(n_box, 1), n_box),
        "ref_bbox": (0.25 * distance / n_box, n_box),
    }
    boxes = decode_box(codes.detach())
    iou = torch.zeros(len(rows))
    for i, j in enumerate(rows.tolist()):
        if j >= 0:
            iou[i] = overlap(boxes[i], truth.boxes[j])
    return terms, rows, iou


def iteration(
    p: Params,
    memories: list[Memory],
    batch: list[tuple[Observation, Message, Tensor, Truth]],
    point_range: tuple[float, ...],
) -> list[Outcome]:
    """One iteration of a batch of slots, with what its samples do to each other (7.7)."""
    views, starts, maps = [], [], []
    for memory, (now, _, _, _) in zip(memories, batch, strict=True):
        can_bus, _ = begin(memory, now)
        views.append(View(now.feats, can_bus, now.lidar2img, now.image_size, point_range))
        starts.append(bev_start(p, can_bus))
        blank = torch.zeros_like(starts[-1])
        maps.append(blank if memory.prev_bev is None else memory.prev_bev)
    outcomes = []
    for j, (memory, (now, message, T, truth)) in enumerate(zip(memories, batch, strict=True)):
        # The stack is previous 0, present 0, previous 1, ...; its first entries stand for the previous maps.
        first_half = None if j == 0 else starts[0]
        assert j < 2
        centres = _centres(p)
        seen = project_pillars(centres, views[0])[1].any(dim=1)
        queries = propagate(p, memory, now, point_range)
        bev, _, queries = perceive(p, views[j], queries, maps[j], first_half=first_half, seen=seen)
        aligned, _ = align(p, message, T, point_range)
        infra = wrap(aligned)
        places = metres(queries.cache["ref_pts"], point_range), metres(infra.cache["ref_pts"], point_range)
        pairs = match_near(*places, 3.5)
        asked = queries.take([i for i in range(len(queries)) if float(queries.cache["scores"][i].detach()) > 0.4])
        labels = association_labels(asked.cache["bboxes"], infra.cache["bboxes"], truth)
        loss = association_loss(affinity(p, asked, infra), labels)
        final = refine(p, fuse(p, queries, infra, pairs), point_range)
        terms, rows, iou = supervise(final, truth)
        # The specification does not say what a sample without a positive pair weighs: here nothing.
        terms["asso"] = (loss, float(labels.numel()) if labels.any() else 0.0)
        final = summarise(final)
        kept = [i for i in range(len(rows)) if rows[i] >= 0 and iou[i] > 0.5]
        carried = final.take(kept).detached()
        remember(memory, now, bev, carried)
        outcomes.append(Outcome(terms, carried, rows[kept], iou[kept], final, queries, pairs))
    return outcomes


def _centres(p: Params) -> Tensor:
    rows = len(p["pts_bbox_head.positional_encoding.row_embed.weight"])
    columns = len(p["pts_bbox_head.positional_encoding.col_embed.weight"])
    return torch.tensor([((c + 0.5) / columns, (r + 0.5) / rows) for r in range(rows) for c in range(columns)])
