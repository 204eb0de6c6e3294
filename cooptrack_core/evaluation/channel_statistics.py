"""What became of the messages of a run: used, refused and why, lost, and how old they were when used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Recording = Mapping[str, Any]
Statistics = dict[str, Any]
_COUNTS = ("frames", "frames_with_message", "sent", "lost", "in_outage", "arrived", "used", "runs")


def channel_statistics(recordings: Sequence[Recording]) -> Statistics:
    """Counts over recordings, refusals by reason, and the age of the messages used in ms (None if none was).

    arrived: by the last frame. What arrived and is neither used nor refused was overtaken by a newer message of the
    same frame, or its frame used none. Ages are those that the vehicle sees: by the stamps of the messages.
    """
    frames = [frame for recording in recordings for frame in recording["frames"]]
    ages = [float(use["age_ms"]) for frame in frames for use in frame["messages"]]
    sent = sum(len(recording["sent"]) for recording in recordings)
    channels = [recording.get("channel", {}) for recording in recordings]
    disturbed = any(channels)
    return {
        "runs": 1,
        "frames": len(frames),
        "frames_with_message": sum(bool(frame["messages"]) for frame in frames),
        "sent": sent,
        "lost": sum(channel.get("lost", 0) for channel in channels),
        "in_outage": sum(channel.get("outage", 0) for channel in channels),
        "arrived": sum(channel.get("arrived", 0) for channel in channels) if disturbed else sent,
        "used": len(ages),
        "refused": dict(sorted(Counter(item["reason"] for frame in frames for item in frame["refused"]).items())),
        "age_ms": _ages(ages),
    }


def together(runs: Sequence[Statistics]) -> Statistics:
    """The statistics of several runs as those of one long run."""
    joined: Statistics = {name: sum(run[name] for run in runs) for name in _COUNTS}
    refused: Counter[str] = Counter()
    for run in runs:
        refused.update(run["refused"])
    aged = [run for run in runs if run["used"]]
    weights = [run["used"] for run in aged]
    ages = {name: [run["age_ms"][name] for run in aged] for name in ("mean", "min", "max")}
    joined["refused"] = dict(sorted(refused.items()))
    joined["age_ms"] = {
        "mean": float(np.average(ages["mean"], weights=weights)) if aged else None,
        "min": min(ages["min"], default=None),
        "max": max(ages["max"], default=None),
    }
    return joined


def fates(statistics: Statistics) -> dict[str, float]:
    """Shares of the messages sent: used, refused by reason, lost, and not used for other reasons; they add up to 1."""
    sent = max(statistics["sent"], 1)
    shares = {"used": statistics["used"] / sent}
    shares |= {reason: count / sent for reason, count in statistics["refused"].items()}
    shares["lost"] = (statistics["lost"] + statistics["in_outage"]) / sent
    return shares | {"not used": max(0.0, 1.0 - sum(shares.values()))}


def _ages(ages: Sequence[float]) -> dict[str, float | None]:
    if not ages:
        return {"mean": None, "min": None, "max": None}
    return {"mean": float(np.mean(ages)), "min": min(ages), "max": max(ages)}


__all__ = ["Recording", "Statistics", "channel_statistics", "fates", "together"]
