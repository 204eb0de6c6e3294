"""Which track each object of another agent went into before: agents keep their ids, so pairs can be kept.

The published network forgets: every frame pairs anew from features and places. What was paired is evidence of its own,
strongest where the pose of a message is wrong. The affinity hears of it as part of the edge and learns its worth.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.queries import NO_ID, Queries

Partners = Mapping[int, int]  # track id by object key
_ID_BITS = 44


def object_key(sender: int, instance_id: Tensor) -> Tensor:
    """[I] numbers of a sender's objects among those of all senders; NO_ID where it gives no id (0)."""
    keys = (sender << _ID_BITS) + (instance_id & ((1 << _ID_BITS) - 1))
    return torch.where(instance_id == 0, NO_ID, keys)


def known_tracks(remote: RemoteInstances, partners: Partners) -> Tensor:
    """[I] id of the track that each instance's object went into before, NO_ID: none."""
    ids = [partners.get(key, NO_ID) for key in remote.object_key.tolist()]
    return torch.tensor(ids, dtype=torch.int64, device=remote.owner.device)


def remembered(ego: Queries, owner: Tensor, known: Tensor) -> Tensor:
    """[V, I] 1: they were partners before; -1: one of them has another partner in this frame; 0: nothing is known.

    owner [I]: the message of each instance; known [I] as known_tracks gives it.
    """
    same = (ego.track_id[:, None] == known[None]) & (known != NO_ID)[None]  # [V, I]
    if not bool(same.any()):
        return torch.zeros(same.shape, dtype=ego.scores.dtype, device=known.device)
    taken = same.any(0)[None].expand_as(same).clone()  # the instance's track is here
    for message in torch.unique(owner).tolist():
        mine = owner == message
        taken[:, mine] |= same[:, mine].any(1, keepdim=True)  # the query's object is in the message
    return same.to(ego.scores) - (taken & ~same).to(ego.scores)


def remember(
    partners: Partners, remote: RemoteInstances, row_of_remote: Tensor, track_id: Tensor, live: Tensor
) -> Partners:
    """The partners of the next frame: rows [I] of the queries that instances went into, their ids and fate [V].

    What an agent does not report for a while is remembered as long as its track lives.
    """
    ids, going_on = track_id.tolist(), live.tolist()
    alive = {identity for identity, on in zip(ids, going_on, strict=True) if on and identity != NO_ID}
    kept = {key: identity for key, identity in partners.items() if identity in alive}
    for key, row in zip(remote.object_key.tolist(), row_of_remote.tolist(), strict=True):
        if key != NO_ID and row >= 0 and going_on[row] and ids[row] != NO_ID:
            kept[key] = ids[row]
    return kept


__all__ = ["Partners", "known_tracks", "object_key", "remember", "remembered"]
