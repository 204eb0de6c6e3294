"""Modules that the published network has and never uses, kept so that its checkpoints load strictly (spec 9)."""

from __future__ import annotations

import torch
from torch import nn

from cooptrack_core.model.presets import ModelConfig


class UnusedModules(nn.Module):
    """Nothing here takes part in a frame."""

    criterion_code_weights: torch.Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.bev_embed_linear = nn.Linear(dims, dims)
        self.bev_pos_linear = nn.Linear(dims, dims)
        self.head_code_weights = nn.Parameter(torch.ones(10), requires_grad=False)
        self.register_buffer("criterion_code_weights", torch.ones(10))
        if config.cooperative:
            self.get_dummy_node = nn.Sequential(nn.Linear(dims, dims), nn.ReLU(), nn.Linear(dims, dims))
            self.get_dummy_pts = nn.Sequential(nn.Linear(3, dims), nn.ReLU(), nn.Linear(dims, 3))
