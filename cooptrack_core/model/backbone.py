"""ResNet backbones with the parameter names of torchvision, and the choice of a backbone (spec 2.2).

Residual networks of He et al., CVPR 2016, with the stride in the 3x3 convolution; ConvNeXt is in convnext.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import fusion

from cooptrack_core.model.convnext import ConvNeXt
from cooptrack_core.model.presets import ModelConfig

Norm = Callable[[int], nn.Module]
Module = TypeVar("Module", bound=nn.Module)
_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
_CHANNELS_PER_GROUP = 16  # of GroupNorm, the best value of Wu and He, ECCV 2018


class FrozenBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics never change: it stays in eval mode whatever train() says."""

    def train(self, mode: bool = True) -> FrozenBatchNorm:
        """Stays in eval mode."""
        return super().train(False)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(max(1, channels // _CHANNELS_PER_GROUP), channels)


_NORMS: dict[str, Norm] = {
    "frozen_batch_norm": FrozenBatchNorm,
    "batch_norm": nn.BatchNorm2d,
    "group_norm": _group_norm,
}


def build_backbone(config: ModelConfig) -> ResNet | ConvNeXt:
    """The backbone of a preset: [B, 3, h, w] -> the maps of its last `feature_levels` stages, fine to coarse."""
    if config.backbone == "convnext_s":
        return ConvNeXt(config.backbone_stages, config.feature_levels)
    norm = _NORMS[config.backbone_norm]
    block = BasicBlock if config.backbone == "resnet18" else Bottleneck
    blocks = _BLOCKS[config.backbone][: config.backbone_stages]
    return ResNet(block, blocks, config.backbone_width, norm, config.feature_levels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(channels, width, 3, stride)
        self.bn1 = norm(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = norm(width)
        self.downsample = _shortcut(channels, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, width, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x))
        return x.add_(shortcut).relu_()

    def last_norm(self) -> nn.Module:
        """The norm before the sum."""
        return self.bn2


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(channels, width, 1)
        self.bn1 = norm(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = norm(width)
        self.conv3 = _conv(width, width * self.expansion, 1)
        self.bn3 = norm(width * self.expansion)
        self.downsample = _shortcut(channels, width * self.expansion, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, 4 * width, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x)).relu_()
        x = self.bn3(self.conv3(x))
        return x.add_(shortcut).relu_()

    def last_norm(self) -> nn.Module:
        """The norm before the sum."""
        return self.bn3


class ResNet(nn.Module):
    """Stem and up to four stages, strides 4, 8, 16, 32."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, ...],
        width: int,
        norm: Norm,
        levels: int,
    ) -> None:
        """blocks: per stage; width: channels of the stem and of the first stage before its expansion."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.levels = levels
        self.stages = len(blocks)
        channels, outputs = width, []
        for stage, count in enumerate(blocks):
            stage_width = width * 2**stage
            layers = []
            for i in range(count):
                layers.append(block(channels, stage_width, 2 if stage > 0 and i == 0 else 1, norm))
                channels = stage_width * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
            outputs.append(channels)
        self.channels, self.finest_channels = tuple(outputs[-levels:]), outputs[0]
        self._initialise()

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, h, w] -> maps [B, channels[i], h_i, w_i], fine to coarse."""
        return self.pyramid(images)[-self.levels :]

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """The maps of all stages, the first [B, finest_channels, h / 4, w / 4]."""
        x = self.maxpool(self.stem(images))  # [B, width, h / 4, w / 4]
        maps = []
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
            maps.append(x)
        return maps

    def stem(self, images: Tensor) -> Tensor:
        """[B, 3, h, w] -> [B, width, h / 2, w / 2]."""
        return self.bn1(self.conv1(images)).relu_()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, (BasicBlock, Bottleneck)):
                # Every block starts as its shortcut: stable from random weights even where the norms are frozen.
                nn.init.zeros_(module.last_norm().get_parameter("weight"))


def prepare_for_inference(model: Module) -> Module:
    """An eval-mode copy of a model (or of a part of one) that runs faster on CPU, equal to about 1e-5.

    Convolutions take in the BatchNorm that follows them and all images lie channels last. Its parameters no longer
    have their names: load and save the original.
    """
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        if isinstance(module, (ResNet, BasicBlock, Bottleneck)):
            for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")):
                _fold(module, conv, norm)
            if isinstance(getattr(module, "downsample", None), nn.Sequential):
                _fold(module.get_submodule("downsample"), "0", "1")
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def _fold(parent: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = getattr(parent, conv_name, None), getattr(parent, norm_name, None)
    if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        setattr(parent, conv_name, fusion.fuse_conv_bn_eval(conv, norm))
        setattr(parent, norm_name, nn.Identity())


def _conv(channels: int, out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, size, stride=stride, padding=size // 2, bias=False)


def _shortcut(channels: int, out: int, stride: int, norm: Norm) -> nn.Sequential | None:
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(_conv(channels, out, 1, stride), norm(out))
