"""Rules for the calibration, label and visibility files of each frame."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.calibration import parse_camera, parse_transform
from cooptrack_core.data.files import DataProblem, problem, read_json
from cooptrack_core.data.labels import RAW_TYPES, Labels, class_of, is_numeric_id, parse_labels
from cooptrack_core.data.report import Report
from cooptrack_core.data.rows import CALIBRATION_KEYS, LABEL_KEYS, SIDE_FOLDER, Side
from cooptrack_core.data.validate_rows import frame_id_of, pair_ids, sequence_of
from cooptrack_core.data.visibility import parse_visibility, view_of
from cooptrack_core.types import CLASS_NAMES, CLASS_UNKNOWN

Row = dict[str, Any]

_RESTORE = "restore it from the dataset archive"
_TYPES = (*RAW_TYPES, *CLASS_NAMES)
# How far a rotation may be from one. pyquaternion, which the converters use on the vehicle's, allows 1e-8 off the
# diagonal; the virtual lidar's pose is taken through its polar factor; camera extrinsics may be any invertible map.
_ROTATION_TOLERANCE = {
    "calib_lidar_to_novatel_path": 1e-8,
    "calib_novatel_to_world_path": 1e-8,
    "calib_virtuallidar_to_world_path": 1e-3,
}


class FrameChecker:
    """Checks frames one after the other and remembers what must agree between them."""

    def __init__(self, report: Report, *, dair: bool) -> None:
        self._report, self._dair = report, dair
        self._sound: set[tuple[str, bytes]] = set()  # calibration content that was found to be right
        self._class_of_track: dict[tuple[str, str, str], tuple[int, str]] = {}
        self._changed: dict[tuple[str, str, str], tuple[str, str]] = {}

    def check_frame(self, side: Side, row: Row) -> None:
        """Calibration and both label files of a row."""
        folder = self._report.root / SIDE_FOLDER[side]
        for key in CALIBRATION_KEYS[side]:
            if isinstance(row.get(key), str) and row[key]:
                self._check_calibration(folder / row[key], key)
        for family, key in LABEL_KEYS.items():
            if isinstance(row.get(key), str) and row[key]:
                labels = self._check_labels(folder / row[key])
                if labels is not None and family == "lidar":
                    self._remember(labels, side, sequence_of(row), frame_id_of(row))

    def check_pair(self, row: Row) -> None:
        """The cooperative label file of a pair and its visibility sidecar, if there is one."""
        vehicle, infrastructure = pair_ids(row)
        root = self._report.root
        if "vehicle_frame" not in row:
            name = row.get("cooperative_label_path") or f"cooperative/label_world/{vehicle}.json"
            self._check_labels(root / str(name))
            return
        path = root / "cooperative" / "label" / f"{vehicle}.json"
        labels = self._check_labels(path)
        if labels is None:
            return
        self._remember(labels, "cooperative", str(row.get("vehicle_sequence", "")), vehicle)
        self._check_provenance(path, labels, vehicle, infrastructure)
        if (root / "visibility").is_dir():
            self._check_visibility(root / "visibility" / f"{vehicle}.json", labels)

    def check_tracks(self) -> None:
        """Tracks that change their class within a sequence."""
        for (family, sequence, track_id), (frame_id, names) in self._changed.items():
            folder = "cooperative" if family == "cooperative" else f"{family}-side"
            what = f"track {track_id} of sequence {sequence} is {names}"
            self._report.add(f"{folder}/label", f"{frame_id}.type", what, "give the track one class")

    def _check_calibration(self, path: Path, key: str) -> None:
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        if (key, data) in self._sound:
            return
        with self._report.guard():
            content = read_json(path)
            if key == "calib_camera_intrinsic_path":
                parse_camera(content, path)
            else:
                _check_rotation(parse_transform(content, path)[:3, :3], path, _ROTATION_TOLERANCE.get(key))
            self._sound.add((key, data))

    def _check_labels(self, path: Path) -> Labels | None:
        """Parsed labels, None where the file as a whole cannot be used."""
        report = self._report
        try:
            content = read_json(path)
        except DataProblem as error:
            report.add(error.source, error.field, error.what, error.remedy)
            return None
        if not isinstance(content, list):
            report.add(path, "top level", f"is {type(content).__name__}, not a list", _RESTORE)
            return None
        good = []
        for index, row in enumerate(content):
            try:
                parse_labels([row], path)
            except DataProblem as error:
                report.add(path, error.field.replace("[0]", f"[{index}]"), error.what, error.remedy)
            else:
                good.append((index, row))
        labels = parse_labels([row for _, row in good], path)
        for position, (index, _) in enumerate(good):
            self._check_box(path, labels, position, index)
        if not self._dair:
            self._check_unique(path, "token", labels.token)
            tracked = [t for t, name in zip(labels.track_id, labels.raw_type, strict=True) if class_of(name) != 3]
            self._check_unique(path, "track_id", tracked)
        return labels

    def _check_box(self, path: Path, labels: Labels, i: int, index: int) -> None:
        def add(field: str, what: str, remedy: str) -> None:
            self._report.add(path, f"[{index}].{field}", what, remedy)

        name = labels.raw_type[i]
        known = class_of(name) != CLASS_UNKNOWN if self._dair else name in _TYPES
        if not known:
            add("type", f"is {name!r}", f"the known types are {', '.join(RAW_TYPES)}")
        if (labels.instances.size_m[i] <= 0).any():
            add("3d_dimensions", "are not all positive", "correct or remove the box")
        for field, states in (("occluded_state", labels.occluded_state), ("truncated_state", labels.truncated_state)):
            if int(states[i]) not in (0, 1, 2) and not (self._dair and states[i] == -1):
                value = "missing" if states[i] == -1 else str(states[i])
                add(field, f"is {value}", "give 0, 1 or 2")
        box = labels.box_2d_px[i]
        if np.isfinite(box).all() and (box[0] > box[2] or box[1] > box[3]):
            add("2d_box", "has its corners swapped", "give xmin <= xmax and ymin <= ymax")
        if self._dair:
            return
        if not labels.token[i]:
            add("token", "is missing", "give every box a token of its own")
        if not is_numeric_id(labels.track_id[i]):
            add("track_id", f"is {labels.track_id[i]!r}, not a numeric string", "give every track a number")
        if not -np.pi - 1e-3 <= float(labels.raw[i]["rotation"]) <= np.pi + 1e-3:
            add("rotation", f"is {labels.raw[i]['rotation']}, outside -pi..pi", "wrap the angle")

    def _check_unique(self, path: Path, field: str, values: Any) -> None:
        for value, count in Counter(values).items():
            if count > 1 and value not in ("", "-1"):
                self._report.add(path, field, f"{value} occurs {count} times", f"give each box its own {field}")

    def _remember(self, labels: Labels, family: str, sequence: str, frame_id: str) -> None:
        for track_id, class_id in zip(labels.track_id, labels.instances.class_id, strict=True):
            if class_id in (3, CLASS_UNKNOWN) or not is_numeric_id(track_id):
                continue
            key = (family, sequence, track_id)
            before, first = self._class_of_track.setdefault(key, (int(class_id), frame_id))
            if before != class_id and key not in self._changed:
                names = f"{CLASS_NAMES[before]} in frame {first} and {CLASS_NAMES[class_id]} in frame {frame_id}"
                self._changed[key] = (frame_id, names)

    def _check_provenance(self, path: Path, labels: Labels, vehicle: str, infrastructure: str) -> None:
        expected = {"veh_frame_id": vehicle, "inf_frame_id": infrastructure}
        for index, row in enumerate(labels.raw):
            if row.get("from_side") not in ("veh", "inf", "coop"):
                what = f"is {row.get('from_side')!r}"
                self._report.add(path, f"[{index}].from_side", what, "give veh, inf or coop")
            for key, value in expected.items():
                if key in row and str(row[key]) != value:
                    what = f"is {row[key]}, the pair is {vehicle}/{infrastructure}"
                    self._report.add(path, f"[{index}].{key}", what, "correct the label or the pair")

    def _check_visibility(self, path: Path, labels: Labels) -> None:
        report = self._report
        with report.guard():
            entries = parse_visibility(read_json(path), path)
            missing = sorted(set(labels.track_id) - set(entries) - {"-1"})
            for track_id in missing:
                report.add(path, f"objects.{track_id}", "is missing", "write the scene again")
            for track_id, sides in entries.items():
                for side, view in sides.items():
                    if not 0 <= view.visible_px <= max(view.unoccluded_px, 0):
                        what = f"{view.visible_px} visible of {view.unoccluded_px} unoccluded pixels"
                        report.add(path, f"objects.{track_id}.{side}", what, "write the scene again")
                    elif view_of(view.visible_px, view.unoccluded_px) != view.view:
                        what = f"view contradicts {view.visible_px} of {view.unoccluded_px} pixels"
                        report.add(path, f"objects.{track_id}.{side}", what, "write the scene again")


def _check_rotation(R: NDArray[np.float64], path: Path, tolerance: float | None) -> None:
    if tolerance is None:
        return
    off = R @ R.T - np.eye(3)
    np.fill_diagonal(off, np.diag(off) * tolerance / max(1e-5, tolerance))  # the diagonal is allowed 1e-5
    if np.abs(off).max() > tolerance or np.linalg.det(R) < 0:
        what = f"is not orthonormal (off by {np.abs(R @ R.T - np.eye(3)).max():.1e}, {tolerance:.0e} is allowed)"
        raise problem(path, "rotation", what, "write rotations in full double precision")


__all__ = ["FrameChecker"]
