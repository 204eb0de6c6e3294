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
    """Every sample is a weighted sum of four rows of the value table [B * S * heads, D]."""
    b, tokens, heads, dims = value.shape
    queries = locations.shape[1]
    size = locations.new_tensor([(w, h) for h, w in shapes])[:, None]  # [L, 1, 2]
    # Half a cell outside the map a sample has faded to zero, so that nothing is lost by clamping it there.
    xy = (locations * size - 0.5).clamp(min=-1.0).minimum(size)  # [B, Q, heads, L, P, 2] in cells
    low = xy.floor()
    high_share = xy - low
    cell = torch.stack((low, low + 1.0), dim=-1)  # [..., 2 (xy), 2 (low, high)]
    inside = (cell >= 0.0) & (cell < size[..., None])
    share = torch.stack((1.0 - high_share, high_share), dim=-1) * inside
    index = cell.clamp(min=0.0).minimum(size[..., None] - 1.0).long()
    x, y = index[..., 0, :], index[..., 1, :]  # [B, Q, heads, L, P, 2]
    starts = [sum(h * w for h, w in shapes[:level]) for level in range(len(shapes))]
    width = index.new_tensor([w for _, w in shapes])[:, None, None, None]  # [L, 1, 1, 1]
    token = y[..., :, None] * width + x[..., None, :] + index.new_tensor(starts)[:, None, None, None]
    sample = torch.arange(b, device=value.device).reshape(b, 1, 1, 1, 1, 1, 1)
    head = torch.arange(heads, device=value.device).reshape(heads, 1, 1, 1, 1)
    rows = (sample * tokens + token) * heads + head  # [B, Q, heads, L, P, 2 (y), 2 (x)]
    shares = weights[..., None, None] * share[..., 1, :, None] * share[..., 0, None, :]
    bags = b * queries * heads
    if bags == 0:
        return value.new_zeros(b, queries, heads * dims)
    sums = F.embedding_bag(
        rows.reshape(bags, -1),
        value.reshape(-1, dims),
        mode="sum",
        per_sample_weights=shares.reshape(bags, -1).to(value.dtype),
    )
    return sums.reshape(b, queries, heads * dims)
