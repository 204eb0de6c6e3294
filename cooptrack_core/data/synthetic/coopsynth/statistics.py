"""Counts of the benchmark and the table made of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from cooptrack_core.data.synthetic.labels import FrameLabels
from cooptrack_core.data.synthetic.scene import Scene
from cooptrack_core.geometry.transforms import inverse

CAR_LIKE, CYCLES = ("Car", "Truck", "Van", "Bus"), ("Cyclist", "Motorcyclist", "Tricyclist")
_DISTANCES_M = (10.0, 20.0, 30.0, 40.0, 50.0)
_SPEEDS_MPS = (0.3, 3.0, 7.0, 11.0)


def class_of(raw_type: str) -> str:
    """car, bicycle or pedestrian."""
    return "car" if raw_type in CAR_LIKE else ("bicycle" if raw_type in CYCLES else "pedestrian")


def tally(scene: Scene, frames: list[FrameLabels]) -> dict[str, int]:
    """Numbers of labels and tracks of a sequence, by what they are called in the table.

    In range: within 50 m (cars) or 40 m (others) of the vehicle. Hidden: seen by the roadside only.
    """
    counts: Counter[str] = Counter()
    tracks: set[tuple[str, str]] = set()
    T = inverse(scene.rig.T_novatel_from_lidar)[:2, 3]
    ids = {user.index: user for user in scene.users}
    counts["frames"] = len(frames)
    for frame, content in enumerate(frames):
        counts["vehicle labels"] += len(content.vehicle_lidar)
        counts["infrastructure labels"] += len(content.infrastructure_lidar)
        in_range_both = 0
        for row in content.cooperative:
            name = class_of(row["type"])
            tracks.add((name, row["track_id"]))
            distance = float(np.hypot(row["3d_location"]["x"] - T[0], row["3d_location"]["y"] - T[1]))
            counts["cooperative labels"] += 1
            if distance > (50.0 if name == "car" else 40.0):
                continue
            counts[f"{name} in range"] += 1
            counts[f"{name} {row['from_side']}"] += 1
            view = content.visibility["objects"][row["track_id"]]["vehicle"]["view"]
            if row["from_side"] == "inf":
                counts[f"{name} hidden: {'occluded' if view == 'occluded' else view}"] += 1
            in_range_both += row["from_side"] == "coop"
            if name == "car":
                counts[f"distance {int(np.searchsorted(_DISTANCES_M, distance))}"] += 1
        counts[f"pairs with {min(in_range_both, 3)} seen by both"] += 1
        _tally_speeds(scene, frame, ids, counts)
    for name in ("car", "bicycle", "pedestrian"):
        counts[f"{name} tracks"] = sum(kind == name for kind, _ in tracks)
    return dict(counts)


def _tally_speeds(scene: Scene, frame: int, ids: dict[int, Any], counts: Counter[str]) -> None:
    """Speeds of the motor vehicles in the scene within 60 m of the vehicle."""
    stamps = scene.rig.stamps[frame]
    time_s = stamps.scene_s(stamps.vehicle_us)
    x, y, _, own = scene.ego.pose(time_s)
    counts[f"ego speed {int(np.searchsorted(_SPEEDS_MPS, own))}"] += 1
    for user in ids.values():
        if user.plan.ego or not user.exists(time_s) or class_of(user.plan.kind.raw_type) != "car":
            continue
        px, py, _, speed = user.pose(time_s)
        if np.hypot(px - x, py - y) <= 60.0:
            counts[f"speed {int(np.searchsorted(_SPEEDS_MPS, speed))}"] += 1


def overview(sequences: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The table: by split, rows of numbers and shares."""
    out = {}
    for split in ("train", "val", "test"):
        members = [s for s in sequences if s["split"] == split]
        total: Counter[str] = Counter()
        for s in members:
            total.update(s["counts"])
        if members:
            out[split] = _rows(members, total)
    return out


def _rows(members: list[dict[str, Any]], n: Counter[str]) -> dict[str, Any]:
    frames = n["frames"]

    def share(part: float, whole: float) -> float:
        return round(part / whole, 3) if whole else 0.0

    rows: dict[str, Any] = {
        "sequences": len(members), "pairs": frames, "sites": len({s["site"] for s in members}),
        "poles": len({(s["site"], s["pole"]) for s in members}),
    }  # fmt: skip
    for key in ("ego_manoeuvre", "density", "light"):
        found = Counter(str(s[key]) for s in members)
        rows[key.replace("_", " ")] = ", ".join(f"{k} {v}" for k, v in sorted(found.items()))
    for key in ("vehicle labels", "infrastructure labels", "cooperative labels"):
        rows[f"{key} per pair"] = round(n[key] / frames, 2)
    for name in ("car", "bicycle", "pedestrian"):
        inside = n[f"{name} in range"]
        rows[f"{name}: tracks"] = n[f"{name} tracks"]
        rows[f"{name}: labels in range"] = inside
        rows[f"{name}: seen by the vehicle only"] = share(n[f"{name} veh"], inside)
        rows[f"{name}: seen by both"] = share(n[f"{name} coop"], inside)
        rows[f"{name}: hidden, outside the vehicle's view"] = share(n[f"{name} hidden: outside"], inside)
        rows[f"{name}: hidden, occluded"] = share(n[f"{name} hidden: occluded"], inside)
        rows[f"{name}: hidden, too few pixels"] = share(n[f"{name} hidden: visible"], inside)
    names = ("none", "one", "two", "three or more")
    for k, word in enumerate(names):
        rows[f"pairs with {word} in range seen by both"] = share(n[f"pairs with {k} seen by both"], frames)
    for title, key, edges in (
        ("car distance", "distance", _DISTANCES_M), ("car speed", "speed", _SPEEDS_MPS),
        ("ego speed", "ego speed", _SPEEDS_MPS),
    ):  # fmt: skip
        bins = len(edges) if key == "distance" else len(edges) + 1
        whole = sum(n[f"{key} {k}"] for k in range(bins))
        unit = "m" if key == "distance" else "m/s"
        for k in range(bins):
            low, high = edges[k - 1] if k else 0.0, edges[k] if k < len(edges) else None
            span = f"{low:g} to {high:g} {unit}" if high is not None else f"above {low:g} {unit}"
            rows[f"{title} {span}"] = share(n[f"{key} {k}"], whole)
    return rows


def benchmark_table(table: dict[str, dict[str, Any]]) -> str:
    """The table as text, a column a split; rows of words are written below each other."""
    splits = list(table)
    names = list(table[splits[0]])
    lines = [f"{'':46s}" + "".join(f"{s:>12s}" for s in splits)]
    for name in names:
        values = [table[s][name] for s in splits]
        if isinstance(values[0], str):
            lines += [f"{name + ' (' + s + ')':26s}{v}" for s, v in zip(splits, values, strict=True)]
        else:
            lines.append(f"{name:46s}" + "".join(f"{v:12g}" for v in values))
    return "\n".join(lines)


__all__ = ["benchmark_table", "class_of", "overview", "tally"]
