"""Query fusion in the manner of UniV2X, a baseline (spec 5.8): before decoding, by position, with linear layers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.alignment import RemoteInstances, move
from cooptrack_core.model.association import distances_m, match
from cooptrack_core.model.completion import joining
from cooptrack_core.model.early_fusion import Entry, as_guests, closeness
from cooptrack_core.model.linear import Linear
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries

MIN_EGO_SCORE = 0.05  # tracks of the vehicle below it take no partner
ROTATION_ENTRIES = 9
_LOG_EXTENTS = (2, 3, 5)  # of a box code: the gate along x, y and z


class PoseConcatenation(nn.Module):
    """Alignment of features by one linear layer on them and the rotation; points and boxes move by the pose."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dims
        self.features, self.embeddings = (Linear(dims + ROTATION_ENTRIES, dims) for _ in range(2))
        for layer in (self.features, self.embeddings):
            # Features first pass as they are; the network learns what differs.
            with torch.no_grad():
                layer.weight.copy_(torch.eye(dims, dims + ROTATION_ENTRIES))
            nn.init.zeros_(layer.bias)

    def forward(self, remote: RemoteInstances, T_vehicle_from_infra: Tensor) -> tuple[RemoteInstances, Tensor]:
        """[I] instances of one sender and T_vehicle_from_infra [4, 4] (m) -> those within range [I'], keep [I] bool."""
        moved = move(remote, T_vehicle_from_infra, self.config)
        rotation = moved.R.reshape(1, -1).expand(len(moved.remote), -1)  # [I', 9], row by row
        feats = self.features(torch.cat((moved.remote.query_feats, rotation), dim=-1))
        embeds = self.embeddings(torch.cat((moved.remote.query_embeds, rotation), dim=-1))
        return replace(moved.remote, query_feats=feats, query_embeds=embeds), moved.keep


class QueryFusion(nn.Module):
    """Instances near a live track add to its features; the others enter the decoder as queries of their own."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.pair = Linear(config.embed_dims, config.embed_dims)
        # Tracks are first left as they are.
        nn.init.zeros_(self.pair.weight)
        nn.init.zeros_(self.pair.bias)

    def forward(self, live: Queries, remote: RemoteInstances) -> Entry:
        """[A] live tracks, [I] aligned instances; either may be empty."""
        guests = as_guests(remote, remote.query_embeds, self.config)
        live_index, remote_index = match_within_extents(live, guests, remote.owner, self.config)
        gain = torch.zeros_like(live.query_feats).index_add(0, live_index, self.pair(remote.query_feats[remote_index]))
        row, twin = joining(guests, remote.owner, remote_index, self.config)
        row = row[: self.config.num_queries - len(live)]
        return Entry(
            live.with_(query_feats=live.query_feats + gain), guests.select(row), row, torch.ones_like(row).bool(),
            live_index, remote_index, closeness(live, guests, live_index, remote_index, self.config), twin,
        )  # fmt: skip


@torch.no_grad()
def match_within_extents(live: Queries, remote: Queries, owner: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Nearest pairs (live rows, remote rows, [P]) of which no coordinate differs by more than the track's box has."""
    ours_m, theirs_m = (box_code.denormalise(side.ref_pts, config.point_range_m) for side in (live, remote))
    gate_m = live.boxes[:, _LOG_EXTENTS].exp()[:, None]  # [A, 1, 3]
    allowed = ((ours_m[:, None] - theirs_m).abs() <= gate_m).all(-1) & (live.scores >= MIN_EGO_SCORE)[:, None]
    return match(distances_m(live, remote, config), allowed, owner)
