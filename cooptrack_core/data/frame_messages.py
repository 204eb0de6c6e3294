"""The messages of one dataset frame: what was known of it, in the order in which it is logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.calibration import CameraModel
from cooptrack_core.data.ground_truth import GroundTruth
from cooptrack_core.data.images import decode_bgr, jpeg_problem, jpeg_size
from cooptrack_core.data.rows import FrameRow, Side
from cooptrack_core.data.simulated_detector import NoiseParameters, detect
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.types import CLASS_UNKNOWN

_PNG = b"\x89PNG"


@dataclass(frozen=True)
class SequenceOptions:
    """What of a sequence becomes messages, and how."""

    raw: bool = False  # decoded images instead of the JPEG files
    seed: int = 0  # of the simulated detector
    noise: NoiseParameters = field(default_factory=NoiseParameters)
    labels: bool = True  # False: nobody asks for detections, frames without readable labels count too
    roadside_labels: bool = True  # False: the same for the roadside only
    skip_broken: bool = False  # leave out frames that cannot be read instead of giving up
    max_frames: int | None = None  # vehicle frames from the beginning of the sequence
    only: frozenset[str] | None = None  # vehicle frames; with them come the roadside frames that are paired with them
    vehicle: str = "vehicle"
    roadside: str = "rsu"


@dataclass(frozen=True)
class TimedFrame:
    """A frame of an agent. index: among the agent's frames, from 1."""

    row: FrameRow
    agent: str
    camera: CameraModel
    index: int = 0

    @property
    def known_ns(self) -> int:
        """When both its point cloud and its image are there."""
        return max(self.row.stamp_ns, self.row.image_stamp_ns)


class FrameMessages:
    """Makes the messages of the frames of one sequence."""

    def __init__(
        self, dataset: Dataset, sequence_id: str, options: SequenceOptions, vehicle_rows: Sequence[FrameRow]
    ) -> None:
        self.dataset, self.sequence_id, self.options = dataset, sequence_id, options
        self.warnings: dict[str, None] = {}  # each once, in order
        self.unreadable: dict[Path, tuple[Side, str]] = {}  # images that are no sound JPEG: whose, and why
        self._vehicle_rows = vehicle_rows
        self.others: list[FrameMessages] = []  # of the same traffic; what they label is there for this vehicle, too

    @cached_property
    def truth(self) -> GroundTruth:
        return GroundTruth(self.dataset, self._vehicle_rows)

    def parts(self, frame: TimedFrame) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Topic below the agent's namespace and how to make the message, of every message that the frame has."""
        row, stamp_ns, sensor, camera = frame.row, frame.row.stamp_ns, f"{frame.agent}/lidar", f"{frame.agent}/camera"
        if row.side == "vehicle" and self.dataset.has_cooperative_labels(row.frame_id):
            others = [other.truth for other in self.others]
            yield "ground_truth", lambda: self.truth.message(row, frame.index, sensor, frame.agent, others)
        ids = frame.agent, row.sequence_id or self.sequence_id, row.frame_id
        yield "frame_info", lambda: messages.frame_info(stamp_ns, sensor, row.image_stamp_ns, *ids)
        if self.options.raw:
            pixels = self._pixels(row)
            if pixels is not None:
                yield "image", lambda: messages.raw_image(row.image_stamp_ns, camera, pixels)
        elif row.image_path.exists():
            yield "image/compressed", lambda: self._compressed(row, camera)
        yield (
            "camera_info",
            lambda: messages.camera_info(row.image_stamp_ns, camera, frame.camera, self._image_size(row)),
        )
        yield "detections_in", lambda: self._detections(row, sensor)

    def _compressed(self, row: FrameRow, camera: str) -> Any:
        data = self.dataset.image_bytes(row.side, row.frame_id) or b""
        if reason := jpeg_problem(data):
            if data.startswith(_PNG):  # a network reads it all the same
                self.warnings[f"{row.image_path}: image: {reason}; stored as it is"] = None
            else:
                self.unreadable[row.image_path] = (row.side, reason)
        return messages.compressed_image(row.image_stamp_ns, camera, data)

    def _pixels(self, row: FrameRow) -> Any:
        data = self.dataset.image_bytes(row.side, row.frame_id)
        if data is None:
            return None
        if reason := jpeg_problem(data):
            self.warnings[f"{row.image_path}: image: {reason}; left out"] = None
            return None
        return decode_bgr(data)

    def _image_size(self, row: FrameRow) -> tuple[int, int] | None:
        data = self.dataset.image_bytes(row.side, row.frame_id)
        return None if data is None else jpeg_size(data)

    def _detections(self, row: FrameRow, sensor: str) -> Any:
        labels = self.dataset.labels(row.side, row.frame_id)
        if unknown := int((labels.instances.class_id == CLASS_UNKNOWN).sum()):
            what = f"{unknown} of unknown type; left out, cooptrack validate names them"
            self.warnings[f"{row.side}-side frame {row.frame_id}: labels: {what}"] = None
        found = detect(labels, row.side, row.frame_id, self.options.seed, self.options.noise)
        return messages.detection_array(row.stamp_ns, sensor, found)


__all__ = ["FrameMessages", "SequenceOptions", "TimedFrame"]
