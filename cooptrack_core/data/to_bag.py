"""One sequence of a dataset as a rosbag2: what each agent's sensors and detector say, poses, ground truth.

Everything is logged when it could have been known: a frame just after the first /tf pose that is later
than both its perception stamp and its image stamp. docs/data.md lists the topics.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.bag_writer import LATCHED_QOS, TF_QOS, BagWriter
from cooptrack_core.data.calibration import CameraModel, rigid_camera
from cooptrack_core.data.files import problem
from cooptrack_core.data.ground_truth import GroundTruth
from cooptrack_core.data.images import decode_bgr, jpeg_problem, jpeg_size
from cooptrack_core.data.rows import FrameRow
from cooptrack_core.data.simulated_detector import NoiseParameters, detect
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.data.vehicle_path import VehiclePath
from cooptrack_core.geometry.transforms import inverse, make_transform
from cooptrack_core.types import CLASS_UNKNOWN, CooptrackError

Float = NDArray[np.float64]

TF_RATE_HZ = 50.0
_MARGIN_NS = 200_000_000  # poses before the first frame and after the last
_STEP_NS = 1_000  # between messages logged at the same pose, so that every reader keeps their order
_ROADSIDE_BEFORE_NS, _ROADSIDE_AFTER_NS = 1_000_000_000, 300_000_000
_DEFAULT_GROUND_Z_M = -1.9  # of the road in the vehicle lidar frame, where no label tells


@dataclass(frozen=True)
class BagOptions:
    """How to write a bag."""

    raw: bool = False  # decoded images instead of the JPEG files
    seed: int = 0  # of the simulated detector
    noise: NoiseParameters = field(default_factory=NoiseParameters)
    overwrite: bool = False
    skip_broken: bool = False  # leave out frames that cannot be read instead of giving up
    max_frames: int | None = None  # vehicle frames from the beginning of the sequence
    vehicle: str = "vehicle"
    roadside: str = "rsu"


@dataclass
class BagSummary:
    """What went into a bag."""

    path: Path
    sequence_id: str
    vehicle_frames: int = 0
    roadside_frames: int = 0
    images: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _FrameToWrite:
    row: FrameRow
    agent: str
    camera: CameraModel

    @property
    def known_ns(self) -> int:
        return max(self.row.stamp_ns, self.row.image_stamp_ns)


def sequence_to_bag(dataset: Dataset, sequence_id: str, path: Path, options: BagOptions | None = None) -> BagSummary:
    """Writes one sequence; raises CooptrackError for an unknown sequence or unreadable metadata."""
    return _Conversion(dataset, sequence_id, path, options or BagOptions()).run()


class _Conversion:
    def __init__(self, dataset: Dataset, sequence_id: str, path: Path, options: BagOptions) -> None:
        self.dataset, self.options = dataset, options
        self.summary = BagSummary(path, sequence_id)
        rows = dataset.frames("vehicle", sequence_id)[: options.max_frames]
        if not rows:
            known = ", ".join(dataset.sequences[:10]) + (" ..." if len(dataset.sequences) > 10 else "")
            raise problem(dataset.root, "sequence", f"{sequence_id} has no vehicle frames", f"choose one of {known}")
        self.vehicle_rows = self._readable(rows, lambda row: dataset.vehicle_calibration(row.frame_id))
        if not self.vehicle_rows:
            raise problem(dataset.root, "sequence", f"{sequence_id} has no readable vehicle frame", "restore its files")
        self._check_times(self.vehicle_rows)
        self.roadside_rows = self._readable(self._roadside_candidates(), self._roadside_calibration)

    def run(self) -> BagSummary:
        path = self._vehicle_path()
        frames = sorted(self._frames(), key=lambda f: (f.known_ns, f.row.stamp_ns, f.agent != self.options.roadside))
        first = min(f.row.stamp_ns for f in frames) - _MARGIN_NS
        last = max(f.known_ns for f in frames) + _MARGIN_NS
        truth = GroundTruth(self.dataset, self.vehicle_rows)
        poses = path.sample_stamps(first, last, TF_RATE_HZ)
        with (
            BagWriter(self.summary.path, overwrite=self.options.overwrite) as bag,
            tqdm(total=len(frames), unit="frame", desc=f"sequence {self.summary.sequence_id}", disable=None) as bar,
        ):
            bag.write("/tf_static", poses[0] - _STEP_NS, self._static_transforms(poses[0]), LATCHED_QOS)
            self._declare_topics(bag)
            for stamp_ns, released in _schedule(poses, frames):
                bag.write("/tf", stamp_ns, self._transforms(path, stamp_ns), TF_QOS)
                log_ns = stamp_ns
                for frame in released:
                    log_ns = self._write_frame(bag, frame, log_ns, truth)
                    bar.update()
        return self.summary

    def _declare_topics(self, bag: BagWriter) -> None:
        """A topic without messages (no label, no image, nobody there) is still part of the interface."""
        agents = [self.options.vehicle] + ([self.options.roadside] if self.roadside_rows else [])
        for agent in agents:
            bag.topic(f"/{agent}/frame_info", "cooptrack_msgs/msg/FrameInfo")
            bag.topic(f"/{agent}/detections_in", "vision_msgs/msg/Detection3DArray")
        bag.topic(f"/{self.options.vehicle}/ground_truth", "cooptrack_msgs/msg/TrackedObjectArray")

    def _roadside_candidates(self) -> list[FrameRow]:
        first = self.vehicle_rows[0].stamp_ns - _ROADSIDE_BEFORE_NS
        last = self.vehicle_rows[-1].stamp_ns + _ROADSIDE_AFTER_NS
        rows = self.dataset.infrastructure_frames(self.summary.sequence_id)
        return [row for row in rows if first <= row.stamp_ns <= last]

    def _roadside_calibration(self, row: FrameRow) -> object:
        return self.dataset.infrastructure_calibration(row.frame_id)

    def _readable(self, rows: Sequence[FrameRow], check: Callable[[FrameRow], object]) -> list[FrameRow]:
        good = []
        for row in rows:
            try:
                check(row)
                self.dataset.labels(row.side, row.frame_id)
            except CooptrackError as error:
                if not self.options.skip_broken:
                    raise CooptrackError(f"{error} (or leave such frames out with --skip-broken)") from None
                self.summary.warnings.append(f"frame {row.frame_id} left out: {error}")
            else:
                good.append(row)
        return good

    def _check_times(self, rows: Sequence[FrameRow]) -> None:
        for before, row in itertools.pairwise(rows):
            if row.stamp_ns <= before.stamp_ns or row.frame_id <= before.frame_id:
                source = self.dataset.root / "vehicle-side" / "data_info.json"
                what = f"of frame {row.frame_id} is not later than that of frame {before.frame_id}"
                raise problem(source, "pointcloud_timestamp", what, "correct the timestamps")

    def _vehicle_path(self) -> VehiclePath:
        dataset = self.dataset
        plain = [dataset.T_map_from_lidar(row.frame_id) for row in self.vehicle_rows]
        registrations: list[Float | None] = [
            inverse(T) @ dataset.T_map_from_lidar_registered(row.frame_id) if row.frame_id in dataset.pairs else None
            for row, T in zip(self.vehicle_rows, plain, strict=True)
        ]
        # A frame without a partner keeps the last pair's registration; those before the first pair take the first.
        current = next((T for T in registrations if T is not None), np.eye(4))
        filled = []
        for T in registrations:
            current = current if T is None else T
            filled.append(current)
        return VehiclePath(
            tuple(row.stamp_ns for row in self.vehicle_rows),
            tuple(dataset.vehicle_calibration(row.frame_id).T_map_from_novatel for row in self.vehicle_rows),
            tuple(filled),
        )

    def _frames(self) -> Iterator[_FrameToWrite]:
        for row in self.vehicle_rows:
            vehicle = self.dataset.vehicle_calibration(row.frame_id)
            camera, _ = rigid_camera(vehicle.camera, vehicle.T_camera_from_lidar)
            yield _FrameToWrite(row, self.options.vehicle, camera)
        for row in self.roadside_rows:
            roadside = self.dataset.infrastructure_calibration(row.frame_id)
            camera, _ = rigid_camera(roadside.camera, roadside.T_camera_from_virtuallidar)
            yield _FrameToWrite(row, self.options.roadside, camera)

    def _static_transforms(self, stamp_ns: int) -> object:
        v, r = self.options.vehicle, self.options.roadside
        vehicle = self.dataset.vehicle_calibration(self.vehicle_rows[0].frame_id)
        _, T_camera_from_lidar = rigid_camera(vehicle.camera, vehicle.T_camera_from_lidar)
        T_novatel_from_lidar = vehicle.T_novatel_from_lidar
        ground_z = (T_novatel_from_lidar @ np.array([0.0, 0.0, self._ground_z_m(), 1.0]))[2]
        T_novatel_from_base = make_transform(np.eye(3), (0.0, 0.0, ground_z))
        parts = [
            (f"{v}/novatel", f"{v}/lidar", T_novatel_from_lidar),
            (f"{v}/lidar", f"{v}/camera", inverse(T_camera_from_lidar)),
            (f"{v}/novatel", f"{v}/base_link", T_novatel_from_base),
        ]
        if self.roadside_rows:
            unit = self.dataset.infrastructure_calibration(self.roadside_rows[0].frame_id)
            _, T_camera_from_virtuallidar = rigid_camera(unit.camera, unit.T_camera_from_virtuallidar)
            parts.append(("map", f"{r}/lidar", unit.T_map_from_virtuallidar))
            parts.append((f"{r}/lidar", f"{r}/camera", inverse(T_camera_from_virtuallidar)))
        return messages.tf_message([messages.transform(a, b, stamp_ns, T) for a, b, T in parts])

    def _ground_z_m(self) -> float:
        """Height of the road in the vehicle lidar frame: median underside of the vehicles nearby."""
        undersides: list[float] = []
        for row in self.vehicle_rows[:: max(1, len(self.vehicle_rows) // 20)]:
            boxes = self.dataset.labels("vehicle", row.frame_id).instances
            near = (np.hypot(boxes.center_m[:, 0], boxes.center_m[:, 1]) < 40.0) & (boxes.class_id == 0)
            undersides += list(boxes.center_m[near, 2] - boxes.size_m[near, 2] / 2)
        return float(np.median(undersides)) if undersides else _DEFAULT_GROUND_Z_M

    def _transforms(self, path: VehiclePath, stamp_ns: int) -> object:
        v = self.options.vehicle
        return messages.tf_message(
            [
                messages.transform("map", f"{v}/novatel", stamp_ns, path.pose(stamp_ns)),
                messages.transform(f"{v}/lidar", f"{v}/lidar_registered", stamp_ns, path.registration(stamp_ns)),
            ]
        )

    def _write_frame(self, bag: BagWriter, frame: _FrameToWrite, log_ns: int, truth: GroundTruth) -> int:
        """Writes the messages of one frame after log_ns; returns the log time of the last."""
        row, agent = frame.row, frame.agent
        sensor, camera = f"{agent}/lidar", f"{agent}/camera"
        parts: list[tuple[str, object]] = []
        if row.side == "vehicle":
            self.summary.vehicle_frames += 1
            if (annotated := truth.message(row, self.summary.vehicle_frames, sensor, agent)) is not None:
                parts.append(("ground_truth", annotated))
        else:
            self.summary.roadside_frames += 1
        ids = agent, row.sequence_id or self.summary.sequence_id, row.frame_id
        parts.append(("frame_info", messages.frame_info(row.stamp_ns, sensor, row.image_stamp_ns, *ids)))
        size, image = self._image(row, camera)
        parts += [] if image is None else [image]
        parts.append(("camera_info", messages.camera_info(row.image_stamp_ns, camera, frame.camera, size)))
        labels = self.dataset.labels(row.side, row.frame_id)
        if unknown := int((labels.instances.class_id == CLASS_UNKNOWN).sum()):
            what = f"{unknown} of unknown type; left out, cooptrack validate names them"
            self.summary.warnings.append(f"{row.side}-side frame {row.frame_id}: labels: {what}")
        found = detect(labels, row.side, row.frame_id, self.options.seed, self.options.noise)
        parts.append(("detections_in", messages.detection_array(row.stamp_ns, sensor, found)))
        for topic, message in parts:
            log_ns += _STEP_NS
            bag.write(f"/{agent}/{topic}", log_ns, message)
        return log_ns

    def _image(self, row: FrameRow, camera: str) -> tuple[tuple[int, int] | None, tuple[str, object] | None]:
        """Size in px and (topic, message) of the frame's image; (None, None) where there is none."""
        data = self.dataset.image_bytes(row.side, row.frame_id)
        if data is None:
            return None, None
        if reason := jpeg_problem(data):
            consequence = "left out" if self.options.raw else "stored as it is"
            self.summary.warnings.append(f"{row.image_path}: image: {reason}; {consequence}")
        if not self.options.raw:
            self.summary.images += 1
            message = messages.compressed_image(row.image_stamp_ns, camera, data)
            return jpeg_size(data), ("image/compressed", message)
        pixels = None if reason else decode_bgr(data)
        if pixels is None:
            return jpeg_size(data), None
        self.summary.images += 1
        size = (pixels.shape[1], pixels.shape[0])
        return size, ("image", messages.raw_image(row.image_stamp_ns, camera, pixels))


def _schedule(poses_ns: Sequence[int], frames: Sequence[_FrameToWrite]) -> Iterator[tuple[int, list[_FrameToWrite]]]:
    """Every pose stamp with the frames that are released by it: known strictly before it."""
    released: dict[int, list[_FrameToWrite]] = {}
    for frame in frames:
        released.setdefault(poses_ns[bisect.bisect_right(poses_ns, frame.known_ns)], []).append(frame)
    for stamp_ns in poses_ns:
        yield stamp_ns, released.get(stamp_ns, [])


__all__ = ["BagOptions", "BagSummary", "sequence_to_bag"]
