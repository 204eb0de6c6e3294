"""Fusion of matched pairs, and cross-domain layers (paper GBA, spec 5.4 to 5.6)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from cooptrack_core.model.completion import Fused, complete
from cooptrack_core.model.linear import Linear
from cooptrack_core.model.mlp import two_layer_mlp
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries


class Aggregation(nn.Module):
    """Learned fusion of pairs, and two layers that bring fused and unfused features to one domain."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dims
        self.fuse_features = two_layer_mlp(2 * dims, dims)
        if config.motion_features:
            self.fuse_motion = two_layer_mlp(2 * dims, dims)
        self.fuse_embeddings = two_layer_mlp(2 * dims, dims)
        self.cross_domain_features = two_layer_mlp(2 * dims, dims)
        if config.motion_features:
            self.cross_domain_motion = two_layer_mlp(2 * dims, dims)
        self.residual = config.options.residual_fusion
        if self.residual:
            for layers in self.children():
                _start_at_zero(layers)
        if config.options.weighted_positions:
            self.position_share = two_layer_mlp(2 * dims + 6, dims)
            self.position_share[-1] = Linear(dims, 1)
            _start_at_zero(self.position_share)

    def fuse(self, ego: Queries, remote: Queries, owner: Tensor, ego_index: Tensor, remote_index: Tensor) -> Fused:
        """[V] ego and [I] remote queries with P pairs -> [V] queries in the rows of complete() (spec 5.4)."""
        fused = complete(ego, remote, owner, ego_index, remote_index, self.config)
        if len(ego_index) == 0:
            return fused
        pairs = self._with_pairs(fused.queries, ego.select(ego_index), remote.select(remote_index), ego_index)
        return replace(fused, queries=pairs)

    def cross_domain(self, queries: Queries) -> Queries:
        """[V] queries -> the same with features mixed with their positions; for all, fused or not (spec 5.5)."""
        embeds = queries.query_embeds
        feats = self._mixed(self.cross_domain_features, queries.query_feats, embeds)
        if not self.config.motion_features:
            return queries.with_(query_feats=feats)
        motion = self._mixed(self.cross_domain_motion, queries.motion_feats, embeds)
        return queries.with_(query_feats=feats, motion_feats=motion)

    def _with_pairs(self, queries: Queries, ours: Queries, theirs: Queries, ego_index: Tensor) -> Queries:
        """[V] queries with the fused features of P pairs in the first M rows, one for each ego query of the pairs.

        A query with several partners is fused with them one by one; the results are averaged.
        """
        rows, slot, count = torch.unique(ego_index, return_inverse=True, return_counts=True)  # [M], [P], [M]

        def in_front(values: Tensor, rest: Tensor) -> Tensor:
            if len(slot) > len(rows):
                summed = values.new_zeros(len(rows), values.shape[1]).index_add(0, slot, values)
                values = summed / count[:, None]
            return torch.cat((values, rest[len(rows) :]))  # [M, .] on top of [V - M, .]

        def fused(mlp: nn.Module, a: Tensor, b: Tensor, rest: Tensor) -> Tensor:
            return in_front(self._mixed(mlp, a, b), rest)

        motion = queries.motion_feats
        if self.config.motion_features:
            motion = fused(self.fuse_motion, ours.motion_feats, theirs.motion_feats, motion)
        return queries.with_(
            query_feats=fused(self.fuse_features, ours.query_feats, theirs.query_feats, queries.query_feats),
            motion_feats=motion,
            query_embeds=fused(self.fuse_embeddings, ours.query_embeds, theirs.query_embeds, queries.query_embeds),
            ref_pts=in_front(self._between(ours, theirs), queries.ref_pts),
        )

    def _mixed(self, layers: nn.Module, own: Tensor, other: Tensor) -> Tensor:
        """[P, C] own features with what the other [P, C] add."""
        mixed: Tensor = layers(torch.cat((own, other), dim=-1))
        return own + mixed if self.residual else mixed

    def _between(self, ours: Queries, theirs: Queries) -> Tensor:
        """[P, 3] where pairs are."""
        if not self.config.options.weighted_positions:
            return (ours.ref_pts + theirs.ref_pts) / 2.0
        told = (ours.query_feats, theirs.query_feats, ours.ref_pts, theirs.ref_pts)
        share = self.position_share(torch.cat(told, dim=-1)).sigmoid()  # [P, 1], at first one half
        return ours.ref_pts + share * (theirs.ref_pts - ours.ref_pts)


def _start_at_zero(layers: nn.Module) -> None:
    """The last layer gives nothing until it has learned something."""
    last = list(layers.children())[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
