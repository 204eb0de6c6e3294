"""What several agents make of one vehicle's tracks: who fed them, and whether an object has more than one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cooptrack_core.geometry.ranges import inside_class_range
from cooptrack_core.geometry.transforms import apply
from cooptrack_core.types import CLASS_ID, CLASS_UNKNOWN, SOURCE_EGO

Record = Mapping[str, Any]

SAME_M = 2.0  # as for a match


def agents_summary(recording: Record) -> dict[str, Any]:
    """Of a recording (docs/data.md), for each other agent and for the tracks.

    agents: messages sent and used, the mean age of those used, and how many tracks of a frame each feeds (mean).
    tracks_by_feeders: how many tracks had 0, 1, 2, ... feeders, the vehicle itself included; over all frames.
    duplicates_per_object: tracks beyond the first within 2 m of an annotated object that they are nearest to, for each
    object that has one, over the frames with annotation; in range only.
    """
    frames, sent = recording["frames"], Counter(row["agent"] for row in recording.get("sent", ()))
    used: dict[str, list[float]] = {}
    fed: Counter[str] = Counter()
    feeders: Counter[int] = Counter()
    for frame in frames:
        for message in frame["messages"]:
            used.setdefault(message["agent"], []).append(message["age_ms"])
        for track in frame["tracks"]:
            fed.update(track["agents"])
            feeders[len(track["agents"]) + bool(track["sources"] & SOURCE_EGO)] += 1
    names = sorted({*recording.get("roadside", ()), *sent, *used})
    return {
        "agents": {
            name: {
                "messages_sent": sent[name],
                "messages_used": len(used.get(name, ())),
                "age_ms": round(float(np.mean(used[name])), 1) if name in used else None,
                "tracks_fed_per_frame": round(fed[name] / max(len(frames), 1), 2),
            }
            for name in names
        },
        "tracks_by_feeders": {str(count): feeders[count] for count in sorted(feeders)},
        "duplicates_per_object": duplicates_per_object(recording),
    }


def duplicates_per_object(recording: Record) -> float | None:
    """See agents_summary; None where no object was found."""
    T = np.asarray(recording.get("T_novatel_from_lidar") or np.eye(4))
    found = extra = 0
    for frame in recording["frames"]:
        if not frame.get("has_ground_truth", True) or not frame["ground_truth"] or not frame["tracks"]:
            continue
        objects, tracks = _centers(frame["ground_truth"]), _centers(frame["tracks"])
        classes = np.array([CLASS_ID.get(item["class"], CLASS_UNKNOWN) for item in frame["ground_truth"]], np.int64)
        in_range = inside_class_range(apply(T, objects), classes)
        distance = np.linalg.norm(objects[:, None, :2] - tracks[None, :, :2], axis=-1)  # [O, T]
        nearest = distance.argmin(axis=0)
        close = distance.min(axis=0) < SAME_M
        count = np.bincount(nearest[close], minlength=len(objects))[in_range]
        found += int((count > 0).sum())
        extra += int(np.maximum(count - 1, 0).sum())
    return round(extra / found, 4) if found else None


def rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines of a table: name and value."""
    lines = [("duplicate tracks per object found", _text(summary["duplicates_per_object"]))]
    shares = ", ".join(f"{count}: {number}" for count, number in summary["tracks_by_feeders"].items())
    lines.append(("tracks by number of agents that measured", shares))
    for name, agent in summary["agents"].items():
        age = "" if agent["age_ms"] is None else f", age {agent['age_ms']:.0f} ms"
        used = f"{agent['messages_used']} of {agent['messages_sent']} messages used{age}"
        lines.append((f"agent {name}", f"{used}, feeds {agent['tracks_fed_per_frame']:.1f} tracks a frame"))
    return lines


def _text(value: float | None) -> str:
    return "no object found" if value is None else f"{value:.4f}"


def _centers(items: Sequence[Record]) -> Any:
    return np.array([item["center_m"] for item in items], np.float64).reshape(-1, 3)


__all__ = ["agents_summary", "duplicates_per_object", "rows"]
