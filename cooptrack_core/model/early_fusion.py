"""Fusion before decoding: instances of others enter the vehicle's decoder as queries of the same frame.

There they and the vehicle's own queries attend to each other and to the vehicle's image. What stands for an object
that the vehicle tracks already only helps: its row ends after the decoder, so that no second track is born.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.association import RULE_LIMIT_M, UNSCORED, distances_m, match_by_distance
from cooptrack_core.model.completion import Fused, joining
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries


@dataclass(frozen=True)
class Entry:
    """[I] aligned instances and [A] live tracks at the door of the decoder; P pairs of both."""

    live: Queries  # [A], with what their partners gave them
    guests: Queries  # [E] queries that take the place of fresh ones
    guest_row: Tensor  # [E] int64 row of the instance behind each
    stays: Tensor  # [E] bool, may become a track of its own
    live_index: Tensor  # [P] int64 rows of the live tracks
    remote_index: Tensor  # [P] int64 rows of the instances
    closeness: Tensor  # [P] 1: same place, 0: as far apart as the rule allows, or farther
    twin: Tensor  # [I] int64 row of another agent's instance that stands for this one, -1: none

    def rows(self, count: int) -> Tensor:
        """[V] rows of the frame's queries [count] that go on after the decoder: fresh ones, staying guests, tracks."""
        goes_on = torch.ones(count, dtype=torch.bool, device=self.stays.device)
        first = self.first_guest(count)
        goes_on[first : first + len(self.stays)] = self.stays
        return goes_on.nonzero()[:, 0]

    def first_guest(self, count: int) -> int:
        """Row of the first guest: fresh queries are before, live tracks behind all guests."""
        return count - len(self.live) - len(self.guests)


def no_tracks(config: ModelConfig, like: Tensor) -> Queries:
    """No queries, on the device of `like`."""
    return Queries.empty(
        0, dims=config.embed_dims, classes=config.num_classes, history=config.history_length, like=like
    )


def as_guests(remote: RemoteInstances, query_embeds: Tensor, config: ModelConfig) -> Queries:
    """[I] aligned instances as queries of a decoder: without history, which they have in their features."""
    blank = Queries.empty(
        len(remote),
        dims=config.embed_dims,
        classes=config.num_classes,
        history=config.history_length,
        like=remote.query_feats,
    )
    return blank.with_(
        ref_pts=remote.ref_pts, query_embeds=query_embeds, query_feats=remote.query_feats, boxes=remote.boxes
    )


def enter(live: Queries, remote: RemoteInstances, config: ModelConfig, embed: Callable[[Tensor], Tensor]) -> Entry:
    """All [I] instances as guests, as far as there is room; those near a live track or another agent's do not stay.

    embed: query embeddings [I, C] of reference points [I, 3], as all of the vehicle's queries have them.
    """
    guests = as_guests(remote, embed(remote.ref_pts), config)
    live_index, remote_index = match_by_distance(live, guests, remote.owner, config)
    staying, twin = joining(guests, remote.owner, remote_index, config)
    stays = torch.zeros(len(remote), dtype=torch.bool, device=remote.owner.device)
    stays[staying] = True
    # Where room is short, those that stay come first.
    row = stays.logical_not().long().argsort(stable=True)[: config.num_queries - len(live)]
    return Entry(
        live, guests.select(row), row, stays[row], live_index, remote_index,
        closeness(live, guests, live_index, remote_index, config), twin,
    )  # fmt: skip


def closeness(ours: Queries, theirs: Queries, our_row: Tensor, their_row: Tensor, config: ModelConfig) -> Tensor:
    """[P] what pairs show for an affinity: 1 in the same place, falling to 0 at the limit of the rule."""
    return (1.0 - distances_m(ours, theirs, config)[our_row, their_row] / RULE_LIMIT_M).clamp(min=0.0)


def nobody(remote: RemoteInstances, config: ModelConfig) -> Entry:
    """Of a frame that ran without asking: no guests, no tracks."""
    blank, none = no_tracks(config, remote.query_feats), remote.owner[:0]
    return Entry(
        blank, blank, none, none.bool(), none, none, remote.query_feats[:0, 0], torch.full_like(remote.owner, -1)
    )


def leave(own: Queries, entry: Entry) -> tuple[Fused, Tensor, Tensor, Tensor]:
    """[N] queries of a frame after the decoder -> what goes on and where it comes from.

    Returns the queries [V], ego rows [P] and remote rows [P] of the pairs, and affinity logits [N, I], which say
    how close the pairs were.
    """
    rows, first, tracks = entry.rows(len(own)), entry.first_guest(len(own)), len(own) - len(entry.live)
    guest = torch.full_like(own.track_id, -1)
    guest[first:tracks] = entry.guest_row
    remote_row = guest[rows]
    new_row = torch.full_like(own.track_id, -1)  # [N]
    new_row[rows] = torch.arange(len(rows), device=rows.device)
    row_of_remote = torch.full_like(entry.twin, -1)
    row_of_remote[entry.guest_row] = new_row[first:tracks]
    ego_index = tracks + entry.live_index
    row_of_remote[entry.remote_index] = new_row[ego_index]
    row_of_remote = torch.where(entry.twin >= 0, row_of_remote[entry.twin], row_of_remote)
    fused = Fused(own.select(rows), torch.where(remote_row >= 0, -1, rows), remote_row, row_of_remote)
    affinity = own.scores.new_full((len(own), len(entry.twin)), UNSCORED)
    affinity[ego_index, entry.remote_index] = torch.logit(entry.closeness, eps=1e-4)
    return fused, ego_index, entry.remote_index, affinity
