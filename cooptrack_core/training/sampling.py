"""Which frames a step is made of: a function of the step, so that training goes on exactly where it stopped (spec 7.2).

Every slot of a batch walks through short groups of consecutive frames; all slots start new groups at the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from cooptrack_core.training.frames import Clip, FrameSet
from cooptrack_core.training.stage import mix

_ORDER = 11  # stream of random numbers of the order of groups


@dataclass(frozen=True)
class Group:
    """Consecutive frames of a clip."""

    clip: Clip
    start: int


@dataclass(frozen=True)
class Draw:
    """The frame that a slot sees in a step."""

    clip: Clip
    frame: int
    position: int  # in its group; 0: a stream starts
    number: int  # of the group, never the same twice in a run: seeds what is random per group


@dataclass(frozen=True)
class GroupSampler:
    """Groups of `length` frames in an order that is drawn anew for every pass."""

    groups: tuple[Group, ...]
    length: int
    batch: int  # slots of all processes together
    seed: int

    @staticmethod
    def of(frames: FrameSet, length: int, batch: int, seed: int, skip_empty: bool = True) -> GroupSampler:
        """Groups that lie within their clips; those in which nothing is labelled are left out."""
        groups = [
            Group(clip, start)
            for clip in frames.clips
            for start in range(0, len(clip) - length + 1, length)
            if not skip_empty or any(len(truth) for truth in clip.truths[start : start + length])
        ]
        return GroupSampler(tuple(groups), length, batch, seed)

    def draw(self, step: int, micro: int, slots: Sequence[int]) -> list[Draw]:
        """The frames of some of the batch's slots."""
        round_, position = divmod(step, self.length)
        drawn = []
        for slot in slots:
            number = round_ * self.batch + slot
            turn, place = divmod(number, len(self.groups))
            group = self.groups[_order(self.seed, micro, turn, len(self.groups))[place]]
            drawn.append(Draw(group.clip, group.start + position, position, mix(self.seed, micro, number, 0)))
        return drawn


@lru_cache(maxsize=64)
def _order(seed: int, micro: int, turn: int, count: int) -> list[int]:
    generator = torch.Generator().manual_seed(mix(seed, micro, turn, _ORDER) % 2**63)
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order


__all__ = ["Draw", "Group", "GroupSampler"]
