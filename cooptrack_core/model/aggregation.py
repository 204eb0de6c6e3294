"""Fusion of matched pairs, completion to the full set of queries, cross-domain layers (paper GBA, spec 5.4 to 5.6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.mlp import two_layer_mlp
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries
from cooptrack_core.tracking.assignment import assign

SAME_OBJECT_M = 2.0  # unmatched instances of two agents closer than this are one object


@dataclass(frozen=True)
class Fused:
    """[V] queries after fusion and where they come from."""

    queries: Queries
    ego_row: Tensor  # [V] int64 row of the ego query, -1: an instance of another agent that joined
    remote_row: Tensor  # [V] int64 row of the instance that joined here, -1: an ego query
    row_of_remote: Tensor  # [I] int64 row of `queries` that each instance went into, -1: there was no room


class Aggregation(nn.Module):
    """Learned fusion of pairs, and two layers that bring fused and unfused features to one domain."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dims
        self.fuse_features = two_layer_mlp(2 * dims, dims)
        self.fuse_motion = two_layer_mlp(2 * dims, dims)
        self.fuse_embeddings = two_layer_mlp(2 * dims, dims)
        self.cross_domain_features = two_layer_mlp(2 * dims, dims)
        self.cross_domain_motion = two_layer_mlp(2 * dims, dims)

    def fuse(self, ego: Queries, remote: Queries, owner: Tensor, ego_index: Tensor, remote_index: Tensor) -> Fused:
        """[V] ego and [I] remote queries with P pairs -> [V] queries (spec 5.4).

        Rows: matched ego queries by row; instances without partner in message order; the best of the other
        ego queries by decoder score. If room is short, background queries go first, then (with
        protect_live_tracks) instances without partner, the last of the messages first; without
        protect_live_tracks live tracks go like background. The number of rows never changes.
        """
        matched_rows = torch.unique(ego_index)  # [M]
        joined, twin = self._joining(remote, owner, remote_index)
        rest = _without(len(ego), matched_rows, ego_index.device)
        room = len(ego) - len(matched_rows)
        live = ego.is_track[rest] if self.config.options.protect_live_tracks else torch.zeros_like(ego.is_track[rest])
        joined = joined[: room - int(live.sum())]
        kept = _best(rest, ego.scores[rest], live, room - len(joined))
        queries = _rows(ego, remote, matched_rows, joined, kept)
        if len(matched_rows) > 0:
            queries = self._with_pairs(queries, ego.select(ego_index), remote.select(remote_index), ego_index)
        ego_row = torch.cat((matched_rows, torch.full_like(joined, -1), kept))
        remote_row = torch.cat((torch.full_like(matched_rows, -1), joined, torch.full_like(kept, -1)))
        row_of_remote = torch.full_like(owner, -1)
        row_of_remote[remote_index] = torch.searchsorted(matched_rows, ego_index)
        row_of_remote[joined] = len(matched_rows) + torch.arange(len(joined), device=owner.device)
        return Fused(queries, ego_row, remote_row, torch.where(twin >= 0, row_of_remote[twin], row_of_remote))

    def cross_domain(self, queries: Queries) -> Queries:
        """[V] queries -> the same with features mixed with their positions; for all, fused or not (spec 5.5)."""
        embeds = queries.query_embeds
        return queries.with_(
            query_feats=self.cross_domain_features(torch.cat((queries.query_feats, embeds), dim=-1)),
            motion_feats=self.cross_domain_motion(torch.cat((queries.motion_feats, embeds), dim=-1)),
        )

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
            return in_front(mlp(torch.cat((a, b), dim=-1)), rest)

        return queries.with_(
            query_feats=fused(self.fuse_features, ours.query_feats, theirs.query_feats, queries.query_feats),
            motion_feats=fused(self.fuse_motion, ours.motion_feats, theirs.motion_feats, queries.motion_feats),
            query_embeds=fused(self.fuse_embeddings, ours.query_embeds, theirs.query_embeds, queries.query_embeds),
            ref_pts=in_front((ours.ref_pts + theirs.ref_pts) / 2.0, queries.ref_pts),
        )

    def _joining(self, remote: Queries, owner: Tensor, remote_index: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the instances that join, in message order, and for each of [I] the row that stands for it (or -1).

        What two agents see within 2 m of each other joins once, as the first of them tells it; what one agent
        tells apart stays apart.
        """
        unmatched = _without(len(remote), remote_index, owner.device)
        twin = torch.full_like(owner, -1)
        agents = torch.unique(owner[unmatched])
        if len(agents) < 2:
            return unmatched, twin
        points_m = box_code.denormalise(remote.ref_pts.detach(), self.config.point_range_m)
        joined = unmatched[:0]
        for agent in agents:
            mine = unmatched[owner[unmatched] == agent]
            distance = torch.cdist(points_m[mine].double(), points_m[joined].double()).cpu().numpy()  # [m, j]
            row, column = (torch.from_numpy(index).to(owner) for index in assign(distance, distance < SAME_OBJECT_M))
            twin[mine[row]] = joined[column]
            joined = torch.cat((joined, mine[_without(len(mine), row, owner.device)]))
        return joined.sort().values, twin


def _rows(ego: Queries, remote: Queries, matched: Tensor, joined: Tensor, kept: Tensor) -> Queries:
    """Rows of ego, of remote and again of ego."""
    if len(joined) == 0:  # the histories are large: one copy instead of two
        return ego.select(torch.cat((matched, kept)))
    return Queries.cat([ego.select(matched), remote.select(joined), ego.select(kept)])


def _without(count: int, rows: Tensor, device: torch.device) -> Tensor:
    """0..count-1 without these rows, in rising order."""
    keep = torch.ones(count, dtype=torch.bool, device=device)
    keep[rows] = False
    return keep.nonzero()[:, 0]


def _best(rows: Tensor, scores: Tensor, protected: Tensor, count: int) -> Tensor:
    """Count of the rows: protected ones first, then by score; returned by falling score, ties in row order."""
    by_score = scores.argsort(descending=True, stable=True)
    by_right = by_score[protected[by_score].argsort(descending=True, stable=True, dim=0)]
    chosen = torch.zeros_like(protected)
    chosen[by_right[:count]] = True
    return rows[by_score[chosen[by_score]]]
