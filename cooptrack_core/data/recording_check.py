"""The shape of a recording: what else reads one may rely on it (docs/data.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cooptrack_core.data.files import problem

_REMEDY = "write the recording again (cooptrack evaluate, track or from-bag)"
_LARGEST = 1e12
Check = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    """A name of files: no path, so that nothing is written outside of the folder that the user named."""
    return isinstance(value, str) and not any(part in value for part in ("/", "\\", "\0")) and value not in (".", "..")


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _vector(length: int) -> Check:
    return lambda value: isinstance(value, list) and len(value) == length and all(map(_is_number, value))


def _matrix(size: int) -> Check:
    row = _vector(size)
    return lambda value: isinstance(value, list) and len(value) == size and all(map(row, value))


def _is_pose(value: Any) -> bool:
    return _matrix(4)(value) and bool(np.linalg.det(np.array(value, np.float64)[:3, :3]) > 0.0)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _unknown_or(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _partly_known(length: int) -> Check:
    known = _unknown_or(_is_number)
    return lambda value: isinstance(value, list) and len(value) == length and all(map(known, value))


_NUMBER, _COUNT, _TEXT, _FLAG = (
    ("a finite number", _is_number), ("an integer", _is_count), ("a string", _is_text), ("true or false", _is_flag),
)  # fmt: skip
_NAME = ("a name without path", _is_name)
_POINT, _POSE = ("3 finite numbers", _vector(3)), ("a pose (4x4) or null", _unknown_or(_is_pose))

# Entries: what they must be; those with a question mark may be missing.
_BOX = {
    "id": _COUNT, "class": _TEXT, "center_m": _POINT, "size_m": _POINT, "heading_rad": _NUMBER,
    "velocity_mps?": ("2 numbers or null", _partly_known(2)),
}  # fmt: skip
_TRACK = _BOX | {"score": _NUMBER, "sources?": _COUNT, "sources_ever?": _COUNT, "agents?": ("a list of names", _texts)}
_TRUTH = _BOX | {"sides?": _COUNT, "view?": _TEXT}
_FRAME = {
    "stamp_ns": _COUNT, "sequence_id": _NAME, "frame_id": _TEXT, "T_map_from_lidar?": _POSE,
    "has_ground_truth": _FLAG, "T_map_from_lidar_truth?": _POSE, "ground_truth?": [_TRUTH],
    "poses?": {},
}  # fmt: skip
_PLACE = ("3 numbers or null", _partly_known(3))
_AFFINITY = ("a number or null", _unknown_or(_is_number))
_PAIR = {"ego_center_m": _PLACE, "remote_center_m": _PLACE, "affinity": _AFFINITY, "track_id?": _COUNT}
_LEFT = {"center_m": _PLACE, "track_id?": _COUNT}
_LINKS = {"pairs?": [_PAIR], "unmatched_ego?": [_LEFT], "unmatched_remote?": [_LEFT]}
_TRACKED = _FRAME | {"tracks": [_TRACK], "associations?": _LINKS, "messages?": [{}], "refused?": [{}], "images?": {}}
_SENT = {"agent": _TEXT, "sequence": _COUNT, "stamp_ns": _COUNT, "bytes": _COUNT, "instances": _COUNT}
_RECORDING = {
    "mode": _TEXT, "detector": _TEXT, "vehicle": _TEXT, "roadside?": ("a list of names", _texts),
    "source_bag?": ("a string or null", _unknown_or(_is_text)), "T_novatel_from_lidar?": _POSE,
    "frames": [_TRACKED], "missed?": [_FRAME], "sent": [_SENT],
}  # fmt: skip
_CAMERA = {
    "K": ("a 3x3 matrix", _matrix(3)), "width": _COUNT, "height": _COUNT,
    "T_camera_from_lidar": ("a pose (4x4)", _is_pose), "T_map_from_lidar?": _POSE,
}  # fmt: skip


def check_recording(recording: Mapping[str, Any], source: Path | str) -> None:
    """CooptrackError naming the first entry that is not what readers of recordings take it for."""
    _check(recording, _RECORDING, source, "")
    for index, frame in enumerate(recording["frames"]):
        for agent, pose in frame.get("poses", {}).items():
            _check(pose, ("a pose (4x4)", _is_pose), source, f"frames[{index}].poses.{agent}")
        for agent, image in frame.get("images", {}).items():
            if image is not None:
                _check(image, {"stamp_ns": _COUNT}, source, f"frames[{index}].images.{agent}")
    cameras = recording.get("cameras", {})
    _check(cameras, {}, source, "cameras")
    for agent, camera in cameras.items():
        _check(camera, _CAMERA, source, f"cameras.{agent}")


def _check(value: Any, pattern: Any, source: Path | str, field: str) -> None:
    if isinstance(pattern, tuple):
        expected, check = pattern
        if not check(value):
            raise problem(source, field, f"is {_short(value)}, not {expected}", _REMEDY)
    elif isinstance(pattern, list):
        if not isinstance(value, list):
            raise problem(source, field, f"is {_short(value)}, not a list", _REMEDY)
        for index, item in enumerate(value):
            _check(item, pattern[0], source, f"{field}[{index}]")
    else:
        _check_object(value, pattern, source, field)


def _check_object(value: Any, pattern: Mapping[str, Any], source: Path | str, field: str) -> None:
    if not isinstance(value, dict):
        raise problem(source, field, f"is {_short(value)}, not an object", _REMEDY)
    for key, of_key in pattern.items():
        name = key.rstrip("?")
        where = f"{field}.{name}" if field else name
        if name in value:
            _check(value[name], of_key, source, where)
        elif name == key:
            raise problem(source, where, "is missing", _REMEDY)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


__all__ = ["check_recording"]
