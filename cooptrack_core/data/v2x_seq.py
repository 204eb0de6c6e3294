"""Reader of V2X-Seq-SPD, and of DAIR-V2X-C where it differs: rows, calibration, labels, poses, images, clouds.

Lazy: opening reads the three data_info.json; everything else is read when asked for. Calibration files
that are physically constant are stored once per frame, so parsed content is cached by its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data import pcd
from cooptrack_core.data.calibration import (
    CameraModel,
    InfrastructureCalibration,
    VehicleCalibration,
    parse_camera,
    parse_offset,
    parse_pose,
    parse_transform,
    registered_pose,
)
from cooptrack_core.data.files import expect_list, problem, read_json
from cooptrack_core.data.label_updates import Family, LabelUpdates
from cooptrack_core.data.labels import Labels, parse_labels
from cooptrack_core.data.rows import (
    LABEL_KEYS,
    SIDE_FOLDER,
    SIDE_NAMES,
    FrameRow,
    Pair,
    Side,
    parse_frame_row,
    parse_pair,
)
from cooptrack_core.data.visibility import View, parse_visibility
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.transforms import inverse

Float = NDArray[np.float64]
T = TypeVar("T")


def is_dataset(path: Path) -> bool:
    """Whether a folder is laid out as a dataset, at least in part."""
    return any((path / folder / "data_info.json").is_file() for folder in SIDE_FOLDER.values())


class Dataset:
    """One dataset root. Frames are found by side and frame id, pairs by vehicle frame id."""

    def __init__(self, root: Path | str, label_updates: LabelUpdates | None = None) -> None:
        """Opens a root folder; CooptrackError when it is not laid out as V2X-Seq-SPD or DAIR-V2X-C."""
        self.root, self.label_updates = Path(root), label_updates
        if not self.root.is_dir():
            raise problem(self.root, "dataset", "is not a folder", "give the folder that holds vehicle-side/")
        if not is_dataset(self.root):
            what, remedy = "holds no vehicle-side/data_info.json", "give the root of V2X-Seq-SPD or DAIR-V2X-C"
            raise problem(self.root, "dataset", what, remedy)
        self._parsed: dict[tuple[str, bytes], Any] = {}

    @cached_property
    def _frames(self) -> dict[Side, dict[str, FrameRow]]:
        return {side: self._read_side(side) for side in SIDE_NAMES}

    def _read_side(self, side: Side) -> dict[str, FrameRow]:
        folder = self.root / SIDE_FOLDER[side]
        path = folder / "data_info.json"
        if side == "infrastructure" and not path.is_file():
            return {}  # a vehicle-only download is usable without cooperation
        content = expect_list(read_json(path), path)
        rows = [parse_frame_row(row, side, folder, f"{path}[{i}]") for i, row in enumerate(content)]
        return {row.frame_id: row for row in rows}

    @cached_property
    def pairs(self) -> Mapping[str, Pair]:
        """Pairs by vehicle frame id, in the order of vehicle frames; empty without cooperative/data_info.json.

        Rows that name a frame which a side does not list are left out (`cooptrack validate` reports them).
        """
        path = self.root / "cooperative" / "data_info.json"
        if not path.is_file():
            return {}
        pairs = [parse_pair(row, self.root, f"{path}[{i}]") for i, row in enumerate(expect_list(read_json(path), path))]
        vehicle, infrastructure = self._frames["vehicle"], self._frames["infrastructure"]
        known = [p for p in pairs if p.vehicle_frame in vehicle and p.infrastructure_frame in infrastructure]
        return {p.vehicle_frame: p for p in sorted(known, key=lambda p: p.vehicle_frame)}

    def frames(self, side: Side, sequence_id: str | None = None) -> list[FrameRow]:
        """Frames of one side in time order, of one sequence or of all."""
        rows = self._frames[side].values()
        chosen = [r for r in rows if sequence_id is None or r.sequence_id == sequence_id]
        return sorted(chosen, key=lambda r: (r.sequence_id, r.stamp_ns))

    def frame(self, side: Side, frame_id: str) -> FrameRow:
        """One frame; CooptrackError when the side does not list it."""
        row = self._frames[side].get(frame_id)
        if row is None:
            path = self.root / SIDE_FOLDER[side] / "data_info.json"
            raise problem(path, "frame_id", f"{frame_id} is not listed", "choose a listed frame")
        return row

    @cached_property
    def sequences(self) -> tuple[str, ...]:
        """Ids of the sequences that have vehicle frames."""
        return tuple(sorted({row.sequence_id for row in self._frames["vehicle"].values()}))

    def infrastructure_frames(self, sequence_id: str) -> list[FrameRow]:
        """Infrastructure frames that belong to a vehicle sequence: of the same id (SPD) or paired (DAIR-V2X-C)."""
        paired = {
            pair.infrastructure_frame
            for row in self.frames("vehicle", sequence_id)
            if (pair := self.pairs.get(row.frame_id)) is not None
        }
        spd = not any(p.convention == "dair-v2x-c" for p in self.pairs.values())
        rows = self._frames["infrastructure"].values()
        chosen = [r for r in rows if r.frame_id in paired or (spd and r.sequence_id == sequence_id)]
        return sorted(chosen, key=lambda r: r.stamp_ns)

    def location(self, frame_id: str) -> str:
        """intersection_loc of a vehicle frame; where it is empty, that of the paired infrastructure frame."""
        own = self.frame("vehicle", frame_id).intersection_loc
        pair = self.pairs.get(frame_id)
        if own or pair is None:
            return own
        return self.frame("infrastructure", pair.infrastructure_frame).intersection_loc

    def _cached(self, path: Path, parse: Callable[[Any, Path], T]) -> T:
        """Parsed content of a JSON file that often equals that of its neighbours."""
        try:
            data = path.read_bytes()
        except OSError:
            return parse(read_json(path), path)  # raises with the reason
        key = (parse.__name__, data)
        if key not in self._parsed:
            try:
                content = json.loads(data)
            except ValueError:
                content = read_json(path)
            if len(self._parsed) > 4096:
                self._parsed.clear()
            self._parsed[key] = parse(content, path)
        result: T = self._parsed[key]
        return result

    def _path(self, row: FrameRow, key: str) -> Path:
        folder = self.root / SIDE_FOLDER[row.side]
        value = row.raw.get(key)
        if not isinstance(value, str) or not value:
            source = folder / "data_info.json"
            raise problem(source, f"{row.frame_id}.{key}", "is missing", "restore it from the dataset archive")
        return folder / value

    def camera(self, side: Side, frame_id: str) -> CameraModel:
        """Camera model of one frame."""
        return self._cached(self._path(self.frame(side, frame_id), "calib_camera_intrinsic_path"), parse_camera)

    def vehicle_calibration(self, frame_id: str) -> VehicleCalibration:
        """Calibration and pose of one vehicle frame; CooptrackError for a missing file or a NaN pose."""
        row = self.frame("vehicle", frame_id)
        return VehicleCalibration(
            self.camera("vehicle", frame_id),
            self._cached(self._path(row, "calib_lidar_to_camera_path"), parse_transform),
            self._cached(self._path(row, "calib_lidar_to_novatel_path"), parse_pose),
            self._cached(self._path(row, "calib_novatel_to_world_path"), parse_pose),
        )

    def infrastructure_calibration(self, frame_id: str) -> InfrastructureCalibration:
        """Calibration of one infrastructure frame."""
        row = self.frame("infrastructure", frame_id)
        world = self._path(row, "calib_virtuallidar_to_world_path")
        return InfrastructureCalibration(
            self.camera("infrastructure", frame_id),
            self._cached(self._path(row, "calib_virtuallidar_to_camera_path"), parse_transform),
            self._cached(world, parse_pose),
            self._cached(world, _relative_error),
        )

    def T_map_from_lidar(self, frame_id: str) -> Float:
        """Pose of the vehicle lidar, without registration."""
        return self.vehicle_calibration(frame_id).T_map_from_lidar

    def T_map_from_lidar_registered(self, frame_id: str) -> Float:
        """Pose of the vehicle lidar with the pair's system_error_offset; without a pair the plain pose."""
        pair = self.pairs.get(frame_id)
        T = self.T_map_from_lidar(frame_id)
        return T if pair is None else registered_pose(T, pair.offset_m, pair.convention)

    def T_lidar_from_virtuallidar(self, frame_id: str) -> Float:
        """Infrastructure virtual lidar to vehicle lidar of one pair, in the convention of the dataset."""
        pair = self.pair(frame_id)
        infrastructure = self.infrastructure_calibration(pair.infrastructure_frame)
        return inverse(self.T_map_from_lidar_registered(frame_id)) @ infrastructure.T_map_from_virtuallidar

    def pair(self, frame_id: str) -> Pair:
        """Pair of a vehicle frame; CooptrackError when it has no partner."""
        if frame_id not in self.pairs:
            path = self.root / "cooperative" / "data_info.json"
            raise problem(path, "vehicle_frame", f"{frame_id} has no pair", "choose a paired frame")
        return self.pairs[frame_id]

    def labels(self, side: Side, frame_id: str, family: Literal["lidar", "camera"] = "lidar") -> Labels:
        """Labels of one side in its lidar frame, fitted to the point cloud's or the image's time."""
        path = self._path(self.frame(side, frame_id), LABEL_KEYS[family])
        return self._updated(side, frame_id, parse_labels(read_json(path), path))

    def cooperative_labels(self, frame_id: str) -> Labels:
        """Cooperative labels of one pair in the vehicle lidar frame at the vehicle's point cloud time.

        DAIR-V2X-C stores them in the world frame; they are moved by the registered pose.
        """
        pair = self.pair(frame_id)
        labels = self._updated("cooperative", frame_id, parse_labels(read_json(pair.label_path), pair.label_path))
        if pair.convention == "spd":
            return labels
        T = inverse(self.T_map_from_lidar_registered(frame_id))
        return Labels(**{**vars(labels), "instances": move(labels.instances, T)})

    def _updated(self, family: Family, frame_id: str, labels: Labels) -> Labels:
        return labels if self.label_updates is None else self.label_updates.applied(family, frame_id, labels)

    def label_tokens(self, family: Family, frame_id: str) -> frozenset[str]:
        """Tokens in the label file of a frame as stored, without updates; none where there is no such file.

        Frames of family cooperative are those of the vehicle.
        """
        if family == "cooperative":
            path = self.pair(frame_id).label_path
        else:
            path = self._path(self.frame(family, frame_id), LABEL_KEYS["lidar"])
        rows = expect_list(read_json(path), path) if path.is_file() else []
        return frozenset(str(row.get("token", "")) for row in rows if isinstance(row, dict))

    def has_cooperative_labels(self, frame_id: str) -> bool:
        """Whether the frame has a pair whose label file exists (test labels are not public).

        CooptrackError for something else of that name.
        """
        path = self.pairs[frame_id].label_path if frame_id in self.pairs else None
        if path is not None and path.is_dir():
            raise problem(path, "file", "is a folder, not a file of labels", "restore the file, or remove the folder")
        return path is not None and path.is_file()

    def visibility(self, frame_id: str) -> Mapping[str, Mapping[str, View]] | None:
        """{cooperative track id: {side: View}} of a vehicle frame; None without a sidecar."""
        path = self.root / "visibility" / f"{frame_id}.json"
        return parse_visibility(read_json(path), path) if path.is_file() else None

    def image_bytes(self, side: Side, frame_id: str) -> bytes | None:
        """The JPEG file as stored; None when it is absent, as in metadata-only downloads."""
        path = self.frame(side, frame_id).image_path
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise problem(path, "image", f"cannot be read ({error.strerror})", "check path and permissions") from None

    def points(self, side: Side, frame_id: str) -> NDArray[np.float32]:
        """[N, 4] x y z in m and intensity 0..255 in the side's lidar frame; rows with NaN are dropped."""
        return pcd.read(self.frame(side, frame_id).pointcloud_path)


def _relative_error(content: Any, source: Path) -> tuple[float, float]:
    entry = content.get("relative_error") if isinstance(content, dict) else None
    return parse_offset(entry, source, "relative_error")


__all__ = ["Dataset", "is_dataset"]
