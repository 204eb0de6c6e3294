"""What a finished dataset contains, as numbers and as a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from cooptrack_core.data.synthetic.coopsynth.statistics import benchmark_table, overview, tally
from cooptrack_core.data.synthetic.labels import FrameLabels, track_ids
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.scene import Scene
from cooptrack_core.data.synthetic.sensors import NOVATEL_HEIGHT_M
from cooptrack_core.data.synthetic.writer import split_of_sequences
from cooptrack_core.geometry.transforms import inverse

CLASS_RANGE_M = {"Car": 50.0, "Truck": 50.0, "Van": 50.0, "Bus": 50.0}
OTHER_RANGE_M = 40.0


def sequence_summary(scene: Scene, frames: list[FrameLabels]) -> dict[str, Any]:
    """What a sequence is, and its statistics; of the benchmark with the counts that its table is made of."""
    content = {
        "sequence_id": split_of_sequences(scene.options)[0][scene.number],
        "location": scene.rig.location,
        "ego_manoeuvre": scene.manoeuvre,
        **scene.notes,
        "ego_infrastructure_track_id": track_ids(scene).infrastructure[scene.ego.index],
        "statistics": sequence_statistics(scene, frames),
    }
    return content | ({"counts": tally(scene, frames)} if scene.options.benchmark else {})


def summary(schema: str, options: SceneOptions, sequences: list[dict[str, Any]]) -> dict[str, Any]:
    """Content of synthetic.json from the summaries of all sequences."""
    content = {"schema": schema, "seed": options.seed, "novatel_height_m": NOVATEL_HEIGHT_M}
    if not options.benchmark:
        return content | {"sequences": sequences}
    bare = [{key: value for key, value in s.items() if key != "counts"} for s in sequences]
    return content | {"benchmark": options.benchmark, "table": overview(sequences), "sequences": bare}


def sequence_statistics(scene: Scene, frames: list[FrameLabels]) -> dict[str, Any]:
    """Means over the frames of a sequence."""
    T = inverse(scene.rig.T_novatel_from_lidar)[:2, 3]
    counts: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        counts.setdefault(name, []).append(value)

    classes: dict[str, set[str]] = {}
    for frame in frames:
        note("vehicle_labels", len(frame.vehicle_lidar))
        note("infrastructure_labels", len(frame.infrastructure_lidar))
        note("cooperative_labels", len(frame.cooperative))
        inside = {}
        for r in frame.cooperative:
            classes.setdefault(r["type"], set()).add(r["track_id"])
            reach = CLASS_RANGE_M.get(r["type"], OTHER_RANGE_M)
            p = r["3d_location"]
            inside[r["track_id"]] = bool(np.hypot(p["x"] - T[0], p["y"] - T[1]) <= reach)
            note(f"from_{r['from_side']}", 0.0)
        for side in ("veh", "inf", "coop"):
            note(f"only_{side}" if side != "coop" else "both", sum(r["from_side"] == side for r in frame.cooperative))
        from_inf = [r for r in frame.cooperative if r["from_side"] != "veh"]
        note(
            "infrastructure_in_range_share",
            float(np.mean([inside[r["track_id"]] for r in from_inf])) if from_inf else 0.0,
        )
        views = [
            (frame.visibility["objects"][r["track_id"]]["vehicle"]["view"], inside[r["track_id"]])
            for r in frame.cooperative
        ]
        note("in_range", sum(i for _, i in views))
        note("hidden_outside_view_in_range", sum(i and v == "outside" for v, i in views))
        note("hidden_occluded_in_range", sum(i and v == "occluded" for v, i in views))
    means = {k: round(float(np.mean(v)), 3) for k, v in counts.items() if not k.startswith("from_")}
    tracks = {k: len(v) for k, v in sorted(classes.items())}
    return {"frames": len(frames), "road_users_simulated": len(scene.users), **means, "tracks_by_type": tracks}


def table(content: dict[str, Any]) -> str:
    """The statistics as text: a column a sequence (the first six), or the benchmark's table."""
    if "table" in content:
        return benchmark_table(content["table"])
    sequences = content["sequences"][:6]
    lines = [f"{'sequence':34s}" + "".join(f"{s['sequence_id'] + ' ' + s['ego_manoeuvre']:>16s}" for s in sequences)]
    names = [k for k in sequences[0]["statistics"] if k != "tracks_by_type"]
    for name in names:
        lines.append(f"{name.replace('_', ' '):34s}" + "".join(f"{s['statistics'][name]:16g}" for s in sequences))
    kinds = sorted({k for s in sequences for k in s["statistics"]["tracks_by_type"]})
    for kind in kinds:
        lines.append(
            f"{'tracks of type ' + kind:34s}"
            + "".join(f"{s['statistics']['tracks_by_type'].get(kind, 0):16d}" for s in sequences)
        )
    return "\n".join(lines)


__all__ = ["sequence_statistics", "sequence_summary", "summary", "table"]
