"""Makes the recordings of CoopSynth with SUMO: `python scripts/coopsynth_traffic.py [SITE ...]`.

Only needed to make another version of the benchmark; the recordings ship with the package. Asks for
`pip install -r scripts/coopsynth/requirements.txt`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

from coopsynth import choose, demand, geometry, layouts, runs  # noqa: E402

from cooptrack_core.data.synthetic.catalog import KINDS  # noqa: E402
from cooptrack_core.data.synthetic.coopsynth import plan  # noqa: E402
from cooptrack_core.data.synthetic.coopsynth.site import pack_lines, pack_motion, site_file  # noqa: E402

SEED = 20261
POLES = 3


def make_site(number: int) -> str:
    """Records a site and writes its file; a line about it."""
    count, duration_s = plan.windows_at(number)
    layout = layouts.draw_layout(number, SEED)
    rng = np.random.default_rng([SEED, number, 1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net = layouts.build_network(layout, folder)
        ground = geometry.read_ground(net, len(layout.arms))
        recorded = []
        for density in demand.DENSITY:
            demand.write_demand(layout, density, SEED, 1000.0, folder / "routes.xml")
            recorded.append(runs.record(net, folder / "routes.xml", density, SEED + number, folder))
    parked = [choose.parked_users(layout, ground, rng) for _ in recorded]
    poles = choose.draw_poles(layout, ground, POLES, rng)
    chooser = choose.Chooser(layout, recorded, parked, poles)
    picked = chooser.pick(count, duration_s, rng)
    if len(picked) < count:
        raise SystemExit(f"site {number}: only {len(picked)} of {count} sequences found")
    arrays = _geometry_arrays(ground, poles, len(layout.arms))
    windows = []
    for k, c in enumerate(picked):
        arrays |= _window_arrays(k, c, chooser, ground)
        windows.append(
            {"density": recorded[c.run].density, "pole": c.pole, "arm": c.arm, "exit_arm": c.exit_arm,
             "manoeuvre": _manoeuvre(layout, c), "duration_s": duration_s}
        )  # fmt: skip
    arrays["windows"] = np.array(json.dumps(windows))
    file = site_file(number)
    file.parent.mkdir(exist_ok=True)
    np.savez_compressed(file, **arrays)
    shared = np.mean([c.shared for c in picked])
    ways = " ".join(f"{w['density'][0]}{w['manoeuvre'][0]}" for w in windows)
    return f"site {number:2d}: {len(layout.arms)} arms, {file.stat().st_size / 1e3:.0f} kB, shared {shared:.1f}, {ways}"


def _geometry_arrays(ground: geometry.Ground, poles: list[choose.Pole], arms: int) -> dict[str, np.ndarray]:
    out = {}
    for name, lines in (
        ("lane", [lane.centre_m for lane in ground.lanes]), ("walking", ground.walking_m),
        ("crossing", [line for line, _ in ground.crossings]),
    ):  # fmt: skip
        out[f"{name}_count"], out[f"{name}_points"] = pack_lines(lines)
    rows = [(lane.kind, lane.arm, int(lane.inbound), round(lane.width_m * 1000)) for lane in ground.lanes]
    return out | {
        "lanes": np.array(rows, np.int32), "arms": np.array(arms),
        "crossing_width": np.array([round(w * 1000) for _, w in ground.crossings], np.int32),
        "junction": np.rint(ground.junction_m * 1000).astype(np.int32),
        "poles": np.round([(p.x_m, p.y_m, p.height_m, p.yaw_rad, p.pitch_rad, p.zoom) for p in poles], 4),
        "kinds": np.array(list(KINDS)),
    }  # fmt: skip


def _window_arrays(k: int, c: choose.Choice, chooser: choose.Chooser, ground: geometry.Ground) -> dict[str, np.ndarray]:
    names, users = list(KINDS), chooser.users(c)
    rows = []
    for u in users:
        first = 0 if u.plan.parked else round((u.plan.birth_s + choose.LEAD_S) / runs.STEP_S)
        rows.append((names.index(u.plan.kind.name), int(u.plan.parked), first, len(u.xyh)))
    lead = round(choose.LEAD_S / runs.STEP_S)
    states = chooser.runs[c.run].lights[c.start - lead : c.start + c.steps + round(choose.TAIL_S / runs.STEP_S) + 1]
    lights = [[_light(state, links) for state in states] for links in ground.links]
    return {
        f"users_{k}": np.array(rows, np.int32), f"lights_{k}": np.array(lights, np.uint8),
        f"motion_{k}": np.concatenate([pack_motion(u.xyh) for u in users]),
    }  # fmt: skip


def _light(state: str, links: list[int]) -> int:
    """0 red, 1 yellow, 2 green: what most lanes of an arm show."""
    shown = [state[i].lower() for i in links]
    return 2 if "g" in shown else (1 if "y" in shown else 0)


def _manoeuvre(layout: layouts.Layout, c: choose.Choice) -> str:
    turn = layout.arms[c.exit_arm].heading_rad - (layout.arms[c.arm].heading_rad + np.pi)
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    return "through" if abs(turn) < np.deg2rad(40) else ("left" if turn > 0 else "right")


def main() -> None:
    """Makes the sites named on the command line, or all."""
    for number in [int(a) for a in sys.argv[1:]] or range(plan.SITES):
        print(make_site(number), flush=True)


if __name__ == "__main__":
    main()
