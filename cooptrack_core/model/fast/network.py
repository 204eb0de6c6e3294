"""A network whose parts are those of this folder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.backbone import BasicBlock, Bottleneck, ResNet, prepare_for_inference
from cooptrack_core.model.fast.bev_encoder import FastBevEncoder
from cooptrack_core.model.fast.convolutions import (
    FastConv2d,
    FoldedBasicBlock,
    FoldedBottleneck,
    FoldedResNet,
    has_fused_convolution,
    is_folded,
)
from cooptrack_core.model.fast.decoder import FastDecoder
from cooptrack_core.model.fast.layers import FastFeedForward, FastGroupNorm, FastLayerNorm, FastSequential
from cooptrack_core.model.fast.proposals import FastProposals
from cooptrack_core.model.fast.reasoner import FastReasoner
from cooptrack_core.model.feed_forward import FeedForward
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.retyped import retyped

_FOLDED: dict[type[nn.Module], type[nn.Module]] = {
    BasicBlock: FoldedBasicBlock,
    Bottleneck: FoldedBottleneck,
    ResNet: FoldedResNet,
}
_SMALL: dict[type[nn.Module], type[nn.Module]] = {
    nn.LayerNorm: FastLayerNorm,
    nn.GroupNorm: FastGroupNorm,
    FeedForward: FastFeedForward,
}


class FastAgentModel(AgentModel):
    """AgentModel that remembers what its fresh queries are."""

    def prepare(self) -> None:
        """Everything that only depends on the weights."""
        self._fresh = AgentModel.fresh_queries(self)

    def fresh_queries(self, rows: Tensor | None = None) -> Queries:
        """As AgentModel."""
        if torch.is_grad_enabled():
            return super().fresh_queries(rows)
        return self._fresh if rows is None else self._fresh.select(rows)


@torch.no_grad()
def faster(model: AgentModel) -> AgentModel:
    """An eval-mode copy for inference on a CPU. Load and save the original: names of parameters differ."""
    prepared = prepare_for_inference(model)
    if not has_fused_convolution():
        return prepared
    _replace_convolutions(prepared)
    made = retyped(prepared, FastAgentModel)
    _replace_small_layers(made)
    made.reasoner = retyped(made.reasoner, FastReasoner)
    made.reasoner.prepare()
    made.bev_encoder = retyped(made.bev_encoder, FastBevEncoder)
    made.bev_encoder.prepare(made.config.map_levels)
    made.decoder = retyped(made.decoder, FastDecoder)
    made.decoder.prepare()
    if made.config.proposals:
        made.proposals = retyped(made.proposals, FastProposals)
        made.proposals.prepare()
    made.prepare()
    return made


def _replace_convolutions(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if type(module) is nn.Conv2d:
                setattr(parent, name, retyped(module, FastConv2d))
            elif type(module) in _FOLDED and is_folded(module):
                setattr(parent, name, retyped(module, _FOLDED[type(module)]))


def _replace_small_layers(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if type(module) is nn.Sequential and all(isinstance(layer, FastSequential.KINDS) for layer in module):
                made = retyped(module, FastSequential)
                made.prepare()
                setattr(parent, name, made)
            elif type(module) in _SMALL:
                setattr(parent, name, retyped(module, _SMALL[type(module)]))
