"""Object queries as a struct of arrays: what the network knows of N possible road users (spec 1.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

NO_ID = -1
MOTION_NUMBERS = 11  # of the state of a motion filter (model/track_motion.py)


@dataclass(frozen=True)
class Queries:
    """N queries; every tensor has the same leading dimensions, [N] of one agent or [B, N] of a batch.

    Of the published network's fields those remain on which its numbers depend. C channels, H history slots
    (oldest first, the newest at index H-1), K classes. Boxes are codes (model/box_code.py) in metres in the
    agent's lidar frame, reference points are normalised in its point range.
    """

    ref_pts: Tensor  # [N, 3]
    query_embeds: Tensor  # [N, C] positional
    query_feats: Tensor  # [N, C] semantic
    motion_feats: Tensor  # [N, C]
    boxes: Tensor  # [N, 10]
    logits: Tensor  # [N, K]
    scores: Tensor  # [N]
    history_feats: Tensor  # [N, H, C]
    history_motion: Tensor  # [N, H, C]
    history_padding: Tensor  # [N, H] bool, True: nothing there
    track_id: Tensor  # [N] int64, NO_ID: none yet
    is_track: Tensor  # [N] bool, has been active (track_query_mask)
    misses: Tensor  # [N] int64 consecutive frames below the score threshold (disappear_time), or not measured
    hits: Tensor  # [N] int64 frames in which it was active
    measured: Tensor  # [N] bool, a peak of the image or an instance of another agent is theirs in this frame
    motion: Tensor  # [N, 11] state of the filter of a track's motion (model/track_motion.py), zeros: none

    def __len__(self) -> int:
        return self.scores.shape[-1]

    def map(self, function: Callable[[Tensor], Tensor]) -> Queries:
        """The function applied to every field."""
        return Queries(*[function(getattr(self, name)) for name in FIELDS])

    def select(self, index: Any) -> Queries:
        """Rows of unbatched queries by an integer, boolean or slice index."""
        return self.map(lambda value: value[index])

    def detach(self) -> Queries:
        """Without gradient."""
        return self.map(Tensor.detach)

    def to(self, target: torch.device | torch.dtype) -> Queries:
        """Every field to a device, or the floating-point fields to a dtype."""
        if isinstance(target, torch.device):
            return self.map(lambda value: value.to(target))
        return self.map(lambda value: value.to(target) if value.is_floating_point() else value)

    def with_(self, **changes: Tensor) -> Queries:
        """Some fields replaced."""
        return replace(self, **changes)

    def unbind(self) -> list[Queries]:
        """The samples of a batch."""
        return [self.select(i) for i in range(self.scores.shape[0])]

    @staticmethod
    def cat(parts: Sequence[Queries]) -> Queries:
        """Rows of all parts, unbatched."""
        return _joined(parts, torch.cat)

    @staticmethod
    def stack(samples: Sequence[Queries]) -> Queries:
        """A batch of samples with equal N."""
        return _joined(samples, torch.stack)

    @staticmethod
    def empty(count: int, *, dims: int, classes: int, history: int, like: Tensor) -> Queries:
        """Count blank queries with the device and dtype of `like`: no id, no history, all values zero."""

        def zeros(*shape: int, dtype: torch.dtype | None = None) -> Tensor:
            return torch.zeros(count, *shape, device=like.device, dtype=dtype or like.dtype)

        return Queries(
            ref_pts=zeros(3),
            query_embeds=zeros(dims),
            query_feats=zeros(dims),
            motion_feats=zeros(dims),
            boxes=zeros(10),
            logits=zeros(classes),
            scores=zeros(),
            history_feats=zeros(history, dims),
            history_motion=zeros(history, dims),
            history_padding=torch.ones(count, history, dtype=torch.bool, device=like.device),
            track_id=torch.full((count,), NO_ID, dtype=torch.int64, device=like.device),
            is_track=zeros(dtype=torch.bool),
            misses=zeros(dtype=torch.int64),
            hits=zeros(dtype=torch.int64),
            measured=torch.ones(count, dtype=torch.bool, device=like.device),
            motion=zeros(MOTION_NUMBERS),
        )


def _joined(parts: Sequence[Queries], join: Callable[[list[Tensor]], Tensor]) -> Queries:
    return Queries(*[join([getattr(part, name) for part in parts]) for name in FIELDS])


FIELDS = tuple(item.name for item in fields(Queries))
