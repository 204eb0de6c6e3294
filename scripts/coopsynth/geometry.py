"""What SUMO's network looks like on the ground: lanes, junction, crossings, and which link a signal rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sumolib
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.coopsynth.site import BIKE, DRIVE, PARKING, SIDEWALK, Lane

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Ground:
    """Geometry of a network around its origin; links: signal indices of the motor lanes of each arm."""

    lanes: list[Lane]
    junction_m: Float
    walking_m: list[Float]
    crossings: list[tuple[Float, float]]
    links: list[list[int]]


def read_ground(net_file: Path, arms: int) -> Ground:
    """Geometry of a network file."""
    net = sumolib.net.readNet(str(net_file), withInternal=True, withPedestrianConnections=True)
    lanes, walking, crossings = [], [], []
    links: list[list[int]] = [[] for _ in range(arms)]
    for edge in sorted(net.getEdges(withInternal=True), key=lambda e: e.getID()):
        function, name = edge.getFunction(), edge.getID()
        if function == "walkingarea" and name.startswith(":c_"):
            walking.append(np.array(edge.getLanes()[0].getShape())[:, :2])
        elif function == "crossing":
            lane = edge.getLanes()[0]
            crossings.append((np.array(lane.getShape())[:, :2], float(lane.getWidth())))
        elif not function:
            for lane in edge.getLanes():
                lanes.append(
                    Lane(_kind(lane), int(name[1:]), name[0] == "i", float(lane.getWidth()), _finer(lane.getShape()))
                )
                for c in lane.getOutgoing():
                    if name[0] == "i" and c.getTLLinkIndex() >= 0 and _kind(lane) == DRIVE:
                        links[int(name[1:])].append(c.getTLLinkIndex())
    return Ground(lanes, np.array(net.getNode("c").getShape())[:, :2], walking, crossings, links)


def _kind(lane: sumolib.net.lane.Lane) -> int:
    if lane.allows("passenger"):
        return DRIVE
    if lane.allows("bicycle"):
        return BIKE
    return SIDEWALK if lane.allows("pedestrian") else PARKING


def _finer(shape: list[tuple[float, float]]) -> Float:
    """The line with a point at least every 10 m."""
    p = np.array(shape)[:, :2]
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(p, axis=0).T))])
    at = np.unique(np.concatenate([s, np.linspace(0.0, s[-1], max(2, int(s[-1] / 10.0) + 1))]))
    return np.stack([np.interp(at, s, p[:, k]) for k in range(2)], axis=1)


__all__ = ["Ground", "read_ground"]
