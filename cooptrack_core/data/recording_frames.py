"""Rows of the recording JSON from the messages of a recorded run."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from cooptrack_core.data.bag_events import BagContext, matrix_of_pose
from cooptrack_core.data.message_parts import message_parts
from cooptrack_core.data.visibility import VIEWS
from cooptrack_core.types import CLASS_NAMES, Message

Row = dict[str, Any]

_VIEW_NAMES = {view: name for name, view in VIEWS.items()}


def track_row(item: Any) -> Row:
    """A cooptrack_msgs/TrackedObject of a tracks topic."""
    covariance = item.pose.covariance
    std = [math.sqrt(max(float(covariance[k]), 0.0)) for k in (0, 7)] if item.has_covariance else None
    return _object(item) | {
        "score": float(item.score),
        "sources": int(item.sources),
        "sources_ever": int(item.sources_ever),
        "agents": [str(agent) for agent in item.agents],
        "age_frames": int(item.age_frames),
        "hits": int(item.hits),
        "time_since_update_s": float(item.time_since_update_s),
        "position_std_m": std,
    }


def truth_row(item: Any) -> Row:
    """A cooptrack_msgs/TrackedObject of the ground_truth topic."""
    row = _object(item)
    return row | {
        "sides": int(item.sources),
        "view": _VIEW_NAMES.get(int(item.view), "unknown"),
        "visible_fraction": float(item.visible_fraction),
    }


def truth_fields(message: Any | None) -> Row:
    """What a ground_truth message says of its frame, None where there is none."""
    if message is None:
        return {"has_ground_truth": False, "T_map_from_lidar_truth": None, "ground_truth": []}
    T = matrix_of_pose(message.map_from_frame) if message.pose_known else None
    return {
        "has_ground_truth": True,
        "T_map_from_lidar_truth": None if T is None else T.tolist(),
        "ground_truth": [truth_row(item) for item in message.objects],
    }


def missed_rows(context: BagContext, vehicle: str, stamps_ns: Collection[int]) -> list[Row]:
    """The frames with ground truth that are not among those for which tracks came out, in time order."""
    rows = []
    for stamp_ns in sorted(set(context.ground_truth) - set(stamps_ns)):
        info = context.frame_infos.get(vehicle, {}).get(stamp_ns)
        ids = {"sequence_id": "", "frame_id": ""}
        if info is not None:
            ids = {"sequence_id": info.sequence_id, "frame_id": info.frame_id}
        rows.append({"stamp_ns": stamp_ns, **ids, **truth_fields(context.ground_truth[stamp_ns])})
    return rows


def _object(item: Any) -> Row:
    p, q, s, v = item.pose.pose.position, item.pose.pose.orientation, item.size, item.twist.twist.linear
    heading = math.atan2(2 * (q.w * q.z + q.x * q.y), q.w * q.w + q.x * q.x - q.y * q.y - q.z * q.z)
    class_id = int(item.class_id)
    return {
        "id": int(item.track_id),
        "class": CLASS_NAMES[class_id] if class_id < len(CLASS_NAMES) else "unknown",
        "center_m": [p.x, p.y, p.z],
        "size_m": [s.x, s.y, s.z],
        "heading_rad": heading,
        "velocity_mps": [v.x, v.y],
    }


def sent_row(message: Message) -> Row:
    """A message as its receiver decodes it. feature_size: numbers in each of its learned features, 0 without any.

    The rest as in message_parts.
    """
    features = message.instances.features
    return {
        "agent": message.agent_id,
        "session": message.session_id,
        "sequence": message.sequence,
        "stamp_ns": message.stamp_ns,
        "bytes": message.size_bytes,
        "instances": len(message.instances),
        "held": len(message.held_id),
        "withheld": message.instances_withheld,
        "feature_size": 0 if features is None else features.size,
        **message_parts(message),
    }


def association_rows(message: Any) -> Row:
    """associations, messages and refused of a cooptrack_msgs/AssociationArray."""
    agents = [str(agent) for agent in message.message_agent]
    ego, remote = _triples(message.pair_ego_center_m), _triples(message.pair_remote_center_m)
    pairs = [
        {
            "agent": agents[int(message.pair_message_index[i])],
            "ego_index": int(message.pair_ego_index[i]),
            "instance_index": int(message.pair_instance_index[i]),
            "affinity": float(message.pair_affinity[i]),
            "track_id": int(message.pair_track_id[i]),
            "ego_center_m": ego[i],
            "remote_center_m": remote[i],
        }
        for i in range(len(message.pair_affinity))
    ]
    ego_left = _triples(message.unmatched_ego_center_m)
    remote_left = _triples(message.unmatched_remote_center_m)
    unmatched_ego = [
        {"index": int(index), "track_id": int(message.unmatched_ego_track_id[i]), "center_m": ego_left[i]}
        for i, index in enumerate(message.unmatched_ego_index)
    ]
    unmatched_remote = [
        {
            "agent": agents[int(message.unmatched_remote_message_index[i])],
            "instance_index": int(index),
            "track_id": int(message.unmatched_remote_track_id[i]),
            "center_m": remote_left[i],
        }
        for i, index in enumerate(message.unmatched_remote_instance_index)
    ]
    return {
        "associations": {"pairs": pairs, "unmatched_ego": unmatched_ego, "unmatched_remote": unmatched_remote},
        "messages": [
            {
                "agent": agent,
                "session": int(message.message_session[i]),
                "sequence": int(message.message_sequence[i]),
                "age_ms": float(message.message_age_ms[i]),
                "bytes": int(message.message_bytes[i]),
            }
            for i, agent in enumerate(agents)
        ],
        "refused": [
            {"agent": str(agent), "sequence": int(sequence), "reason": str(reason)}
            for agent, sequence, reason in zip(
                message.refused_agent, message.refused_sequence, message.refused_reason, strict=True
            )
        ],
    }


def empty_association_rows() -> Row:
    """The same for a frame whose associations were not recorded."""
    return {
        "associations": {"pairs": [], "unmatched_ego": [], "unmatched_remote": []}, "messages": [], "refused": []
    }  # fmt: skip


def timing_row(message: Any) -> dict[str, float]:
    """{stage: ms} of a cooptrack_msgs/StageTimings."""
    return {str(stage): float(ms) for stage, ms in zip(message.stage, message.duration_ms, strict=True)}


def _triples(values: Sequence[float]) -> list[list[float]]:
    rows: list[list[float]] = np.asarray(values, np.float64).reshape(-1, 3).tolist()
    return rows


def without_nan(value: Any) -> Any:
    """The same structure with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return value


__all__ = [
    "Row", "association_rows", "empty_association_rows", "missed_rows", "sent_row", "timing_row", "track_row",
    "truth_fields", "truth_row", "without_nan",
]  # fmt: skip
