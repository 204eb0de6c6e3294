"""Convolutions in oneDNN with what follows them: activation and shortcut (channels last, batch norm folded in)."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from cooptrack_core.model.backbone import BasicBlock, Bottleneck, ResNet
from cooptrack_core.model.fast.winograd import Winograd, pays


@cache
def has_fused_convolution() -> bool:
    """Whether this torch offers oneDNN's convolution with an activation; it is not part of the public interface."""
    try:
        one = torch.ones(1, 1, 1, 1)
        found = convolved(one, one, None, (0, 0), (1, 1), "relu")
        return bool(convolved_onto(found, one, one, None, (0, 0), (1, 1)).item() == 2.0)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False


def convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: tuple[int, ...],
    stride: tuple[int, ...],
    activation: str = "none",
) -> Tensor:
    """oneDNN's convolution, of one dtype, with an activation of its own ("relu")."""
    result: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, padding, stride, (1, 1), 1, activation, [], ""
    )
    return result


def convolved_onto(
    other: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: tuple[int, ...],
    stride: tuple[int, ...],
) -> Tensor:
    """relu(other + convolution), in the place of `other`."""
    result: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
        other, x, weight, bias, padding, stride, (1, 1), 1, "add", 1.0, "relu", [], ""
    )
    return result


class FastConv2d(nn.Conv2d):
    """nn.Conv2d whose small maps, too, are convolved by oneDNN, and whose 1x1 filters are a matrix product."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h', w']."""
        if torch.is_grad_enabled() or self.groups != 1 or self.dilation != (1, 1) or input.dtype != torch.float32:
            return super().forward(input)
        if self.kernel_size == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0):
            rows = functional.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
            return rows.permute(0, 3, 1, 2)
        return self.convolved(input, "none")

    def convolved(self, x: Tensor, activation: str) -> Tensor:
        """With an activation of oneDNN."""
        assert not isinstance(self.padding, str)
        if (winograd := self._winograd(x)) is None:
            return convolved(x, self.weight, self.bias, self.padding, self.stride, activation)
        found = winograd(x)
        if self.bias is not None:
            found = found.add_(self.bias[:, None, None])
        return found.relu_() if activation == "relu" else found

    def add_to(self, shortcut: Tensor, x: Tensor) -> Tensor:
        """relu(shortcut + convolution of x), in the place of the shortcut."""
        assert not isinstance(self.padding, str)
        if self._winograd(x) is None:
            return convolved_onto(shortcut, x, self.weight, self.bias, self.padding, self.stride)
        return shortcut.add_(self.convolved(x, "none")).relu_()

    def _winograd(self, x: Tensor) -> Winograd | None:
        """The way of small filters, where it is the faster one; its filters are made when first needed."""
        form = (self.kernel_size, self.stride, self.padding)
        if (
            form != ((3, 3), (1, 1), (1, 1))
            or len(x) != 1
            or not pays(x.shape[1], self.out_channels, x.shape[2], x.shape[3])
        ):
            return None
        if not hasattr(self, "_filters"):
            self._filters = Winograd(self.weight)
        return self._filters


class FoldedBasicBlock(BasicBlock):
    """BasicBlock whose norms are in its convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        """As BasicBlock; x is no longer what it was."""
        shortcut = x if self.downsample is None else self.downsample(x)
        first, second = (_fast(conv) for conv in (self.conv1, self.conv2))
        return second.add_to(shortcut, first.convolved(x, "relu"))


class FoldedBottleneck(Bottleneck):
    """Bottleneck whose norms are in its convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        """As Bottleneck; x is no longer what it was."""
        shortcut = x if self.downsample is None else self.downsample(x)
        first, second, third = (_fast(conv) for conv in (self.conv1, self.conv2, self.conv3))
        return third.add_to(shortcut, second.convolved(first.convolved(x, "relu"), "relu"))


class FoldedResNet(ResNet):
    """ResNet whose stem has its norm in its convolution."""

    def stem(self, images: Tensor) -> Tensor:
        """[B, 3, h, w] -> [B, width, h / 2, w / 2]."""
        return _fast(self.conv1).convolved(images, "relu")


def _fast(module: nn.Module) -> FastConv2d:
    assert isinstance(module, FastConv2d)
    return module


def is_folded(module: nn.Module) -> bool:
    """Whether no norm of a block, or of the stem, is left."""
    return all(isinstance(norm, nn.Identity) for name, norm in module.named_children() if name.startswith("bn"))
