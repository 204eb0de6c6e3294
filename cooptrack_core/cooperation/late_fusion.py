"""Object-level cooperation: align by the poses, match by distance, merge by variance. Needs no features.

Baseline 'Late Fusion' of the paper's main table, and the fallback whenever features cannot be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import LateFusionConfig
from cooptrack_core.cooperation.latency import propagate, reported_motion
from cooptrack_core.cooperation.score_calibration import calibrated
from cooptrack_core.geometry.boxes import move, wrap_angle
from cooptrack_core.geometry.ranges import VEHICLE_RANGE_M, inside
from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.tracking.assignment import assign, centre_distance
from cooptrack_core.types import (
    CLASS_ID,
    SOURCE_EGO,
    SOURCE_REMOTE,
    Associations,
    Instances,
    Message,
    MessageUse,
)

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Fused:
    """What the vehicle and the others saw together, in the ego sensor frame.

    Row order: the ego instances (merged with their partners), then what only others saw.
    """

    instances: Instances
    sources: Int  # [N] bits SOURCE_*
    agents: tuple[tuple[str, ...], ...]  # [N]
    confirmed_by_sender: NDArray[np.bool_]  # [N] a sender has tracked it for several frames
    # Rows of `instances` behind the rows of Associations, to fill in track ids later.
    pair_row: Int
    unmatched_ego_row: Int
    unmatched_remote_row: Int


def align(message: Message, stamp_ns: int, T_map_from_ego: Float, config: LateFusionConfig) -> tuple[Instances, Int]:
    """Instances of a message in the ego sensor frame at stamp_ns, and their rows in the message.

    Drops what lies outside the ego's range, and the own vehicle, which the roadside reports as well.
    """
    assert message.T_map_from_sensor is not None, "admission refuses messages without a pose"
    dt_s = (stamp_ns - message.perceived_ns) / 1e9
    variance = np.where(
        np.isfinite(message.instances.position_variance_m2), message.instances.position_variance_m2, 0.0
    )
    floored = replace(message.instances, position_variance_m2=np.maximum(variance, config.remote_std_m**2))
    motion = message.motion or reported_motion(message.instances, config.speed_std_mps)
    current = propagate(floored, dt_s, motion)
    aligned = move(current, inverse(T_map_from_ego) @ message.T_map_from_sensor)
    x, y = np.abs(aligned.center_m[:, 0]), np.abs(aligned.center_m[:, 1])
    own = (x < config.vehicle_length_m / 2) & (y < config.vehicle_width_m / 2 + 0.5)
    keep = np.flatnonzero(inside(aligned.center_m, VEHICLE_RANGE_M) & ~own)
    aligned = replace(aligned, score=calibrated(aligned.score, config.remote_score_scale, config.remote_score_offset))
    return aligned.select(keep), keep


def fuse(
    ego: Instances, messages: Sequence[Message], stamp_ns: int, T_map_from_ego: Float, config: LateFusionConfig
) -> tuple[Fused, Associations]:
    """Joins ego instances with those of every message; agents are taken one after the other.

    Scores are calibrated on the way, each side by its own curve. Works with any of them empty. Positions of the
    result are in the ego sensor frame at stamp_ns.
    """
    builder = _Builder(ego, config)
    for row, message in enumerate(messages):
        builder.add(row, message, *align(message, stamp_ns, T_map_from_ego, config))
    uses = tuple(
        MessageUse(m.agent_id, m.session_id, m.sequence, (stamp_ns - m.stamp_ns) / 1e6, m.size_bytes) for m in messages
    )
    return builder.result(uses)


class _Builder:
    def __init__(self, ego: Instances, config: LateFusionConfig) -> None:
        self._config = config
        variance = np.where(np.isfinite(ego.position_variance_m2), ego.position_variance_m2, config.ego_std_m**2)
        score = calibrated(ego.score, config.ego_score_scale, config.ego_score_offset)
        self._ego = replace(ego, position_variance_m2=variance, score=score)
        self._merged = replace(self._ego, features=None)
        self._sources = np.full(len(ego), SOURCE_EGO, np.int64)
        self._agents: list[tuple[str, ...]] = [() for _ in range(len(ego))]
        self._confirmed = np.zeros(len(ego), bool)
        # row of merged, message, instance in the message, affinity, remote centre
        self._pairs: list[tuple[int, int, int, float, Float]] = []
        self._remote_only: list[tuple[int, int, int, Float]] = []

    def add(self, message_row: int, message: Message, aligned: Instances, rows_in_message: Int) -> None:
        aligned = replace(aligned, features=None)
        distance = centre_distance(self._merged.center_m, aligned.center_m)
        gate = np.where(
            self._merged.class_id == CLASS_ID["pedestrian"], self._config.gate_pedestrian_m, self._config.gate_m
        )[:, None]
        same_class = self._merged.class_id[:, None] == aligned.class_id[None]
        ours, theirs = assign(distance, (distance <= gate) & same_class)
        self._merged = _merge(self._merged, ours, aligned, theirs)
        self._sources[ours] |= SOURCE_REMOTE
        mature = aligned.age_frames > 1
        self._confirmed[ours] |= mature[theirs]
        for a, b in zip(ours.tolist(), theirs.tolist(), strict=True):
            self._agents[a] = (*self._agents[a], message.agent_id)
            affinity = 1.0 - float(distance[a, b] / gate[a, 0])
            entry = (a, message_row, int(rows_in_message[b]), affinity, aligned.center_m[b])
            if a < len(self._ego):
                self._pairs.append(entry)
            else:
                self._remote_only.append((entry[0], entry[1], entry[2], entry[4]))
        self._append(message_row, message.agent_id, aligned, rows_in_message, theirs, mature)

    def _append(
        self, message_row: int, agent_id: str, aligned: Instances, rows_in_message: Int, matched: Int,
        mature: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        alone = np.setdiff1d(np.arange(len(aligned)), matched)
        alone = alone[aligned.score[alone] >= self._config.min_remote_score]
        first = len(self._merged)
        for offset, b in enumerate(alone.tolist()):
            self._remote_only.append((first + offset, message_row, int(rows_in_message[b]), aligned.center_m[b]))
        self._merged = concatenate(self._merged, aligned.select(alone))
        self._sources = np.concatenate([self._sources, np.full(len(alone), SOURCE_REMOTE, np.int64)])
        self._agents += [(agent_id,)] * len(alone)
        self._confirmed = np.concatenate([self._confirmed, mature[alone]])

    def result(self, uses: tuple[MessageUse, ...]) -> tuple[Fused, Associations]:
        pairs = sorted(self._pairs, key=lambda pair: pair[:3])
        pair_row = np.array([p[0] for p in pairs], np.int64)
        remote = self._remote_only
        unmatched = np.setdiff1d(np.arange(len(self._ego)), pair_row)
        associations = Associations(
            messages=uses,
            pair_ego_index=pair_row,
            pair_message_index=np.array([p[1] for p in pairs], np.int64),
            pair_instance_index=np.array([p[2] for p in pairs], np.int64),
            pair_affinity=np.array([p[3] for p in pairs], np.float64),
            pair_ego_center_m=self._ego.center_m[pair_row],
            pair_remote_center_m=np.array([p[4] for p in pairs], np.float64).reshape(-1, 3),
            unmatched_ego_index=unmatched,
            unmatched_ego_center_m=self._ego.center_m[unmatched],
            unmatched_remote_message_index=np.array([r[1] for r in remote], np.int64),
            unmatched_remote_instance_index=np.array([r[2] for r in remote], np.int64),
            unmatched_remote_center_m=np.array([r[3] for r in remote], np.float64).reshape(-1, 3),
        )
        remote_row = np.array([r[0] for r in remote], np.int64)
        fused = Fused(
            self._merged, self._sources, tuple(self._agents), self._confirmed, pair_row, unmatched, remote_row
        )
        return fused, associations


def _merge(ours: Instances, rows: Int, theirs: Instances, columns: Int) -> Instances:
    """Rows of `ours` replaced by the variance-weighted mean with their partners."""
    if not len(rows):
        return ours
    a, b = ours.select(rows), theirs.select(columns)
    mean_a, mean_b = a.position_variance_m2.mean(axis=1), b.position_variance_m2.mean(axis=1)
    weight = (mean_a / (mean_a + mean_b))[:, None]  # of the partner
    turn = wrap_angle(b.heading_rad - a.heading_rad)
    # The partner's heading comes from a track; a detector's front-back flip is resolved in its favour.
    flipped = np.abs(turn) > np.pi / 2
    base = np.where(flipped, a.heading_rad + np.pi, a.heading_rad)
    heading = wrap_angle(base + weight[:, 0] * wrap_angle(b.heading_rad - base))
    merged = {
        "center_m": (1 - weight) * a.center_m + weight * b.center_m,
        "size_m": (1 - weight) * a.size_m + weight * b.size_m,
        "heading_rad": heading,
        "velocity_mps": np.where(np.isfinite(b.velocity_mps), b.velocity_mps, a.velocity_mps),
        "velocity_variance_m2ps2": b.velocity_variance_m2ps2,
        "score": 1.0 - (1.0 - a.score) * (1.0 - b.score),
        "position_variance_m2": 1.0 / (1.0 / a.position_variance_m2 + 1.0 / b.position_variance_m2),
    }
    columns_out: dict[str, Any] = {}
    for name, values in merged.items():
        column = getattr(ours, name).copy()
        column[rows] = values
        columns_out[name] = column
    return replace(ours, **columns_out)


def concatenate(a: Instances, b: Instances) -> Instances:
    """Instances of both, a first; features are dropped, since they live in different frames."""
    names = [name for name in Instances.__dataclass_fields__ if name != "features"]
    columns: dict[str, Any] = {name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in names}
    return Instances(**columns)
