"""The boxes of a submission file as columns, checked; what is wrong is named by file and entry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.files import expect_list, problem
from cooptrack_core.evaluation.tables import BoxTable, FrameTable

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_FIELDS = ("translation", "size", "rotation", "velocity", "tracking_id", "tracking_name")
_LARGEST = 1e12  # no coordinate, length or speed of a sound file comes near
_SHORTEST_ROTATION = 1e-6
_SHOWN = 60  # characters of a wrong value that a message repeats
_FORMAT = "write it in the submission format (docs/evaluation.md)"


def read_boxes(
    results: dict[str, Any], frames: FrameTable, class_names: Sequence[str], source: Path, *, scored: bool,
    limit: int | None = None,
) -> BoxTable:  # fmt: skip
    """The boxes under `results`, in the order of the frames and within one in that of the file.

    scored: whether `tracking_score` counts (ground truth has score 1); limit: of boxes in a frame.
    Raises CooptrackError for frames that are not in `frames` and for whatever is not a sound box.
    """
    rows = _Rows(results, frames, source, limit)
    rows.require((*_FIELDS, "tracking_score") if scored else _FIELDS)
    rotation = rows.numbers("rotation", 4)
    tiny = np.abs(rotation).max(axis=1, initial=0) < _SHORTEST_ROTATION
    rows.refuse(tiny, "rotation", "is no rotation", "give (w, x, y, z)")
    size_wlh_m = rows.numbers("size", 3)
    rows.refuse(size_wlh_m.min(axis=1, initial=1) <= 0, "size", "is not above 0", "give (width, length, height) in m")
    score = rows.numbers("tracking_score") if scored else np.ones(len(rows.rows))
    rows.refuse(score < 0, "tracking_score", "is negative", "map the scores to 0..1")
    class_index = rows.classes(class_names)
    track, written_id = rows.tracks()
    w, x, y, z = rotation.T
    return BoxTable(
        frame=rows.frame,
        class_index=class_index,
        track=track,
        center_m=rows.numbers("translation", 3),
        size_m=size_wlh_m[:, [1, 0, 2]],
        # direction of the box's x axis in the ground plane, for rotations of any length about any axis
        heading_rad=np.arctan2(2 * (x * y + w * z), w**2 + x**2 - y**2 - z**2),
        velocity_mps=rows.velocities(),
        score=score,
        written_id=written_id,
    )


class _Rows:
    """All rows of a file, one after the other, and where in the file each is."""

    def __init__(self, results: dict[str, Any], frames: FrameTable, source: Path, limit: int | None) -> None:
        self.source, self.frames = source, frames
        known = set(frames.token)
        for token, listed in results.items():
            entry = f"results.{printable(token)}"
            if token not in known:
                what = "is a sample token that meta.scenes of the ground truth does not list"
                raise problem(source, entry, what, "leave the frame out, or give the ground truth it belongs to")
            count = len(expect_list(listed, source, entry))
            if limit is not None and count > limit:
                what = f"has {count} boxes, more than {limit} (the nuScenes limit)"
                raise problem(source, entry, what, "keep those with the highest scores")
        lists = [results.get(token, ()) for token in frames.token]
        self.counts = np.array([len(listed) for listed in lists], np.int64)
        self.frame: Int = np.repeat(np.arange(len(lists)), self.counts)
        self.rows: list[Any] = [row for listed in lists for row in listed]

    def entry(self, index: int, field: str = "") -> str:
        """Name of a row, or of a field of it, in the file."""
        frame = self.frame[index]
        place = index - int(self.counts[:frame].sum())
        return f"results.{printable(self.frames.token[frame])}[{place}]" + (f".{field}" if field else "")

    def fail(self, index: int, field: str, what: str, remedy: str) -> Exception:
        """The error about a row."""
        return problem(self.source, self.entry(index, field), what, remedy)

    def refuse(self, bad: NDArray[np.bool_], field: str, what: str, remedy: str) -> None:
        """Raises about the first row that is bad, if one is."""
        if bad.any():
            index = int(np.argmax(bad))
            raise self.fail(index, field, f"{_shown(self.rows[index][field])} {what}", remedy)

    def require(self, fields: Sequence[str]) -> None:
        """Checks that every row is an object with these fields, and that it is of the frame that lists it."""
        for index, row in enumerate(self.rows):
            if not isinstance(row, dict):
                raise self.fail(index, "", f"is {type(row).__name__}, not an object", _FORMAT)
            for field in fields:
                if field not in row:
                    raise self.fail(index, field, "is missing", _FORMAT)
            token = self.frames.token[self.frame[index]]
            if row.get("sample_token", token) != token:
                what = f"is {_shown(row['sample_token'])}, but the box is listed under {token!r}"
                raise self.fail(index, "sample_token", what, "list the box under its own frame")

    def numbers(self, field: str, width: int | None = None) -> Float:
        """[N] or [N, width] finite numbers of a field."""
        values = self._array((row[field] for row in self.rows), width)
        if values is None or not (np.abs(values) < _LARGEST).all():
            raise self._defect(field, width)
        return values

    def velocities(self) -> Float:
        """[N, 2] velocities; NaN, null or [null, null]: unknown."""
        unknown = [math.nan, math.nan]
        given = (unknown if row["velocity"] is None else row["velocity"] for row in self.rows)
        values = self._array(
            ([math.nan if v is None else v for v in pair] if isinstance(pair, list) else pair for pair in given), 2
        )
        if values is None or (np.abs(values) >= _LARGEST).any():
            raise self._defect("velocity", 2, may_be_unknown=True)
        return values

    def _array(self, values: Iterable[Any], width: int | None) -> Float | None:
        """The values as one array; None if they are not numbers of this shape."""
        shape = (len(self.rows),) if width is None else (len(self.rows), width)
        listed = list(values)
        if not listed:
            return np.zeros(shape)
        try:
            result = np.array(listed)
        except (TypeError, ValueError, OverflowError):
            return None
        return result.astype(np.float64) if result.dtype.kind in "iuf" and result.shape == shape else None

    def _defect(self, field: str, width: int | None, *, may_be_unknown: bool = False) -> Exception:
        """The error about the first row whose field is not what it has to be."""
        for index, row in enumerate(self.rows):
            value = row[field]
            if may_be_unknown and value is None:
                continue
            if width is not None and (not isinstance(value, list) or len(value) != width):
                got = f"has {len(value)} numbers" if isinstance(value, list) else f"is {_shown(value)}"
                return self.fail(index, field, f"{got}, not {width} numbers", _FORMAT)
            for part in [value] if width is None else value:
                if may_be_unknown and (part is None or part != part):
                    continue
                sound = isinstance(part, (int, float)) and not isinstance(part, bool) and abs(part) < _LARGEST
                if not sound:
                    within = "" if part is value else f" in {_shown(value)}"
                    what = f"has {_shown(part)}{within}, not a finite number"
                    return self.fail(index, field, what, "correct or drop the box")
        return problem(self.source, f"results: {field}", "has numbers of mixed kinds", _FORMAT)

    def classes(self, class_names: Sequence[str]) -> Int:
        """[N] row of the class names."""
        index_of = {name: index for index, name in enumerate(class_names)}
        listed = [row["tracking_name"] for row in self.rows]
        try:
            return np.array([index_of[name] for name in listed], np.int64)
        except (KeyError, TypeError):
            known = [isinstance(name, str) and name in index_of for name in listed]
            index = known.index(False)
        what = f"is {_shown(listed[index])}, not a class of meta.class_range ({', '.join(class_names)})"
        raise self.fail(index, "tracking_name", what, "correct the name, or add the class to class_range")

    def tracks(self) -> tuple[Int, Int]:
        """[N] number of each box's track, one for each id of a scene, and [N] of its id; an id is once in a frame."""
        ids: dict[str, int] = {}
        written_id = np.zeros(len(self.rows), np.int64)
        for index, row in enumerate(self.rows):
            name = row["tracking_id"]
            if not isinstance(name, (str, int)) or isinstance(name, bool):
                raise self.fail(index, "tracking_id", f"is {_shown(name)}, not a string", "give each track a name")
            written_id[index] = ids.setdefault(str(name), len(ids))
        order = np.lexsort((written_id, self.frame))
        same = (np.diff(written_id[order]) == 0) & (np.diff(self.frame[order]) == 0)
        if same.any():
            first, second = (int(order[np.argmax(same) + step]) for step in (0, 1))
            what = f"{_shown(self.rows[second]['tracking_id'])} is twice in this frame (also {self.entry(first)})"
            raise self.fail(second, "tracking_id", what, "give each object of a frame an id of its own")
        scene_and_id = self.frames.scene[self.frame] * max(len(ids), 1) + written_id
        return np.unique(scene_and_id, return_inverse=True)[1], written_id


def printable(name: str) -> str:
    """The name as it is, or quoted where it would break a line."""
    return name if name.isprintable() else repr(name)


def _shown(value: Any) -> str:
    """The value as in the file, cut to what fits a line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


__all__ = ["printable", "read_boxes"]
