"""Ground truth and predictions as a pair of files in the nuScenes tracking submission format, read and written."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.files import expect_list, expect_object, number, problem, read_json
from cooptrack_core.evaluation.submission_boxes import printable, read_boxes
from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet, FrameTable

Float = NDArray[np.float64]
Int = NDArray[np.int64]

MAX_BOXES_PER_FRAME = 500  # of predictions, the kit's limit
MEAN_AP = "mAP"  # beside the classes in what is scored
_LATEST_US = 2**62
# What the kit wants to know of whoever sends predictions.
_USES = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}


@dataclass(frozen=True)
class Submission(EvaluationSet):
    """An evaluation that came from a pair of files, and what only the files know."""

    frame_order: Int  # [F] place of each frame in the file of predictions, which decides between equal scores
    notes: tuple[str, ...]  # to print: what was taken for granted


def read_submission(gt: Path, pred: Path) -> Submission:
    """Reads both files, .json or .json.gz.

    gt: `results` and `meta` with `scenes: {scene: [[sample_token, timestamp_us, [ego_x, ego_y]], ...]}` and
    `class_range: {class: metres}`; pred: `results`. Frames that a file does not list have no boxes in it.
    Classes come in alphabetical order. Raises CooptrackError naming file and entry.
    """
    remedy = "check the path, or write it anew in the submission format (docs/evaluation.md)"
    truth_file, prediction_file = (expect_object(read_json(path, remedy), path) for path in (gt, pred))
    meta = expect_object(_entry(truth_file, "meta", gt), gt, "meta")
    frames = _frames(_entry(meta, "scenes", gt, "meta."), gt)
    class_range_m = _class_range(_entry(meta, "class_range", gt, "meta."), gt)
    class_names = tuple(sorted(class_range_m))
    truth_results = expect_object(_entry(truth_file, "results", gt), gt, "results")
    results = expect_object(_entry(prediction_file, "results", pred), pred, "results")
    truth = read_boxes(truth_results, frames, class_names, gt, scored=False)
    predictions = read_boxes(results, frames, class_names, pred, scored=True, limit=MAX_BOXES_PER_FRAME)
    place = {token: index for index, token in enumerate(results)}
    return Submission(
        frames, truth, predictions, class_names, tuple(class_range_m[name] for name in class_names),
        frame_order=np.array([place.get(token, len(place)) for token in frames.token], np.int64),
        notes=_notes(frames, (gt, truth_results), (pred, results), meta, prediction_file.get("meta")),
    )  # fmt: skip


def write_submission(data: EvaluationSet, directory: Path) -> tuple[Path, Path]:
    """Writes gt.json and pred.json into the directory, which is made; returns both paths.

    Unknown velocities are written as NaN, as the format's own tools write and read them.
    """
    content = {"meta": _meta(data), "results": _rows(data.predictions, data.frames, data.class_names, True)}
    return write_ground_truth(data, directory), _written(content, directory / "pred.json")


def write_ground_truth(data: EvaluationSet, directory: Path) -> Path:
    """Writes gt.json alone; its `meta.T_map_from_lidar`, which no reader of the format needs, has the true poses."""
    meta, frames = _meta(data), data.frames
    if frames.T_map_from_lidar is not None:
        meta["T_map_from_lidar"] = dict(zip(frames.token, frames.T_map_from_lidar.tolist(), strict=True))
    content = {"meta": meta, "results": _rows(data.truth, frames, data.class_names, False)}
    return _written(content, directory / "gt.json")


def _written(content: dict[str, Any], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    return path


def _meta(data: EvaluationSet) -> dict[str, Any]:
    frames = data.frames
    scenes: dict[str, list[Any]] = {name: [] for name in frames.scene_names}
    columns = (frames.scene.tolist(), frames.token, frames.timestamp_us.tolist(), frames.ego_xy_m.tolist())
    for scene, token, stamp_us, ego_xy_m in zip(*columns, strict=True):
        scenes[frames.scene_names[scene]].append([token, stamp_us, ego_xy_m])
    return {**_USES, "scenes": scenes, "class_range": dict(zip(data.class_names, data.class_range_m, strict=True))}


def _rows(boxes: BoxTable, frames: FrameTable, class_names: tuple[str, ...], scored: bool) -> dict[str, Any]:
    """The boxes of a table by sample token."""
    results: dict[str, list[Any]] = {token: [] for token in frames.token}
    half_rad = boxes.heading_rad / 2
    rotation = np.stack([np.cos(half_rad), 0 * half_rad, 0 * half_rad, np.sin(half_rad)], axis=1)
    columns = (
        boxes.frame, boxes.center_m, boxes.size_m[:, [1, 0, 2]], rotation, boxes.velocity_mps, boxes.track,
        boxes.class_index, boxes.score,
    )  # fmt: skip
    for frame, center, size, turn, velocity, track, kind, score in zip(*(c.tolist() for c in columns), strict=True):
        token = frames.token[frame]
        results[token].append(
            {
                "sample_token": token,
                "translation": center,
                "size": size,
                "rotation": turn,
                "velocity": velocity,
                "tracking_id": str(track),
                "tracking_name": class_names[kind],
                "tracking_score": score if scored else -1.0,
            }
        )
    return results


def _entry(content: dict[str, Any], key: str, source: Path, prefix: str = "") -> Any:
    if key not in content:
        raise problem(source, f"{prefix}{key}", "is missing", "write it in the submission format (docs/evaluation.md)")
    return content[key]


def _frames(scenes: Any, source: Path) -> FrameTable:
    """The frames of all scenes in the order of the file, those of a scene in the order of time."""
    rows: list[tuple[int, int, str, tuple[float, float]]] = []
    seen: set[str] = set()
    names = tuple(expect_object(scenes, source, "meta.scenes"))
    for index, name in enumerate(names):
        entry = f"meta.scenes.{printable(name)}"
        for place, listed in enumerate(expect_list(scenes[name], source, entry)):
            token, stamp_us, ego_xy_m = _frame(listed, source, f"{entry}[{place}]")
            if token in seen:
                raise problem(source, f"{entry}[{place}]", f"sample token {token!r} is listed twice", "list it once")
            seen.add(token)
            rows.append((index, stamp_us, token, ego_xy_m))
    if not rows:
        raise problem(source, "meta.scenes", "has no frames, so there is nothing to score", "list the split's frames")
    rows.sort(key=lambda row: row[:2])
    for before, after in itertools.pairwise(rows):
        if before[:2] == after[:2]:
            what = f"frames {before[2]!r} and {after[2]!r} have the same time {after[1]}"
            raise problem(source, f"meta.scenes.{printable(names[after[0]])}", what, "correct the timestamps")
    scene, stamps_us, tokens, ego_xy_m = zip(*rows, strict=True)
    return FrameTable(tokens, np.array(scene), names, np.array(stamps_us, np.int64), np.array(ego_xy_m, np.float64))


def _frame(listed: Any, source: Path, entry: str) -> tuple[str, int, tuple[float, float]]:
    """Token, time and ego position of one listed frame."""
    remedy = "give [sample_token, timestamp_us, [ego_x, ego_y]]"
    row = expect_list(listed, source, entry)
    if len(row) != 3:
        raise problem(source, entry, f"has {len(row)} entries, not 3", remedy)
    token, stamp_us, ego = row
    if not isinstance(token, str):
        raise problem(source, f"{entry}[0]", f"is {token!r}, not a sample token", remedy)
    whole = isinstance(stamp_us, int) or (isinstance(stamp_us, float) and stamp_us.is_integer())
    if not whole or isinstance(stamp_us, bool) or not abs(stamp_us) < _LATEST_US:
        raise problem(source, f"{entry}[1]", f"is {stamp_us!r}, not integer microseconds", remedy)
    if not isinstance(ego, list) or len(ego) != 2:
        raise problem(source, f"{entry}[2]", f"is {ego!r}, not two coordinates", remedy)
    x_m, y_m = (_number(value, source, f"{entry}[2][{axis}]") for axis, value in enumerate(ego))
    return token, int(stamp_us), (x_m, y_m)


def _class_range(content: Any, source: Path) -> dict[str, float]:
    """Metres by class."""
    ranges = expect_object(content, source, "meta.class_range")
    if not ranges:
        raise problem(source, "meta.class_range", "names no class", "give {class: metres}")
    result = {}
    for name, value in ranges.items():
        if not name or not name.isprintable():
            raise problem(source, "meta.class_range", f"{name!r} is no name of a class", "give {class: metres}")
        if name == MEAN_AP:
            what = f"{name!r} is no name of a class, the scores have the mean under it"
            raise problem(source, "meta.class_range", what, "give the class another name")
        result[name] = _number(value, source, f"meta.class_range.{name}")
        if result[name] <= 0:
            raise problem(source, f"meta.class_range.{name}", f"is {result[name]:g} m", "give a radius above 0")
    return result


def _number(value: Any, source: Path, entry: str) -> float:
    """A finite number, which a string of digits is not."""
    if isinstance(value, str):
        raise problem(source, entry, f"is {value!r}, not a finite number", "write it without quotes")
    return number(value, source, entry)


def _notes(
    frames: FrameTable, truth: tuple[Path, dict[str, Any]], predictions: tuple[Path, dict[str, Any]],
    meta: dict[str, Any], other: Any,
) -> tuple[str, ...]:  # fmt: skip
    """What the user should know about how the files were understood."""
    notes = []
    for source, results in (truth, predictions):
        left_out = [token for token in frames.token if token not in results]
        if left_out:
            what = f"{len(left_out)} of {len(frames)} frames are not listed (first {printable(left_out[0])})"
            notes.append(f"{source}: results: {what}; they count as frames without boxes")
    if isinstance(other, dict):
        for key in ("scenes", "class_range"):
            if key in other and other[key] != meta[key]:
                notes.append(f"{predictions[0]}: meta.{key}: differs from that of {truth[0]}, which counts")
    return tuple(notes)


__all__ = ["MAX_BOXES_PER_FRAME", "Submission", "read_submission", "write_ground_truth", "write_submission"]
