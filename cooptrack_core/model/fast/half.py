"""A prepared network in bf16, for processors that multiply such numbers themselves twice as fast as single ones.

Image, grid and decoder layers and history reasoning have weights in bf16. Between layers numbers are in single
precision, but within the backbone, the image head and each feed-forward net, as are geometry, attention weights, norms,
boxes, scores and everything behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.backbone import ResNet
from cooptrack_core.model.deformable_layer import DeformableLayer
from cooptrack_core.model.fast.bev_encoder import FastBevEncoder
from cooptrack_core.model.fast.convolutions import FastConv2d, convolved, convolved_onto, has_fused_convolution
from cooptrack_core.model.fast.decoder import FastDecoder
from cooptrack_core.model.fast.layers import FastFeedForward
from cooptrack_core.model.fast.proposals import FastProposals
from cooptrack_core.model.fast.reasoner import FastReasoner
from cooptrack_core.model.feed_forward import FeedForward
from cooptrack_core.model.linear import LOWER, fused_linear, has_onednn
from cooptrack_core.model.neck import FeaturePyramid
from cooptrack_core.model.precision import cpu_has_bf16, lowered
from cooptrack_core.model.retyped import retyped


class HalfConv2d(FastConv2d):
    """FastConv2d whose weights and output are bf16; of small filters as of others it forms the plain sums."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h', w']."""
        return self.convolved(input, "none")

    def convolved(self, x: Tensor, activation: str) -> Tensor:
        """As FastConv2d."""
        assert not isinstance(self.padding, str)
        return convolved(x.to(LOWER), self.weight, self.bias, self.padding, self.stride, activation)

    def add_to(self, shortcut: Tensor, x: Tensor) -> Tensor:
        """As FastConv2d; the shortcut is bf16."""
        assert not isinstance(self.padding, str)
        return convolved_onto(shortcut, x, self.weight, self.bias, self.padding, self.stride)


class HalfPyramid(FeaturePyramid):
    """FeaturePyramid of a backbone in bf16."""

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """As FeaturePyramid, in single precision."""
        return [values.float() for values in super().forward(maps)]


class HalfProposals(FastProposals):
    """FastProposals whose convolutions are bf16."""

    def trunk_convolution(self) -> FastConv2d:
        """As FastProposals."""
        return _half_convolution(super().trunk_convolution())

    def _features(self, *given: object) -> Tensor:
        return super()._features(*given).float()  # type: ignore[arg-type]


class HalfFeedForward(FastFeedForward):
    """FeedForward whose hidden numbers are bf16."""

    def forward(self, input: Tensor) -> Tensor:
        """As FeedForward, in single precision."""
        first, last = self[0], self[2]
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        hidden = fused_linear(input.to(LOWER), first.weight, first.bias, "relu")
        return fused_linear(hidden, last.weight, last.bias).float()


@cache
def can_halve() -> bool:
    """Whether the processor multiplies bf16 numbers and this torch offers what is needed for it."""
    if not (cpu_has_bf16() and has_fused_convolution() and has_onednn()):
        return False
    try:
        one = torch.ones(1, 1, 1, 1, dtype=LOWER)
        row = fused_linear(one[0, 0], one[0, 0], one[0, 0, 0], "relu")
        return bool(convolved(row[None, None], one, None, (0, 0), (1, 1)).item() == 2.0)
    except RuntimeError:
        return False


@torch.no_grad()
def halve(model: AgentModel) -> AgentModel:
    """A network that `faster` has made, changed. It can no longer learn."""
    _halve_image(model)
    encoder, decoder, reasoner = model.bev_encoder, model.decoder, model.reasoner
    assert isinstance(encoder, FastBevEncoder) and isinstance(decoder, FastDecoder)
    assert isinstance(reasoner, FastReasoner)
    for part in (encoder, decoder, reasoner):
        part.lower(LOWER)
        _halve_layers(part)
    return model


def _halve_image(model: AgentModel) -> None:
    """Backbone, neck and image head."""
    if isinstance(model.backbone, ResNet):
        _halve_convolutions(model.backbone)
    else:
        model.backbone.pyramid = lowered(model.backbone.pyramid, LOWER, "cpu")  # type: ignore[method-assign]
    _halve_convolutions(model.neck)
    model.neck = retyped(model.neck, HalfPyramid)
    if model.config.proposals:
        head = model.proposals = retyped(model.proposals, HalfProposals)
        for name in ("finest", "coarser", "second"):
            setattr(head, name, _half_convolution(head.get_submodule(name)))
        head.prepare()


def _halve_convolutions(part: nn.Module) -> None:
    for parent in list(part.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, FastConv2d):
                setattr(parent, name, _half_convolution(module))


def _half_convolution(module: nn.Module) -> HalfConv2d:
    assert isinstance(module, FastConv2d)
    made = retyped(module, HalfConv2d)
    _halve_parameters(made)
    return made


def _halve_layers(part: nn.Module) -> None:
    """Feed-forward nets, attentions, and values and outputs of deformable ones; where they look stays exact."""
    for parent in list(part.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, FeedForward):
                setattr(parent, name, retyped(module, HalfFeedForward))
            if isinstance(module, (FeedForward, nn.MultiheadAttention)):
                _halve_parameters(module)
            elif isinstance(module, DeformableLayer):
                _halve_parameters(module.value_proj)
                _halve_parameters(module.output_proj)


def _halve_parameters(module: nn.Module) -> None:
    for part in module.modules():
        for name, values in part._parameters.items():
            if values is not None:
                part._parameters[name] = nn.Parameter(values.to(LOWER), requires_grad=False)
