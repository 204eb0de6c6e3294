"""Completion: which queries go on after cooperation, so that their number stays the same (spec 5.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries
from cooptrack_core.tracking.assignment import assign

# Instances of two agents are one object if they are closer than this share of its length, within these limits.
SAME_OBJECT_LENGTHS, SAME_OBJECT_M = 0.7, (2.0, 3.5)


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
    joined, twin = joining(remote, owner, remote_index, config, ego_index)
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


def joining(
    remote: Queries, owner: Tensor, remote_index: Tensor, config: ModelConfig, ego_index: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Rows of the instances that join, in message order, and for each of [I] the row that stands for it (or -1).

    Agents are taken in the order of their messages. What one sees where another's instance is, paired with an own query
    (ego_index, of the pairs) or just joined, is that object and joins no second time; what one agent tells apart stays
    apart.
    """
    unmatched = without(len(remote), remote_index, owner.device)
    twin = torch.full_like(owner, -1)
    if len(torch.unique(owner)) < 2:
        return unmatched, twin
    objects = _Objects(remote, owner, config)
    if ego_index is not None:
        for row in torch.unique(ego_index).tolist():
            objects.add(remote_index[ego_index == row].tolist())
    joined: list[int] = []
    for agent in torch.unique(owner[unmatched]).tolist():
        mine = unmatched[owner[unmatched] == agent].tolist()
        same = objects.find(mine, agent)
        for row in mine:
            if row in same:
                twin[row] = objects.members[same[row]][0]
                objects.members[same[row]].append(row)
            else:
                objects.add([row])
                joined.append(row)
    return torch.tensor(sorted(joined), dtype=torch.int64, device=owner.device), twin


class _Objects:
    """What some agents have told, each object with the rows of its instances."""

    def __init__(self, remote: Queries, owner: Tensor, config: ModelConfig) -> None:
        points = box_code.denormalise(remote.ref_pts.detach(), config.point_range_m)
        self._points_m = points.double().cpu().numpy()  # [I, 3]
        length_m = box_code.decode(remote.boxes.detach())[:, 4].double().cpu().numpy()
        self._gate_m = np.clip(SAME_OBJECT_LENGTHS * length_m, *SAME_OBJECT_M)  # [I]
        self._owner = owner.tolist()
        self.members: list[list[int]] = []

    def add(self, rows: list[int]) -> None:
        """An object of these instances."""
        self.members.append(list(rows))

    def find(self, rows: list[int], agent: int) -> dict[int, int]:
        """Objects that the agent has not told of yet, by the rows of its instances that are these."""
        free = [k for k, members in enumerate(self.members) if all(self._owner[m] != agent for m in members)]
        distance = np.full((len(rows), len(free)), np.inf)
        gate_m = np.zeros_like(distance)
        for column, k in enumerate(free):
            away = np.linalg.norm(self._points_m[rows][:, None] - self._points_m[self.members[k]], axis=-1)  # [m, k]
            distance[:, column] = away.min(1)
            gate_m[:, column] = np.maximum(self._gate_m[rows], self._gate_m[self.members[k]].max())
        ours, theirs = assign(distance, distance < gate_m)
        return {rows[a]: free[b] for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)}


def _rows(ego: Queries, remote: Queries, matched: Tensor, joined: Tensor, kept: Tensor) -> Queries:
    """Rows of ego, of remote and again of ego."""
    if len(joined) == 0:  # the histories are large: one copy instead of two
        return ego.select(torch.cat((matched, kept)))
    return Queries.cat([ego, remote]).select(torch.cat((matched, len(ego) + joined, kept)))


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
