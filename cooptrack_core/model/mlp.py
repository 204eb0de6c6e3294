"""Small stacks of linear layers that many modules share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import nn

from cooptrack_core.model.linear import Linear


def normed_mlp(widths: Sequence[int], outputs: int | None = None) -> nn.Sequential:
    """(Linear, LayerNorm, ReLU) from width to width, then a bare Linear if `outputs` is given."""
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(widths):
        layers += [Linear(inner, outer), nn.LayerNorm(outer), nn.ReLU(inplace=True)]
    if outputs is not None:
        layers.append(Linear(widths[-1], outputs))
    return nn.Sequential(*layers)


def two_layer_mlp(inputs: int, dims: int) -> nn.Sequential:
    """Linear, ReLU, Linear."""
    return nn.Sequential(Linear(inputs, dims), nn.ReLU(inplace=True), Linear(dims, dims))


def set_prior(layer: nn.Module, probability: float) -> None:
    """Bias of a last layer such that it starts at this probability: rare positives do not swamp the focal loss."""
    assert isinstance(layer, nn.Linear)
    nn.init.constant_(layer.bias, -math.log((1.0 - probability) / probability))
