"""Rules for images and point clouds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cooptrack_core.data import pcd
from cooptrack_core.data.files import DataProblem
from cooptrack_core.data.images import decode_bgr, jpeg_problem
from cooptrack_core.data.report import Report
from cooptrack_core.data.rows import SIDE_FOLDER, Side

Row = dict[str, Any]

_RESTORE = "restore the file from the dataset archive"
_KINDS = {"image_path": "images", "pointcloud_path": "point clouds"}


def check_sensor_files(report: Report, rows: Mapping[Side, Sequence[Row]], *, deep: bool, metadata_only: bool) -> None:
    """Every image and point cloud that the sides list; kinds of which no file at all is there share one line.

    No camera model and no official converter opens a point cloud, so their absence as a whole is a note.
    """
    absent: dict[str, list[str]] = {key: [] for key in _KINDS}
    for side, members in rows.items():
        for key, plural in _KINDS.items():
            folder = report.root / SIDE_FOLDER[side]
            paths = [folder / row[key] for row in members if isinstance(row.get(key), str) and row[key]]
            present = [path for path in paths if path.is_file()]
            if paths and not present:
                absent[key].append(f"{len(paths)} {side} {plural}")
                continue
            if not metadata_only:
                for path in sorted(set(paths) - set(present)):
                    report.add(path, "file", "is missing", _RESTORE)
            for path in tqdm(present, unit="file", desc=f"{side} {plural}", disable=None, leave=False):
                _check_image(report, path, deep) if key == "image_path" else _check_cloud(report, path, deep)
    images, clouds = absent["image_path"], absent["pointcloud_path"]
    what = f"{', '.join(images + clouds)} are listed and none is there"
    if images and not metadata_only:
        report.add(report.root, "sensor files", what, "unpack the archives or pass --metadata-only")
    elif images or clouds:
        report.note(what)


def _check_image(report: Report, path: Path, deep: bool) -> None:
    """Both ends of the file; with deep the whole of it."""
    try:
        if deep:
            data = path.read_bytes()
        else:
            with path.open("rb") as file:
                data = file.read(64)
                size = file.seek(0, 2)
                file.seek(max(size - 64, 64) if size > 64 else size)
                data += file.read()
    except OSError as error:
        report.add(path, "image", f"cannot be read ({error.strerror})", "check path and permissions")
        return
    reason = jpeg_problem(data)
    if reason is None and deep and decode_bgr(data) is None:
        reason = "cannot be decoded"
    if reason is not None:
        report.add(path, "image", reason, _RESTORE)


def _check_cloud(report: Report, path: Path, deep: bool) -> None:
    """Header and length; with deep the points."""
    try:
        if deep:
            pcd.read(path)
        else:
            pcd.check(path)
    except DataProblem as error:
        report.add(error.source, error.field, error.what, error.remedy)


__all__ = ["check_sensor_files"]
