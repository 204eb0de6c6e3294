"""The two-layer network at the end of a transformer layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.model.linear import Linear


class FeedForward(nn.Sequential):
    """Linear, ReLU, Linear, with dropout after both; parameters 0.* and 2.*."""

    def __init__(self, dims: int, hidden: int, dropout: float) -> None:
        super().__init__(Linear(dims, hidden), nn.ReLU(inplace=True), Linear(hidden, dims))
        self.dropout = dropout
        for layer in (self[0], self[2]):
            nn.init.xavier_uniform_(layer.get_parameter("weight"))
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] -> [..., C], without the residual."""
        hidden = F.dropout(self[1](self[0](input)), self.dropout, self.training)  # [..., hidden]
        return F.dropout(self[2](hidden), self.dropout, self.training)
