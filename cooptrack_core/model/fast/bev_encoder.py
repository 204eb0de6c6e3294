"""The BEV encoder for one agent: geometry remembered by calibration, what is constant multiplied out beforehand.

The grid queries of a frame are a learned constant plus one vector, so that their projections are, too. What several
layers make of the same input is one product of matrices. Of the output projection of the attention on the image only
the visible cells have more than the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.model.bev_encoder import BevEncoder, EncoderLayer
from cooptrack_core.model.bev_queries import rotate, shift
from cooptrack_core.model.constants import constant
from cooptrack_core.model.fast.layers import of_kind
from cooptrack_core.model.fast.recent import Recent
from cooptrack_core.model.fast.sampling import Sampler, Table
from cooptrack_core.model.linear import linear
from cooptrack_core.model.pillars import project, visible_cells

_MAX_EXACT_ROWS = 2**24  # of a table: rows are counted in float32


@dataclass(frozen=True)
class _Seen:
    """What a camera shows of the grid."""

    cells: Tensor  # [M]
    points: Tensor  # [D, M, 2] projections of the points above them, as shares of the image


class _LayerConstants:
    """What follows from the weights of a layer; HW cells, C channels, n numbers of a Sampler."""

    def __init__(self, layer: EncoderLayer, position: Tensor, start: Tensor) -> None:
        dims = position.shape[1]
        temporal, spatial = layer.temporal_attention, layer.spatial_attention
        self.temporal, self.spatial = Sampler(temporal), Sampler(spatial)
        self.past_weight = self.temporal.weight[:, :dims].contiguous()  # [n, C]
        self.present_weight = self.temporal.weight[:, dims:].contiguous()
        self.of_position = torch.addmm(self.temporal.bias, self.present_weight, position.t())  # [n, HW]
        self.start_values = linear(start, temporal.value_proj.weight, temporal.value_proj.bias)  # [HW, C]


class FastBevEncoder(BevEncoder):
    """BevEncoder for one sample with a memory; others, and training, go the plain way."""

    def prepare(self, shapes_levels: int) -> None:
        """Everything that only depends on the weights."""
        queries = self.queries
        dims = queries.embedding.shape[1]
        _, position = queries(torch.zeros(1, 18))
        start = queries.embedding
        layers = of_kind(self.layers, EncoderLayer)
        self._constants = [_LayerConstants(layer, position, start) for layer in layers]
        first = self._constants[0]
        self._of_start = first.of_position + first.present_weight @ start.t()  # [n, HW] layer 0 sees the start itself
        temporal = [layer.temporal_attention for layer in layers]
        self._value_weight = torch.cat([t.value_proj.weight for t in temporal])  # [layers * C, C]
        self._value_bias = torch.cat([t.value_proj.bias for t in temporal])
        self._past_weight = torch.cat([c.past_weight for c in self._constants])  # [layers * n, C]
        spatial = [layer.spatial_attention for layer in layers]
        self._image_weight = torch.cat([s.value_proj.weight for s in spatial])
        bias = torch.cat([s.value_proj.bias for s in spatial])
        embeds = self.camera_embeds[0] + self.level_embeds[:shapes_levels]  # [L, C]
        self._image_bias = [linear(e[None], self._image_weight, bias)[0] for e in embeds]
        self._dims = dims
        rows, columns = self.config.bev_size
        x, y = torch.arange(columns, dtype=start.dtype), torch.arange(rows, dtype=start.dtype)
        self._cells = x.repeat(rows), y.repeat_interleave(columns)  # [HW] each
        self._seen: Recent[_Seen] = Recent()

    def lower(self, dtype: torch.dtype) -> None:
        """What projects the grid before and the image, in another dtype."""
        self._value_weight, self._value_bias = self._value_weight.to(dtype), self._value_bias.to(dtype)
        self._image_weight = self._image_weight.to(dtype)
        self._image_bias = [bias.to(dtype) for bias in self._image_bias]

    def forward(
        self,
        maps: Sequence[Tensor],
        lidar2img: Tensor,
        can_bus: Tensor,
        prev_bev: Tensor | None,
        known: Tensor | None = None,
    ) -> Tensor:
        """As BevEncoder."""
        usual = prev_bev is None or known is not None or len(lidar2img) != 1 or maps[0].dtype != torch.float32
        usual = usual or torch.is_grad_enabled()
        if usual or maps[0].shape[-1] * maps[0].shape[-2] * 16 > _MAX_EXACT_ROWS:
            return super().forward(maps, lidar2img, can_bus, prev_bev, known)
        assert prev_bev is not None
        moved = self.queries.can_bus_mlp(can_bus)  # [1, C] is added to all grid queries
        # A grid that is not turned is the same.
        past = (rotate(prev_bev, can_bus[:, 17], self.config) if bool(can_bus[0, 17]) else prev_bev)[0]  # [HW, C]
        past_values = linear(past, self._value_weight, self._value_bias)  # [HW, layers * C]
        past_terms = (self._past_weight @ past.t()).chunk(len(self.layers))  # [n, HW] each
        moved_values = linear(moved, self._value_weight)[0]  # [layers * C]
        centres = self._memory_cells(can_bus)
        seen = self._seen.of(lidar2img, lambda: self._visible(lidar2img))
        shapes = [(x.shape[-2], x.shape[-1]) for x in maps]
        image_values = self._image_values(maps)
        image_centres = self._image_cells(seen, shapes)
        heads = self.config.num_heads
        grids = Table([self.config.bev_size] * 2, self._dims, heads, past)
        images = Table(shapes, self._dims, heads, past)
        x = self.queries.embedding + moved  # [HW, C]
        for i, layer in enumerate(of_kind(self.layers, EncoderLayer)):
            constants, part = self._constants[i], slice(i * self._dims, (i + 1) * self._dims)
            if i == 0:
                logits = self._of_start + constants.present_weight @ moved.t()
            else:
                logits = torch.addmm(constants.of_position, constants.present_weight, x.t())
            size = (*self.config.bev_size, self._dims)
            grids.inside(0).copy_(past_values[:, part].view(size))
            torch.add(constants.start_values.view(size), moved_values[part], out=grids.inside(1))
            found = constants.temporal.sums(logits.add_(past_terms[i]), centres, grids)
            attention = layer.temporal_attention
            x = layer.norms[0](x + linear(found, attention.output_proj.weight, attention.output_proj.bias))
            x = layer.norms[1](self._with_image(layer, constants, x, seen, images, image_centres, image_values, part))
            x = layer.norms[2](x + layer.ffn(x))
        return x[None]

    def _with_image(
        self,
        layer: EncoderLayer,
        constants: _LayerConstants,
        x: Tensor,
        seen: _Seen,
        table: Table,
        centres: tuple[Tensor, Tensor],
        values: list[Tensor],
        part: slice,
    ) -> Tensor:
        """[HW, C] -> the same with what the visible cells see in the image."""
        output = layer.spatial_attention.output_proj
        summed = x + output.bias
        if len(seen.cells) == 0:
            return summed
        for level, found in enumerate(values):
            table.inside(level).copy_(found[..., part])
        projected = constants.spatial.project(x.index_select(0, seen.cells))
        attended = constants.spatial.sums(projected, centres, table)  # [M, C]
        return summed.index_add_(0, seen.cells, linear(attended, output.weight))

    def _visible(self, lidar2img: Tensor) -> _Seen:
        points, valid = project(self.anchors, lidar2img, self.config.image_size)
        cells = visible_cells(points, valid, True)
        assert cells.index is not None
        return _Seen(cells.index[0], cells.anchors[0].transpose(0, 1).contiguous())

    def _image_values(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[h, w, layers * C] of each level."""
        rows = [x[0].permute(1, 2, 0) for x in maps]
        return [linear(x, self._image_weight, bias) for x, bias in zip(rows, self._image_bias, strict=True)]

    def _image_cells(self, seen: _Seen, shapes: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """x and y [L, P, M] in cells of each map; point p belongs to the anchor of height p mod D."""
        repeats = self.config.points_per_anchor
        x = torch.stack([(seen.points[..., 0] * w - 0.5).repeat(repeats, 1) for _, w in shapes])
        y = torch.stack([(seen.points[..., 1] * h - 0.5).repeat(repeats, 1) for h, _ in shapes])
        return x, y

    def _memory_cells(self, can_bus: Tensor) -> tuple[Tensor, Tensor]:
        """x and y [2, 1, HW] of each cell in the previous and in the present grid."""
        (rows, columns), (x, y) = self.config.bev_size, self._cells
        dx, dy = (shift(can_bus, self.config)[0] * constant((columns, rows), can_bus)).unbind()
        if self.config.options.shift_past_only:
            return torch.stack((x + dx, x))[:, None], torch.stack((y + dy, y))[:, None]
        return torch.stack((x + dx, x + dx))[:, None], torch.stack((y + dy, y + dy))[:, None]
