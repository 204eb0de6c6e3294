"""Fusion of matched pairs, and cross-domain layers (paper GBA, spec 5.4 to 5.6)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from cooptrack_core.model.completion import Fused, complete
from cooptrack_core.model.constants import constant
from cooptrack_core.model.linear import Linear
from cooptrack_core.model.mlp import two_layer_mlp
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries

_TOLD = 15  # numbers that the shares depend on beside the features
_OUTPUTS = 6  # shares of position, size, heading, velocity; of what is off the prediction in velocity; of the shift
_SHARE_OF_ENTRY = (0, 0, 1, 1, 0, 1, 2, 2, 3, 3)  # of a box code
_VELOCITY_GAIN_HZ = 2.0  # at most, of an alpha-beta filter
_TRACKS_THAT_TELL = 4  # so many, at least, tell what a message shifts


class Aggregation(nn.Module):
    """Learned fusion of pairs, and two layers that bring fused and unfused features to one domain."""

    fixed_shapes = False  # True: no shape depends on the data (model/fixed_cooperation.py)

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
        self.with_boxes = config.options.weighted_boxes
        x0, y0, _, x1, y1, _ = config.point_range_m
        self.extent_m = (x1 - x0, y1 - y0)
        if config.options.weighted_positions:
            self.shares = two_layer_mlp(2 * dims + _TOLD, dims)
            self.shares[-1] = Linear(dims, _OUTPUTS if self.with_boxes else 1)
            _start_at_zero(self.shares)

    def fuse(self, ego: Queries, remote: Queries, owner: Tensor, ego_index: Tensor, remote_index: Tensor) -> Fused:
        """[V] ego and [I] remote queries with P pairs -> [V] queries in the rows of complete() (spec 5.4)."""
        fused = complete(ego, remote, owner, ego_index, remote_index, self.config)
        if len(ego_index) == 0:
            return fused
        ours, theirs = ego.select(ego_index), remote.select(remote_index)
        pairs = self._with_pairs(fused.queries, ours, theirs, ego_index, owner[remote_index])
        return replace(fused, queries=pairs)

    def cross_domain(self, queries: Queries) -> Queries:
        """[V] queries -> the same with features mixed with their positions; for all, fused or not (spec 5.5)."""
        embeds = queries.query_embeds
        feats = self.mixed(self.cross_domain_features, queries.query_feats, embeds)
        if not self.config.motion_features:
            return queries.with_(query_feats=feats)
        motion = self.mixed(self.cross_domain_motion, queries.motion_feats, embeds)
        return queries.with_(query_feats=feats, motion_feats=motion)

    def _with_pairs(
        self, queries: Queries, ours: Queries, theirs: Queries, ego_index: Tensor, message: Tensor
    ) -> Queries:
        """[V] queries with the fused features of P pairs in the first M rows, one for each ego query of the pairs.

        message [P]: which one the instance of each pair came with.
        A query with several partners is fused with them one by one; the results are averaged.
        """
        rows, slot, count = torch.unique(ego_index, return_inverse=True, return_counts=True)  # [M], [P], [M]

        def in_front(values: Tensor, rest: Tensor) -> Tensor:
            if len(slot) > len(rows):
                summed = values.new_zeros(len(rows), values.shape[1]).index_add(0, slot, values)
                values = summed / count[:, None]
            return torch.cat((values, rest[len(rows) :]))  # [M, .] on top of [V - M, .]

        def fused(mlp: nn.Module, a: Tensor, b: Tensor, rest: Tensor) -> Tensor:
            return in_front(self.mixed(mlp, a, b), rest)

        ref_pts, boxes = self.between(ours, theirs, message)
        motion = queries.motion_feats
        if self.config.motion_features:
            motion = fused(self.fuse_motion, ours.motion_feats, theirs.motion_feats, motion)
        return queries.with_(
            query_feats=fused(self.fuse_features, ours.query_feats, theirs.query_feats, queries.query_feats),
            motion_feats=motion,
            query_embeds=fused(self.fuse_embeddings, ours.query_embeds, theirs.query_embeds, queries.query_embeds),
            ref_pts=in_front(ref_pts, queries.ref_pts),
            boxes=queries.boxes if boxes is None else in_front(boxes, queries.boxes),
        )

    def mixed(self, layers: nn.Module, own: Tensor, other: Tensor) -> Tensor:
        """[P, C] own features with what the other [P, C] add."""
        mixed: Tensor = layers(torch.cat((own, other), dim=-1))
        return own + mixed if self.residual else mixed

    def between(self, ours: Queries, theirs: Queries, message: Tensor) -> tuple[Tensor, Tensor | None]:
        """Where P pairs are [P, 3], and with weighted_boxes their box codes [P, 10]: between both, by learned shares.

        What a message puts off all tracks alike is an error of its pose more than their motion: a learned part of it
        is taken away. Where its partner then still is off its prediction, a track was slower or faster than it thought.
        """
        if not self.config.options.weighted_positions:
            return (ours.ref_pts + theirs.ref_pts) / 2.0, None
        way = theirs.ref_pts - ours.ref_pts  # [P, 3]
        way_m = way[:, :2] * constant(self.extent_m, way)
        shift_of = common_shift_of_all if self.fixed_shapes else common_shift
        shift_m = shift_of(way_m.detach(), ours.is_track, message)  # [P, 2]
        is_track, measured = ours.is_track.to(way), ours.measured.to(way)
        life = torch.stack((is_track, measured, 0.1 * ours.hits.clamp(max=10).to(way), ours.scores), dim=-1)  # [P, 4]
        told = (ours.query_feats, theirs.query_feats, ours.ref_pts, theirs.ref_pts, 10.0 * way, 0.5 * shift_m, life)
        shares = self.shares(torch.cat(told, dim=-1)).sigmoid()  # [P, _OUTPUTS or 1], at first one half
        if not self.with_boxes:
            return ours.ref_pts + shares * way, None
        own_way_m = way_m - shares[:, 5:6] * shift_m
        ground = shares[:, :1] * own_way_m / constant(self.extent_m, way)
        ref_pts = ours.ref_pts + torch.cat((ground, shares[:, :1] * way[:, 2:]), dim=-1)
        # Front and back look alike: the other agent's heading decides which it is, as it sees what we do not.
        facing = torch.where((ours.boxes[:, 6:8] * theirs.boxes[:, 6:8]).sum(-1, keepdim=True) < 0, -1.0, 1.0)
        own = torch.cat((ours.boxes[:, :6], facing * ours.boxes[:, 6:8], ours.boxes[:, 8:]), dim=-1)
        boxes = own + shares[:, _SHARE_OF_ENTRY] * (theirs.boxes - own)
        faster = is_track[:, None] * _VELOCITY_GAIN_HZ * shares[:, 4:5] * own_way_m  # [P, 2] m/s
        return ref_pts, torch.cat((boxes[:, :8], boxes[:, 8:] + faster), dim=-1)


@torch.no_grad()
def common_shift(way_m: Tensor, is_track: Tensor, message: Tensor) -> Tensor:
    """[P, 2] by how much a message puts off what is tracked: the median of way_m [P, 2], 0 where tracks are few."""
    shift = torch.zeros_like(way_m)
    for one in torch.unique(message).tolist():
        mine = message == one
        if int((mine & is_track).sum()) >= _TRACKS_THAT_TELL:
            shift[mine] = way_m[mine & is_track].median(dim=0).values
    return shift


@torch.no_grad()
def common_shift_of_all(way_m: Tensor, is_track: Tensor, message: Tensor) -> Tensor:
    """The same without a loop over messages: [P, P] comparisons instead."""
    tells = (message[:, None] == message) & is_track  # [P, P] whether q tells of the message of p
    count = tells.sum(1)  # [P]
    told = torch.where(tells[..., None], way_m[None], torch.inf)  # [P, P, 2]
    middle = (count - 1).clamp(min=0) // 2
    median = told.sort(dim=1).values.gather(1, middle[:, None, None].expand(-1, 1, 2))[:, 0]
    return torch.where((count >= _TRACKS_THAT_TELL)[:, None], median, 0.0)


def _start_at_zero(layers: nn.Module) -> None:
    """The last layer gives nothing until it has learned something."""
    last = list(layers.children())[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
