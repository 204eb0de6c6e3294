"""Rules for the rows of the three data_info.json."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from cooptrack_core.data.calibration import parse_offset
from cooptrack_core.data.files import DataProblem, number, stamp_ns
from cooptrack_core.data.report import Report
from cooptrack_core.data.rows import CALIBRATION_KEYS, LABEL_KEYS, SIDE_FOLDER, Side

Row = dict[str, Any]

# The log table of the official converters; any other location is a KeyError in spd_to_nuscenes.
LOCATIONS = ("yizhuang06", "yizhuang08", "yizhuang09", "yizhuang10", "yizhuang13", "yizhuang16")
_RESTORE = "restore the row from the dataset archive"
_SIDE_KEYS: dict[Side, tuple[str, ...]] = {
    "vehicle": ("start_frame_id", "end_frame_id", "num_frames"),
    "infrastructure": ("camera_ip", "camera_id", "lidar_id", "valid_frames_splits", "num_frames"),
}


def frame_id_of(row: Row) -> str:
    """The frame id of a row, from its paths where the release has no such key; "?" where neither is there."""
    value = row.get("frame_id")
    if isinstance(value, (str, int)) and str(value):
        return str(value)
    path = row.get("pointcloud_path", row.get("image_path"))
    return PurePosixPath(path).stem if isinstance(path, str) and path else "?"


def sequence_of(row: Row) -> str:
    """sequence_id, batch_id in DAIR-V2X-C."""
    return str(row.get("sequence_id", row.get("batch_id", "")))


def pair_ids(row: Row) -> tuple[str, str]:
    """(vehicle frame, infrastructure frame) of a cooperative row in either layout."""
    if "vehicle_pointcloud_path" in row:
        names = (row.get("vehicle_pointcloud_path"), row.get("infrastructure_pointcloud_path"))
        return PurePosixPath(str(names[0])).stem, PurePosixPath(str(names[1])).stem
    return str(row.get("vehicle_frame", "?")), str(row.get("infrastructure_frame", "?"))


def check_side_rows(report: Report, side: Side, rows: Sequence[Row], *, dair: bool) -> None:
    """Keys, unique ids, locations, and stamps that increase within each sequence."""
    path = report.root / SIDE_FOLDER[side] / "data_info.json"
    for frame_id, count in Counter(frame_id_of(row) for row in rows).items():
        if count > 1:
            report.add(path, f"{frame_id}.frame_id", f"occurs {count} times", "keep one row per frame")
    required = ["image_path", "pointcloud_path", "image_timestamp", "pointcloud_timestamp", *CALIBRATION_KEYS[side]]
    required += [] if dair else ["frame_id", "sequence_id", "intersection_loc", *LABEL_KEYS.values(), *_SIDE_KEYS[side]]
    for row in rows:
        name = frame_id_of(row)
        for key in required:
            if key not in row:
                report.add(path, f"{name}.{key}", "is missing", _RESTORE)
        for key in ("image_timestamp", "pointcloud_timestamp"):
            if key in row:
                with report.guard():
                    _stamp(row, key, f"{path}", name)
    if not dair:
        _check_locations(report, str(path), rows)
    _check_increasing(report, str(path), rows)


def _check_locations(report: Report, path: str, rows: Sequence[Row]) -> None:
    """One line per sequence and value, since a whole sequence has the same."""
    for sequence, members in _by_sequence(rows).items():
        values = Counter(str(row["intersection_loc"]) for row in members if "intersection_loc" in row)
        for value, count in values.items():
            if value not in LOCATIONS:
                what = f"is {value!r} in {count} rows of sequence {sequence}"
                report.add(path, "intersection_loc", what, f"the converters know {', '.join(LOCATIONS)}")


def _stamp(row: Row, key: str, path: str, name: str) -> int:
    try:
        return stamp_ns(row, key, path)
    except DataProblem as error:
        raise DataProblem(path, f"{name}.{error.field}", error.what, error.remedy) from None


def _check_increasing(report: Report, path: str, rows: Sequence[Row]) -> None:
    for members in _by_sequence(rows).values():
        for key in ("pointcloud_timestamp", "image_timestamp"):
            before: tuple[int, str] | None = None
            for row in sorted(members, key=frame_id_of):
                name = frame_id_of(row)
                try:
                    now = _stamp(row, key, path, name)
                except DataProblem:
                    continue  # reported with the row
                if before is not None and now <= before[0]:
                    what = f"{now // 1000} is not later than that of frame {before[1]}"
                    report.add(path, f"{name}.{key}", what, "order the frames of a sequence by time")
                before = (now, name)


def _by_sequence(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[sequence_of(row)].append(row)
    return groups


def check_trailing_frames(report: Report, side: Side, rows: Sequence[Row], *, dair: bool) -> None:
    """start/end ids and num_frames (vehicle), valid_frames_splits (infrastructure) against the frames listed."""
    path = report.root / SIDE_FOLDER[side] / "data_info.json"
    for sequence, members in _by_sequence(rows).items():
        if dair:
            continue
        ids = {frame_id_of(row) for row in members}
        if len(members) < 2:
            report.add(path, f"sequence {sequence}", "has a single frame", "the converters need two or more")
        for row in members:
            name = frame_id_of(row)
            runs = [row] if side == "vehicle" else row.get("valid_frames_splits") or []
            for run in runs if isinstance(runs, list) else []:
                if not isinstance(run, dict):
                    report.add(path, f"{name}.valid_frames_splits", "holds something that is no object", _RESTORE)
                    continue
                for key in ("start_frame_id", "end_frame_id"):
                    if key in run and str(run[key]) not in ids:
                        what = f"{run[key]} is not a frame of sequence {sequence}"
                        report.add(path, f"{name}.{key}", what, "restore the missing frames or correct the range")
            if "num_frames" in row:
                with report.guard():
                    number(row["num_frames"], path, f"{name}.num_frames")


def check_pairs(report: Report, rows: Mapping[Side, Sequence[Row]], pairs: Sequence[Row]) -> None:
    """Partners that exist and belong together, one to one, with numeric offsets."""
    path = report.root / "cooperative" / "data_info.json"
    known = {side: {frame_id_of(row): row for row in members} for side, members in rows.items()}
    seen: dict[str, Counter[str]] = {"vehicle": Counter(), "infrastructure": Counter()}
    for row in pairs:
        vehicle, infrastructure = pair_ids(row)
        ids: dict[Side, str] = {"vehicle": vehicle, "infrastructure": infrastructure}
        for side, frame_id in ids.items():
            seen[side][f"{row.get(f'{side}_sequence', '')}/{frame_id}"] += 1
            _check_partner(report, str(path), row, side, vehicle, known[side].get(frame_id), frame_id)
        own, other = row.get("vehicle_sequence"), row.get("infrastructure_sequence")
        if "vehicle_frame" in row and own != other:
            what = f"{other!r} differs from vehicle_sequence {own!r}"
            report.add(path, f"{vehicle}.infrastructure_sequence", what, "pair frames of one sequence")
        _check_offset(report, str(path), row, vehicle)
    for name_of_side, counts in seen.items():
        for name, count in counts.items():
            if count > 1:
                field = f"{name.split('/')[1]}.{name_of_side}_frame"
                report.add(path, field, f"is paired {count} times", "pair each frame once")
    order = [pair_ids(row)[0] for row in pairs]
    if order != sorted(order):
        report.add(path, "top level", "rows are not in the order of vehicle frames", "sort them")


def _check_partner(
    report: Report, path: str, row: Row, side: Side, vehicle: str, partner: Row | None, frame_id: str
) -> None:
    if partner is None:
        what = f"{frame_id} is not listed in {SIDE_FOLDER[side]}/data_info.json"
        report.add(path, f"{vehicle}.{side}_frame", what, "restore the partner frame or drop the pair")
        return
    sequence = row.get(f"{side}_sequence")
    if "vehicle_frame" in row and str(sequence) != sequence_of(partner):
        what = f"is {sequence!r}, the {side} frame {frame_id} is in sequence {sequence_of(partner)}"
        report.add(path, f"{vehicle}.{side}_sequence", what, "correct the row")


def _check_offset(report: Report, path: str, row: Row, vehicle: str) -> None:
    content = row.get("system_error_offset")
    if "vehicle_frame" in row:
        parts = content if isinstance(content, dict) else {}
        for key in ("delta_x", "delta_y"):
            value = parts.get(key)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
                what = f"is {value!r}, not a number"
                report.add(path, f"{vehicle}.system_error_offset.{key}", what, "give metres, 0 where never measured")
        return
    with report.guard():
        parse_offset(content, path, f"{vehicle}.system_error_offset")


__all__ = [
    "LOCATIONS", "check_pairs", "check_side_rows", "check_trailing_frames", "frame_id_of", "pair_ids", "sequence_of",
]  # fmt: skip
