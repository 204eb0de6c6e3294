"""Rows of the three data_info.json lists, of V2X-Seq-SPD and of DAIR-V2X-C."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from cooptrack_core.data.calibration import Convention, parse_offset
from cooptrack_core.data.files import expect_object, problem, stamp_ns, text

Side = Literal["vehicle", "infrastructure"]
SIDE_NAMES: tuple[Side, ...] = ("vehicle", "infrastructure")
SIDE_FOLDER: dict[Side, str] = {"vehicle": "vehicle-side", "infrastructure": "infrastructure-side"}
CALIBRATION_KEYS: dict[Side, tuple[str, ...]] = {
    "vehicle": (
        "calib_camera_intrinsic_path",
        "calib_lidar_to_camera_path",
        "calib_lidar_to_novatel_path",
        "calib_novatel_to_world_path",
    ),
    "infrastructure": (
        "calib_camera_intrinsic_path",
        "calib_virtuallidar_to_camera_path",
        "calib_virtuallidar_to_world_path",
    ),
}
LABEL_KEYS = {"lidar": "label_lidar_std_path", "camera": "label_camera_std_path"}


@dataclass(frozen=True)
class FrameRow:
    """One frame of one side. stamp_ns is the perception time (pointcloud_timestamp); raw is the row as stored."""

    side: Side
    frame_id: str
    sequence_id: str  # batch_id in DAIR-V2X-C, "" where neither is given
    stamp_ns: int
    image_stamp_ns: int
    image_path: Path
    pointcloud_path: Path
    intersection_loc: str
    raw: dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """A vehicle frame and its infrastructure frame; offset_m is system_error_offset (delta_x, delta_y)."""

    vehicle_frame: str
    infrastructure_frame: str
    sequence_id: str
    offset_m: tuple[float, float]
    convention: Convention
    label_path: Path
    raw: dict[str, Any]


def parse_frame_row(content: Any, side: Side, folder: Path, source: str) -> FrameRow:
    """A row of vehicle-side/ or infrastructure-side/data_info.json; paths become absolute to `folder`."""
    row = expect_object(content, source)
    image, cloud = text(row, "image_path", source), text(row, "pointcloud_path", source)
    sequence = str(row.get("sequence_id", row.get("batch_id", "")))
    if sequence in (".", "..") or any(part in sequence for part in ("/", "\\", "\0")):  # files are named after it
        raise problem(source, "sequence_id", f"is {sequence!r}, a path", "correct the id, or drop the row")
    return FrameRow(
        side,
        str(row.get("frame_id") or PurePosixPath(cloud).stem),
        sequence,
        stamp_ns(row, "pointcloud_timestamp", source),
        stamp_ns(row, "image_timestamp", source),
        folder / image,
        folder / cloud,
        str(row.get("intersection_loc") or ""),
        row,
    )


def parse_pair(content: Any, root: Path, source: str) -> Pair:
    """A row of cooperative/data_info.json in either layout.

    DAIR-V2X-C names its files by paths and applies the offset in world axes; its labels are in the world frame.
    """
    row = expect_object(content, source)
    offset_m = parse_offset(row.get("system_error_offset"), source)
    if "vehicle_frame" in row:
        vehicle = text(row, "vehicle_frame", source)
        sequence = text(row, "vehicle_sequence", source)
        other = text(row, "infrastructure_sequence", source)
        if other != sequence:
            raise problem(
                source, "infrastructure_sequence", f"is {other}, vehicle_sequence is {sequence}", "drop the row"
            )
        label = root / "cooperative" / "label" / f"{vehicle}.json"
        infrastructure = text(row, "infrastructure_frame", source)
        return Pair(vehicle, infrastructure, sequence, offset_m, "spd", label, row)
    vehicle = PurePosixPath(text(row, "vehicle_pointcloud_path", source)).stem
    infrastructure = PurePosixPath(text(row, "infrastructure_pointcloud_path", source)).stem
    label = root / str(row.get("cooperative_label_path") or f"cooperative/label_world/{vehicle}.json")
    return Pair(vehicle, infrastructure, "", offset_m, "dair-v2x-c", label, row)


__all__ = ["CALIBRATION_KEYS", "LABEL_KEYS", "SIDE_FOLDER", "SIDE_NAMES", "FrameRow", "Pair", "Side",
           "parse_frame_row", "parse_pair"]  # fmt: skip
