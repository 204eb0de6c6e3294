"""Who drives and walks on a network: SUMO's routes file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from coopsynth.layouts import ARM_LENGTH_M, Layout
from cooptrack_core.data.synthetic.catalog import KINDS, MOTOR, RIDERS, WALKERS

DENSITY = {"light": 0.5, "medium": 1.0, "dense": 1.7}
_MIX = {
    "sedan": 5.0, "hatchback": 3.0, "suv": 4.5, "wagon": 2.0, "taxi": 1.2, "pickup": 0.6, "minivan": 1.2,
    "delivery_van": 1.3, "box_truck": 0.8, "tipper": 0.4, "city_bus": 0.35, "coach": 0.3, "e_scooter": 0.8,
    "motorcycle": 0.7,
}  # fmt: skip
_RIDER_MIX = {"bicycle": 3.0, "city_bike": 2.0, "cargo_trike": 1.0}
_CLASS = {"Car": "passenger", "Van": "delivery", "Truck": "truck", "Bus": "bus", "Motorcyclist": "motorcycle"}


def write_demand(layout: Layout, density: str, seed: int, end_s: float, path: Path) -> None:
    """Vehicle types, bus stop, flows of vehicles, cyclists and pedestrians."""
    rng = np.random.default_rng([seed, layout.number, list(DENSITY).index(density)])
    parts = [_type(name) for name in KINDS]
    for name, mix in (("motor", _MIX), ("rider", _RIDER_MIX)):
        members = " ".join(mix), " ".join(str(w) for w in mix.values())
        parts.append(f'<vTypeDistribution id="{name}" vTypes="{members[0]}" probabilities="{members[1]}"/>')
    flows, factor, count, stops = [], DENSITY[density], len(layout.arms), ""
    if layout.bus_stop:
        arm = int(rng.integers(count))
        lane, start = layout.arms[arm].first_lane, float(rng.uniform(22, 40))
        stops = f'<busStop id="stop" lane="o{arm}_{lane}" startPos="{start:.1f}" endPos="{start + 14:.1f}"/>'
        origin = (arm + max(1, count // 2)) % count
        flows.append(
            f'<flow id="bus" type="city_bus" from="i{origin}" to="o{arm}" begin="0" end="{end_s}" '
            f'period="{55 if density != "light" else 90}" departLane="best" departSpeed="max">'
            f'<stop busStop="stop" duration="24"/></flow>'
        )
    for i in range(count):
        for j in range(count):
            if i == j:
                continue
            share = layout.arms[i].lanes_in * float(rng.uniform(0.6, 1.4)) / (count - 1)
            flows.append(_flow(f"m{i}{j}", "motor", i, j, 0.105 * factor * share, end_s, "best"))
            if rng.random() < 0.7:
                flows.append(_flow(f"r{i}{j}", "rider", i, j, 0.010 * factor, end_s, "best"))
            for k, kind in enumerate(WALKERS):
                rate = 0.0026 * factor * KINDS[kind].weight / 3.0
                for a, b in ((f"i{i}", f"o{j}"), (f"o{i}", f"o{j}")):
                    flows.append(
                        f'<personFlow id="p{i}{j}{k}{a[0]}" type="{kind}" begin="0" end="{end_s}" '
                        f'probability="{rate:.5f}" departPos="{ARM_LENGTH_M * (0.2 if a[0] == "i" else 0.7):.0f}">'
                        f'<walk from="{a}" to="{b}"/></personFlow>'
                    )
    path.write_text(f"<routes>{''.join(parts + flows)}</routes>")
    path.with_name("stops.xml").write_text(f"<additional>{stops}</additional>")  # SUMO reads stops before routes


def _flow(name: str, kind: str, i: int, j: int, rate_per_s: float, end_s: float, lane: str) -> str:
    return (
        f'<flow id="{name}" type="{kind}" from="i{i}" to="o{j}" begin="0" end="{end_s}" '
        f'probability="{min(rate_per_s, 0.5):.5f}" departLane="{lane}" departSpeed="desired"/>'
    )


def _type(name: str) -> str:
    kind = KINDS[name]
    length, width, height = kind.size_m
    size = f'length="{length}" width="{width}" height="{height}"'
    if name in WALKERS:
        return f'<vType id="{name}" vClass="pedestrian" {size} maxSpeed="{kind.speed_mps * 1.15:.2f}" speedDev="0.12"/>'
    pedals = name in RIDERS and kind.raw_type != "Motorcyclist"
    vclass = "bicycle" if pedals else _CLASS[kind.raw_type]
    gap = kind.standstill_m + (0.6 if name in MOTOR else 0.4)
    top = kind.speed_mps * (1.25 if name not in RIDERS else 1.1)
    model = 'carFollowModel="IDM"' if vclass != "bicycle" else ""
    return (
        f'<vType id="{name}" vClass="{vclass}" {size} maxSpeed="{top:.2f}" accel="{kind.acceleration_mps2}" '
        f'decel="3.0" minGap="{gap:.1f}" tau="{max(1.0, kind.headway_s):.1f}" speedDev="0.1" '
        f'latAlignment="{"right" if vclass == "bicycle" else "center"}" {model}/>'
    )


__all__ = ["DENSITY", "write_demand"]
