"""Recordings with tracks at chosen places, for tests of figures."""

from __future__ import annotations

from typing import Any

from visualization_recording import FakeWorld


def tracks_at(world: FakeWorld, *frames: dict[int, tuple[float, float]]) -> dict[str, Any]:
    """A recording whose frames have these tracks, by id, at (ahead, left) in m."""
    recording = world.recording()
    links: dict[str, Any] = {"pairs": [], "unmatched_ego": [], "unmatched_remote": []}
    for row, tracks in zip(recording["frames"], frames, strict=False):
        like = row["tracks"][0]
        row["tracks"] = [{**like, "id": k, "center_m": [x, y, -1.0]} for k, (x, y) in tracks.items()]
        row["associations"] = links
    return {**recording, "frames": recording["frames"][: len(frames)]}
