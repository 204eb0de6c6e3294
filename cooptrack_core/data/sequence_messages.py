"""One sequence of a dataset as timed ROS messages: what each agent's sensors and detector say, poses, ground truth.

Everything is logged when it could have been known: a frame just after the first /tf pose that is later
than both its perception stamp and its image stamp. docs/data.md lists the topics.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.calibration import rigid_camera
from cooptrack_core.data.files import problem
from cooptrack_core.data.frame_messages import FrameMessages, SequenceOptions, TimedFrame
from cooptrack_core.data.rows import SIDE_NAMES, FrameRow, Side
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.data.vehicle_path import VehiclePath
from cooptrack_core.geometry.transforms import inverse, make_transform
from cooptrack_core.types import CooptrackError

Float = NDArray[np.float64]

TF_RATE_HZ = 50.0
_MARGIN_NS = 200_000_000  # poses before the first frame and after the last
_STEP_NS = 1_000  # between messages logged at the same pose, so that every reader keeps their order
_ROADSIDE_BEFORE_NS, _ROADSIDE_AFTER_NS = 1_000_000_000, 300_000_000
_DEFAULT_GROUND_Z_M = -1.9  # of the road in the vehicle lidar frame, where no label tells


@dataclass(frozen=True)
class TimedMessage:
    """A message, its topic and when it is logged."""

    topic: str
    log_time_ns: int
    message: Any


class SequenceMessages:
    """The messages of one sequence in the order of their log times; what is left out is said in `warnings`."""

    def __init__(self, dataset: Dataset, sequence_id: str, options: SequenceOptions) -> None:
        """Raises CooptrackError for an unknown sequence or unreadable metadata."""
        self.dataset, self.sequence_id, self.options = dataset, sequence_id, options
        self._left_out: list[str] = []
        rows = self._chosen(dataset.frames("vehicle", sequence_id))[: options.max_frames]
        if not rows:
            known = ", ".join(dataset.sequences[:10]) + (" ..." if len(dataset.sequences) > 10 else "")
            raise problem(dataset.root, "sequence", f"{sequence_id} has no vehicle frames", f"choose one of {known}")
        self.vehicle_rows = self._readable(rows, lambda row: dataset.vehicle_calibration(row.frame_id))
        if not self.vehicle_rows:
            raise problem(dataset.root, "sequence", f"{sequence_id} has no readable vehicle frame", "restore its files")
        self._check_times(self.vehicle_rows)
        self.roadside_rows = self._readable(self._roadside_candidates(), self._roadside_calibration)
        self._path = self._vehicle_path()
        self._frame_messages = FrameMessages(dataset, sequence_id, options, self.vehicle_rows)
        self.frames = self._in_order()
        first = min(frame.row.stamp_ns for frame in self.frames) - _MARGIN_NS
        last = max(frame.known_ns for frame in self.frames) + _MARGIN_NS
        self._poses_ns = self._path.sample_stamps(first, last, TF_RATE_HZ)
        self._released: dict[int, list[TimedFrame]] = {}  # by the first pose that is later than they are known
        for frame in self.frames:
            pose_ns = self._poses_ns[bisect.bisect_right(self._poses_ns, frame.known_ns)]
            self._released.setdefault(pose_ns, []).append(frame)

    @property
    def warnings(self) -> list[str]:
        """What was left out or is doubtful in what was stored, as far as it was looked at."""
        unreadable = self._frame_messages.unreadable.items()
        stored = [f"{path}: image: {reason}; stored as it is" for path, (_, reason) in unreadable]
        return [*self._left_out, *self._frame_messages.warnings, *stored]

    @property
    def warnings_of_run(self) -> list[str]:
        """The same where agents ran on the messages: their frames without a readable image are lost."""
        told = [*self._left_out, *self._frame_messages.warnings]
        for side in SIDE_NAMES:
            found = self.unreadable_images(side)
            if found:
                images = f"{len(found)} {side} image{'s are' if len(found) > 1 else ' is'} unreadable"
                path, reason = found[0]
                told.append(f"sequence {self.sequence_id}: {images}, frames lost (first: {path} {reason})")
        return told

    def unreadable_images(self, side: Side) -> list[tuple[Path, str]]:
        """Those of one side that were looked at, and why."""
        items = self._frame_messages.unreadable.items()
        return [(path, reason) for path, (owner, reason) in items if owner == side]

    @property
    def agents(self) -> list[str]:
        """Namespaces that have frames."""
        return [self.options.vehicle] + ([self.options.roadside] if self.roadside_rows else [])

    @property
    def duration_ns(self) -> int:
        """Between the first and the last pose."""
        return self._poses_ns[-1] - self._poses_ns[0]

    def look_on_with(self, others: Sequence[SequenceMessages]) -> None:
        """Others are of the same traffic: their labels count for the ground truth of this vehicle."""
        self._frame_messages.others = [other._frame_messages for other in others if other is not self]

    def declared(self) -> dict[str, str]:
        """Type of the topics that are part of the interface even without a message (no label, nobody there)."""
        found = {"/tf_static": "tf2_msgs/msg/TFMessage", "/tf": "tf2_msgs/msg/TFMessage"}
        for agent in self.agents:
            found[f"/{agent}/frame_info"] = "cooptrack_msgs/msg/FrameInfo"
            found[f"/{agent}/detections_in"] = "vision_msgs/msg/Detection3DArray"
        return found | {f"/{self.options.vehicle}/ground_truth": "cooptrack_msgs/msg/TrackedObjectArray"}

    def __call__(self, topics: Collection[str] | None = None) -> Iterator[TimedMessage]:
        """The messages of these topics, of all if None. Only what they need is read and computed."""

        def wanted(topic: str) -> bool:
            return topics is None or topic in topics

        if wanted("/tf_static"):
            yield TimedMessage("/tf_static", self._poses_ns[0] - _STEP_NS, self._static_transforms(self._poses_ns[0]))
        for stamp_ns in self._poses_ns:
            if wanted("/tf"):
                yield TimedMessage("/tf", stamp_ns, self._transforms(stamp_ns))
            log_ns = stamp_ns
            for frame in self._released.get(stamp_ns, ()):
                for name, make in self._frame_messages.parts(frame):
                    log_ns += _STEP_NS
                    topic = f"/{frame.agent}/{name}"
                    if wanted(topic):
                        yield TimedMessage(topic, log_ns, make())

    # What frames there are.

    def _chosen(self, rows: list[FrameRow]) -> list[FrameRow]:
        only = self.options.only
        return rows if only is None else [row for row in rows if row.frame_id in only]

    def _roadside_candidates(self) -> list[FrameRow]:
        first = self.vehicle_rows[0].stamp_ns - _ROADSIDE_BEFORE_NS
        last = self.vehicle_rows[-1].stamp_ns + _ROADSIDE_AFTER_NS
        rows = self.dataset.infrastructure_frames(self.sequence_id)
        if self.options.only is not None:
            pairs = [self.dataset.pairs.get(row.frame_id) for row in self.vehicle_rows]
            partners = {pair.infrastructure_frame for pair in pairs if pair is not None}
            rows = [row for row in rows if row.frame_id in partners]
        return [row for row in rows if first <= row.stamp_ns <= last]

    def _roadside_calibration(self, row: FrameRow) -> object:
        return self.dataset.infrastructure_calibration(row.frame_id)

    def _readable(self, rows: Sequence[FrameRow], check: Callable[[FrameRow], object]) -> list[FrameRow]:
        good = []
        for row in rows:
            try:
                check(row)
                if self.options.labels and (row.side == "vehicle" or self.options.roadside_labels):
                    self.dataset.labels(row.side, row.frame_id)
            except CooptrackError as error:
                if not self.options.skip_broken:
                    raise CooptrackError(f"{error} (or leave such frames out with --skip-broken)") from None
                self._left_out.append(f"frame {row.frame_id} left out: {error}")
            else:
                good.append(row)
        return good

    def _check_times(self, rows: Sequence[FrameRow]) -> None:
        for before, row in itertools.pairwise(rows):
            if row.stamp_ns <= before.stamp_ns or row.frame_id <= before.frame_id:
                source = self.dataset.root / "vehicle-side" / "data_info.json"
                what = f"of frame {row.frame_id} is not later than that of frame {before.frame_id}"
                raise problem(source, "pointcloud_timestamp", what, "correct the timestamps")

    def _in_order(self) -> list[TimedFrame]:
        """The frames in the order in which they are known, those of an agent numbered."""
        found = []
        for row in self.vehicle_rows:
            vehicle = self.dataset.vehicle_calibration(row.frame_id)
            camera, _ = rigid_camera(vehicle.camera, vehicle.T_camera_from_lidar)
            found.append(TimedFrame(row, self.options.vehicle, camera))
        for row in self.roadside_rows:
            roadside = self.dataset.infrastructure_calibration(row.frame_id)
            camera, _ = rigid_camera(roadside.camera, roadside.T_camera_from_virtuallidar)
            found.append(TimedFrame(row, self.options.roadside, camera))
        found.sort(key=lambda f: (f.known_ns, f.row.stamp_ns, f.agent != self.options.roadside))
        count: Counter[str] = Counter()
        for at, frame in enumerate(found):
            count[frame.agent] += 1
            found[at] = replace(frame, index=count[frame.agent])
        return found

    # Poses.

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
            try:
                boxes = self.dataset.labels("vehicle", row.frame_id).instances
            except CooptrackError:
                if self.options.labels:
                    raise
                continue
            near = (np.hypot(boxes.center_m[:, 0], boxes.center_m[:, 1]) < 40.0) & (boxes.class_id == 0)
            undersides += list(boxes.center_m[near, 2] - boxes.size_m[near, 2] / 2)
        return float(np.median(undersides)) if undersides else _DEFAULT_GROUND_Z_M

    def _transforms(self, stamp_ns: int) -> object:
        v, path = self.options.vehicle, self._path
        return messages.tf_message(
            [
                messages.transform("map", f"{v}/novatel", stamp_ns, path.pose(stamp_ns)),
                messages.transform(f"{v}/lidar", f"{v}/lidar_registered", stamp_ns, path.registration(stamp_ns)),
            ]
        )


__all__ = ["SequenceMessages", "TimedMessage"]
