#!/usr/bin/env python3
"""Times of the evaluation on 1000 frames with 20,000 predicted boxes of three classes: every metric, bootstrap.

Random but realistic: objects that drive or walk, tracks with noise, holes, exchanged ids, duplicates and false alarms.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
from bench_core import timed

from cooptrack_core.evaluation.detection import detection_scores, match_detections
from cooptrack_core.evaluation.hidden import hidden_recall
from cooptrack_core.evaluation.hota import hota, why_no_hota
from cooptrack_core.evaluation.iou_ap import iou_ap
from cooptrack_core.evaluation.scene_curves import amota_of_many, scene_curves
from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet, FrameTable
from cooptrack_core.evaluation.tracking import tracking_scores

CLASSES = (("car", 50.0, 1.0), ("bicycle", 40.0, 0.4), ("pedestrian", 40.0, 0.15))  # name, range in m, m a frame
SHARES = (0.5, 0.2, 0.3)
SIZE_M = ((4.5, 1.9, 1.6), (1.8, 0.7, 1.5), (0.7, 0.6, 1.7))
LIFE = 40  # frames for which an object stays
GOAL_S = 5.0
RESAMPLES = 1000


def drive(scenes: int, frames: int, boxes: int, rng: np.random.Generator) -> EvaluationSet:
    """`boxes` predicted boxes in `frames` frames, in `scenes` equal scenes at 10 Hz."""
    per_scene = frames // scenes
    alive = max(round(boxes / frames / 1.02), 1)  # objects at a time: most are seen, some twice, some are false
    frame = np.arange(scenes * per_scene)
    table = FrameTable(
        token=tuple(f"{index:06d}" for index in frame),
        scene=frame // per_scene,
        scene_names=tuple(f"{index:04d}" for index in range(scenes)),
        timestamp_us=frame * 100_000,
        ego_xy_m=np.zeros((len(frame), 2)),
        T_map_from_lidar=np.tile(np.eye(4), (len(frame), 1, 1)),
    )
    truth = _objects(scenes, per_scene, alive, rng)
    predictions = _tracks(truth, boxes, rng)
    names, ranges_m, _ = zip(*CLASSES, strict=True)
    return EvaluationSet(table, truth, predictions, names, ranges_m)


def _objects(scenes: int, per_scene: int, alive: int, rng: np.random.Generator) -> BoxTable:
    """Objects that stay for LIFE frames and are then replaced; track // (their number in a scene) is the scene."""
    spans = -(-per_scene // LIFE)
    count = scenes * spans * alive
    kind = rng.choice(len(CLASSES), count, p=SHARES)
    reach_m, speed_m = (np.array(column)[kind, None] for column in list(zip(*CLASSES, strict=True))[1:])
    start_m = rng.uniform(-0.7, 0.7, (count, 2)) * reach_m
    heading_rad = rng.uniform(-np.pi, np.pi, count)
    step_m = np.column_stack([np.cos(heading_rad), np.sin(heading_rad)]) * speed_m * (rng.random((count, 1)) < 0.6)
    track, age = (grid.ravel() for grid in np.meshgrid(np.arange(count), np.arange(LIFE), indexing="ij"))
    time = track // alive % spans * LIFE + age
    frame = track // (spans * alive) * per_scene + time
    order = np.argsort(frame, kind="stable")
    order = order[time[order] < per_scene]
    track, age = track[order], age[order, None]
    return BoxTable(
        frame=frame[order], class_index=kind[track], track=track, size_m=np.array(SIZE_M)[kind[track]],
        center_m=np.column_stack([start_m[track] + step_m[track] * (age - LIFE / 2), np.zeros(len(track))]),
        heading_rad=heading_rad[track], velocity_mps=step_m[track] * 10, score=np.ones(len(track)),
    )  # fmt: skip


def _tracks(truth: BoxTable, boxes: int, rng: np.random.Generator) -> BoxTable:
    """What a tracker might report: most objects, some again under another id, and false alarms."""
    count = int(truth.track.max()) + 1
    difficulty = rng.uniform(0, 1, count)
    ids = 1 + (rng.random(count) < 0.3)  # tracks of an object, one after the other
    first = np.full(count, truth.frame[-1])
    np.minimum.at(first, truth.track, truth.frame)
    share = (truth.frame - first[truth.track]) / LIFE
    parts = []
    for kind, rate, noise_m in ((0, 1.0, 0.5), (1, 0.1, 0.9), (2, 0.2, 8.0)):  # object, duplicate, false alarm
        hard = difficulty[truth.track]
        rows = np.flatnonzero(rng.random(len(truth)) < rate * (1 - 0.4 * hard))
        part = truth.select(rows)
        number = (share[rows] * ids[part.track]).astype(np.int64)
        center_m = part.center_m + rng.normal(0, noise_m, part.center_m.shape) * (0.2 + hard[rows, None])
        score = np.clip(0.9 - 0.3 * kind - 0.4 * hard[rows] + rng.normal(0, 0.1, len(rows)), 0.01, 1)
        track = (kind * 2 + number) * count + part.track
        heading_rad = part.heading_rad + rng.normal(0, 0.1, len(rows))
        parts.append(
            replace(part, track=track, written_id=track, center_m=center_m, heading_rad=heading_rad, score=score)
        )
    columns = {item.name: [getattr(part, item.name) for part in parts] for item in fields(BoxTable)}
    joined = BoxTable(**{name: np.concatenate(column) for name, column in columns.items()})
    kept = rng.permutation(len(joined))[:boxes]
    return joined.select(kept[np.argsort(joined.frame[kept], kind="stable")])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1000, help="frames in all (default 1000)")
    parser.add_argument("--boxes", type=int, default=20_000, help="predicted boxes in all (default 20000)")
    parser.add_argument("--scenes", type=int, default=10, help="scenes of equal length (default 10)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each row (default 5)")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    everything = drive(args.scenes, args.frames, args.boxes, rng)
    data = everything.in_range()
    weights = rng.multinomial(args.scenes, np.full(args.scenes, 1 / args.scenes), RESAMPLES)
    curves = scene_curves(data)

    def detection(_: int) -> object:
        return detection_scores(match_detections(data))

    rows: list[tuple[str, Callable[[int], object], float | None]] = [
        ("detection", detection, None),
        ("tracking", lambda _: tracking_scores(data), None),
        ("detection and tracking", lambda i: (detection(i), tracking_scores(data)), GOAL_S),
        ("curves of every scene", lambda _: scene_curves(data), None),
        (f"AMOTA of {RESAMPLES} resamples of the scenes", lambda _: [amota_of_many(c, weights) for c in curves], None),
        ("AP by rotated IoU", lambda _: iou_ap(everything), None),
        ("recall of hidden objects", lambda _: hidden_recall(everything), None),
    ]
    if why_no_hota() is None:
        rows.append(("HOTA (TrackEval)", lambda _: hota(everything), None))
    scores = tracking_scores(data)["mean"]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(
        f"machine: {machine}; seed 0, synthetic:\n"
        f"{len(data.frames)} frames in {args.scenes} scenes, {len(data.predictions)} predicted and {len(data.truth)} "
        f"true boxes in range; AMOTA {scores['amota']:.3f}, {scores['ids']:.0f} switches"
    )
    print(f"{'':46}{'p50':>8}{'p90':>8}{'best':>8}{'goal':>8}  s")
    for label, function, goal_s in rows:
        durations_s = timed(function, args.repeats) / 1e3
        p50, p90 = np.percentile(durations_s, [50, 90])
        goal = "" if goal_s is None else f"{goal_s:8.1f}"
        print(f"{label:46}{p50:8.3f}{p90:8.3f}{durations_s.min():8.3f}{goal}")


if __name__ == "__main__":
    main()
