"""Small evaluation sets by hand, and random ones: builders for the tests of the metrics."""

from dataclasses import replace

import numpy as np

from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet, FrameTable
from cooptrack_core.types import VIEW_UNKNOWN

CLASSES, RANGES_M = ("car", "bicycle", "pedestrian"), (50.0, 40.0, 40.0)
SIZES_M = ((4.0, 2.0, 1.5), (2.0, 0.8, 1.6), (0.6, 0.6, 1.7))


def frame_table(frames_of_scenes, T_map_from_lidar=None):
    """Frames at 10 Hz, the vehicle at the origin of the map if no poses [F, 4, 4] are given."""
    scene = np.repeat(np.arange(len(frames_of_scenes)), frames_of_scenes)
    count = len(scene)
    if T_map_from_lidar is None:
        T_map_from_lidar = np.tile(np.eye(4), (count, 1, 1))
    time_us = np.concatenate([np.arange(n) * 100_000 for n in frames_of_scenes]) if count else np.zeros(0)
    return FrameTable(
        tuple(f"{n:06d}" for n in range(count)), scene.astype(np.int64),
        tuple(f"{n:04d}" for n in range(len(frames_of_scenes))), time_us.astype(np.int64),
        T_map_from_lidar[:, :2, 3].copy(), T_map_from_lidar,
    )  # fmt: skip


def box_table(rows):
    """Rows (frame, track, x, y) with optional fields by name: class_index, z, size, heading, score, view."""
    rows = sorted(rows, key=lambda row: row["frame"])

    def column(name, default, dtype=np.float64):
        return np.array([row.get(name, default) for row in rows], dtype)

    classes = column("class_index", 0, np.int64)
    sizes = [row.get("size", SIZES_M[row.get("class_index", 0)]) for row in rows]
    center_m = np.stack([column("x", 0.0), column("y", 0.0), column("z", 0.0)], axis=1)
    return BoxTable(
        column("frame", 0, np.int64), classes, column("track", 0, np.int64), center_m,
        np.array(sizes, np.float64).reshape(-1, 3), column("heading", 0.0), np.full((len(rows), 2), np.nan),
        column("score", 1.0), column("view", VIEW_UNKNOWN, np.int64),
    )  # fmt: skip


def evaluation_set(frames_of_scenes, truth, predictions, T_map_from_lidar=None):
    """An EvaluationSet of rows as box_table takes them; classes car, bicycle, pedestrian."""
    frames = frame_table(frames_of_scenes, T_map_from_lidar)
    return EvaluationSet(frames, box_table(truth), box_table(predictions), CLASSES, RANGES_M)


def random_set(seed, frames_of_scenes, objects=6, *, missed=0.2, false=0.3, noise_m=0.6, swapped=0.02):
    """Objects on straight ways and tracks that follow them with noise, gaps, false boxes and changes of identity."""
    rng = np.random.default_rng(seed)
    truth, predictions = [], []
    first, next_track = 0, 0
    for scene, frames in enumerate(frames_of_scenes):
        start, step_m = rng.uniform(-35, 35, (objects, 2)), rng.uniform(-1, 1, (objects, 2))
        track_of = next_track + np.arange(objects)
        next_track += objects
        for n in range(frames):
            for k in range(objects):
                x, y = start[k] + n * step_m[k]
                row = {"frame": first + n, "class_index": k % 3, "heading": float(rng.uniform(-0.1, 0.1)) + k}
                truth.append(row | {"track": scene * objects + k, "x": x, "y": y, "view": int(rng.integers(0, 4))})
                if rng.random() < swapped:
                    track_of[k], next_track = next_track, next_track + 1
                if rng.random() >= missed:
                    dx, dy = rng.normal(0, noise_m, 2)
                    score = round(float(rng.random()), 2)
                    predictions.append(row | {"track": track_of[k], "x": x + dx, "y": y + dy, "score": score})
            if rng.random() < false:
                x, y = rng.uniform(-45, 45, 2)
                row = {"frame": first + n, "class_index": int(rng.integers(0, 3)), "track": next_track, "x": x, "y": y}
                predictions.append(row | {"score": round(float(rng.random()), 2)})
                next_track += 1
        first += frames
    return evaluation_set(frames_of_scenes, truth, predictions)


def repeated(data, times):
    """The scenes so often, one copy after the other, each with ids of its own."""
    order = [scene for scene, count in enumerate(times) for _ in range(count)]
    rows = [np.flatnonzero(data.frames.scene == scene) for scene in order]
    starts = np.cumsum([0, *map(len, rows)])
    index = np.concatenate(rows).astype(np.int64)
    frames = FrameTable(
        tuple(f"{n}" for n in range(len(index))),
        np.repeat(np.arange(len(order)), [len(row) for row in rows]),
        tuple(f"copy {n}" for n in range(len(order))),
        data.frames.timestamp_us[index],
        data.frames.ego_xy_m[index],
    )

    def copied(boxes):
        parts = []
        for copy, row in enumerate(rows):
            part = boxes.select((boxes.frame >= row[0]) & (boxes.frame <= row[-1]))
            track = part.track + copy * 10_000
            parts.append(replace(part, frame=part.frame - row[0] + starts[copy], track=track, written_id=track))
        return BoxTable(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in vars(parts[0])})

    return replace(data, frames=frames, truth=copied(data.truth), predictions=copied(data.predictions))
