"""Small layers without what torch's modules do around them: a network has hundreds of them, of microseconds each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from cooptrack_core.model.feed_forward import FeedForward
from cooptrack_core.model.linear import linear

Kind = TypeVar("Kind", bound=nn.Module)


def of_kind(modules: nn.ModuleList, kind: type[Kind]) -> list[Kind]:
    """The modules of a list, all of which are of this kind."""
    found = [module for module in modules if isinstance(module, kind)]
    assert len(found) == len(modules)
    return found


class FastLayerNorm(nn.LayerNorm):
    """nn.LayerNorm."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return torch.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class FastGroupNorm(nn.GroupNorm):
    """nn.GroupNorm."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class FastSequential(nn.Sequential):
    """Linear layers, LayerNorms and ReLUs in a row, as functions of a tensor of which none is kept."""

    KINDS = (nn.Linear, nn.LayerNorm, nn.ReLU)

    def prepare(self) -> None:
        """The functions."""
        self._functions = [_function(layer) for layer in self]

    def forward(self, input: Tensor) -> Tensor:
        """[..., inner] -> [..., outer]."""
        if torch.is_grad_enabled():
            return super().forward(input)  # type: ignore[no-untyped-call]
        for function in self._functions:
            input = function(input)
        return input


class FastFeedForward(FeedForward):
    """FeedForward without dropout."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] -> [..., C], without the residual."""
        if torch.is_grad_enabled():
            return super().forward(input)
        first, last = self[0], self[2]
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        hidden = linear(input, first.weight, first.bias).relu_()
        return linear(hidden, last.weight, last.bias)


def _function(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    if isinstance(layer, nn.Linear):
        weight, bias = layer.weight, layer.bias
        return lambda x: linear(x, weight, bias)
    if isinstance(layer, nn.LayerNorm):
        shape, norm_weight, norm_bias, eps = layer.normalized_shape, layer.weight, layer.bias, layer.eps
        return lambda x: torch.layer_norm(x, shape, norm_weight, norm_bias, eps)
    assert isinstance(layer, nn.ReLU)
    return functional.relu_
