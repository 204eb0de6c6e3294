"""Finished frames of the network in the types of the pipeline: tracks, detections, features, associations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cooptrack_core.model import box_code
from cooptrack_core.model.agent_model import Perception
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.session import Step
from cooptrack_core.model.track_book import TrackBook
from cooptrack_core.types import (
    SOURCE_EGO,
    SOURCE_REMOTE,
    Associations,
    Features,
    Instances,
    Message,
    MessageUse,
    TrackedObjects,
)

Float = NDArray[np.float64]
Int = NDArray[np.int64]
# Random weights give boxes of any size; what no road user has is cut off, so that receivers need not refuse it.
_SIZE_M = (0.05, 60.0)
_SPEED_MPS = 100.0
_NEAREST_M = 0.1  # in front of the camera
_ANY, _EDGE, _SPEED = (-np.inf, np.inf), tuple(np.log(_SIZE_M)), (-_SPEED_MPS, _SPEED_MPS)
_LEAST, _MOST = np.array((_ANY, _ANY, _EDGE, _EDGE, _ANY, _EDGE, _ANY, _ANY, _SPEED, _SPEED)).T  # of codes


@dataclass(frozen=True)
class Origin:
    """Where each of V refined queries comes from."""

    ego_row: Int  # [V] row among the vehicle's own queries; -1: only others see it
    sources: Int  # [V] bits SOURCE_*
    agents: dict[int, tuple[str, ...]]  # by row; others behind it, absent if none


def in_view(queries: Queries, lidar2img: torch.Tensor, config: ModelConfig) -> NDArray[np.bool_]:
    """[N] whether any corner of a box lies in the image. lidar2img [4, 4] to pixels of the network input."""
    corners_m = box_code.corners(box_code.decode(queries.boxes))  # [N, 8, 3]
    points = torch.nn.functional.pad(corners_m, (0, 1), value=1.0) @ lidar2img.to(corners_m).T
    depth, (height, width) = points[..., 2], config.image_size
    u, v = points[..., 0] / depth, points[..., 1] / depth
    inside = (depth > _NEAREST_M) & (u > 0) & (u < width) & (v > 0) & (v < height)
    return np.asarray(inside.any(-1).cpu().numpy())


def origin_of(done: Step, config: ModelConfig, agent_ids: Sequence[str], visible: NDArray[np.bool_]) -> Origin:
    """Own or others', by the pairs of the frame.

    An own query counts as seen if it is visible [V] in the own image, which measured it, and the decoder alone would
    report it: what is remembered outside the view is predicted.
    """
    own = done.perception.queries
    own_scores, measured = own.scores[0].cpu().numpy(), own.measured[0].cpu().numpy()
    count = len(done.refined)
    if done.cooperation is None or done.remote is None:
        return Origin(np.arange(count), (visible & measured) * SOURCE_EGO, {})
    fused, owner = done.cooperation.fused, done.remote.owner.cpu().numpy()
    ego_row, row_of_remote = fused.ego_row.cpu().numpy(), fused.row_of_remote.cpu().numpy()
    rows, owners = row_of_remote[row_of_remote >= 0], owner[row_of_remote >= 0]
    agents: dict[int, tuple[str, ...]] = {}
    for row, who in sorted(zip(rows.tolist(), owners.tolist(), strict=True)):
        agents[row] = (*agents.get(row, ()), agent_ids[who])
    remote = np.zeros(count, bool)
    remote[rows] = True
    alone = measured[ego_row] & ((own_scores[ego_row] >= config.output_threshold) | ~remote)
    seen = (ego_row >= 0) & visible & alone
    return Origin(ego_row, seen * SOURCE_EGO + remote * SOURCE_REMOTE, agents)


def reported_rows(queries: Queries, candidates: torch.Tensor, config: ModelConfig) -> Int:
    """Rows of the queries that the frame reports, best first, of those marked in candidates [N] bool (spec 2.6)."""
    index = torch.nonzero(candidates).squeeze(-1)
    code, scores = queries.boxes[index], queries.scores[index]
    rows = box_code.selected(code, scores, config.output_range_m, config.max_outputs)
    return np.asarray(index[rows].cpu().numpy(), np.int64)


def public_boxes(queries: Queries, rows: Int) -> box_code.PublicBoxes:
    """Boxes of some rows in the public convention."""
    return _public(queries.boxes.detach(), rows)


def _public(boxes: torch.Tensor, rows: Int | slice = slice(None)) -> box_code.PublicBoxes:
    """Rows of [R, 10] codes in the public convention."""
    code = boxes.cpu().numpy()[rows].astype(np.float64)
    return box_code.to_public(np.minimum(np.maximum(code, _LEAST), _MOST))


def tracks(
    queries: Queries, rows: Int, origin: Origin, book: TrackBook, frame_index: int, stamp_ns: int
) -> TrackedObjects:
    """Tracks of some rows of the refined queries, in that order. The network reports no covariance."""
    ids = queries.track_id.cpu().numpy()[rows]
    return _tracks(queries, rows, ids, origin.sources[rows], [origin.agents.get(row, ()) for row in rows.tolist()],
                   book, frame_index, stamp_ns)  # fmt: skip


def predicted(live: Queries, book: TrackBook, frame_index: int, stamp_ns: int) -> TrackedObjects:
    """Live tracks without a look at the road."""
    rows = np.arange(len(live))
    ids = live.track_id.cpu().numpy()
    return _tracks(live, rows, ids, np.zeros(len(rows), np.int64), [()] * len(rows), book, frame_index, stamp_ns)


def no_tracks(stamp_ns: int) -> TrackedObjects:
    """Before the first frame."""
    blank = Queries.empty(0, dims=1, classes=1, history=1, like=torch.zeros(0))
    return predicted(blank, TrackBook(), 0, stamp_ns)


def _tracks(
    queries: Queries, rows: Int, ids: Int, sources: Int, agents: Sequence[tuple[str, ...]], book: TrackBook,
    frame_index: int, stamp_ns: int,
) -> TrackedObjects:  # fmt: skip
    n, boxes, life = len(rows), public_boxes(queries, rows), book.of(ids, frame_index, stamp_ns)
    return TrackedObjects(
        stamp_ns=stamp_ns,
        track_id=ids,
        class_id=_classes(queries, rows),
        score=queries.scores.cpu().numpy()[rows].astype(np.float64),
        center_m=boxes.center_m,
        size_m=boxes.size_m,
        heading_rad=boxes.heading_rad,
        velocity_mps=boxes.velocity_mps,
        position_covariance_m2=np.full((n, 3, 3), np.nan),
        heading_variance_rad2=np.full(n, np.nan),
        velocity_covariance_m2ps2=np.full((n, 2, 2), np.nan),
        sources=sources,
        sources_ever=life.sources_ever,
        agents=agents,
        age_frames=life.age_frames,
        hits=life.hits,
        time_since_update_s=life.time_since_update_s,
    )


def _classes(queries: Queries, rows: Int) -> Int:
    return np.asarray(queries.logits.argmax(-1).cpu().numpy()[rows], np.int64)


def instances(
    tracked: TrackedObjects, chosen: Int, queries: Queries, rows: Int, preset: str, fingerprint: bytes
) -> Instances:
    """What a roadside unit sends: the chosen tracks with the features of their queries.

    chosen: [M] rows of `tracked`, rows: [len(tracked)] row of the query behind each track.
    """
    index = torch.from_numpy(rows[chosen]).to(queries.scores.device)
    return Instances.create(
        tracked.center_m[chosen],
        tracked.size_m[chosen],
        tracked.heading_rad[chosen],
        tracked.class_id[chosen],
        tracked.score[chosen],
        velocity_mps=tracked.velocity_mps[chosen],
        instance_id=tracked.track_id[chosen],
        time_since_update_s=tracked.time_since_update_s[chosen],
        age_frames=tracked.age_frames[chosen],
        features=_features(queries, index, preset, fingerprint),
    )


def measured_instances(
    tracked: TrackedObjects, chosen: Int, alone: Queries, preset: str, fingerprint: bytes
) -> Instances:
    """What a vehicle sends: of the chosen tracks only ids and ages, boxes and features as it saw them alone.

    chosen: [M] rows of `tracked`; alone: [M] their queries, refined without others.
    """
    rows = np.arange(len(alone))
    boxes = public_boxes(alone, rows)
    return Instances.create(
        boxes.center_m,
        boxes.size_m,
        boxes.heading_rad,
        _classes(alone, rows),
        alone.scores.cpu().numpy().astype(np.float64),
        velocity_mps=boxes.velocity_mps,
        instance_id=tracked.track_id[chosen],
        time_since_update_s=tracked.time_since_update_s[chosen],
        age_frames=tracked.age_frames[chosen],
        features=_features(alone, slice(None), preset, fingerprint),
    )


def _features(queries: Queries, rows: torch.Tensor | slice, preset: str, fingerprint: bytes) -> Features:
    def stream(values: torch.Tensor) -> NDArray[np.float32]:
        return np.asarray(values[rows].float().cpu().numpy(), np.float32)

    feats, embeds, motion = queries.query_feats, queries.query_embeds, queries.motion_feats
    return Features(stream(feats), stream(embeds), stream(motion), preset, fingerprint)


def detections(queries: Queries, config: ModelConfig) -> Instances:
    """All boxes of the frame without regard to tracks, best first (the detection output of spec 6.2)."""
    rows = reported_rows(queries, torch.ones_like(queries.scores, dtype=torch.bool), config)
    boxes = public_boxes(queries, rows)
    return Instances.create(
        boxes.center_m,
        boxes.size_m,
        boxes.heading_rad,
        _classes(queries, rows),
        queries.scores.cpu().numpy()[rows].astype(np.float64),
        velocity_mps=boxes.velocity_mps,
    )


def sightings(perception: Perception, min_score: float) -> Instances | None:
    """What the image's peaks show by themselves, untouched by tracks and messages; None without such a head."""
    if perception.peaks is None:
        return None
    peaks = perception.peaks
    rows = (peaks.scores[0] >= min_score).nonzero()[:, 0]
    boxes = _public(peaks.boxes[0, rows])
    classes = peaks.classes[0, rows].argmax(-1).cpu().numpy().astype(np.int64)
    scores = peaks.scores[0, rows].cpu().numpy().astype(np.float64)
    return Instances.create(boxes.center_m, boxes.size_m, boxes.heading_rad, classes, scores)


def associations(done: Step, origin: Origin, messages: Sequence[Message], stamp_ns: int, reported: Int) -> Associations:
    """Pairs and what found no partner; own queries are listed if they are reported or paired.

    reported: rows of the refined queries with a track. Indices of own instances are rows of the queries.
    """
    uses = tuple(
        MessageUse(m.agent_id, m.session_id, m.sequence, (stamp_ns - m.stamp_ns) / 1e6, m.size_bytes) for m in messages
    )
    ids = np.zeros(len(done.refined), np.int64)
    ids[reported] = done.advanced.queries.track_id.cpu().numpy()[reported]
    own_boxes = done.perception.queries.boxes[0]
    own_id = np.zeros(len(own_boxes), np.int64)
    own_id[origin.ego_row[origin.ego_row >= 0]] = ids[origin.ego_row >= 0]
    listed, (ego_index, remote_index) = origin.ego_row[reported], _pairs(done)
    remote = _Remote.of(done)
    lonely, unheard = np.zeros(len(own_boxes), bool), np.ones(len(remote.owner), bool)
    lonely[listed[listed >= 0]], lonely[ego_index], unheard[remote_index] = True, False, False
    alone, unmatched = np.flatnonzero(lonely), np.flatnonzero(unheard)
    centers_m = _public(own_boxes, np.concatenate([ego_index, alone])).center_m
    joined = np.zeros(0, np.int64) if done.cooperation is None else done.cooperation.fused.row_of_remote.cpu().numpy()
    return Associations(
        messages=uses,
        pair_ego_index=ego_index,
        pair_message_index=remote.owner[remote_index],
        pair_instance_index=remote.row[remote_index],
        pair_affinity=_affinity(done, ego_index, remote_index),
        pair_ego_center_m=centers_m[: len(ego_index)],
        pair_remote_center_m=remote.center_m[remote_index],
        unmatched_ego_index=alone,
        unmatched_ego_center_m=centers_m[len(ego_index) :],
        unmatched_remote_message_index=remote.owner[unmatched],
        unmatched_remote_instance_index=remote.row[unmatched],
        unmatched_remote_center_m=remote.center_m[unmatched],
        pair_track_id=own_id[ego_index],
        unmatched_ego_track_id=own_id[alone],
        unmatched_remote_track_id=np.where(joined[unmatched] >= 0, ids[joined[unmatched]], 0),
    )


def _pairs(done: Step) -> tuple[Int, Int]:
    if done.cooperation is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return done.cooperation.ego_index.cpu().numpy(), done.cooperation.remote_index.cpu().numpy()


def _affinity(done: Step, ego_index: Int, remote_index: Int) -> Float:
    if done.cooperation is None:
        return np.zeros(0)
    affinity = done.cooperation.affinity.sigmoid().cpu().numpy().astype(np.float64)
    return np.asarray(affinity[ego_index, remote_index], np.float64)


@dataclass(frozen=True)
class _Remote:
    """Aligned instances of all messages."""

    owner: Int
    row: Int
    center_m: Float

    @staticmethod
    def of(done: Step) -> _Remote:
        if done.remote is None:
            return _Remote(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)))
        code = done.remote.boxes.cpu().numpy()
        return _Remote(
            done.remote.owner.cpu().numpy(), done.remote.row.cpu().numpy(), box_code.to_public(code).center_m
        )
