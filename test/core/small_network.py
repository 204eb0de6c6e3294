"""A perception network small enough for tests, and inputs for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from cooptrack_core.model.backbone import build_backbone
from cooptrack_core.model.bev_encoder import BevEncoder
from cooptrack_core.model.decoder import Decoder, DecoderOutput
from cooptrack_core.model.neck import FeaturePyramid
from cooptrack_core.model.presets import OFFICIAL, ModelConfig, get_preset

SMALL = replace(
    get_preset("tiny_veh"),
    image_size=(64, 96),
    backbone_width=8,
    embed_dims=32,
    num_heads=4,
    bev_size=(6, 8),
    attended_levels=2,
    stored_levels=2,
    encoder_ffn=48,
    num_queries=11,
    decoder_layers=2,
    decoder_ffn=48,
)
OFFICIAL_SMALL = replace(SMALL, options=OFFICIAL)


class Perception(nn.Module):
    """The modules of this file one after the other."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backbone = build_backbone(config)
        self.neck = FeaturePyramid(self.backbone.channels, config.embed_dims, config.map_levels)
        self.bev_encoder = BevEncoder(config)
        self.decoder = Decoder(config)

    def forward(
        self,
        images: Tensor,
        lidar2img: Tensor,
        can_bus: Tensor,
        prev_bev: Tensor | None,
        feats: Tensor,
        embeds: Tensor,
        ref_pts: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        bev = self.bev_encoder(self.neck(self.backbone(images)), lidar2img, can_bus, prev_bev)
        output: DecoderOutput = self.decoder(bev, feats, embeds, ref_pts)
        return bev, output.logits, output.boxes, output.last_ref_pts, output.feats


def build(config: ModelConfig = SMALL) -> Perception:
    """In eval mode, every parameter off the special values with which training starts."""
    torch.manual_seed(0)
    model = Perception(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def camera(config: ModelConfig, yaw: float = 0.0, height_m: float = 1.5, focal: float = 0.6) -> Tensor:
    """[4, 4] of a camera at the origin that looks along x turned by yaw; focal length in widths of the image."""
    h, w = config.image_size
    K = torch.tensor([[focal * w, 0, w / 2, 0], [0, focal * w, h / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    axes = torch.tensor([[0, -1, 0, 0], [0, 0, -1, height_m], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    turn = torch.eye(4)
    c, s = np.cos(yaw), np.sin(yaw)
    turn[:2, :2] = torch.tensor([[c, s], [-s, c]])
    return K @ axes @ turn


def inputs(config: ModelConfig = SMALL, b: int = 3, seed: int = 0) -> tuple[Tensor, ...]:
    """Samples that differ in everything, also in the number of visible cells."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    can_bus = normal(b, 18)
    can_bus[:, 17] *= 10.0
    n, dims = config.num_queries, config.embed_dims
    lidar2img = torch.stack([camera(config, yaw=0.9 * i, height_m=1.0 + i, focal=0.6 - 0.2 * i) for i in range(b)])
    return (
        normal(b, 3, *config.image_size),
        lidar2img,
        can_bus,
        normal(b, config.bev_cells, dims),
        normal(b, n, dims),
        normal(b, n, dims),
        torch.rand(b, n, 3, generator=random),
    )


def close(got: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(got, expected, atol=atol, rtol=0)
