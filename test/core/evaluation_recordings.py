"""Recordings written by hand, for tests of what is scored."""

from __future__ import annotations

from typing import Any

import numpy as np

PERIOD_NS = 100_000_000
START_NS = 1_626_155_123_000_000_000


def pose(x_m: float = 0.0, y_m: float = 0.0, yaw_rad: float = 0.0) -> list[list[float]]:
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return [[c, -s, 0.0, x_m], [s, c, 0.0, y_m], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]


def truth(number: int, x_m: float, y_m: float = 0.0, **more: Any) -> dict[str, Any]:
    """An annotated car."""
    box = {
        "id": number, "class": "car", "center_m": [x_m, y_m, -1.0], "size_m": [4.4, 1.8, 1.5], "heading_rad": 0.0,
        "velocity_mps": [None, None], "sides": 1, "view": "unknown", "visible_fraction": None,
    }  # fmt: skip
    return box | more


def track(number: int, x_m: float, y_m: float = 0.0, **more: Any) -> dict[str, Any]:
    """A published track of a car."""
    box = {
        "id": number, "class": "car", "score": 0.5, "center_m": [x_m, y_m, -1.0], "size_m": [4.4, 1.8, 1.5],
        "heading_rad": 0.0, "velocity_mps": [0.0, 0.0],
    }  # fmt: skip
    return box | more


def frame(
    number: int,
    objects: list[dict[str, Any]] | None = None,
    tracks: list[dict[str, Any]] | None = None,
    *,
    T: list[list[float]] | None = None,
    sequence: str = "0001",
) -> dict[str, Any]:
    """The n-th frame of a sequence; objects None: it has no ground truth; tracks None: none came out."""
    row: dict[str, Any] = {
        "stamp_ns": START_NS + number * PERIOD_NS,
        "sequence_id": sequence,
        "frame_id": f"{number:06d}",
        "has_ground_truth": objects is not None,
        "T_map_from_lidar_truth": None if objects is None else (T or pose()),
        "ground_truth": objects or [],
    }
    return row if tracks is None else row | {"tracks": tracks}


def recording(frames: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Frames without tracks go to `missed`."""
    return {
        "schema": "cooptrack/recording/1", "vehicle": "vehicle", "roadside": ["rsu"], "source_bag": "drive",
        "mode": "late", "detector": "simulated", "T_novatel_from_lidar": pose(), "sent": [],
        "frames": [row for row in frames if "tracks" in row],
        "missed": [row for row in frames if "tracks" not in row],
    } | more  # fmt: skip
