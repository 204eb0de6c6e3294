"""A site of the benchmark: the intersection's geometry, roadside poles and recorded traffic, from its file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.types import CooptrackError

Float = NDArray[np.float64]

FOLDER = Path(__file__).parent.parent / "recordings"
DRIVE, BIKE, PARKING, SIDEWALK = range(4)
_MM = 1000.0
_HEADING_UNITS = 10000.0


@dataclass(frozen=True)
class Lane:
    """One lane: what it is for, its arm, inbound or outbound, centre line [N, 2] in driving direction."""

    kind: int
    arm: int
    inbound: bool
    width_m: float
    centre_m: Float

    def edge_m(self, side: float) -> Float:
        """[N, 2] its border: side 1 left, -1 right of the driving direction, fractions in between."""
        d = np.gradient(self.centre_m, axis=0)
        d /= np.maximum(np.hypot(*d.T), 1e-9)[:, None]
        return np.asarray(self.centre_m + 0.5 * side * self.width_m * np.stack([-d[:, 1], d[:, 0]], axis=1))


@dataclass(frozen=True)
class Pole:
    """A roadside camera: position, yaw and downward pitch in the scene, factor on the focal lengths."""

    x_m: float
    y_m: float
    height_m: float
    yaw_rad: float
    pitch_rad: float
    zoom: float


@dataclass(frozen=True)
class Site:
    """An intersection around the scene's origin. crossings: (centre line [N, 2], width)."""

    number: int
    lanes: tuple[Lane, ...]
    junction_m: Float
    walking_m: tuple[Float, ...]
    crossings: tuple[tuple[Float, float], ...]
    poles: tuple[Pole, ...]
    arms: int
    windows: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Window:
    """Recorded tracks (kind name, parked, first sample, xyh [N, 3]) and signal state [arms, samples] of a sequence."""

    tracks: tuple[tuple[str, bool, int, Float], ...]
    lights: NDArray[np.uint8]


def site_file(number: int) -> Path:
    """Where the site's recording is kept."""
    return FOLDER / f"site_{number:02d}.npz"


def pack_lines(lines: list[Float]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Polylines as their lengths and all points in mm."""
    points = np.concatenate(lines) if lines else np.zeros((0, 2))
    return np.array([len(p) for p in lines], np.int32), np.rint(points * _MM).astype(np.int32)


def _lines(count: NDArray[np.int32], points: NDArray[np.int32]) -> tuple[Float, ...]:
    ends = np.cumsum(count)
    return tuple(points[b - n : b].astype(np.float64) / _MM for n, b in zip(count, ends, strict=True))


def pack_motion(xyh: Float) -> NDArray[np.int32]:
    """[N, 3] samples as integers that compress well: first value, first step, then changes of the step."""
    scaled = np.rint(xyh * (_MM, _MM, _HEADING_UNITS)).astype(np.int64)
    return np.diff(np.diff(scaled, axis=0, prepend=0), axis=0, prepend=0).astype(np.int32)


def unpack_motion(packed: NDArray[np.int32]) -> Float:
    """The samples [N, 3] of pack_motion."""
    whole = np.cumsum(np.cumsum(packed.astype(np.int64), axis=0), axis=0)
    return np.asarray(whole / (_MM, _MM, _HEADING_UNITS))


def _read(number: int) -> dict[str, NDArray[Any]]:
    path = site_file(number)
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, KeyError) as error:
        raise CooptrackError(f"{path}: recording: cannot be read ({error}); install cooptrack again") from error


@lru_cache(maxsize=4)
def load_site(number: int) -> Site:
    """The site of this number."""
    data = _read(number)
    rows, lines = data["lanes"], _lines(data["lane_count"], data["lane_points"])
    lanes = tuple(
        Lane(int(r[0]), int(r[1]), bool(r[2]), float(r[3]) / _MM, line) for r, line in zip(rows, lines, strict=True)
    )
    crossings = _lines(data["crossing_count"], data["crossing_points"])
    widths = data["crossing_width"].astype(np.float64) / _MM
    return Site(
        number, lanes, data["junction"].astype(np.float64) / _MM,
        _lines(data["walking_count"], data["walking_points"]),
        tuple((line, float(w)) for line, w in zip(crossings, widths, strict=True)),
        tuple(Pole(*(float(v) for v in row)) for row in data["poles"]), int(data["arms"]),
        tuple(json.loads(str(data["windows"]))),
    )  # fmt: skip


@lru_cache(maxsize=4)
def load_window(number: int, window: int) -> Window:
    """Recorded traffic of one of the site's sequences."""
    data = _read(number)
    rows, motion = data[f"users_{window}"], data[f"motion_{window}"]
    kinds, ends = [str(k) for k in data["kinds"]], np.cumsum(rows[:, 3])
    tracks = tuple(
        (kinds[int(kind)], bool(parked), int(first), unpack_motion(motion[end - count : end]))
        for (kind, parked, first, count), end in zip(rows, ends, strict=True)
    )
    return Window(tracks, data[f"lights_{window}"])


__all__ = [
    "BIKE", "DRIVE", "FOLDER", "PARKING", "SIDEWALK", "Lane", "Pole", "Site", "Window", "load_site", "load_window",
    "pack_lines", "pack_motion", "site_file", "unpack_motion",
]  # fmt: skip
