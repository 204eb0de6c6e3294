"""The running average of the weights, which is evaluated and exported in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of the parameters that learn, in float32; what is frozen has no average."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.averages = {name: p.detach().clone().float() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Takes in the weights after an optimizer step; updates: how often that was done before.

        The first weights, which know nothing, are forgotten fast: the decay rises from 0.1 to its value.
        """
        decay = min(self.decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(
            list(self.averages.values()), [p.detach().float() for p in self._parameters.values()], 1.0 - decay
        )

    @torch.no_grad()
    def load(self, averages: Mapping[str, Tensor]) -> None:
        """Goes on from averages by parameter name."""
        for name, average in self.averages.items():
            average.copy_(averages[name])

    @contextlib.contextmanager
    def in_network(self) -> Iterator[None]:
        """Inside, the network has the averages; afterwards its own weights again, to the bit."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        try:
            self._copy(self.averages)
            yield
        finally:
            self._copy(own)

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])


__all__ = ["Ema"]
