"""Feature pyramid without norms and activations (Lin et al., CVPR 2017; spec 2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Brings the maps of a backbone to the same number of channels, coarse ones added to the finer ones."""

    def __init__(self, channels: Sequence[int], dims: int, levels: int | None = None) -> None:
        """channels of the maps of the backbone, fine to coarse; levels: the finest so many are given; None: all."""
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, dims, 1) for count in channels)
        self.output = nn.ModuleList(nn.Conv2d(dims, dims, 3, padding=1) for _ in channels[:levels])
        for module in (*self.lateral, *self.output):
            nn.init.xavier_uniform_(module.get_parameter("weight"))
            nn.init.zeros_(module.get_parameter("bias"))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B, channels[i], h_i, w_i], fine to coarse -> the finest maps [B, C, h_i, w_i]."""
        merged = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for i in range(len(merged) - 1, 0, -1):
            merged[i - 1] = merged[i - 1] + F.interpolate(merged[i], size=merged[i - 1].shape[-2:], mode="nearest")
        return [output(x) for output, x in zip(self.output, merged, strict=False)]
