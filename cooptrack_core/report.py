"""What a user sees of a run: summary.json, a table, a film, stills and the player."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cooptrack_core.config import UNTRAINED, NetworkConfig, VehicleConfig
from cooptrack_core.evaluation.many_agents import rows as agents_rows
from cooptrack_core.evaluation.summary import summarize
from cooptrack_core.offline_bag import track_bag
from cooptrack_core.types import CooptrackError
from cooptrack_core.visualization.scene import faint_below

__all__ = ["make_directory", "print_summary", "save_json", "summarize", "write_report"]


def write_report(
    recorded: Path,
    source: Path,
    out: Path,
    *,
    video: bool = True,
    pictures: bool = True,
    network: NetworkConfig | None = None,
    extra: Mapping[str, Any] | None = None,
    vehicle: str | None = None,
    faint_below_score: float | None = None,
) -> dict[str, Any]:
    """Writes recording.json, summary.json and the pictures of a recorded run into `out`; prints the table.

    The same scene is tracked once more offline in mode `ego`, to show what cooperation brought: with the same
    detector, so for a network only where `network` says which and it is trained. vehicle: whose run, where several ran.
    faint_below_score: tracks of a lower score are drawn as outlines alone; None: 0.5 of a network, else none.
    Returns the summary. Raises CooptrackError for bags that cannot be read.
    """
    from cooptrack_core.data.recording import images, recording_from_bags

    recording = recording_from_bags(recorded, source, vehicle)
    if network is not None:
        recording["weights"] = network.weights
    ego = _alone(recording, source, network)
    faint_below_score = faint_below(recording) if faint_below_score is None else faint_below_score
    make_directory(out)
    files = {"recording": out / "recording.json"}
    save_json(recording, files["recording"])
    if pictures:
        from cooptrack_core.visualization.player import write_player
        from cooptrack_core.visualization.stills import write_stills
        from cooptrack_core.visualization.video import write_video

        lookup = images(source)
        if not any(lookup.stamps_ns.values()):
            print(f"note: {source} holds no compressed images; the pictures show none")
        files["player"] = out / "player.html"
        write_player(recording, lookup, files["player"], faint_below_score=faint_below_score)
        for still in write_stills(recording, lookup, out, faint_below_score=faint_below_score):
            files[still.stem] = still
        if video:
            film = out / "bev.mp4"
            files["video"] = write_video(recording, lookup, film, faint_below_score=faint_below_score)
    summary = {**summarize(recording, ego, faint_below_score), **(extra or {})}
    summary["files"] = {name: os.path.relpath(path) for name, path in files.items()}
    files["summary"] = out / "summary.json"
    summary["files"]["summary"] = os.path.relpath(files["summary"])
    save_json(summary, files["summary"])
    print_summary(summary)
    return summary


def _alone(recording: Mapping[str, Any], source: Path, network: NetworkConfig | None) -> dict[str, Any] | None:
    """The same scene without cooperation."""
    detector = recording["detector"]
    if detector == "network" and (network is None or network.weights == UNTRAINED):
        return None
    config = VehicleConfig(mode="ego", detector=detector, network=network or NetworkConfig())
    return track_bag(source, config, vehicle=recording["vehicle"], roadside=())


def make_directory(path: Path) -> None:
    """Makes a directory for results; CooptrackError where that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CooptrackError(f"{path}: output: cannot be made ({error.strerror}); choose another directory") from error


def save_json(content: Mapping[str, Any], path: Path) -> None:
    """Writes JSON so that a killed run leaves the old file or none, never half of one."""
    temporary = path.with_name(path.name + ".part")
    text = json.dumps(content, indent=1 if len(content.get("frames", ())) == 0 else None, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise CooptrackError(f"{path}: output: cannot be written ({error.strerror}); choose another file") from error


def print_summary(summary: Mapping[str, Any]) -> None:
    """Prints the figures as an aligned table."""
    rows = [
        ("mode, detector", f"{summary['mode']}, {summary['detector']}"),
        *([("weights", _weights(summary["weights"]))] if "weights" in summary else []),
        ("frames in / out", f"{summary['frames_in']} / {summary['frames_out']}"),
        ("frames only predicted", str(summary["frames_predicted_only"])),
        ("tracks", str(summary["tracks"])),
        (
            "  known only through others" if "agents" in summary else "  known only through the roadside",
            str(summary["tracks_only_via_roadside"]),
        ),
        ("identity switches", str(summary["id_switches"])),
        ("recall of all objects in range", _percent(summary["recall"])),
        ("false tracks per frame", f"{summary['false_tracks_per_frame']:.2f}"),
        *([_sure(summary["sure"])] if "sure" in summary else []),
        ("messages sent / bytes each", f"{summary['messages']} / {summary['message_bytes_mean']:.0f} B"),
        ("bytes per second", f"{summary['bytes_per_second']:.0f} B/s"),
        ("messages refused", _counts(summary["messages_refused"])),
        ("roadside age p50 / p99 (negative: newer)", _pair(summary["roadside_age_ms"])),
        *(_clock(agent, clock) for agent, clock in summary["clock_offsets"].items()),
        ("vehicle processing p50 / p99", _pair(summary["processing_ms"])),
    ]
    for mode, recall in summary["hidden_recall"].items():
        parts = [f"{_percent(recall[name])} {name.replace('_', ' ')}" for name in recall]
        rows.append((f"recall of hidden objects, {mode}", ", ".join(parts)))
    if "agents" in summary:
        rows += agents_rows(summary)
    rows += [(f"file: {name}", path) for name, path in summary.get("files", {}).items()]
    width = max(len(name) for name, _ in rows)
    print()
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")


def _clock(agent: str, clock: Mapping[str, Any]) -> tuple[str, str]:
    spread = f"std {clock['std_ms']:.0f}; {clock['pairs']} pairs, {clock['objects']} objects"
    return f"clock of {agent} ahead by, estimated", f"{clock['offset_ms']:+.0f} ms ({spread})"


def _sure(quality: Mapping[str, Any]) -> tuple[str, str]:
    name = f"  recall, false tracks of score {quality['score']:g} and more"
    return name, f"{_percent(quality['recall'])}, {quality['false_tracks_per_frame']:.2f}"


def _weights(name: str) -> str:
    return "untrained: random numbers, so the tracks mean nothing" if name == UNTRAINED else name


def _percent(value: float | None) -> str:
    return "none in range" if value is None else f"{100 * value:.1f} %"


def _pair(values: Mapping[str, float | None]) -> str:
    return "not measured" if values["p50"] is None else f"{values['p50']:.1f} / {values['p99']:.1f} ms"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "none"
