"""Recordings of runs as an EvaluationSet: what was published, against the ground truth of a convention."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.files import problem
from cooptrack_core.evaluation.conventions import Convention
from cooptrack_core.evaluation.ground_truth import MapBoxes, boxes_in_map, filled, without_duplicates
from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet, FrameTable
from cooptrack_core.geometry.ranges import CLASS_RANGE_M
from cooptrack_core.geometry.transforms import inverse

Float = NDArray[np.float64]
Recording = Mapping[str, Any]

CLASSES = ("car", "bicycle", "pedestrian")
RANGES_M = CLASS_RANGE_M[: len(CLASSES)]


@dataclass(frozen=True)
class _Scene:
    """The scored frames of one sequence, in time order, with what was annotated and what was published."""

    name: str
    frame_ids: tuple[str, ...]
    stamps_ns: tuple[int, ...]
    T_map_from_lidar: tuple[Float, ...]
    T_novatel_from_lidar: Float
    truth: MapBoxes
    predictions: MapBoxes


def evaluation_set(recordings: Iterable[Recording], convention: Convention) -> EvaluationSet:
    """All sequences of the recordings as one set, classes car, bicycle and pedestrian.

    A frame that has ground truth and no published tracks counts as one without predictions. Positions are in the
    map, through the true registered pose of each frame. Raises CooptrackError for recordings without ground truth,
    of a bag that was played twice, or two of the same sequence.
    """
    scenes = [scene for recording in recordings for scene in _scenes_of(recording, convention)]
    scenes.sort(key=lambda scene: scene.name)
    for before, scene in itertools.pairwise(scenes):
        if before.name == scene.name:
            raise problem("recordings", scene.name, "two recordings of this sequence", "give each sequence once")
    sizes = [len(scene.stamps_ns) for scene in scenes]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    frames = FrameTable(
        _tokens(scenes),
        np.repeat(np.arange(len(scenes)), sizes).astype(np.int64),
        tuple(scene.name for scene in scenes),
        np.array([stamp // 1000 for scene in scenes for stamp in scene.stamps_ns], np.int64),
        np.array([xy for scene in scenes for xy in _ego_xy(scene)], np.float64).reshape(-1, 2),
        np.array([T for scene in scenes for T in scene.T_map_from_lidar], np.float64).reshape(-1, 4, 4),
    )
    truth = _table([scene.truth for scene in scenes], starts)
    predictions = _table([scene.predictions for scene in scenes], starts)
    return EvaluationSet(frames, truth, predictions, CLASSES, RANGES_M)


def _scenes_of(recording: Recording, convention: Convention) -> list[_Scene]:
    """The sequences of one recording, usually one."""
    source = recording.get("source_bag", "recording")
    T = recording.get("T_novatel_from_lidar")
    T_novatel_from_lidar = np.eye(4) if T is None else np.asarray(T, np.float64)
    return [
        _scene(name or str(source), rows, T_novatel_from_lidar, convention, source)
        for name, rows in scored_frames(recording, convention)
    ]


def scored_frames(recording: Recording, convention: Convention) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """By sequence the frames of a recording that the convention scores, in time order."""
    rows = _scored_rows(recording, recording.get("source_bag", "recording"))
    found = []
    for name in sorted({row["sequence_id"] for row in rows}):
        own = [row for row in rows if row["sequence_id"] == name]
        kept = convention.kept([row["frame_id"] for row in own], [row["stamp_ns"] for row in own])
        found.append((name, [own[n] for n in kept]))
    return found


def _scored_rows(recording: Recording, source: Any) -> list[Mapping[str, Any]]:
    rows = [row for row in recording["frames"] if row["has_ground_truth"]] + list(recording.get("missed", ()))
    if not rows:
        vehicle = recording.get("vehicle", "vehicle")
        remedy = f"evaluate against a source with /{vehicle}/ground_truth, or a split whose labels are public"
        raise problem(source, f"/{vehicle}/ground_truth", "no frame has any", remedy)
    rows.sort(key=lambda row: (row["sequence_id"], row["stamp_ns"]))
    for before, row in itertools.pairwise(rows):
        if (before["sequence_id"], before["stamp_ns"]) == (row["sequence_id"], row["stamp_ns"]):
            what = f"frame {row['frame_id'] or row['stamp_ns']} was tracked twice: the bag was played more than once"
            raise problem(recording.get("recorded_bag", source), "frames", what, "record one round of the bag")
    return rows


def _scene(
    name: str, rows: Sequence[Mapping[str, Any]], T_novatel_from_lidar: Float, convention: Convention, source: Any
) -> _Scene:
    stamps_ns = tuple(int(row["stamp_ns"]) for row in rows)
    T = tuple(_true_pose(row, source) for row in rows)
    truth = without_duplicates(boxes_in_map([row["ground_truth"] for row in rows], T, CLASSES))
    if convention.fill_tracks:
        truth = filled(truth, stamps_ns)
    predictions = boxes_in_map([row.get("tracks", ()) for row in rows], T, CLASSES)
    return _Scene(
        name, tuple(row["frame_id"] for row in rows), stamps_ns, T, T_novatel_from_lidar, truth, predictions
    )  # fmt: skip


def _true_pose(row: Mapping[str, Any], source: Any) -> Float:
    T = row.get("T_map_from_lidar_truth")
    if T is None:
        what = f"frame {row['frame_id'] or row['stamp_ns']} has ground truth without a pose"
        raise problem(source, "T_map_from_lidar_truth", what, "make the recording again with this version")
    return np.asarray(T, np.float64)


def _ego_xy(scene: _Scene) -> list[Float]:
    T_lidar_from_novatel = inverse(scene.T_novatel_from_lidar)
    return [(T @ T_lidar_from_novatel)[:2, 3] for T in scene.T_map_from_lidar]


def _tokens(scenes: Sequence[_Scene]) -> tuple[str, ...]:
    """The vehicle frame ids, as in the converted dataset, where they are unique; else with sequence and stamp."""
    ids = [name for scene in scenes for name in scene.frame_ids]
    if all(ids) and len(set(ids)) == len(ids):
        return tuple(ids)
    return tuple(f"{scene.name}_{stamp}" for scene in scenes for stamp in scene.stamps_ns)


def _table(parts: Sequence[MapBoxes], starts: NDArray[np.int64]) -> BoxTable:
    """The boxes of all scenes; frames counted on, identities numbered over all scenes."""
    if not parts:
        return BoxTable.empty()
    frame = np.concatenate([part.frame + start for part, start in zip(parts, starts, strict=False)])
    scene = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    joined = {name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])}
    _, track = np.unique(np.stack([scene, joined.pop("identity")], axis=1), axis=0, return_inverse=True)
    return BoxTable(**{**joined, "frame": frame, "track": track.reshape(-1).astype(np.int64)})


__all__ = ["CLASSES", "RANGES_M", "evaluation_set", "scored_frames"]
