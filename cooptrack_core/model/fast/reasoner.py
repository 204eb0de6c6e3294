"""History reasoning: what all queries have in common is done for all at once, with or without a past."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.model.fast.layers import of_kind
from cooptrack_core.model.linear import linear
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.temporal import HistoryReasoner
from cooptrack_core.model.transformer import TransformerLayer, TransformerStack


def _layers(stack: TransformerStack) -> list[TransformerLayer]:
    return of_kind(stack.layers, TransformerLayer)


class _Single:
    """Attention to a single key, whose weight is 1: value and output projection in one."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        value, bias = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]
        out = attention.out_proj
        self.weight = out.weight @ value
        self.bias = out.weight @ bias + out.bias

    def lower(self, dtype: torch.dtype) -> None:
        self.weight, self.bias = self.weight.to(dtype), self.bias.to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class FastReasoner(HistoryReasoner):
    """HistoryReasoner without gradient."""

    def prepare(self) -> None:
        """Everything that only depends on the weights."""
        if not self.with_history:
            return
        stacks = (self.history, self.motion) if self.with_motion else (self.history,)
        self._single = {
            stack: [(_Single(layer.self_attention), _Single(layer.cross_attention)) for layer in _layers(stack)]
            for stack in stacks
        }
        self._times: Tensor | None = None

    def lower(self, dtype: torch.dtype) -> None:
        """The projections of what has no past, in another dtype."""
        for layers in self._single.values() if self.with_history else ():
            for single in (one for pair in layers for one in pair):
                single.lower(dtype)

    def times(self, queries: Queries) -> Tensor:
        """As HistoryReasoner."""
        if self._times is None:
            self._times = super().times(queries)
        return self._times

    def over_time(
        self, stack: TransformerStack, feats: Tensor, history: Tensor, padding: Tensor, time: Tensor
    ) -> Tensor:
        """As HistoryReasoner."""
        if torch.is_grad_enabled():
            return super().over_time(stack, feats, history, padding, time)
        x, memory, hidden = feats.flatten(0, 1), history.flatten(0, 1), padding.flatten(0, 1)
        newest = memory[:, -1]  # [B * N, C]
        old = (~hidden[:, :-1]).any(1).nonzero()[:, 0]  # queries with a past
        keys, seen = memory[old], ~hidden[old]
        for layer, (itself, newest_only) in zip(_layers(stack), self._single[stack], strict=True):
            x = layer.norms[0](x + itself(x))
            attended = newest_only(newest)
            if len(old):
                attended[old] = _attend(layer.cross_attention, x[old] + time[-1], keys + time, keys, seen)
            x = layer.norms[1](x + attended)
            x = layer.norms[2](x + layer.ffn(x))
        return stack.norm(x).view_as(feats)


def _attend(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """Each of O queries [O, C] attends to its own H slots: key, value [O, H, C], seen [O, H] bool -> [O, C]."""
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    count, slots, heads = len(query), key.shape[1], attention.num_heads
    q = linear(query, weights[0], biases[0]).view(count, 1, heads, -1)
    k = linear(key, weights[1], biases[1]).view(count, slots, heads, -1)
    v = linear(value, weights[2], biases[2]).view(count, slots, heads, -1)
    logits = (q * k).sum(-1) * q.shape[-1] ** -0.5  # [O, H, heads]
    weights_of_slots = logits.masked_fill_(~seen[..., None], -torch.inf).softmax(1)
    attended = (weights_of_slots[..., None] * v).sum(1)  # [O, heads, C / heads]
    return linear(attended.view(count, -1), attention.out_proj.weight, attention.out_proj.bias)
