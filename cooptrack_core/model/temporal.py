"""History reasoning: what a query was in the last frames, and what stands around it (paper MDFE, spec 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.model.mlp import two_layer_mlp
from cooptrack_core.model.positional import time_encoding
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.transformer import TransformerStack


class HistoryReasoner(nn.Module):
    """Semantic features attend to their own history and then to each other, motion features to their history."""

    short_cuts = True  # queries without a past look at nothing but the present

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.with_history, self.with_motion = config.history_length > 0, config.motion_features
        if not self.with_history:
            return
        self.time_embedding = two_layer_mlp(config.embed_dims, config.embed_dims)
        self.history = TransformerStack(config)
        self.spatial = TransformerStack(config)
        if self.with_motion:
            self.motion = TransformerStack(config)
            self.motion.load_state_dict(self.history.state_dict())

    def forward(self, queries: Queries) -> Queries:
        """[B, N] queries -> the same with the present frame in the history and both features reasoned over.

        Without history slots they come back as they are.
        """
        if not self.with_history:
            return queries
        pushed = push(queries)
        if queries.scores.numel() == 0:
            return pushed
        time = self.times(pushed)  # [H, C]
        feats = self.over_time(self.history, pushed.query_feats, pushed.history_feats, pushed.history_padding, time)
        feats = self.spatial(feats, pushed.query_embeds, feats, pushed.query_embeds)  # [B, N, C]
        motion = pushed.motion_feats
        if self.with_motion:
            motion = self.over_time(self.motion, motion, pushed.history_motion, pushed.history_padding, time)
        return pushed.with_(
            query_feats=feats,
            motion_feats=motion,
            # Without gradient: no learning through time (spec 7.2).
            history_feats=_shift(queries.history_feats, feats.detach()),
            history_motion=_shift(queries.history_motion, motion.detach()),
        )

    def times(self, queries: Queries) -> Tensor:
        """[H, C] embeddings of the history slots."""
        length, dims = queries.history_feats.shape[-2:]
        encoding = time_encoding(length, dims, queries.query_feats.device)
        return self.time_embedding(encoding.to(queries.query_feats))

    def over_time(
        self, stack: TransformerStack, feats: Tensor, history: Tensor, padding: Tensor, time: Tensor
    ) -> Tensor:
        """Queries attend to their own slots: feats [B, N, C], history [B, N, H, C], padding [B, N, H], time [H, C]."""
        x, memory, hidden = feats.flatten(0, 1)[:, None], history.flatten(0, 1), padding.flatten(0, 1)
        present = time[-1:]  # [1, C]
        if torch.is_grad_enabled() or stack.training or not self.short_cuts:
            return stack(x, present, memory, time, hidden).view_as(feats)
        # Most queries have no past. They need only the newest slot, and attention to one slot is cheap.
        new = hidden[:, :-1].all(1)  # [B * N]
        old = ~new
        attended = torch.empty_like(x)
        attended[new] = stack(x[new], present, memory[new, -1:], present)
        attended[old] = stack(x[old], present, memory[old], time, hidden[old])
        return attended.view_as(feats)


def push(queries: Queries) -> Queries:
    """First in, first out: the oldest slot of the history goes, the present features come in (any leading shape)."""
    valid = torch.zeros_like(queries.history_padding[..., :1])
    return queries.with_(
        history_feats=_shift(queries.history_feats, queries.query_feats),
        history_motion=_shift(queries.history_motion, queries.motion_feats),
        history_padding=torch.cat((queries.history_padding[..., 1:], valid), dim=-1),
    )


def _shift(history: Tensor, newest: Tensor) -> Tensor:
    """[..., H, C] slots without the oldest, with the newest [..., C]."""
    return torch.cat((history[..., 1:, :], newest[..., None, :]), dim=-2)
