"""Completion: which queries go on after cooperation, so that their number stays the same (spec 5.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.model import box_code
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


def complete(
    ego: Queries, remote: Queries, owner: Tensor, ego_index: Tensor, remote_index: Tensor, config: ModelConfig
) -> Fused:
    """[V] ego and [I] remote queries with P pairs -> [V] queries, of which the M matched ones are as they were.

    Rows: matched ego queries by row; instances without partner in message order; the best of the other
    ego queries by decoder score. If room is short, background queries go first, then (with
    protect_live_tracks) instances without partner, the last of the messages first; without
    protect_live_tracks live tracks go like background. The number of rows never changes.
    """
    matched_rows = torch.unique(ego_index)  # [M]
    joined, twin = joining(remote, owner, remote_index, config)
    rest = without(len(ego), matched_rows, ego_index.device)
    room = len(ego) - len(matched_rows)
    live = ego.is_track[rest] if config.options.protect_live_tracks else torch.zeros_like(ego.is_track[rest])
    joined = joined[: room - int(live.sum())]
    kept = _best(rest, ego.scores[rest], live, room - len(joined))
    queries = _rows(ego, remote, matched_rows, joined, kept)
    ego_row = torch.cat((matched_rows, torch.full_like(joined, -1), kept))
    remote_row = torch.cat((torch.full_like(matched_rows, -1), joined, torch.full_like(kept, -1)))
    row_of_remote = torch.full_like(owner, -1)
    row_of_remote[remote_index] = torch.searchsorted(matched_rows, ego_index)
    row_of_remote[joined] = len(matched_rows) + torch.arange(len(joined), device=owner.device)
    return Fused(queries, ego_row, remote_row, torch.where(twin >= 0, row_of_remote[twin], row_of_remote))


def joining(remote: Queries, owner: Tensor, remote_index: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Rows of the instances that join, in message order, and for each of [I] the row that stands for it (or -1).

    What two agents see within 2 m of each other joins once, as the first of them tells it; what one agent
    tells apart stays apart.
    """
    unmatched = without(len(remote), remote_index, owner.device)
    twin = torch.full_like(owner, -1)
    agents = torch.unique(owner[unmatched])
    if len(agents) < 2:
        return unmatched, twin
    points_m = box_code.denormalise(remote.ref_pts.detach(), config.point_range_m)
    joined = unmatched[:0]
    for agent in agents:
        mine = unmatched[owner[unmatched] == agent]
        distance = torch.cdist(points_m[mine].double(), points_m[joined].double()).cpu().numpy()  # [m, j]
        row, column = (torch.from_numpy(index).to(owner) for index in assign(distance, distance < SAME_OBJECT_M))
        twin[mine[row]] = joined[column]
        joined = torch.cat((joined, mine[without(len(mine), row, owner.device)]))
    return joined.sort().values, twin


def _rows(ego: Queries, remote: Queries, matched: Tensor, joined: Tensor, kept: Tensor) -> Queries:
    """Rows of ego, of remote and again of ego."""
    if len(joined) == 0:  # the histories are large: one copy instead of two
        return ego.select(torch.cat((matched, kept)))
    return Queries.cat([ego.select(matched), remote.select(joined), ego.select(kept)])


def without(count: int, rows: Tensor, device: torch.device) -> Tensor:
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
