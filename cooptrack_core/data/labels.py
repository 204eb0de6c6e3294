"""Label files: one struct of arrays per file, in the frame of the file (spec of each side in docs/data.md)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.files import array, expect_list, expect_object, number, problem
from cooptrack_core.geometry.boxes import wrap_angle
from cooptrack_core.types import CLASS_ID, CLASS_UNKNOWN, Instances

Float = NDArray[np.float64]
Int = NDArray[np.int64]

RAW_TYPES = {
    "Car": "car", "Truck": "car", "Van": "car", "Bus": "car",
    "Cyclist": "bicycle", "Motorcyclist": "bicycle", "Tricyclist": "bicycle", "Barrowlist": "bicycle",
    "Pedestrian": "pedestrian", "TrafficCone": "traffic_cone",
}  # fmt: skip
_BY_LOWER = {raw.lower(): CLASS_ID[name] for raw, name in RAW_TYPES.items()} | CLASS_ID | {"trunk": CLASS_ID["car"]}
_NO_ID = "-1"
_NO_BOX = (np.nan,) * 4


def class_of(raw_type: str) -> int:
    """Class id of a raw type, whatever its capitals; CLASS_UNKNOWN for a type outside the ten of the dataset."""
    return _BY_LOWER.get(str(raw_type).lower(), CLASS_UNKNOWN)


def is_numeric_id(track_id: str) -> bool:
    """Whether a track id is a string of digits that fits a 64-bit integer."""
    return track_id.isascii() and track_id.isdecimal() and len(track_id) <= 18


@dataclass(frozen=True)
class Labels:
    """N annotated boxes of one file. `instances` has score 1, NaN velocity and instance_id = numeric track id."""

    instances: Instances
    raw_type: tuple[str, ...]
    token: tuple[str, ...]  # "" where the release has none
    track_id: tuple[str, ...]  # "-1" where the release has none
    occluded_state: Int  # [N] 0 none, 1 up to half, 2 more than half; -1 unknown
    truncated_state: Int  # [N] 0 none, 1 horizontally, 2 vertically; -1 unknown
    box_2d_px: Float  # [N, 4] xmin ymin xmax ymax, NaN where absent
    from_side: tuple[str, ...]  # veh, inf, coop; "" on single-side labels
    raw: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.raw)

    def select(self, index: Sequence[int]) -> Labels:
        """The rows with these positions."""
        rows = [int(i) for i in index]

        def pick(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[i] for i in rows)

        return Labels(
            self.instances.select(np.asarray(rows, np.int64)), pick(self.raw_type), pick(self.token),
            pick(self.track_id), self.occluded_state[rows], self.truncated_state[rows], self.box_2d_px[rows],
            pick(self.from_side), pick(self.raw),
        )  # fmt: skip


def concatenated(parts: Sequence[Labels]) -> Labels:
    """The rows of all parts, one after the other."""

    def chain(name: str) -> tuple[Any, ...]:
        return tuple(itertools.chain.from_iterable(getattr(part, name) for part in parts))

    boxes = [part.instances for part in parts]
    names = [item.name for item in fields(Instances) if item.name != "features"]
    columns: dict[str, Any] = {name: np.concatenate([getattr(box, name) for box in boxes]) for name in names}
    return Labels(
        Instances(**columns), chain("raw_type"), chain("token"), chain("track_id"),
        np.concatenate([part.occluded_state for part in parts]),
        np.concatenate([part.truncated_state for part in parts]),
        np.concatenate([part.box_2d_px for part in parts]), chain("from_side"), chain("raw"),
    )  # fmt: skip


def parse_labels(content: Any, source: Path | str) -> Labels:
    """Labels of one file. Boxes of unknown type are kept with CLASS_UNKNOWN; broken numbers raise CooptrackError."""
    rows = [expect_object(row, source, f"[{i}]") for i, row in enumerate(expect_list(content, source))]
    boxes = np.array([_box(row, source, i) for i, row in enumerate(rows)], np.float64).reshape(-1, 7)
    track_id = tuple(_identifier(row, "track_id") for row in rows)
    instances = Instances.create(
        boxes[:, :3],
        boxes[:, 3:6],
        wrap_angle(boxes[:, 6]),
        np.array([class_of(row.get("type", "")) for row in rows], np.int64),
        np.ones(len(rows)),
        instance_id=np.array([int(i) if is_numeric_id(i) else 0 for i in track_id], np.int64),
    )
    return Labels(
        instances,
        tuple(str(row.get("type", "")) for row in rows),
        tuple(str(row.get("token", "")) for row in rows),
        track_id,
        np.array([_state(row, "occluded_state", source, i) for i, row in enumerate(rows)], np.int64),
        np.array([_state(row, "truncated_state", source, i) for i, row in enumerate(rows)], np.int64),
        np.array([_box_2d(row, source, i) for i, row in enumerate(rows)], np.float64).reshape(-1, 4),
        tuple(str(row.get("from_side", "")) for row in rows),
        tuple(rows),
    )


def _box(row: dict[str, Any], source: Path | str, index: int) -> list[float]:
    """Centre x y z, length, width, height, heading of one raw box, from world_8_points where it has them.

    In cooperative/label_world of DAIR-V2X-C `rotation` is left in another frame; only the corners are reliable.
    """
    if row.get("world_8_points"):
        return _box_from_corners(array(row["world_8_points"], (8, 3), source, f"[{index}].world_8_points"))
    values = []
    for group, keys in (("3d_location", "xyz"), ("3d_dimensions", "lwh")):
        part = row.get(group)
        if not isinstance(part, dict):
            raise problem(source, f"[{index}].{group}", "is missing", "correct or remove the box")
        values += [_quick(part.get(key), source, index, f"{group}.{key}") for key in keys]
    return [*values, _quick(row.get("rotation"), source, index, "rotation")]


def _quick(value: Any, source: Path | str, index: int, field: str) -> float:
    """number(), without building the field name in the usual case."""
    if type(value) is float and value - value == 0.0:
        return value
    return number(value, source, f"[{index}].{field}")


def _box_from_corners(p: Float) -> list[float]:
    """Box of 8 corners in the order of world_8_points: 0-3 bottom ring, edge 0-1 the width, 0-3 the length."""
    forward = p[0] - p[3]
    size = (np.linalg.norm(forward), np.linalg.norm(p[0] - p[1]), np.linalg.norm(p[4] - p[0]))
    return [*p.mean(axis=0), *size, np.arctan2(forward[1], forward[0])]


def _identifier(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    return _NO_ID if value is None or value == "" else str(value)


def _state(row: dict[str, Any], key: str, source: Path | str, index: int) -> int:
    value = row.get(key)
    return -1 if value is None or value == "" else int(number(value, source, f"[{index}].{key}"))


def _box_2d(row: dict[str, Any], source: Path | str, index: int) -> tuple[float, ...]:
    box = row.get("2d_box")
    if not isinstance(box, dict):
        return _NO_BOX
    return tuple(_quick(box.get(key), source, index, f"2d_box.{key}") for key in ("xmin", "ymin", "xmax", "ymax"))


__all__ = ["RAW_TYPES", "Labels", "class_of", "is_numeric_id", "parse_labels"]
