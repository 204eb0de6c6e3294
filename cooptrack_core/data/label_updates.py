"""Corrections of labels: `update_label_info.json`, as UniV2X and CoopTrack apply it before training and scoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from cooptrack_core.data.files import expect_list, expect_object, problem, read_json, text
from cooptrack_core.data.labels import Labels, class_of, is_numeric_id
from cooptrack_core.types import CLASS_UNKNOWN

FILE_NAME = "update_label_info.json"
Family = Literal["vehicle", "infrastructure", "cooperative"]
_FAMILIES: tuple[Family, ...] = get_args(Family)
_FRAME_DIGITS = 6
_REMEDY = f"use the {FILE_NAME} of UniV2X's or CoopTrack's repository"


@dataclass(frozen=True)
class Operation:
    """What becomes of one box: deleted, or given another type and track id."""

    raw_type: str = ""  # empty: the box is deleted
    track_id: str = ""


@dataclass(frozen=True)
class LabelUpdates:
    """Operations by label family, frame id and token of the box."""

    path: Path
    operations: Mapping[Family, Mapping[str, Mapping[str, Operation]]] = field(default_factory=dict)

    def without_cooperative(self) -> LabelUpdates:
        """Only those of the two sides, as CoopTrack applies them."""
        sides: dict[Family, Mapping[str, Mapping[str, Operation]]] = {
            family: frames for family, frames in self.operations.items() if family != "cooperative"
        }
        return replace(self, operations=sides)

    def applied(self, family: Family, frame_id: str, labels: Labels) -> Labels:
        """The labels of a file as they should be."""
        of_frame = self.operations.get(family, {}).get(frame_id)
        if not of_frame:
            return labels
        labels = labels.select([i for i, token in enumerate(labels.token) if of_frame.get(token) != Operation()])
        found = [of_frame.get(token) for token in labels.token]
        if not any(found):
            return labels
        raw_type = tuple(o.raw_type if o else name for o, name in zip(found, labels.raw_type, strict=True))
        track_id = tuple(o.track_id if o else name for o, name in zip(found, labels.track_id, strict=True))
        instances = replace(
            labels.instances,
            class_id=np.array([class_of(name) for name in raw_type], np.int64),
            instance_id=np.array([int(name) if is_numeric_id(name) else 0 for name in track_id], np.int64),
        )
        return replace(labels, raw_type=raw_type, track_id=track_id, instances=instances)


def find(root: Path) -> Path | None:
    """The file inside or beside a dataset, None if there is none."""
    return next((p for p in (root / FILE_NAME, root.parent / FILE_NAME) if p.is_file()), None)


def load(path: Path) -> LabelUpdates:
    """A file {side: [{frame, token, operation}]}: [] deletes a box, [type, track_id] rewrites it.

    A side may also be named as its folder is (vehicle-side) or cut short (veh, inf, coop). A frame that is written as
    a number is that of six digits.
    """
    content = expect_object(read_json(path), path)
    operations: dict[Family, dict[str, dict[str, Operation]]] = {}
    for key, entries in content.items():
        family = next((name for name in _FAMILIES if key.lower().startswith(name[:3])), None)
        if family is None:
            raise problem(path, key, f"is none of {', '.join(_FAMILIES)}", _REMEDY)
        frames = operations.setdefault(family, {})
        for index, entry in enumerate(expect_list(entries, path, key)):
            frame, token, operation = _entry(entry, path, f"{key}[{index}]")
            frames.setdefault(frame, {})[token] = operation
    return LabelUpdates(path, operations)


def _entry(content: Any, path: Path, where: str) -> tuple[str, str, Operation]:
    row = expect_object(content, path, where)
    frame, token = text(row, "frame", f"{path}: {where}"), text(row, "token", f"{path}: {where}")
    if isinstance(row["frame"], int):
        frame = frame.zfill(_FRAME_DIGITS)
    values = expect_list(row.get("operation"), path, f"{where}.operation")
    if not values:
        return frame, token, Operation()
    if len(values) != 2 or class_of(str(values[0])) == CLASS_UNKNOWN:
        raise problem(path, f"{where}.operation", f"is {values!r}, neither [] nor [type, track_id]", _REMEDY)
    return frame, token, Operation(str(values[0]), str(values[1]))


__all__ = ["FILE_NAME", "LabelUpdates", "Operation", "find", "load"]
