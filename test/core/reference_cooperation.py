"""Second implementation of cooperation and of the track runtime of the published network (see reference_network.py)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from reference_bev import View, encode_bev
from reference_network import (
    ROADSIDE_RANGE,
    Instances,
    Params,
    decode_box,
    decode_queries,
    embed_points,
    encode_box,
    fresh_queries,
    layer_norm,
    linear,
    metres,
    motion_features,
    norm_mlp,
    normalised,
    reason_history,
    refine,
    relu_mlp,
)
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Message = dict[str, Tensor]  # query_feats, query_embeds, cache_motion_feats, ref_pts, pred_boxes


# --- cross-agent alignment ---------------------------------------------------------------------------------------


def align(p: Params, message: Message, T: Tensor, ego_range: tuple[float, ...]) -> tuple[Message, Tensor]:
    """The message in the frame and range of the vehicle, and which rows were in range. T: infra to vehicle."""
    R, t = T[:3, :3], T[:3, 3]
    rotation = torch.stack((R[0, 0], R[0, 1], R[1, 0], R[1, 1], R[2, 0], R[2, 1]))
    blocks = norm_mlp(p, "crossview_alignment.rot_mlp", rotation, layers=3)
    shift = norm_mlp(p, "crossview_alignment.trans_mlp", t, layers=3)
    dims, block = len(shift), len(blocks) // len(shift)
    M = torch.zeros(dims, dims)
    rows = []
    for b in range(dims // block):
        part = blocks[block * block * b : block * block * (b + 1)].view(block, block)
        rows.append(torch.cat((M[:block, : b * block], part, M[:block, (b + 1) * block :]), dim=1))
    M = torch.cat(rows)
    points = metres(message["ref_pts"], ROADSIDE_RANGE) @ R.T + t
    keep = (points[:, 0] >= ego_range[0]) & (points[:, 0] <= ego_range[3])
    keep = keep & (points[:, 1] >= ego_range[1]) & (points[:, 1] <= ego_range[4])
    result = {"ref_pts": normalised(points, ego_range)[keep]}
    streams = (("feat", "query_feats"), ("embed", "query_embeds"), ("motion", "cache_motion_feats"))
    for stream, name in streams:
        x = message[name][keep]
        y = norm_mlp(p, f"crossview_alignment.{stream}_input_proj", x, layers=1) @ M.T + shift + x
        result[name] = norm_mlp(p, f"crossview_alignment.{stream}_output_proj", y, layers=1)
    box = decode_box(message["pred_boxes"][keep])
    yaw = box[:, 6:7] + math.atan2(float(R[0, 1]), float(R[0, 0]))
    moved = torch.cat((box[:, :3] @ R.T + t, box[:, 3:6], yaw, box[:, 7:9] @ R[:2, :2].T), dim=1)
    result["pred_boxes"] = encode_box(moved)
    return result, keep


def wrap(message: Message) -> Instances:
    """Aligned roadside instances as rows like those of the vehicle."""
    n, dims = message["query_feats"].shape
    feats, motion = message["query_feats"], message["cache_motion_feats"]
    nothing = torch.zeros(n, 3, dims)
    mask = torch.ones(n, 4, dtype=torch.bool)
    mask[:, 3] = False
    cache = {
        "logits": torch.zeros(n, 3),
        "scores": torch.zeros(n),
        "ref_pts": message["ref_pts"],
        "bboxes": message["pred_boxes"],
        "query_embeds": message["query_embeds"],
        "query_feats": feats,
        "motion_feats": motion,
    }
    return Instances(
        ref_pts=message["ref_pts"],
        query_embeds=message["query_embeds"],
        query_feats=feats,
        pred_boxes=message["pred_boxes"],
        pred_logits=torch.zeros(n, 3),
        scores=torch.zeros(n),
        obj_idxes=torch.full((n,), -1),
        disappear_time=torch.zeros(n, dtype=torch.int64),
        track_query_mask=torch.zeros(n, dtype=torch.bool),
        hist_embeds=torch.cat((nothing, feats[:, None]), dim=1),
        hist_motion_embeds=torch.cat((nothing, motion[:, None]), dim=1),
        hist_padding_masks=mask,
        cache=cache,
    )


# --- graph-based association and fusion --------------------------------------------------------------------------


def affinity(p: Params, ego: Instances, infra: Instances) -> Tensor:
    """Logits [V, I], one ego query at a time."""
    n_infra = relu_mlp(p, "STReasoner.get_node_inf", both(infra.cache["query_feats"], infra.cache["motion_feats"]))
    keys = n_infra @ p["STReasoner.wk"]
    rows = []
    for v in range(len(ego)):
        node = both(ego.cache["query_feats"][v], ego.cache["motion_feats"][v])
        query = relu_mlp(p, "STReasoner.get_node_veh", node) @ p["STReasoner.wq"]
        edge = relu_mlp(p, "STReasoner.get_edge", ego.cache["ref_pts"][v] - infra.cache["ref_pts"])
        z = (keys @ query)[:, None] + edge @ p["STReasoner.we"]
        z = layer_norm(p, "STReasoner.ffn.1", linear(p, "STReasoner.ffn.0", z)).relu()
        rows.append(linear(p, "STReasoner.ffn.3", z)[:, 0])
    return torch.stack(rows) if rows else torch.zeros(0, len(infra))


def both(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat((a, b), dim=-1)


def match_all(logits: Tensor) -> list[tuple[int, int]]:
    """Every roadside instance gets an ego query; in the order of the ego queries."""
    cost = 1 - logits.detach().sigmoid().numpy()
    return sorted((int(v), int(i)) for v, i in zip(*linear_sum_assignment(cost), strict=True))


def match_near(a_m: Tensor, b_m: Tensor, limit_m: float) -> list[tuple[int, int]]:
    """Pairs of points by distance, none above the limit."""
    cost = np.full((len(a_m), len(b_m)), 1e6)
    for v, a in enumerate(a_m.detach().double()):
        for i, b in enumerate(b_m.detach().double()):
            distance = float((a - b).norm())
            if distance <= limit_m:
                cost[v, i] = distance
    pairs = zip(*linear_sum_assignment(cost), strict=True)
    return sorted((int(v), int(i)) for v, i in pairs if cost[v, i] < 1e5)


def fuse(p: Params, ego: Instances, infra: Instances, pairs: list[tuple[int, int]]) -> Instances:
    """[fused pairs, other roadside instances, best other ego queries], as many as ego queries."""
    vs, ms = [v for v, _ in pairs], [i for _, i in pairs]
    fused, partner = ego.take(vs), infra.take(ms).cache
    streams = (("query_feats", "fuse_feats"), ("motion_feats", "fuse_motion"), ("query_embeds", "fuse_embed"))
    for name, mlp in streams:
        fused.cache[name] = relu_mlp(p, f"STReasoner.{mlp}", both(fused.cache[name], partner[name]))
    fused.cache["ref_pts"] = (fused.cache["ref_pts"] + partner["ref_pts"]) / 2
    alone = infra.take([i for i in range(len(infra)) if i not in ms])
    rest = [v for v in range(len(ego)) if v not in vs]
    score = {v: float(ego.cache["scores"][v].detach()) for v in rest}
    rest = sorted(rest, key=lambda v: -score[v])[: len(ego) - len(infra)]
    result = fused.and_(alone).and_(ego.take(rest))
    cache, embeds = result.cache, result.cache["query_embeds"]
    cache["query_feats"] = relu_mlp(p, "STReasoner.cross_domain_query", both(cache["query_feats"], embeds))
    cache["motion_feats"] = relu_mlp(p, "STReasoner.cross_domain_motion", both(cache["motion_feats"], embeds))
    return result


# --- frames ------------------------------------------------------------------------------------------------------


@dataclass
class Observation:
    """One frame of one agent: everything before the backbone's features is raw (can_bus is not yet a difference)."""

    feats: Tensor
    can_bus: np.ndarray
    lidar2img: np.ndarray
    image_size: tuple[int, int]
    l2g_r: Tensor  # [3, 3] for row vectors
    l2g_t: Tensor
    stamp_s: float
    scene: str


@dataclass
class Memory:
    """What an agent keeps between frames."""

    scene: str = ""
    stamp_s: float = 0.0
    position: np.ndarray = field(default_factory=lambda: np.zeros(3))
    heading_deg: float = 0.0
    l2g_r: Tensor | None = None
    l2g_t: Tensor | None = None
    prev_bev: Tensor | None = None
    live: Instances | None = None
    next_id: int = 1


def begin(memory: Memory, now: Observation) -> tuple[np.ndarray, bool]:
    """Reset where the story breaks; can_bus with differences, and whether the frame is a first one."""
    can_bus = now.can_bus.copy()
    gap = now.stamp_s - memory.stamp_s
    first = memory.l2g_r is None or now.scene != memory.scene or gap > 0.5 or gap < 0
    if first:
        memory.live, memory.prev_bev, memory.next_id = None, None, 1
        can_bus[:3], can_bus[17] = 0, 0
    else:
        can_bus[:3] -= memory.position
        can_bus[17] -= memory.heading_deg
    return can_bus, first


def propagate(p: Params, memory: Memory, now: Observation, point_range: tuple[float, ...]) -> Instances:
    """[fresh, live] queries; live ones at constant velocity and from the old pose to the new one."""
    fresh, live = fresh_queries(p), memory.live
    if live is None or len(live) == 0:
        return fresh
    assert memory.l2g_r is not None and memory.l2g_t is not None
    points = metres(live.ref_pts, point_range)
    velocity = torch.cat((live.pred_boxes[:, 8:10], torch.zeros(len(live), 1)), dim=1)
    points = points + velocity * (now.stamp_s - memory.stamp_s)
    points = (points @ memory.l2g_r + memory.l2g_t - now.l2g_t) @ torch.linalg.inv(now.l2g_r)
    boxes = live.pred_boxes.clone()
    boxes[:, [0, 1, 4]] = points
    moved = live.take(range(len(live)))
    moved.ref_pts, moved.pred_boxes = normalised(points, point_range), boxes
    moved.query_embeds = embed_points(p, moved.ref_pts)
    return fresh.take(range(len(fresh) - len(live))).and_(moved)


def remember(memory: Memory, now: Observation, bev: Tensor, live: Instances) -> None:
    memory.scene, memory.stamp_s = now.scene, now.stamp_s
    memory.position, memory.heading_deg = now.can_bus[:3].copy(), float(now.can_bus[17])
    memory.l2g_r, memory.l2g_t, memory.prev_bev, memory.live = now.l2g_r, now.l2g_t, bev.detach(), live.detached()


@dataclass
class Result:
    """What a frame gave; `cooperation` holds what came up on the way."""

    bev: Tensor
    decoder: dict[str, Tensor]
    final: Instances
    live: Instances
    ids_before: Tensor
    cooperation: dict[str, object] = field(default_factory=dict)


def perceive(
    p: Params, view: View, queries: Instances, prev_bev: Tensor | None, **quirks: Tensor | None
) -> tuple[Tensor, dict[str, Tensor], Instances]:
    """Map, decoder outputs and queries after history reasoning."""
    bev = encode_bev(p, view, prev_bev, **quirks)
    out = decode_queries(p, bev, queries.query_feats, queries.query_embeds, queries.ref_pts, view.point_range)
    queries.cache = {
        "logits": out["logits"][-1],
        "scores": out["logits"][-1].sigmoid().max(dim=-1).values,
        "ref_pts": out["ref_pts"],
        "bboxes": out["boxes"][-1],
        "query_embeds": embed_points(p, out["ref_pts"]),
        "query_feats": out["feats"],
        "motion_feats": motion_features(p, out["boxes"][-1]),
    }
    return bev, out, reason_history(p, queries)


def summarise(queries: Instances) -> Instances:
    """What the frame said becomes what the next one starts from."""
    result, cache = queries.take(range(len(queries))), queries.cache
    result.pred_logits, result.scores, result.pred_boxes = cache["logits"], cache["scores"], cache["bboxes"]
    result.ref_pts, result.query_embeds = cache["ref_pts"], cache["query_embeds"]
    result.query_feats = cache["query_feats"]
    return result


def run_frame(
    p: Params,
    memory: Memory,
    now: Observation,
    point_range: tuple[float, ...],
    max_age: int,
    message: Message | None = None,
    T: Tensor | None = None,
) -> Result:
    """One frame at inference, with a message for the cooperative network."""
    can_bus, _ = begin(memory, now)
    queries = propagate(p, memory, now, point_range)
    view = View(now.feats, can_bus, now.lidar2img, now.image_size, point_range)
    bev, out, queries = perceive(p, view, queries, memory.prev_bev)
    notes: dict[str, object] = {}
    if message is not None and T is not None:
        aligned, keep = align(p, message, T, point_range)
        infra = wrap(aligned)
        logits = affinity(p, queries, infra)
        pairs = match_all(logits) if len(infra) else []
        notes = {"aligned": aligned, "keep": keep, "logits": logits, "pairs": pairs}
        queries = fuse(p, queries, infra, pairs)
    final = summarise(refine(p, queries, point_range))
    before = final.obj_idxes.clone()
    kept = manage_tracks(memory, final, max_age)
    live = final.take(kept)
    live.cache = {**live.cache}
    remember(memory, now, bev, live)
    return Result(bev, out, final, live, before, notes)


def manage_tracks(memory: Memory, final: Instances, max_age: int) -> list[int]:
    """Ids for everybody without one, misses, and the rows that live on."""
    kept = []
    for i in range(len(final)):
        active = float(final.scores[i]) > 0.4
        if final.obj_idxes[i] < 0:
            final.obj_idxes[i] = memory.next_id
            memory.next_id += 1
            if active:
                final.track_query_mask[i] = True
        if active:
            final.disappear_time[i] = 0
            kept.append(i)
        elif final.track_query_mask[i]:
            final.disappear_time[i] += 1
            if final.disappear_time[i] < max_age:
                kept.append(i)
    return kept


def message_of(live: Instances) -> Message:
    """What the roadside unit sends of its live instances."""
    return {
        "query_feats": live.query_feats,
        "query_embeds": live.query_embeds,
        "cache_motion_feats": live.cache["motion_feats"],
        "ref_pts": live.ref_pts,
        "pred_boxes": live.pred_boxes,
    }
