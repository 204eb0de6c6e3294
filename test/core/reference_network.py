"""Second implementation of one agent of the published network, written from its specification alone.

Plain functions for one sample over a dict of tensors with published parameter names. Nothing here is fast, and
nothing is shared with cooptrack_core, so that what both agree on is hardly wrong in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

Params = Mapping[str, Tensor]
HEADS = 8
VEHICLE_RANGE = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
ROADSIDE_RANGE = (0.0, -51.2, -5.0, 102.4, 51.2, 3.0)
HEAD = "pts_bbox_head.transformer"


@dataclass
class Instances:
    """One row a query: what it carries between frames and what the present frame says (c_...)."""

    ref_pts: Tensor
    query_embeds: Tensor
    query_feats: Tensor
    pred_boxes: Tensor
    pred_logits: Tensor
    scores: Tensor
    obj_idxes: Tensor
    disappear_time: Tensor
    track_query_mask: Tensor
    hist_embeds: Tensor
    hist_motion_embeds: Tensor
    hist_padding_masks: Tensor
    cache: dict[str, Tensor] = field(default_factory=dict)

    def take(self, rows: Tensor | list[int]) -> Instances:
        """The rows, in that order."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        fields = {k: v[index] for k, v in vars(self).items() if k != "cache"}
        return Instances(**fields, cache={k: v[index] for k, v in self.cache.items()})

    def and_(self, other: Instances) -> Instances:
        """Rows of both, without what the present frame says unless both have it."""
        fields = {k: torch.cat((v, getattr(other, k))) for k, v in vars(self).items() if k != "cache"}
        shared = {k: torch.cat((v, other.cache[k])) for k, v in self.cache.items() if k in other.cache}
        return Instances(**fields, cache=shared)

    def detached(self) -> Instances:
        """Without gradient."""
        fields = {k: v.detach() for k, v in vars(self).items() if k != "cache"}
        return Instances(**fields, cache={k: v.detach() for k, v in self.cache.items()})

    def __len__(self) -> int:
        return len(self.scores)


def linear(p: Params, name: str, x: Tensor) -> Tensor:
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def layer_norm(p: Params, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), p[f"{name}.weight"], p[f"{name}.bias"], 1e-5)


def relu_mlp(p: Params, name: str, x: Tensor, layers: int = 2) -> Tensor:
    """Linear (ReLU Linear)*"""
    for i in range(layers):
        x = linear(p, f"{name}.{2 * i}", x)
        x = x.relu() if i < layers - 1 else x
    return x


def norm_mlp(p: Params, name: str, x: Tensor, layers: int = 2) -> Tensor:
    """(Linear LayerNorm ReLU)*"""
    for i in range(layers):
        x = layer_norm(p, f"{name}.{3 * i + 1}", linear(p, f"{name}.{3 * i}", x)).relu()
    return x


def normed_head(p: Params, name: str, x: Tensor) -> Tensor:
    """(Linear LayerNorm ReLU) twice, Linear"""
    return linear(p, f"{name}.6", norm_mlp(p, name, x))


def inverse_sigmoid(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=1e-5) / (1 - x).clamp(min=1e-5))


def sine(coordinate: Tensor, count: int) -> Tensor:
    """[N] -> [N, count], sine and cosine by turns."""
    columns = []
    for j in range(count):
        angle = 2 * math.pi * coordinate / 10000 ** (2 * (j // 2) / count)
        columns.append(angle.sin() if j % 2 == 0 else angle.cos())
    return torch.stack(columns, dim=-1)


def embed_points(p: Params, points: Tensor) -> Tensor:
    """query_embedding(pe3d(points [N, 3])): y before x before z."""
    third = p["query_embedding.0.weight"].shape[1] // 3
    encoded = torch.cat([sine(points[:, i], third) for i in (1, 0, 2)], dim=-1)
    return relu_mlp(p, "query_embedding", encoded)


def attention(p: Params, name: str, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None = None) -> Tensor:
    """Multi-head attention of one sample: q [Q, C], k and v [S, C], padding [S] True: not there."""
    w, b = p[f"{name}.in_proj_weight"], p[f"{name}.in_proj_bias"]
    dims = q.shape[-1]
    q, k, v = (F.linear(x, w[i * dims : (i + 1) * dims], b[i * dims : (i + 1) * dims]) for i, x in enumerate((q, k, v)))
    size = dims // HEADS
    heads = []
    for h in range(HEADS):
        part = slice(h * size, (h + 1) * size)
        scores = q[:, part] @ k[:, part].T / math.sqrt(size)
        if padding is not None:
            scores = scores.masked_fill(padding, float("-inf"))
        heads.append(scores.softmax(-1) @ v[:, part])
    return linear(p, f"{name}.out_proj", torch.cat(heads, dim=-1))


def bilinear(grid: Tensor, points: Tensor) -> Tensor:
    """Values of a map [h, w, D] at points [Q, 2] (x, y in 0..1, cell centres at (i + 0.5) / size), zero outside."""
    h, w = grid.shape[:2]
    x, y = points[:, 0] * w - 0.5, points[:, 1] * h - 0.5
    total = grid.new_zeros(len(points), grid.shape[2])
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = x.detach().floor() + dx, y.detach().floor() + dy
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
            values = grid[row.clamp(0, h - 1).long(), column.clamp(0, w - 1).long()]
            total = total + values * (weight * inside)[:, None]
    return total


def sample_heads(value: Tensor, size: tuple[int, int], locations: Tensor, weights: Tensor) -> Tensor:
    """value [h w, C], locations [Q, heads, P, 2], weights [Q, heads, P] -> [Q, C]."""
    heads = []
    for h, part in enumerate(value.view(*size, HEADS, -1).unbind(2)):
        heads.append(sum(bilinear(part, locations[:, h, i]) * weights[:, h, i, None] for i in range(weights.shape[2])))
    return torch.cat(heads, dim=-1)


def feed_forward(p: Params, name: str, x: Tensor) -> Tensor:
    return x + linear(p, f"{name}.ffns.0.layers.1", linear(p, f"{name}.ffns.0.layers.0.0", x).relu())


def metres(points: Tensor, point_range: tuple[float, ...]) -> Tensor:
    low, high = torch.tensor(point_range[:3]), torch.tensor(point_range[3:])
    return points * (high - low) + low


def normalised(points: Tensor, point_range: tuple[float, ...]) -> Tensor:
    low, high = torch.tensor(point_range[:3]), torch.tensor(point_range[3:])
    return (points - low) / (high - low)


def bev_size(p: Params) -> tuple[int, int]:
    name = "pts_bbox_head.positional_encoding"
    return len(p[f"{name}.row_embed.weight"]), len(p[f"{name}.col_embed.weight"])


def count(p: Params, pattern: str) -> int:
    number = 0
    while pattern.format(number) in p:
        number += 1
    return number


def decode_queries(
    p: Params, bev: Tensor, feats: Tensor, embeds: Tensor, ref: Tensor, point_range: tuple[float, ...]
) -> dict[str, Tensor]:
    """Logits and boxes of every layer [L, N, ...], reference points and features of the last."""
    size = bev_size(p)
    x, logits, boxes = feats, [], []
    for i in range(count(p, f"{HEAD}.decoder.layers.{{}}.norms.0.weight")):
        layer = f"{HEAD}.decoder.layers.{i}"
        placed = x + embeds
        x = layer_norm(p, f"{layer}.norms.0", x + attention(p, f"{layer}.attentions.0.attn", placed, placed, x))
        name, placed = f"{layer}.attentions.1", x + embeds
        offsets = linear(p, f"{name}.sampling_offsets", placed).view(len(x), HEADS, 4, 2)
        weights = linear(p, f"{name}.attention_weights", placed).view(len(x), HEADS, 4).softmax(-1)
        locations = ref[:, None, None, :2] + offsets / torch.tensor((size[1], size[0]))
        seen = sample_heads(linear(p, f"{name}.value_proj", bev), size, locations, weights)
        x = layer_norm(p, f"{layer}.norms.1", x + linear(p, f"{name}.output_proj", seen))
        x = layer_norm(p, f"{layer}.norms.2", feed_forward(p, layer, x))
        logits.append(normed_head(p, f"pts_bbox_head.cls_branches.{i}", x))
        delta = relu_mlp(p, f"pts_bbox_head.reg_branches.{i}", x, layers=3)
        code, last = refined_box(delta, ref, point_range)
        boxes.append(code)
        ref = last.detach()
    return {"logits": torch.stack(logits), "boxes": torch.stack(boxes), "ref_pts": last, "feats": x}


def refined_box(delta: Tensor, ref: Tensor, point_range: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """A raw head output and the point it starts from -> box code [N, 10], new point [N, 3]."""
    point = (delta[:, [0, 1, 4]] + inverse_sigmoid(ref)).sigmoid()
    centre = metres(point, point_range)
    code = torch.cat((centre[:, :2], delta[:, 2:4], centre[:, 2:], delta[:, 5:]), dim=1)
    return code, point


def decode_box(code: Tensor) -> Tensor:
    """[N, 10] -> x, y, z (bottom), w, l, h, yaw, vx, vy"""
    x, y, w, length, z, h, sin, cos, vx, vy = code.unbind(-1)
    return torch.stack((x, y, z, w.exp(), length.exp(), h.exp(), torch.atan2(sin, cos), vx, vy), dim=-1)


def encode_box(box: Tensor) -> Tensor:
    x, y, z, w, length, h, yaw, vx, vy = box.unbind(-1)
    return torch.stack((x, y, w.log(), length.log(), z, h.log(), yaw.sin(), yaw.cos(), vx, vy), dim=-1)


def motion_features(p: Params, code: Tensor) -> Tensor:
    """[N, 10] -> [N, C]"""
    box = decode_box(code)
    w, length, h, yaw = box[:, 3:7].unbind(-1)
    features = None
    for i in range(8):  # corner by corner; the order does not matter for the maximum
        a, b, c = (i >> 2 & 1) - 0.5, (i >> 1 & 1) - 0.5, (i & 1) - 0.5  # c: about the gravity centre
        x, y = a * w, b * length
        corner = torch.stack((x * yaw.cos() + y * yaw.sin(), -x * yaw.sin() + y * yaw.cos(), c * h), dim=-1)
        value = norm_mlp(p, "MotionExtractor.pointnet", corner, layers=3)
        features = value if features is None else torch.maximum(features, value)
    velocity = norm_mlp(p, "MotionExtractor.velonet", box[:, 6:9], layers=3)
    return norm_mlp(p, "MotionExtractor.fusion_net", torch.cat((features, velocity), dim=-1), layers=1)


def fresh_queries(p: Params) -> Instances:
    ref, feats = p["reference_points.weight"], p["query_feat_embedding.weight"]
    n, dims = feats.shape
    return Instances(
        ref_pts=ref,
        query_embeds=embed_points(p, ref),
        query_feats=feats,
        pred_boxes=torch.zeros(n, 10),
        pred_logits=torch.zeros(n, 3),
        scores=torch.zeros(n),
        obj_idxes=torch.full((n,), -1),
        disappear_time=torch.zeros(n, dtype=torch.int64),
        track_query_mask=torch.zeros(n, dtype=torch.bool),
        hist_embeds=torch.zeros(n, 4, dims),
        hist_motion_embeds=torch.zeros(n, 4, dims),
        hist_padding_masks=torch.ones(n, 4, dtype=torch.bool),
    )


def reason_history(p: Params, queries: Instances) -> Instances:
    """FIFO push, semantics over time and over space, motion over time, write back."""
    cache, n = dict(queries.cache), len(queries)
    hist = torch.cat((queries.hist_embeds[:, 1:], cache["query_feats"][:, None]), dim=1)
    hist_motion = torch.cat((queries.hist_motion_embeds[:, 1:], cache["motion_feats"][:, None]), dim=1)
    mask = torch.cat((queries.hist_padding_masks[:, 1:], torch.zeros(n, 1, dtype=torch.bool)), dim=1)
    dims = hist.shape[-1]
    time = relu_mlp(p, "STReasoner.ts_query_embed", sine(torch.arange(4) / 3, dims))
    feats = over_time(p, "STReasoner.hist_temporal_transformer", cache["query_feats"], hist, mask, time)
    place = cache["query_embeds"]
    feats = petr_stack(p, "STReasoner.spatial_transformer", feats, feats, place, place, None)
    motion = over_time(p, "STReasoner.hist_motion_transformer", cache["motion_feats"], hist_motion, mask, time)
    cache |= {"query_feats": feats, "motion_feats": motion}
    fields = {k: v for k, v in vars(queries).items() if k != "cache" and not k.startswith("hist_")}
    return Instances(
        **fields,
        hist_embeds=torch.cat((hist[:, :-1], feats.detach()[:, None]), dim=1),
        hist_motion_embeds=torch.cat((hist_motion[:, :-1], motion.detach()[:, None]), dim=1),
        hist_padding_masks=mask,
        cache=cache,
    )


def over_time(p: Params, name: str, target: Tensor, memory: Tensor, mask: Tensor, time: Tensor) -> Tensor:
    """Each query by itself."""
    rows = [petr_stack(p, name, target[i : i + 1], memory[i], time[3:], time, mask[i]) for i in range(len(target))]
    return torch.cat(rows)


def petr_stack(
    p: Params, name: str, x: Tensor, memory: Tensor, place: Tensor, memory_place: Tensor, mask: Tensor | None
) -> Tensor:
    for i in range(count(p, name + ".decoder.layers.{}.norms.0.weight")):
        layer = f"{name}.decoder.layers.{i}"
        placed = x + place
        x = layer_norm(p, f"{layer}.norms.0", x + attention(p, f"{layer}.attentions.0.attn", placed, placed, x))
        seen = attention(p, f"{layer}.attentions.1.attn", x + place, memory + memory_place, memory, mask)
        x = layer_norm(p, f"{layer}.norms.1", x + seen)
        x = layer_norm(p, f"{layer}.norms.2", feed_forward(p, layer, x))
    return layer_norm(p, f"{name}.decoder.post_norm", x)


def refine(p: Params, queries: Instances, point_range: tuple[float, ...]) -> Instances:
    """Class from semantics, box from motion; overwrites the cache."""
    logits = normed_head(p, "STReasoner.track_cls", queries.cache["query_feats"])
    delta = normed_head(p, "STReasoner.track_reg", queries.cache["motion_feats"])
    code, point = refined_box(delta, queries.cache["ref_pts"], point_range)
    scores = logits.sigmoid().max(dim=-1).values
    cache = queries.cache | {"logits": logits, "scores": scores, "ref_pts": point, "bboxes": code}
    fields = {k: v for k, v in vars(queries).items() if k != "cache"}
    return Instances(**fields, cache=cache)
