"""Second implementation of the tracking metrics, from their definitions: a threshold, a frame, a box at a time."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
from scipy.optimize import linear_sum_assignment

from cooptrack_core.evaluation.tables import EvaluationSet

RECALLS = [round(1 - i * 0.9 / 39, 12) for i in range(40)]
FORBIDDEN = 1e6
Boxes = dict[tuple[int, int], list[tuple[int, float, float, float]]]  # (scene, frame): (id, x, y, score)


def boxes_of(data: EvaluationSet, table, class_index: int, averaged: bool) -> Boxes:
    """The boxes of a class after averaging of scores and filling of holes."""
    tracks = defaultdict(list)
    for i in range(len(table)):
        tracks[int(table.track[i])].append(i)
    filled: dict[int, list] = defaultdict(list)
    for i in range(len(table)):
        filled[int(table.frame[i])].append(_box(table, i, tracks, averaged))
    for track, rows in tracks.items():
        for left, right in itertools.pairwise(rows):
            for frame in range(int(table.frame[left]) + 1, int(table.frame[right])):
                times = [int(data.frames.timestamp_us[f]) for f in (table.frame[left], frame, table.frame[right])]
                share = (times[2] - times[1]) / (times[2] - times[0])
                a, b = _box(table, left, tracks, averaged), _box(table, right, tracks, averaged)
                mixed = [(1 - share) * a[k] + share * b[k] for k in (2, 3, 4)]
                filled[frame].append((b[0], track, *mixed))
    result: Boxes = defaultdict(list)
    for frame, rows in filled.items():
        result[int(data.frames.scene[frame]), frame] = [row[1:] for row in rows if row[0] == class_index]
    return result


def _box(table, i: int, tracks, averaged: bool):
    """(class, id, x, y, score)."""
    track = int(table.track[i])
    score = float(np.mean([table.score[k] for k in tracks[track]])) if averaged else 1.0
    return int(table.class_index[i]), track, float(table.center_m[i, 0]), float(table.center_m[i, 1]), score


def match(data: EvaluationSet, truth: Boxes, predictions: Boxes, threshold: float):
    """Events (kind, object, frame counted, distance, score) with boxes of at least the threshold; frames counted."""
    events, counted = [], 0
    for scene in range(len(data.frames.scene_names)):
        last: dict[int, int] = {}
        for frame in np.flatnonzero(data.frames.scene == scene).tolist():
            objects = truth[scene, frame]
            boxes = [box for box in predictions[scene, frame] if box[3] >= threshold]
            if not objects and not boxes:
                continue
            counted += 1
            events += [(kind, (scene, o), counted, d, s) for kind, o, d, s in match_frame(objects, boxes, last)]
    return events, counted


def match_frame(objects, boxes, last: dict[int, int]):
    """Events of one frame; last: track of the last match of each object, updated."""
    distance = np.array([[math.hypot(o[1] - b[1], o[2] - b[2]) for b in boxes] for o in objects])
    distance = distance.reshape(len(objects), len(boxes))
    distance[distance >= 2.0] = np.inf
    free_objects, free_boxes, events = set(range(len(objects))), set(range(len(boxes))), []
    for i, found in enumerate(objects):
        for j, box in enumerate(boxes):
            if j in free_boxes and last.get(found[0]) == box[0] and np.isfinite(distance[i, j]):
                free_objects.discard(i)
                free_boxes.discard(j)
                events.append(("match", found[0], distance[i, j], box[3]))
    rest = np.full(distance.shape, np.inf)
    for i in free_objects:
        for j in free_boxes:
            rest[i, j] = distance[i, j]
    for i, j in zip(*linear_sum_assignment(np.where(np.isfinite(rest), rest, FORBIDDEN)), strict=True):
        if np.isfinite(rest[i, j]):
            kind = "switch" if objects[i][0] in last else "match"
            last[objects[i][0]] = boxes[j][0]
            free_objects.discard(i)
            free_boxes.discard(j)
            events.append((kind, objects[i][0], rest[i, j], boxes[j][3]))
    events += [("miss", objects[i][0], 0.0, 0.0) for i in free_objects]
    return events + [("false", None, 0.0, 0.0) for _ in free_boxes]


def metrics_of(events, frames: int) -> dict[str, float]:
    """The metrics of one threshold."""
    number = {kind: sum(event[0] == kind for event in events) for kind in ("match", "switch", "miss", "false")}
    lives = defaultdict(list)  # object: (frame counted, matched)
    for kind, name, frame, _, _ in events:
        if kind != "false":
            lives[name].append((frame, kind != "miss"))
    truth, matched = len(events) - number["false"], number["match"] + number["switch"]
    errors = number["miss"] + number["switch"] + number["false"]
    shares = [sum(hit for _, hit in life) / len(life) for life in lives.values()]
    tracked = [life for life in lives.values() if any(hit for _, hit in life)]
    delays, gaps, holes = zip(*map(holes_of, tracked), strict=True) if tracked else ((), (), ())
    total = sum(event[3] for event in events if event[0] in ("match", "switch"))
    correct = number["match"]
    motar = 1 - (errors - (truth - correct)) / correct if correct else math.nan
    return {
        "recall": matched / truth, "motar": max(0.0, motar) if correct else math.nan, "gt": truth,
        "mota": max(0.0, 1 - errors / truth), "motp": total / matched if matched else math.nan,
        "mt": sum(share >= 0.8 for share in shares), "ml": sum(share < 0.2 for share in shares),
        "faf": 100 * number["false"] / frames, "tp": correct, "fp": number["false"], "fn": number["miss"],
        "ids": number["switch"], "frag": sum(holes), "tid": 0.5 * sum(delays) / len(tracked) if tracked else math.nan,
        "lgd": 0.5 * sum(gaps) / len(tracked) if tracked else math.nan,
    }  # fmt: skip


def holes_of(life) -> tuple[int, int, int]:
    """Frames until the first match, of the longest gap, and number of holes between matches."""
    hits = dict(life)
    first, last = life[0][0], life[-1][0]
    delay = min(frame for frame, hit in life if hit) - first
    longest = run = 0
    for frame in range(first, last + 1):
        run = 0 if hits.get(frame) else run + 1
        longest = max(longest, run)
    line = "".join("x" if hit else "." for _, hit in life).strip(".")
    return delay, longest, sum(part != "" for part in line.split("x"))


def tracking_of_class(data: EvaluationSet, class_index: int) -> dict[str, float]:
    """The metrics of a class that has ground truth and some match."""
    truth = boxes_of(data, data.truth, class_index, averaged=False)
    predictions = boxes_of(data, data.predictions, class_index, averaged=True)
    number = sum(map(len, truth.values()))
    everything, _ = match(data, truth, predictions, -math.inf)
    scores = sorted((event[4] for event in everything if event[0] == "match"), reverse=True)
    reached = [(i + 1) / number for i in range(len(scores))]
    rows = []
    for recall in RECALLS:
        if not scores or recall > reached[-1]:
            rows.append(None)
            continue
        threshold = float(np.interp(recall, reached, scores))
        rows.append(metrics_of(*match(data, truth, predictions, threshold)))
    values = {
        metric: [math.nan if row is None else row[metric] for row in rows] for metric in ("mota", "motar", "motp")
    }
    best = rows[int(np.nanargmax(values["mota"]))]
    assert best is not None
    amota = sum(0.0 if math.isnan(value) else value for value in values["motar"]) / 40
    amotp = sum(2.0 if math.isnan(value) else value for value in values["motp"]) / 40
    return {"amota": amota, "amotp": amotp, **best}
