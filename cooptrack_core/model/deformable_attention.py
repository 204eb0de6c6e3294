"""The core of deformable attention (Zhu et al., ICLR 2021; spec 2.4): sample maps at a few points, weight, sum.

Two implementations with the same values and gradients: `grid_sample`, one call per level, for training and export,
and `gather`, one weighted gather of value rows (embedding_bag), several times faster on CPU without gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


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
    """Every output is a weighted sum (a bag) of 4 L P rows of a table of values.

    What is computed per sample lies bags last, in long rows that the processor can go through fast.
    """
    b, _, heads, dims = value.shape
    queries, levels, points = locations.shape[1], len(shapes), locations.shape[4]
    bags = b * queries * heads
    if bags == 0:
        return value.new_zeros(b, queries, heads * dims)
    table, starts = _padded_table(value, shapes)  # [B * tokens * heads, D]
    places = locations.reshape(bags, -1).t().contiguous().reshape(levels, points, 2, bags)
    parts = weights.reshape(bags, -1).t().contiguous().reshape(levels, points, bags)
    first = _first_rows(b, queries, heads, len(table) // b, value.device)  # [bags]
    rows, shares = [], []
    for level, (h, w) in enumerate(shapes):
        tokens, level_shares = _corners(places[level], parts[level], h, w)  # 4 x [P, bags] each
        rows += [(token + starts[level]) * heads + first for token in tokens]
        shares += level_shares
    index = torch.cat(rows).clamp_(0, len(table) - 1)  # [4 L P, bags]; for what is not a number any row will do
    sums = F.embedding_bag(
        index.t().contiguous(),
        table,
        mode="sum",
        per_sample_weights=torch.cat(shares).to(value.dtype).t().contiguous(),
    )
    return sums.reshape(b, queries, heads * dims)


def _first_rows(b: int, queries: int, heads: int, rows_per_sample: int, device: torch.device) -> Tensor:
    """[B * Q * heads] where in the table the values of the sample and the head of each bag start."""
    sample = torch.arange(b, device=device, dtype=torch.int32)[:, None, None] * rows_per_sample
    head = torch.arange(heads, device=device, dtype=torch.int32)
    return (sample + head).expand(b, queries, heads).reshape(-1)


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
    """Locations [P, 2, bags], weights [P, bags] -> the four cells around each location in a map with border, and
    their parts of its weight, [P, bags] each.
    """
    # Half a cell outside the map a sample has faded to zero, so that nothing is lost by clamping it there.
    x = (locations[:, 0] * w - 0.5).clamp_(-1.0, float(w))
    y = (locations[:, 1] * h - 0.5).clamp_(-1.0, float(h))
    left, low = x.floor(), y.floor()
    token = (low * (w + 2) + left + (w + 3)).int()  # of the lower left cell
    right_share, high_share = x - left, y - low
    high = weights * high_share
    high_right = high * right_share
    lower = weights - high
    low_right = lower * right_share
    tokens = [token, token + 1, token + (w + 2), token + (w + 3)]
    return tokens, [lower - low_right, low_right, high - high_right, high_right]
