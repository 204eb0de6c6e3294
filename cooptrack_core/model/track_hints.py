"""What the image's peaks tell the tracks: a track and a peak that are each other's nearest belong together.

A query finds its object on the bird's-eye-view grid, whose cells are metres wide; a peak of the image head has a box.
So every track hears of its peak before the decoder: as a step of its box towards that of the peak, by learned gains
along and across the ray, and in its features. A fresh query at a peak that a track has claimed knows so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.linear import Linear
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.proposals import Proposals, scaled
from cooptrack_core.model.queries import Queries

GATE_M, GATE_PER_M = 3.0, 0.06  # distance of a pair, and its growth with the distance from the sensor
MIN_SCORE = 0.1  # of a peak that a track may claim, where the configuration leaves it open
_HIDDEN = 32
_SCALE_M = 4.0
_FIRST_GAINS = (0.35, 0.7, 0.3, 0.5)  # along the ray, across, of height and size, of heading


@dataclass(frozen=True)
class Claims:
    """Which peak each query has, and the other way round."""

    peak: Tensor  # [B, N] int64
    paired: Tensor  # [B, N] bool, the peak is the query's
    claimed: Tensor  # [B, P] bool


@torch.no_grad()
def claims(queries: Queries, found: Proposals, min_score: float = MIN_SCORE) -> Claims:
    """Pairs of tracks and peaks that are each other's nearest on the ground, within a gate."""
    own, theirs = (box_code.center(boxes)[..., :2] for boxes in (queries.boxes, found.boxes))
    distance = torch.cdist(own, theirs)  # [B, N, P]
    allowed = queries.is_track[..., None] & (found.scores > min_score)[:, None]
    allowed = allowed & (distance < GATE_M + GATE_PER_M * theirs.norm(dim=-1)[:, None])
    distance = torch.where(allowed, distance, torch.inf)
    nearest, peak = distance.min(-1)  # [B, N]
    back = distance.argmin(1)  # [B, P]
    rows = torch.arange(own.shape[1], device=own.device)
    paired = nearest.isfinite() & (back.gather(1, peak) == rows)
    columns = torch.arange(theirs.shape[1], device=own.device)
    claimed = paired.gather(1, back) & (peak.gather(1, back) == columns)
    return Claims(peak, paired, claimed)


class TrackHints(nn.Module):
    """Moves tracks towards their peaks; at first their features stay as they are."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.needs_peaks = config.min_peak_score > 0
        self.min_score = config.min_peak_score or MIN_SCORE
        self.point_range_m, self.with_history = config.point_range_m, config.history_length > 0
        told = box_code.CODE_SIZE + config.num_classes + 6
        self.gains = nn.Sequential(Linear(told, _HIDDEN), nn.ReLU(), Linear(_HIDDEN, len(_FIRST_GAINS)))
        self.feats = Linear(told, config.embed_dims)
        self.claimed = nn.Parameter(torch.zeros(config.embed_dims))
        nn.init.zeros_(self.feats.get_parameter("weight"))
        last = self.gains[2]
        nn.init.normal_(last.get_parameter("weight"), std=0.01)
        with torch.no_grad():
            last.get_parameter("bias").copy_(torch.tensor(_FIRST_GAINS).logit())

    def forward(self, queries: Queries, found: Proposals) -> tuple[Queries, Proposals]:
        """[B, N] queries whose tracks have heard of their peaks, and [B, P] peaks that know who claims them."""
        pairs = claims(queries, found, self.min_score)
        boxes = _at(found.boxes, pairs.peak)  # [B, N, 10]
        told = self._told(queries, found, boxes, pairs)
        mine = pairs.paired[..., None]
        moved = torch.where(mine, self._moved(queries.boxes, boxes, told), queries.boxes)
        inside = box_code.normalise(box_code.center(moved), self.point_range_m).clamp(0.001, 0.999)
        queries = queries.with_(
            boxes=moved,
            ref_pts=torch.where(mine, inside, queries.ref_pts),
            query_feats=queries.query_feats + torch.where(mine, self.feats(told), 0.0),
            measured=pairs.paired if self.needs_peaks else queries.measured,
        )
        feats = found.feats + pairs.claimed[..., None] * self.claimed
        free = (found.scores > self.min_score) & ~pairs.claimed if self.needs_peaks else found.free
        return queries, replace(found, feats=feats, free=free)

    def _told(self, queries: Queries, found: Proposals, boxes: Tensor, pairs: Claims) -> Tensor:
        """[B, N, ..] what a track hears of its peak: box, classes, the way to it, who is how sure, how far, how old."""
        ref_pts, classes = _at(found.ref_pts, pairs.peak), _at(found.classes, pairs.peak)
        way = (box_code.center(boxes) - box_code.center(queries.boxes)) / _SCALE_M
        age = torch.zeros_like(queries.scores)
        if self.with_history:
            age = (~queries.history_padding).to(age).mean(-1)
        distance = 0.02 * box_code.center(boxes)[..., :2].norm(dim=-1)
        more = torch.stack((queries.scores, distance, age), dim=-1)
        return torch.cat((scaled(boxes, ref_pts), classes, way.clamp(-4.0, 4.0), more), dim=-1)

    def _moved(self, own: Tensor, theirs: Tensor, told: Tensor) -> Tensor:
        """[B, N, 10] codes on the way to those of the peaks; velocities stay, one image does not show them."""
        along_gain, across_gain, size_gain, turn_gain = self.gains(told).sigmoid().split(1, dim=-1)  # [B, N, 1]
        start, end = box_code.center(own), box_code.center(theirs)
        ray = F.normalize(end[..., :2], dim=-1)
        way = end[..., :2] - start[..., :2]
        along = (way * ray).sum(-1, keepdim=True) * ray
        ground = start[..., :2] + along_gain * along + across_gain * (way - along)
        height = start[..., 2:] + size_gain * (end[..., 2:] - start[..., 2:])
        size = _size(own) + size_gain * _size(theirs - own)
        # Front and back look alike: the track knows better.
        facing = torch.where((own[..., 6:8] * theirs[..., 6:8]).sum(-1, keepdim=True) < 0, -1.0, 1.0)
        turn = F.normalize(own[..., 6:8] + turn_gain * (facing * theirs[..., 6:8] - own[..., 6:8]), dim=-1)
        return torch.cat((ground, size[..., :2], height, size[..., 2:], turn, own[..., 8:]), dim=-1)


def _size(code: Tensor) -> Tensor:
    """[.., 10] -> [.., 3] log w, log l, log h; a list of indices would be uploaded"""
    return torch.cat((code[..., 2:4], code[..., 5:6]), dim=-1)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """[B, P, c] at [B, N] -> [B, N, c]"""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


__all__ = ["Claims", "TrackHints", "claims"]
