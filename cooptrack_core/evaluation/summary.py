"""The figures of one run that a user looks at first, from a recording (docs/data.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.hidden import VIEW_NAMES, Side, ViewRecall
from cooptrack_core.evaluation.many_agents import agents_summary
from cooptrack_core.geometry.ranges import inside_class_range
from cooptrack_core.geometry.transforms import apply
from cooptrack_core.types import (
    CLASS_ID,
    CLASS_UNKNOWN,
    SOURCE_REMOTE,
    VIEW_OCCLUDED,
    VIEW_OUTSIDE,
    VIEW_UNKNOWN,
    VIEW_VISIBLE,
)

VIEWS = {"visible": VIEW_VISIBLE, "occluded": VIEW_OCCLUDED, "outside": VIEW_OUTSIDE, "unknown": VIEW_UNKNOWN}
HIDDEN_VIEWS = {view: VIEW_NAMES[view] for view in (VIEW_OUTSIDE, VIEW_OCCLUDED)}
Record = Mapping[str, Any]


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50 and p99 of some measurements, None where there are none."""
    if not len(values):
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(np.asarray(values, np.float64), [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def tracking_quality(recording: Record) -> dict[str, Any]:
    """Recall by how the vehicle's camera sees the objects, false tracks and identity switches.

    Objects count inside the evaluation radius of their class around the novatel origin; a match is within 2 m.
    Frames without annotation are left out.
    """
    counts = ViewRecall()
    T_novatel_from_lidar = np.asarray(recording.get("T_novatel_from_lidar") or np.eye(4))
    scored = [frame for frame in recording["frames"] if frame.get("has_ground_truth", True)]
    for frame in scored:
        objects, tracks = frame["ground_truth"], frame["tracks"]
        view = np.array([VIEWS[item["view"]] for item in objects], np.int64)
        counts.step(_side(objects, T_novatel_from_lidar), view, _side(tracks, T_novatel_from_lidar))
    seen, found = _by_view(counts.seen), _by_view(counts.found)
    total = sum(seen.values())
    return {
        "id_switches": counts.matcher.switches,
        "recall": _ratio(sum(found.values()), total),
        "false_tracks_per_frame": round(counts.false_tracks / max(len(scored), 1), 3),
        "hidden_recall": {name: _ratio(found[view], seen[view]) for view, name in HIDDEN_VIEWS.items()},
        "hidden_objects": {name: seen[view] for view, name in HIDDEN_VIEWS.items()},
        "visible_recall": _ratio(found[VIEW_VISIBLE], seen[VIEW_VISIBLE]),
        "objects": total,
    }


def summarize(recording: Record, ego: Record | None = None, faint_below_score: float = 0.0) -> dict[str, Any]:
    """Everything the demo prints about a recording; `ego`: the same scene without cooperation, for comparison.

    faint_below_score: above 0, quality is also given of the tracks of that score and more, which no picture draws
    faintly.
    """
    frames = recording["frames"]
    quality = tracking_quality(recording)
    sources: dict[int, int] = {}
    for frame in frames:
        for track in frame["tracks"]:
            sources[track["id"]] = sources.get(track["id"], 0) | track["sources_ever"]
    sent = recording.get("sent", [])
    duration_s = (frames[-1]["stamp_ns"] - frames[0]["stamp_ns"]) / 1e9 if len(frames) > 1 else 0.0
    period_s = duration_s / (len(frames) - 1) if len(frames) > 1 else 0.1
    sent_bytes = [message["bytes"] for message in sent]
    hidden = {recording["mode"]: quality["hidden_recall"]}
    if ego is not None:
        hidden["ego"] = tracking_quality(ego)["hidden_recall"]
    return {
        "mode": recording["mode"],
        "detector": recording["detector"],
        **({"weights": recording["weights"]} if "weights" in recording else {}),
        "frames_in": recording.get("frames_in", len(frames)),
        "frames_out": len(frames),
        "frames_predicted_only": sum(frame["predicted_only"] for frame in frames),
        "tracks": len(sources),
        "tracks_only_via_roadside": sum(bits == SOURCE_REMOTE for bits in sources.values()),
        "messages": len(sent),
        "messages_refused": _counted(refusal["reason"] for frame in frames for refusal in frame["refused"]),
        "message_bytes_mean": round(float(np.mean(sent_bytes)), 1) if sent_bytes else 0.0,
        "bytes_per_second": round(sum(sent_bytes) / (duration_s + period_s), 1) if frames else 0.0,
        "roadside_age_ms": percentiles([m["age_ms"] for frame in frames for m in frame["messages"]]),
        "clock_offsets": recording.get("clock_offsets", {}),
        "processing_ms": percentiles([f["timings_ms"]["total"] for f in frames if "total" in f["timings_ms"]]),
        **{key: quality[key] for key in ("id_switches", "recall", "visible_recall", "false_tracks_per_frame")},
        **({"sure": _sure(recording, faint_below_score)} if faint_below_score > 0 else {}),
        **(agents_summary(recording) if len(recording.get("roadside", ())) > 1 else {}),
        "hidden_objects": quality["hidden_objects"],
        "hidden_recall": hidden,
    }


def _sure(recording: Record, score: float) -> dict[str, Any]:
    """Quality of the tracks of that score and more alone."""

    def tracks(frame: Record) -> list[Record]:
        return [track for track in frame["tracks"] if track.get("score") is None or track["score"] >= score]

    frames = [{**frame, "tracks": tracks(frame)} for frame in recording["frames"]]
    quality = tracking_quality({**recording, "frames": frames})
    return {"score": score, **{key: quality[key] for key in ("recall", "false_tracks_per_frame")}}


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _counted(names: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _side(items: Sequence[Record], T_novatel_from_lidar: NDArray[np.float64]) -> Side:
    """Objects or tracks of one frame, in the lidar frame."""
    class_id = np.array([CLASS_ID.get(item["class"], CLASS_UNKNOWN) for item in items], np.int64)
    center_m = np.array([item["center_m"] for item in items], np.float64).reshape(-1, 3)
    in_range = inside_class_range(apply(T_novatel_from_lidar, center_m), class_id)
    return Side([item["id"] for item in items], class_id, center_m, in_range)


def _by_view(counts: Mapping[tuple[int, int], int]) -> dict[int, int]:
    """Over all classes."""
    return {view: sum(n for (_, seen_as), n in counts.items() if seen_as == view) for view in VIEWS.values()}
