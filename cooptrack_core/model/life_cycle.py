"""Which queries are tracks: ids, what is reported, what lives on (spec 6.1 to 6.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries

COASTS_REPORTED = 2  # frames in which an established track is reported without having been measured
ESTABLISHED = 4  # hits


@dataclass(frozen=True)
class Advanced:
    """The queries [N] of a finished frame with their fate."""

    queries: Queries  # with ids and misses
    reported: Tensor  # [N] bool
    live: Tensor  # [N] bool, go on as track queries
    next_id: int


def advance(queries: Queries, next_id: int, config: ModelConfig) -> Advanced:
    """Gives ids to new queries, counts misses and says which queries live on. Ids go up from next_id.

    A score alone neither begins a track nor keeps it alive, where the network knows what is measured: nothing would
    ever end a track that its decoder believes in where nobody looks. An established track is reported through a short
    gap; others live on unreported.
    """
    active = (queries.scores > config.score_threshold) & queries.measured
    hits = queries.hits + active.long()
    established = queries.is_track & (hits >= ESTABLISHED)
    known = queries.measured | (established & (queries.misses < COASTS_REPORTED))
    reported = (queries.scores >= config.output_threshold) & known & (hits >= config.birth_hits)
    new = queries.track_id < 0
    if not config.options.ids_for_background:
        new = new & (reported | active)
    rank = torch.cumsum(new, 0) - 1
    track_id = torch.where(new, next_id + rank, queries.track_id)
    is_track = queries.is_track | active
    misses = torch.where(active, 0, queries.misses + is_track.long())
    live = active | (is_track & (misses < config.max_misses))
    advanced = queries.with_(track_id=track_id, is_track=is_track, misses=misses, hits=hits)
    return Advanced(advanced, reported, live, next_id + int(new.sum()))
