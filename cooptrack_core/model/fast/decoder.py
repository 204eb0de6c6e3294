"""The decoder for one agent: the values of the grid for all layers at once, sampled in long rows."""

from __future__ import annotations

import torch
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.decoder import Decoder, DecoderLayer, DecoderOutput
from cooptrack_core.model.fast.layers import of_kind
from cooptrack_core.model.fast.sampling import Sampler, Table
from cooptrack_core.model.linear import linear
from cooptrack_core.model.transformer import attend


class FastDecoder(Decoder):
    """Decoder for one sample; others, and training, go the plain way."""

    def prepare(self) -> None:
        """Everything that only depends on the weights."""
        attentions = [layer.cross_attention for layer in of_kind(self.layers, DecoderLayer)]
        self._samplers = [Sampler(attention) for attention in attentions]
        self._value_weight = torch.cat([attention.value_proj.weight for attention in attentions])  # [layers * C, C]
        self._value_bias = torch.cat([attention.value_proj.bias for attention in attentions])

    def lower(self, dtype: torch.dtype) -> None:
        """What projects the grid, in another dtype."""
        self._value_weight, self._value_bias = self._value_weight.to(dtype), self._value_bias.to(dtype)

    def forward(
        self,
        bev: Tensor,
        feats: Tensor,
        embeds: Tensor,
        ref_pts: Tensor,
        all_layers: bool = True,
        base: Tensor | None = None,
    ) -> DecoderOutput:
        """As Decoder."""
        if len(bev) != 1 or torch.is_grad_enabled() or bev.dtype != torch.float32 or feats.shape[1] == 0:
            return super().forward(bev, feats, embeds, ref_pts, all_layers, base)
        values = linear(bev[0], self._value_weight, self._value_bias)  # [HW, layers * C]
        layers = of_kind(self.layers, DecoderLayer)
        attention = layers[0].cross_attention
        table = Table([attention.bev_size], bev.shape[-1], attention.heads, bev)
        logits, boxes = [], []
        x, points = feats, ref_pts
        for i, layer in enumerate(layers):
            x = self._layer(i, layer, x, embeds, values, points, table)
            code, points = box_code.refine(self.box_branches[i](x), points, self.point_range_m, base)
            base = None if base is None else code
            if all_layers or i == len(self.layers) - 1:
                logits.append(self.class_branches[i](x))
                boxes.append(code)
        return DecoderOutput(torch.stack(logits), torch.stack(boxes), points, x)

    def _layer(
        self, i: int, layer: DecoderLayer, x: Tensor, embeds: Tensor, values: Tensor, points: Tensor, table: Table
    ) -> Tensor:
        """x, embeds [1, N, C], values [HW, layers * C], points [1, N, 3], table to fill -> [1, N, C]."""
        placed = x + embeds
        x = layer.norms[0](x + attend(layer.self_attention, placed, placed, x))
        attention, dims = layer.cross_attention, x.shape[-1]
        rows, columns = attention.bev_size
        table.inside(0).copy_(values[:, i * dims : (i + 1) * dims].view(rows, columns, dims))
        centres = points[0, :, 0] * columns - 0.5, points[0, :, 1] * rows - 0.5  # [N]
        found = self._samplers[i].sums(self._samplers[i].project((x + embeds)[0]), centres, table)
        x = layer.norms[1](x + linear(found, attention.output_proj.weight, attention.output_proj.bias))
        return layer.norms[2](x + layer.ffn(x))
