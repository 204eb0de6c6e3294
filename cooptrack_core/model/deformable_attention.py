"""The core of deformable attention (Zhu et al., ICLR 2021; spec 2.4): sample maps at a few points, weight, sum.

Two implementations with the same values and gradients: `grid_sample`, one call per level, for training and export,
and `gather`, one weighted gather of value rows (embedding_bag), several times faster on CPU without gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def deformable_attention(
    value: Tensor,
    shapes: Sequence[tuple[int, int]],
    locations: Tensor,
    weights: Tensor,
    implementation: str = "auto",
) -> Tensor:
    """Weighted sums of bilinear samples -> [B, Q, heads * D].

    value [B, S, heads, D]: the maps of all levels, row by row, one after the other; shapes: (h, w) of each level;
    locations [B, Q, heads, L, P, 2]: x, y in 0..1 from edge to edge of the map, zero outside;
    weights [B, Q, heads, L, P]; implementation: auto, grid_sample or gather.
    """
    if implementation == "auto":
        implementation = "gather" if _gather_is_better(value, locations, weights) else "grid_sample"
    if implementation == "gather":
        return _by_gather(value, shapes, locations, weights)
    return _by_grid_sample(value, shapes, locations, weights)


def initialise_projections(
    offsets: nn.Linear, attention: nn.Linear, projections: Sequence[nn.Linear], heads: int, points: int
) -> None:
    """Start of training: head h looks along its own direction, point i of a level at distance i + 1, all equal."""
    nn.init.zeros_(offsets.weight)
    nn.init.zeros_(attention.weight)
    nn.init.zeros_(attention.bias)
    angle = torch.arange(heads) * (2.0 * math.pi / heads)
    direction = torch.stack((angle.cos(), angle.sin()), dim=-1)  # [heads, 2]
    direction = direction / direction.abs().amax(-1, keepdim=True)
    maps = offsets.out_features // (heads * points * 2)
    distance = torch.arange(1, points + 1).reshape(1, 1, points, 1)
    bias = direction[:, None, None] * distance.expand(1, maps, points, 1)  # [heads, maps, points, 2]
    with torch.no_grad():
        offsets.bias.copy_(bias.flatten())
    for projection in projections:
        nn.init.xavier_uniform_(projection.weight)
        nn.init.zeros_(projection.bias)


def _gather_is_better(*tensors: Tensor) -> bool:
    if is_traced() or tensors[0].device.type != "cpu":
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def is_traced() -> bool:
    """Whether the network is being exported or compiled, so that shapes must not depend on data."""
    return torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()


def _by_grid_sample(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    b, _, heads, dims = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    if queries == 0:
        return value.new_zeros(b, 0, heads * dims)
    grid = 2.0 * locations - 1.0
    result = value.new_zeros(b * heads, dims, queries)
    start = 0
    for level, (h, w) in enumerate(shapes):
        maps = value[:, start : start + h * w].permute(0, 2, 3, 1).reshape(b * heads, dims, h, w)
        start += h * w
        level_grid = grid[:, :, :, level].transpose(1, 2).reshape(b * heads, queries, points, 2)
        samples = F.grid_sample(maps, level_grid, align_corners=False)  # [B * heads, D, Q, P]
        level_weights = weights[:, :, :, level].transpose(1, 2).reshape(b * heads, 1, queries, points)
        result = result + (samples * level_weights).sum(-1)
    return result.reshape(b, heads * dims, queries).transpose(1, 2)


def _by_gather(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Every output is a weighted sum of 4 L P rows of a table of values."""
    b, _, heads, dims = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    bags = b * queries * heads
    if bags == 0:
        return value.new_zeros(b, queries, heads * dims)
    table, starts = _padded_table(value, shapes)  # [B * tokens * heads, D]
    tokens = len(table) // (b * heads)
    # Row of a head's first value of each level of each sample.
    sample = torch.arange(b, device=value.device, dtype=torch.int32).reshape(b, 1, 1, 1) * (tokens * heads)
    first = sample + torch.arange(heads, device=value.device, dtype=torch.int32)[:, None]  # [B, 1, heads, 1]
    rows, shares = [], []
    for level, (h, w) in enumerate(shapes):
        corners, level_shares = _corners(locations[:, :, :, level], weights[:, :, :, level], h, w)
        rows += [(corner + starts[level]) * heads + first for corner in corners]  # each [B, Q, heads, P]
        shares += level_shares
    per_bag = 4 * len(shapes) * points
    sums = F.embedding_bag(
        torch.cat(rows, dim=-1).reshape(bags, per_bag).clamp_(0, len(table) - 1),  # not a number: any row will do
        table,
        mode="sum",
        per_sample_weights=torch.cat(shares, dim=-1).reshape(bags, per_bag).to(value.dtype),
    )
    return sums.reshape(b, queries, heads * dims)


def _padded_table(value: Tensor, shapes: Sequence[tuple[int, int]]) -> tuple[Tensor, list[int]]:
    """The maps with a border of zeros, one after the other: ([B * tokens * heads, D], first token of each map)."""
    b, _, heads, dims = value.shape
    padded, starts, start, count = [], [], 0, 0
    for h, w in shapes:
        maps = value[:, start : start + h * w].reshape(b, h, w, heads * dims)
        padded.append(F.pad(maps, (0, 0, 1, 1, 1, 1)).flatten(1, 2))
        starts.append(count)
        start += h * w
        count += (h + 2) * (w + 2)
    # One row more: the far corners of a sample on the last border row, which have no weight.
    padded.append(value.new_zeros(b, shapes[-1][1] + 3, heads * dims))
    return torch.cat(padded, dim=1).reshape(-1, dims), starts


def _corners(locations: Tensor, weights: Tensor, h: int, w: int) -> tuple[list[Tensor], list[Tensor]]:
    """The four cells around each location [..., 2] in a map with border, and their parts of the weight [...]."""
    # Half a cell outside the map a sample has faded to zero, so that nothing is lost by clamping it there.
    x = (locations[..., 0] * w - 0.5).clamp_(-1.0, float(w))
    y = (locations[..., 1] * h - 0.5).clamp_(-1.0, float(h))
    left, low = x.floor(), y.floor()
    token = (low * (w + 2) + left + (w + 3)).int()  # of the lower left cell
    right_share, high_share = x - left, y - low
    high = weights * high_share
    high_right = high * right_share
    lower = weights - high
    low_right = lower * right_share
    tokens = [token, token + 1, token + (w + 2), token + (w + 3)]
    return tokens, [lower - low_right, low_right, high - high_right, high_right]
