"""The intersections of CoopSynth: arms, lanes and signals drawn from a seed, and built into a road network."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ARM_LENGTH_M = 145.0
PARKING_WIDTH_M, BIKE_WIDTH_M = 2.3, 1.7


@dataclass(frozen=True)
class Arm:
    """One street: outward direction, lanes, and the bend of its far half."""

    heading_rad: float
    lanes_in: int
    lanes_out: int
    lane_width_m: float
    sidewalk_m: float
    bike: bool
    parking: bool
    bend_m: float
    speed_mps: float

    @property
    def first_lane(self) -> int:
        """SUMO index of the rightmost driving lane: sidewalk, bike lane and parking lie to the right of it."""
        return 1 + int(self.bike) + int(self.parking)


@dataclass(frozen=True)
class Layout:
    """An intersection."""

    number: int
    arms: tuple[Arm, ...]
    radius_m: float
    bus_stop: bool


def draw_layout(number: int, seed: int) -> Layout:
    """Layout of a site."""
    rng = np.random.default_rng([seed, number])
    count = 3 if rng.random() < 0.35 else 4
    if count == 4:
        base = np.array([0.0, 0.5, 1.0, 1.5]) * np.pi
        turn = np.deg2rad(rng.uniform(-18, 18, 4) if rng.random() < 0.6 else rng.uniform(-4, 4, 4))
    else:
        base = np.array([0.0, 0.5, 1.0] if rng.random() < 0.65 else [0.0, 2 / 3, 4 / 3]) * np.pi
        turn = np.deg2rad(rng.uniform(-14, 14, 3))
    headings = base + turn + float(rng.uniform(0, 2 * np.pi))
    main = int(rng.integers(2))  # which of the two streets is the larger one
    bike, width = bool(rng.random() < 0.55), float(rng.uniform(3.0, 3.6))
    sidewalk, parking = float(rng.uniform(2.6, 4.2)), rng.random(2) < 0.55
    lanes = (int(rng.integers(2, 4)), int(rng.integers(1, 3)))
    outs = (2 if lanes[0] == 3 else int(rng.integers(1, 3)), 1 if lanes[1] == 1 else int(rng.integers(1, 3)))
    arms = []
    for i, heading in enumerate(headings):
        street = (i + main) % 2
        arms.append(
            Arm(
                float(heading), lanes[street], outs[street], width, sidewalk, bike, bool(parking[street]),
                float(rng.uniform(-14, 14)) if rng.random() < 0.5 else 0.0, float((15.3, 13.0)[street]),
            )
        )  # fmt: skip
    return Layout(number, tuple(arms), float(rng.uniform(5.0, 12.0)), bool(rng.random() < 0.8))


def build_network(layout: Layout, folder: Path) -> Path:
    """Writes nodes and edges and lets netconvert make the network; its path."""
    nodes = [f'<node id="c" x="0" y="0" type="traffic_light" radius="{layout.radius_m:.2f}"/>']
    edges = []
    for i, arm in enumerate(layout.arms):
        d = np.array([np.cos(arm.heading_rad), np.sin(arm.heading_rad)])
        side = np.array([-d[1], d[0]])
        end = ARM_LENGTH_M * d + arm.bend_m * side
        nodes.append(f'<node id="n{i}" x="{end[0]:.2f}" y="{end[1]:.2f}" type="priority"/>')
        steps = np.linspace(0.0, 1.0, 9)
        shape = [ARM_LENGTH_M * t * d + arm.bend_m * max(0.0, (t - 0.3) / 0.7) ** 2 * side for t in steps]
        out = " ".join(f"{p[0]:.2f},{p[1]:.2f}" for p in shape)
        back = " ".join(f"{p[0]:.2f},{p[1]:.2f}" for p in shape[::-1])
        for name, ends, line, count in (
            (f"i{i}", (f"n{i}", "c"), back, arm.lanes_in), (f"o{i}", ("c", f"n{i}"), out, arm.lanes_out),
        ):  # fmt: skip
            widths = [(arm.sidewalk_m, "pedestrian")]
            widths += [(BIKE_WIDTH_M, "bicycle")] if arm.bike else []
            widths += [(PARKING_WIDTH_M, "custom1")] if arm.parking else []
            motor = "passenger bus truck delivery taxi motorcycle moped" + ("" if arm.bike else " bicycle")
            widths += [(arm.lane_width_m, motor)] * count
            lanes = "".join(f'<lane index="{k}" width="{w:.2f}" allow="{a}"/>' for k, (w, a) in enumerate(widths))
            edges.append(
                f'<edge id="{name}" from="{ends[0]}" to="{ends[1]}" numLanes="{len(widths)}" '
                f'speed="{arm.speed_mps}" shape="{line}">{lanes}</edge>'
            )
    (folder / "a.nod.xml").write_text(f"<nodes>{''.join(nodes)}</nodes>")
    (folder / "a.edg.xml").write_text(f"<edges>{''.join(edges)}</edges>")
    net = folder / "a.net.xml"
    subprocess.run(
        [
            "netconvert", "-n", str(folder / "a.nod.xml"), "-e", str(folder / "a.edg.xml"), "-o", str(net),
            "--crossings.guess", "--walkingareas", "--no-turnarounds", "--junctions.corner-detail", "6",
            "--tls.green.time", "16", "--tls.yellow.time", "3", "--tls.allred.time", "2",
            "--offset.disable-normalization",
            "--no-warnings",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return net


__all__ = ["ARM_LENGTH_M", "Arm", "Layout", "build_network", "draw_layout"]
