"""Inputs of the stored comparisons that sit on an edge: nothing there, ties, gaps, borders, unknown velocities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from cases import Case, Files, box, case, scatter


@case
def no_ground_truth() -> Case:
    """Only predictions."""
    files = scatter(np.random.default_rng(20), scenes=2, frames=4, boxes=5, extent_m=8.0)
    for rows in files.gt.values():
        rows.clear()
    return files.done()


@case
def no_predictions() -> Case:
    """Only ground truth."""
    files = scatter(np.random.default_rng(21), scenes=2, frames=4, boxes=5, extent_m=8.0)
    for rows in files.pred.values():
        rows.clear()
    return files.done()


@case
def nothing() -> Case:
    """Frames without any box."""
    files = Files()
    for index in range(3):
        files.frame("s", index)
    return files.done()


@case
def one_frame() -> Case:
    """One scene of one frame."""
    files, rng = Files(), np.random.default_rng(22)
    token = files.frame("s", 0, (5.0, -3.0))
    for track in range(8):
        xy_m = rng.uniform(-10, 10, 2)
        files.gt[token].append(box("car", f"g{track}", xy_m, velocity_mps=(1, 1)))
        files.pred[token].append(box("car", f"p{track}", xy_m + rng.normal(0, 0.8, 2), score=rng.random()))
    return files.done()


@case
def one_box() -> Case:
    """A single pair."""
    files = Files()
    token = files.frame("s", 0)
    files.gt[token].append(box("pedestrian", "g", (3.0, 4.0), yaw_rad=0.5))
    files.pred[token].append(box("pedestrian", "p", (3.25, 4.0), yaw_rad=-0.5, score=0.7))
    return files.done()


@case
def all_false() -> Case:
    """Predictions that all miss; scenes use the same ids."""
    files = Files()
    for scene in range(3):
        for index in range(5):
            token = files.frame(f"s{scene}", index)
            for track in range(3):
                files.gt[token].append(box("car", f"id{track}", (track * 8.0, 0.0)))
                files.pred[token].append(box("car", f"id{track}", (track * 8.0, 7.0), score=0.5 + 0.1 * track))
    return files.done()


@case
def low_recall() -> Case:
    """Matches, but fewer than one object in ten: no recall point is reached."""
    files = Files()
    for scene in range(2):
        for index in range(10):
            token = files.frame(f"s{scene}", index)
            for track in range(12):
                files.gt[token].append(box("car", f"g{track}", (track * 4.0 - 20, 3.0)))
            if index < 4:
                files.pred[token].append(box("car", "p", (-20.5, 3.5), score=0.8))
                files.pred[token].append(box("car", "q", (30.0, 30.0), score=0.9))
    return files.done()


@case
def duplicate_scores() -> Case:
    """Three scores for everything, so that only the order within the files decides."""
    scores = (0.25, 0.5, 0.75)
    return scatter(np.random.default_rng(23), scenes=2, frames=12, boxes=10, extent_m=4.0, scores=scores).done()


@case
def one_score() -> Case:
    """Every prediction has the same score, and the files list their frames in other orders than time."""
    files = scatter(np.random.default_rng(24), scenes=3, frames=8, boxes=8, extent_m=4.0, scores=(0.5,))
    gt, pred = files.done()
    rng = np.random.default_rng(25)
    for file in (gt, pred):
        tokens = list(file["results"])
        file["results"] = {tokens[i]: file["results"][tokens[i]] for i in rng.permutation(len(tokens))}
    return gt, pred


@case
def zero_scores() -> Case:
    """Scores of exactly 0 among others."""
    scores = (0.0, 0.0, 0.3, 1.0)
    return scatter(np.random.default_rng(26), scenes=2, frames=10, boxes=10, extent_m=4.0, scores=scores).done()


@case
def unknown_velocities() -> Case:
    """No velocity at all for one class (the kit's guard gives 1), some unknown in the others, on both sides."""
    files = scatter(np.random.default_rng(27), scenes=2, frames=12, boxes=10, extent_m=4.0)
    rng = np.random.default_rng(28)
    unknown: tuple[Any, ...] = (None, [None, None], [math.nan, math.nan], [math.nan, 1.0], [0.5, None])
    for results in (files.gt, files.pred):
        for rows in results.values():
            for row in rows:
                if row["tracking_name"] == "car" or rng.random() < 0.4:
                    row["velocity"] = unknown[rng.integers(len(unknown))]
    return files.done()


@case
def classes_without_truth() -> Case:
    """One class only predicted, one only in the ground truth, one in neither."""
    files = scatter(np.random.default_rng(29), scenes=2, frames=8, boxes=10, extent_m=3.0)
    for rows in files.gt.values():
        rows[:] = [row for row in rows if row["tracking_name"] == "bicycle"]
    for rows in files.pred.values():
        rows[:] = [row for row in rows if row["tracking_name"] == "car"]
    return files.done()


@case
def gaps() -> Case:
    """Tracks with holes on both sides, at uneven times, which the kit fills in."""
    files, rng = Files(), np.random.default_rng(30)
    for scene in range(2):
        indices = np.cumsum(rng.integers(1, 6, 20))
        for index in indices:
            token = files.frame(f"s{scene}", int(index), (float(index) * 0.3, 0.0))
            for track in range(6):
                xy_m = np.array([track * 5.0 - 12 + 0.05 * index, 0.4 * index * (-1) ** track])
                if rng.random() < 0.6:
                    files.gt[token].append(box("car", f"g{track}", xy_m))
                if rng.random() < 0.5:
                    score = round(float(rng.uniform(0.1, 1)), 2)
                    noisy = xy_m + rng.normal(0, 0.4, 2)
                    files.pred[token].append(box("car", f"p{track}", noisy, score=score, yaw_rad=0.3))
    return files.done()


@case
def frames_left_out() -> Case:
    """Frames that the files do not list have no boxes."""
    files = scatter(np.random.default_rng(31), scenes=2, frames=10, boxes=8, extent_m=4.0)
    gt, pred = files.done()
    for file, left_out in ((gt, (2, 13)), (pred, (0, 1, 7, 8, 15, 19))):
        tokens = list(file["results"])
        for index in left_out:
            del file["results"][tokens[index]]
    return gt, pred


@case
def class_changes_in_track() -> Case:
    """A track that is now a bicycle, now a pedestrian: filled holes take the class of the later box."""
    files, rng = Files(), np.random.default_rng(32)
    for index in range(16):
        token = files.frame("s", index)
        for track in range(3):
            if rng.random() < 0.8:
                files.gt[token].append(box("bicycle", f"g{track}", (track * 4.0, 0.2 * index)))
            if rng.random() < 0.7:
                name = "bicycle" if rng.random() < 0.6 else "pedestrian"
                score = rng.random()
                files.pred[token].append(box(name, f"p{track}", (track * 4.0 + 0.3, 0.2 * index), score=score))
                if track == 0:
                    files.gt[token].append(box("pedestrian", "walker", (0.5, 0.2 * index)))
    return files.done()


@case
def at_the_borders() -> Case:
    """Distances that are exactly a class range or a threshold, or one step to either side."""
    files = Files()
    for index, ego_x_m in enumerate((0.0, 16.0, -16.0)):
        token = files.frame("s", index, (ego_x_m, 0.0))
        for number, radius_m in enumerate((49.999, 50.0, 50.001, 40.0, 39.999)):
            for name, offset in (("car", 0.5), ("pedestrian", 1.0)):
                track = f"{name}{number}"
                files.gt[token].append(box(name, track, (ego_x_m + 0.6 * radius_m, 0.8 * radius_m)))
                at = (ego_x_m + radius_m, 0.0)
                files.gt[token].append(box(name, f"{track}x", at))
                files.pred[token].append(box(name, track, (at[0] - offset, 0.0), score=0.2 + 0.1 * number))
        for number, offset_m in enumerate((0.5, 1.0, 2.0, 4.0)):
            at_y_m = -20.0 + 9 * number
            files.gt[token].append(box("bicycle", f"{number}", (ego_x_m, at_y_m)))
            files.pred[token].append(box("bicycle", f"{number}", (ego_x_m + offset_m, at_y_m), score=0.9))
            files.pred[token].append(box("bicycle", f"{number}'", (ego_x_m - offset_m + 2**-6, at_y_m), score=0.8))
    return files.done()


@case
def identity_switches() -> Case:
    """Two crossing objects whose tracks exchange ids, vanish and come back."""
    files = Files()
    for scene in range(2):
        for index in range(20):
            token = files.frame(f"s{scene}", index)
            x_m = index * 1.0 - 10
            for track, y_m in (("a", 0.1 * x_m), ("b", -0.1 * x_m)):
                files.gt[token].append(box("car", track, (x_m, y_m)))
                seen = "ab"[("ab".index(track) + (index // 5)) % 2] + ("'" if index > 15 else "")
                if index % 7 != 3:
                    score = 0.6 if track == "a" else 0.4 + 0.01 * index
                    files.pred[token].append(box("car", seen, (x_m, y_m + 0.2 * scene), score=score))
    return files.done()


@case
def ties_in_distance() -> Case:
    """Objects and predictions on a grid: many equal distances, the first of the list counts."""
    files = Files()
    for index in range(6):
        token = files.frame("s", index)
        for track in range(9):
            files.gt[token].append(box("car", f"g{track}", (track % 3, track // 3)))
            if (track + index) % 4:
                at = (track % 3 + 0.5, track // 3 + 0.5)
                files.pred[token].append(box("car", f"p{track}", at, score=0.1 * track))
    return files.done()


@case
def tilted_boxes() -> Case:
    """Rotations about all axes, not of unit length; only the heading counts."""
    files = scatter(np.random.default_rng(33), scenes=1, frames=10, boxes=10, extent_m=3.0)
    rng = np.random.default_rng(34)
    for results in (files.gt, files.pred):
        for rows in results.values():
            for row in rows:
                row["rotation"] = rng.normal(0, 1, 4).round(4).tolist()
    return files.done()


@case
def symmetric_classes() -> Case:
    """Barriers look alike from both ends, cones from everywhere, and neither moves."""
    files, rng = Files(class_range={"barrier": 30.0, "car": 50.0, "traffic_cone": 30}), np.random.default_rng(35)
    for index in range(8):
        token = files.frame("s", index)
        for track in range(9):
            name = ("barrier", "car", "traffic_cone")[track % 3]
            xy_m = rng.uniform(-25, 25, 2)
            files.gt[token].append(box(name, f"{track}", xy_m, yaw_rad=rng.uniform(-3, 3)))
            at, yaw_rad = xy_m + rng.normal(0, 0.5, 2), rng.uniform(-3, 3)
            files.pred[token].append(box(name, f"{track}", at, yaw_rad=yaw_rad, score=rng.random()))
    return files.done()


@case
def whole_numbers() -> Case:
    """Ids, coordinates and scores written as whole numbers."""
    files = Files()
    for index in range(8):
        token = files.frame("s", index)
        for track in range(4):
            files.gt[token].append(box("car", track, (6 * track, index)) | {"translation": [6 * track, index, 0]})
            moved = {"translation": [6 * track + (index + track) % 3, index, 0], "tracking_score": track % 2}
            files.pred[token].append(box("car", track + index // 5, (0, 0), score=1) | moved)
    return files.done()
