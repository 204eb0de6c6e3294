"""Association with the products of its weights made once."""

from __future__ import annotations

import torch
from torch import Tensor

from cooptrack_core.model.association import GraphAssociation, PairScorer


class FastAssociation(GraphAssociation):
    """GraphAssociation without gradient."""

    def prepare(self) -> None:
        """Everything that only depends on the weights."""
        self._scorer, self._keys_to_queries = PairScorer(self), self.wk @ self.wq.T

    def scorer(self) -> PairScorer:
        """As GraphAssociation."""
        return super().scorer() if torch.is_grad_enabled() else self._scorer

    def keys_to_queries(self) -> Tensor:
        """As GraphAssociation."""
        return super().keys_to_queries() if torch.is_grad_enabled() else self._keys_to_queries
