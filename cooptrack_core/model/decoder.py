"""Detection decoder: queries look at each other and at the BEV grid and refine their boxes (spec 2.5).

Deformable DETR with iterative refinement; six layers in the published network, no norm at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.deformable_layer import DeformableLayer
from cooptrack_core.model.feed_forward import FeedForward
from cooptrack_core.model.heads import POSITIVE_PRIOR
from cooptrack_core.model.linear import Linear
from cooptrack_core.model.mlp import normed_mlp, set_prior
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.transformer import attend


@dataclass(frozen=True)
class DecoderOutput:
    """B samples, N queries; the first dimension of logits and boxes is the layer."""

    logits: Tensor  # [L, B, N, K]
    boxes: Tensor  # [L, B, N, 10] codes, m
    last_ref_pts: Tensor  # [B, N, 3] normalised centres of the last boxes
    feats: Tensor  # [B, N, C] of the last layer


class BevCrossAttention(DeformableLayer):
    """Deformable attention of queries on the BEV grid, one level."""

    def __init__(self, config: ModelConfig) -> None:
        dims = config.embed_dims
        super().__init__(dims, dims, config.num_heads, 1, config.decoder_points, config.dropout)
        self.bev_size = config.bev_size

    def forward(self, queries: Tensor, bev: Tensor, points: Tensor) -> Tensor:
        """Queries [B, N, C] with positions added, bev [B, HW, C], points [B, N, 2] (x, y in 0..1) -> [B, N, C]."""
        centres = points[:, :, None, None].expand(-1, -1, 1, self.points, -1)
        return self.project(self.attend(queries, bev, [self.bev_size], centres))


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention on the grid and feed-forward, each with a residual and then a norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.dropout = config.dropout
        self.self_attention = nn.MultiheadAttention(dims, config.num_heads, config.dropout, batch_first=True)
        self.cross_attention = BevCrossAttention(config)
        self.ffn = FeedForward(dims, config.decoder_ffn, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))

    def forward(self, x: Tensor, embeds: Tensor, bev: Tensor, points: Tensor) -> Tensor:
        """x, embeds [B, N, C], bev [B, HW, C], points [B, N, 2] -> [B, N, C]."""
        placed = x + embeds
        attended = attend(self.self_attention, placed, placed, x)
        x = self.norms[0](x + F.dropout(attended, self.dropout, self.training))
        x = self.norms[1](x + self.cross_attention(x + embeds, bev, points))
        return self.norms[2](x + self.ffn(x))


class Decoder(nn.Module):
    """Layers, each with its own class and box branch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.point_range_m = config.point_range_m
        layers = range(config.decoder_layers)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in layers)
        self.class_branches = nn.ModuleList(_class_branch(config.embed_dims, config.num_classes) for _ in layers)
        self.box_branches = nn.ModuleList(_box_branch(config.embed_dims) for _ in layers)

    def forward(
        self,
        bev: Tensor,
        feats: Tensor,
        embeds: Tensor,
        ref_pts: Tensor,
        all_layers: bool = True,
        base: Tensor | None = None,
    ) -> DecoderOutput:
        """bev [B, HW, C]; feats, embeds [B, N, C]; ref_pts [B, N, 3] normalised.

        base: codes [B, N, 10] to which the first layer's boxes add, and each later one's to those before; None: boxes
        are absolute but for their centres.
        all_layers False: logits and boxes are those of the last layer only, which is all that inference needs.
        """
        logits, boxes = [], []
        x, points = feats, ref_pts
        for i, layer in enumerate(self.layers):
            # Gradients of a layer's boxes stop at the points it starts from.
            entering = points.detach() if i > 0 else points
            x = layer(x, embeds, bev, entering[..., :2])  # [B, N, C]
            code, points = box_code.refine(
                self.box_branches[i](x), entering, self.point_range_m, base
            )  # [.., 10], [.., 3]
            base = None if base is None else code.detach()
            if all_layers or i == len(self.layers) - 1:
                logits.append(self.class_branches[i](x))  # [B, N, K]
                boxes.append(code)  # [B, N, 10]
        return DecoderOutput(torch.stack(logits), torch.stack(boxes), points, x)


def _class_branch(dims: int, classes: int) -> nn.Sequential:
    branch = normed_mlp((dims, dims, dims), classes)
    set_prior(branch[-1], POSITIVE_PRIOR)
    return branch


def _box_branch(dims: int) -> nn.Sequential:
    branch = nn.Sequential(
        Linear(dims, dims), nn.ReLU(), Linear(dims, dims), nn.ReLU(), Linear(dims, box_code.CODE_SIZE)
    )
    nn.init.normal_(branch[4].get_parameter("weight"), std=0.01)
    nn.init.zeros_(branch[4].get_parameter("bias"))
    return branch
