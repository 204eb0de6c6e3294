"""Deformable attention of one sample in long rows: what is computed for a sampling point lies queries last.

The projections write their numbers in this order, so that nothing has to be turned until the rows of the table of
values are summed; offsets, in cells of the map, are added to centres in cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from cooptrack_core.model.deformable_layer import DeformableLayer

Shapes = Sequence[tuple[int, int]]


class Sampler:
    """Where a DeformableLayer looks and how much, from its queries, in one product of matrices."""

    def __init__(self, layer: DeformableLayer) -> None:
        self.heads, self.levels, self.points = layer.heads, layer.levels, layer.points
        self.levels_share = layer.levels_share
        self.size = self.heads * self.levels * self.points
        offsets = layer.sampling_offsets
        self.weight = torch.cat((offsets.weight[0::2], offsets.weight[1::2], layer.attention_weights.weight))
        self.bias = torch.cat((offsets.bias[0::2], offsets.bias[1::2], layer.attention_weights.bias))[:, None]

    def project(self, queries: Tensor) -> Tensor:
        """[Q, C] -> [3 * heads * L * P, Q]: offsets in x, in y, and logits of the weights."""
        return torch.addmm(self.bias, self.weight, queries.t())

    def sums(self, projected: Tensor, centres: tuple[Tensor, Tensor], table: Table) -> Tensor:
        """Weighted sums of the values of a table -> [Q, heads * D].

        projected as project() gives it; centres: x and y in cells, each broadcast to [L, P, Q].
        """
        count = projected.shape[1]
        x, y, weights = projected.view(3, self.heads, self.levels, self.points, count).unbind()
        if self.levels_share:
            weights = weights.reshape(self.heads, -1, count).softmax(1).view_as(x)
        else:
            weights = weights.softmax(2) / self.levels
        index, shares = table.corners(x + centres[0], y + centres[1], weights)
        bags = count * self.heads
        found = functional.embedding_bag(
            index.view(-1, count).t().contiguous().view(bags, -1),
            table.rows.view(-1, table.dims // self.heads),
            mode="sum",
            per_sample_weights=shares.view(-1, count).t().contiguous().view(bags, -1),
        )
        return found.view(count, table.dims)


@dataclass(frozen=True)
class _Layout:
    """Where the cells of maps with borders lie in a table, and their heads in a row of it."""

    starts: tuple[int, ...]  # rows before each map
    count: int
    rest: int  # rows behind the last map: far corners of samples on the last border row, which have no weight
    w: Tensor  # [L, 1, 1] columns
    h: Tensor
    wide: Tensor  # columns with borders
    first: Tensor  # row of cell (0, 0)
    head: Tensor  # [heads, 1, 1, 1]
    steps: tuple[int | Tensor, ...]  # to the right, up, and both, in rows of a head; int32


@lru_cache(maxsize=32)
def _layout(shapes: tuple[tuple[int, int], ...], heads: int) -> _Layout:
    starts, count = [], 0
    for rows, columns in shapes:
        starts.append(count)
        count += (rows + 2) * (columns + 2)
    sizes = [(*shape, start) for shape, start in zip(shapes, starts, strict=True)]
    h, w, start = torch.tensor(sizes, dtype=torch.float32).t()[:, :, None, None]
    up = ((w + 2.0) * heads).int()
    head = torch.arange(heads, dtype=torch.float32)[:, None, None, None]
    steps = (heads, up, up + heads)
    return _Layout(tuple(starts), count, shapes[-1][1] + 3, w, h, w + 2.0, start + w + 3.0, head, steps)


class Table:
    """Projected maps, each with a border of zeros, one after the other; filled by its user."""

    def __init__(self, shapes: Shapes, dims: int, heads: int, like: Tensor) -> None:
        self.shapes, self.dims, self.heads = tuple(shapes), dims, heads
        self._layout = _layout(self.shapes, heads)
        self.rows = like.new_zeros(self._layout.count + self._layout.rest, dims)

    def inside(self, level: int) -> Tensor:
        """[h, w, C] of a map, to write on."""
        (h, w), start = self.shapes[level], self._layout.starts[level]
        return self.rows[start : start + (h + 2) * (w + 2)].view(h + 2, w + 2, -1)[1:-1, 1:-1]

    def corners(self, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Places in cells and weights [heads, L, P, Q] -> rows [heads, 4, L, P, Q] int32 of values, and their shares.

        A row of a head's values: row of the table times heads, plus the head. x and y are overwritten.
        """
        layout = self._layout
        # Half a cell outside the map a sample has faded to zero, so that nothing is lost by clamping it there.
        x = torch.minimum(x.clamp_(min=-1.0), layout.w, out=x)
        y = torch.minimum(y.clamp_(min=-1.0), layout.h, out=y)
        left, low = x.floor(), y.floor()
        right, high = x.sub_(left), y.sub_(low)
        token = low.mul_(layout.wide).add_(left).add_(layout.first)
        first = token.mul_(self.heads).add_(layout.head).int()
        first.clamp_(0, self.heads * layout.count - 1)  # for what is not a number any row will do
        upper = weights * high
        upper_right = upper * right
        lower = weights - upper
        lower_right = lower * right
        size = (len(first), 4, *first.shape[1:])
        index, shares = first.new_empty(size), weights.new_empty(size)
        index[:, 0] = first
        for corner, step in enumerate(layout.steps, 1):
            torch.add(first, step, out=index[:, corner])
        torch.sub(lower, lower_right, out=shares[:, 0])
        shares[:, 1] = lower_right
        torch.sub(upper, upper_right, out=shares[:, 2])
        shares[:, 3] = upper_right
        return index, shares
