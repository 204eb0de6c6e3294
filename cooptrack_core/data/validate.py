"""Checks a V2X-Seq-SPD (or DAIR-V2X-C) tree: what the reader needs and what the official converters insist on.

Every defect is reported, one entry each; nothing here raises for bad data. The rules are listed in docs/data.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tqdm import tqdm

from cooptrack_core.data import splits
from cooptrack_core.data.files import expect_list, expect_object, problem, read_json
from cooptrack_core.data.report import Defect, Report
from cooptrack_core.data.rows import SIDE_FOLDER, SIDE_NAMES, Side
from cooptrack_core.data.validate_extras import check_maps, check_split
from cooptrack_core.data.validate_frames import FrameChecker
from cooptrack_core.data.validate_rows import check_pairs, check_side_rows, check_trailing_frames
from cooptrack_core.data.validate_sensors import check_sensor_files


def validate(
    root: Path | str, *, deep: bool = False, metadata_only: bool = False, split_file: Path | None = None
) -> Report:
    """Report on a dataset root.

    deep: decode every image and point cloud. metadata_only: absent images and point clouds are a note, not a
    defect. split_file: by default the one in or beside the root. Raises CooptrackError if root is no folder.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise problem(folder, "dataset", "is not a folder", "give the folder that holds vehicle-side/")
    report = Report(folder)
    rows = {side: _side_rows(report, side) for side in SIDE_NAMES}
    pairs = _rows(report, folder / "cooperative" / "data_info.json")
    dair = any("vehicle_pointcloud_path" in row for row in pairs)
    for side in SIDE_NAMES:
        check_side_rows(report, side, rows[side], dair=dair)
        check_trailing_frames(report, side, rows[side], dair=dair)
    check_pairs(report, rows, pairs)
    _check_frames(report, rows, pairs, dair)
    check_sensor_files(report, rows, deep=deep, metadata_only=metadata_only)
    check_maps(report)
    if not dair:
        check_split(report, split_file or splits.find(folder), rows, pairs)
    report.counts = {
        "vehicle_frames": len(rows["vehicle"]),
        "infrastructure_frames": len(rows["infrastructure"]),
        "pairs": len(pairs),
        "sequences": len({str(row.get("sequence_id", row.get("batch_id", ""))) for row in rows["vehicle"]}),
    }
    return report


def _check_frames(
    report: Report, rows: dict[Side, list[dict[str, Any]]], pairs: list[dict[str, Any]], dair: bool
) -> None:
    checker = FrameChecker(report, dair=dair)
    total = sum(len(r) for r in rows.values()) + len(pairs)
    with tqdm(total=total, unit="file set", desc="checking", disable=None, leave=False) as bar:
        for side in SIDE_NAMES:
            for row in rows[side]:
                checker.check_frame(side, row)
                bar.update()
        for pair in pairs:
            checker.check_pair(pair)
            bar.update()
    checker.check_tracks()


def _side_rows(report: Report, side: Side) -> list[dict[str, Any]]:
    return _rows(report, report.root / SIDE_FOLDER[side] / "data_info.json")


def _rows(report: Report, path: Path) -> list[dict[str, Any]]:
    """The rows that are objects; everything else becomes a defect."""
    rows: list[dict[str, Any]] = []
    with report.guard():
        for index, row in enumerate(expect_list(read_json(path), path)):
            with report.guard():
                rows.append(expect_object(row, path, f"[{index}]"))
        if not rows:
            report.add(path, "top level", "lists no frame", "restore it from the dataset archive")
    return rows


__all__ = ["Defect", "Report", "validate"]
