"""One run of SUMO, and what it recorded as arrays."""

from __future__ import annotations

import math
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.catalog import KINDS, WALKERS

Float = NDArray[np.float64]

STEP_S = 0.1
WARM_UP_S, RECORD_S = 80.0, 130.0
_AXLE = 0.78  # share of the length from the front bumper to the rear axle


@dataclass(frozen=True)
class Track:
    """One road user: step of its first sample, its centre and heading [N, 3] at every step."""

    name: str
    kind: str
    first: int
    xyh: Float

    @property
    def last(self) -> int:
        """Step of the last sample."""
        return self.first + len(self.xyh) - 1


@dataclass(frozen=True)
class Run:
    """A recorded run: tracks by name, and the signal state string of every step."""

    density: str
    tracks: list[Track]
    lights: list[str]


def record(net: Path, routes: Path, density: str, seed: int, folder: Path) -> Run:
    """Runs SUMO and reads what it wrote."""
    fcd, tls, extra = folder / "fcd.xml", folder / "tls.xml", folder / "add.xml"
    extra.write_text(f'<additional><timedEvent type="SaveTLSStates" source="c" dest="{tls}"/></additional>')
    subprocess.run(
        [
            "sumo", "-n", str(net), "-r", str(routes), "-a", f"{routes.with_name('stops.xml')},{extra}",
            "--fcd-output", str(fcd),
            "--fcd-output.attributes", "x,y,angle,type", "--begin", "0", "--end", str(WARM_UP_S + RECORD_S),
            "--device.fcd.begin", str(WARM_UP_S), "--step-length", str(STEP_S), "--lateral-resolution", "0.6",
            "--collision.action", "none", "--seed", str(seed), "--no-step-log", "--no-warnings",
            "--time-to-teleport", "-1", "--precision", "4", "--pedestrian.model", "striping",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return Run(density, _tracks(fcd), _lights(tls))


_ITEM = re.compile(
    r'<timestep time="([\d.]+)"|<(?:vehicle|person) id="([^"]+)" x="([-\d.]+)" y="([-\d.]+)" angle="([-\d.]+)" '
    r'type="([^"]+)"'
)


def _tracks(fcd: Path) -> list[Track]:
    rows: dict[str, tuple[str, int, list[tuple[float, float, float]]]] = {}
    step = -1
    for item in _ITEM.finditer(fcd.read_text()):
        time, name, x, y, angle, kind = item.groups()
        if time is not None:
            step = round((float(time) - WARM_UP_S) / STEP_S)
            continue
        if name not in rows:
            rows[name] = (kind.split("@")[0], step, [])
        rows[name][2].append((float(x), float(y), np.pi / 2 - np.deg2rad(float(angle))))
    tracks = []
    for name, (kind, first, samples) in sorted(rows.items()):
        if len(samples) > 20 and kind in KINDS:
            tracks.append(Track(name, kind, first, _smooth(kind, np.array(samples))))
    return tracks


def _smooth(kind: str, samples: Float) -> Float:
    """Body centre and heading [N, 3] from SUMO's front bumper: smoothed, with a rear axle that cannot slide."""
    xy, heading = _blur(samples[:, :2], 2.0), np.unwrap(samples[:, 2])
    length = KINDS[kind].size_m[0]
    if kind in WALKERS:
        d = np.gradient(_blur(xy, 3.0), axis=0)
        moving = np.hypot(*d.T) > 0.03
        heading = np.where(moving, np.arctan2(d[:, 1], d[:, 0]), heading)
        return np.column_stack([xy, _blur(np.unwrap(heading)[:, None], 3.0)[:, 0]])
    reach = _AXLE * length
    rear_x, rear_y = float(xy[0, 0] - reach * np.cos(heading[0])), float(xy[0, 1] - reach * np.sin(heading[0]))
    out = []
    for x, y in xy.tolist():
        h = math.atan2(y - rear_y, x - rear_x)
        c, s = math.cos(h), math.sin(h)
        rear_x, rear_y = x - reach * c, y - reach * s
        out.append((x - 0.5 * length * c, y - 0.5 * length * s, h))
    smooth = np.array(out)
    smooth[:, 2] = np.unwrap(smooth[:, 2])
    return smooth


def _blur(values: Float, sigma: float) -> Float:
    """Gaussian smoothing along time with reflected ends that keep the slope."""
    n = min(int(3 * sigma), len(values) - 1)
    kernel = np.exp(-0.5 * (np.arange(-n, n + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.concatenate([2 * values[:1] - values[n:0:-1], values, 2 * values[-1:] - values[-2 : -n - 2 : -1]])
    return np.stack([np.convolve(padded[:, k], kernel, mode="valid") for k in range(values.shape[1])], axis=1)


def _lights(tls: Path) -> list[str]:
    states = re.findall(r'<tlsState time="([\d.]+)"[^>]*state="(\w+)"', tls.read_text())
    return [state for time, state in states if float(time) >= WARM_UP_S - 1e-6]


__all__ = ["RECORD_S", "STEP_S", "Run", "Track", "record"]
