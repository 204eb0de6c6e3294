"""Examples for the graphs of cooperation (fixed_cooperation.py): what the plain network makes of the same numbers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances, as_queries
from cooptrack_core.model.association import UNSCORED, distances_m
from cooptrack_core.model.example_frames import Example
from cooptrack_core.model.fixed_cooperation import HEADS, KNOWN, NODE, STREAMS
from cooptrack_core.model.fixed_shapes import Tensors
from cooptrack_core.model.queries import NO_ID, Queries

_PRESENT = 0.75  # share of the rows; the rest is padding


def heads(model: AgentModel, seen: list[Queries]) -> list[Example]:
    """Random queries, then those of frames."""
    with torch.inference_mode():
        return [_heads(model, queries) for queries in _with_random(seen)]


def alignments(model: AgentModel, seen: list[Queries], rows: int) -> list[Example]:
    """Instances with features of the queries, partly out of range, and a pose that turns and shifts."""
    T = torch.eye(4)
    T[:2, :2] = torch.tensor([[-0.8, -0.6], [0.6, -0.8]])
    T[:3, 3] = torch.tensor([30.0, 5.0, 0.5])
    with torch.inference_mode():
        return [_alignment(model, _instances(model, queries, rows, i), T, rows) for i, queries in _numbered(seen)]


def associations(model: AgentModel, seen: list[Queries], rows: int) -> list[Example]:
    """Instances near the queries."""
    with torch.inference_mode():
        return [_association(model, queries, rows, i) for i, queries in _numbered(seen)]


def fusions(model: AgentModel, seen: list[Queries], rows: int) -> list[Example]:
    """Pairs of queries and instances near them, from two messages."""
    with torch.inference_mode():
        return [_fusion(model, queries, rows, i) for i, queries in _numbered(seen)]


def _heads(model: AgentModel, queries: Queries) -> Example:
    done = model.alone(queries)
    expected = tuple(getattr(done, name.removeprefix("out_")) for name in HEADS.outputs)
    return Example(_fields(queries, STREAMS), expected)


def _alignment(model: AgentModel, given: RemoteInstances, T: Tensor, rows: int) -> Example:
    keep = model.alignment(given, T)[1]
    found = model.align([(given, T)])
    expected = []
    for name in STREAMS:
        values: Tensor = getattr(found, name)
        whole = values.new_zeros(len(given), values.shape[1])
        whole[keep] = values
        expected.append(_padded(whole, rows))
    inputs = (*(_padded(getattr(given, name), rows) for name in STREAMS), _present(len(given), rows), T)
    return Example(inputs, (*expected, _padded(keep, rows)))


def _association(model: AgentModel, ego: Queries, rows: int, seed: int) -> Example:
    theirs = as_queries(_beside(model, ego, rows, seed), model.config)
    generator = torch.Generator().manual_seed(seed)
    before = torch.randint(-1, 2, (len(ego), len(theirs)), generator=generator).to(ego.scores)
    near = distances_m(ego, theirs, model.config) <= model.config.options.distance_gate_m
    logits = model.association(ego, theirs, before).where(near, UNSCORED)
    padding = (0, rows - len(theirs))
    inputs = (
        *_fields(ego, NODE),
        *(_padded(value, rows) for value in _fields(theirs, NODE)),
        torch.nn.functional.pad(before, padding),
        _present(len(theirs), rows),
    )
    return Example(inputs, (torch.nn.functional.pad(logits, padding, value=UNSCORED),))


def _fusion(model: AgentModel, ego: Queries, rows: int, seed: int) -> Example:
    remote = _beside(model, ego, rows, seed)
    pairs, theirs = len(remote), as_queries(remote, model.config)
    # Of some of which the vehicle knows for long: they tell what a message shifts.
    ego = ego.with_(is_track=torch.arange(len(ego)) % 5 > 0, hits=torch.arange(len(ego)) % 7)
    index = torch.arange(pairs)
    fused = model.aggregation.fuse(ego, theirs, remote.owner, index, index).queries
    ours = _fields(ego.select(index), STREAMS + KNOWN)
    padded = [_padded(value, rows) for value in (*ours, *_fields(theirs, STREAMS), remote.owner)]
    expected = tuple(_padded(getattr(fused, name)[:pairs], rows) for name in STREAMS)
    return Example((*padded, _present(pairs, rows)), expected)


def _with_random(seen: list[Queries]) -> list[Queries]:
    """Before the queries of frames the same number of random ones."""
    like, generator = seen[-1], torch.Generator().manual_seed(0)

    def normal(value: Tensor) -> Tensor:
        return torch.randn(value.shape, generator=generator)

    random = like.with_(
        query_feats=normal(like.query_feats),
        query_embeds=normal(like.query_embeds),
        motion_feats=normal(like.motion_feats),
        ref_pts=torch.rand(like.ref_pts.shape, generator=generator),
        boxes=normal(like.boxes),
    )
    return [random, *seen]


def _numbered(seen: list[Queries]) -> list[tuple[int, Queries]]:
    return list(enumerate(_with_random(seen)))


def _instances(model: AgentModel, queries: Queries, rows: int, seed: int) -> RemoteInstances:
    """What a roadside unit might send of a scene, in its own frame."""
    config, count = model.config, _count(queries, rows)
    best = queries.select(queries.scores.argsort(descending=True)[:count])
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    center_m = box_code.denormalise(points, config.roadside_point_range_m)
    boxes = box_code.with_center(best.boxes, center_m)
    index = torch.arange(count)
    return RemoteInstances(
        best.query_feats, best.query_embeds, best.motion_feats, points, boxes, torch.zeros_like(index), index,
        torch.full_like(index, NO_ID),
    )  # fmt: skip


def _beside(model: AgentModel, ego: Queries, rows: int, seed: int) -> RemoteInstances:
    """Aligned instances a metre or two beside the first queries, in turn of one of two messages."""
    sent = _instances(model, ego, rows, seed)
    count, config = len(sent), model.config
    offset_m = 2.0 * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed + 1))
    center_m = box_code.denormalise(ego.ref_pts[:count], config.point_range_m) + offset_m
    boxes = box_code.with_center(sent.boxes, center_m)
    ref_pts = box_code.normalise(center_m, config.point_range_m)
    return replace(sent, ref_pts=ref_pts, boxes=boxes, owner=torch.arange(count) % 2)


def _count(queries: Queries, rows: int) -> int:
    return max(1, min(len(queries), int(_PRESENT * rows)))


def _fields(queries: Queries, names: tuple[str, ...]) -> Tensors:
    return tuple(getattr(queries, name) for name in names)


def _padded(values: Tensor, rows: int) -> Tensor:
    whole = values.new_zeros(rows, *values.shape[1:])
    whole[: len(values)] = values
    return whole


def _present(count: int, rows: int) -> Tensor:
    return torch.arange(rows) < count
