"""ConvNeXt-S with the parameter names of torchvision (Liu et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_DIMS = (96, 192, 384, 768)
_BLOCKS = (3, 3, 27, 3)
_EPSILON = 1e-6


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of an image."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _ChannelsLast(nn.Module):
    """[B, C, h, w] -> [B, h, w, C]; a module of its own to keep the numbers of its neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Depthwise 7x7 convolution, LayerNorm and a two-layer MLP, scaled and beside a shortcut."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(dims, dims, 7, padding=3, groups=dims),
            _ChannelsLast(),
            nn.LayerNorm(dims, eps=_EPSILON),
            nn.Linear(dims, 4 * dims),
            nn.GELU(),
            nn.Linear(4 * dims, dims),
        )
        self.layer_scale = nn.Parameter(torch.full((dims, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        return x + self.layer_scale * self.block(x).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Up to four stages, strides 4, 8, 16, 32."""

    def __init__(self, stages: int, levels: int) -> None:
        super().__init__()
        self.levels = levels
        layers: list[nn.Module] = []
        for stage in range(stages):
            dims = _DIMS[stage]
            if stage == 0:
                entry = [nn.Conv2d(3, dims, 4, stride=4), LayerNorm2d(dims, eps=_EPSILON)]
            else:
                entry = [LayerNorm2d(_DIMS[stage - 1], eps=_EPSILON), nn.Conv2d(_DIMS[stage - 1], dims, 2, stride=2)]
            layers += [nn.Sequential(*entry), nn.Sequential(*(Block(dims) for _ in range(_BLOCKS[stage])))]
        self.features = nn.Sequential(*layers)
        self.channels, self.finest_channels = _DIMS[:stages][-levels:], _DIMS[0]
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, h, w] -> maps [B, channels[i], h_i, w_i], fine to coarse."""
        return self.pyramid(images)[-self.levels :]

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """The maps of all stages, the first [B, finest_channels, h / 4, w / 4]."""
        x, maps = images, []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i % 2 == 1:  # even entries only change the resolution
                maps.append(x)
        return maps
