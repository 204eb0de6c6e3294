"""A bag as the frames of its agents, for running the pipeline offline, and what the recording joins to them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.bag import Bag, stamp_of, time_ns
from cooptrack_core.data.calibration import CameraModel
from cooptrack_core.data.detections import instances_from_detections
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.geometry.transform_buffer import TransformBuffer, TransformError
from cooptrack_core.geometry.transforms import from_quaternion, through_quaternion
from cooptrack_core.types import CooptrackError, Frame

Float = NDArray[np.float64]

# A bag, its path, or a sequence of a dataset that is read like one.
Source = Path | str | Bag | SequenceSource

_RECORD_TF = "record /tf and /tf_static too, or make the bag with cooptrack to-bag"


@dataclass(frozen=True)
class BagEvent:
    """A frame of an agent and when it was logged. dataset ids and the image stamp are those of its frame_info."""

    agent_id: str
    log_time_ns: int
    frame: Frame
    sequence_id: str = ""
    frame_id: str = ""
    image_stamp_ns: int | None = None


@dataclass(frozen=True)
class FrameInfo:
    """What a frame_info message ties together."""

    stamp_ns: int
    image_stamp_ns: int
    sequence_id: str
    frame_id: str


@dataclass
class BagContext:
    """Everything of a bag that does not flow: transforms, frame infos, camera models, ground truth by stamp."""

    transforms: TransformBuffer
    frame_infos: dict[str, dict[int, FrameInfo]] = field(default_factory=dict)  # agent -> perception stamp
    cameras: dict[str, CameraModel] = field(default_factory=dict)
    ground_truth: dict[int, Any] = field(default_factory=dict)  # perception stamp -> TrackedObjectArray

    def pose(self, agent: str, sensor_frame: str, stamp_ns: int) -> Float | None:
        """T_map_from_sensor at a time, registered where a registration is known; None where the pose is unknown."""
        registered = f"{agent}/lidar_registered"
        frame = registered if registered in self.transforms.frames() else sensor_frame
        T = self.transform("map", frame, stamp_ns)
        return None if T is None else through_quaternion(T)  # as a node gets it

    def transform(self, target: str, source: str, stamp_ns: int = 0) -> Float | None:
        """T_target_from_source, None where it is unknown."""
        try:
            return self.transforms.lookup(target, source, stamp_ns)
        except TransformError:
            return None


def opened(source: Source) -> Bag | SequenceSource:
    """The bag of a path; to be used as a context manager."""
    return Bag(source) if isinstance(source, (str, Path)) else source


def bag_context(source: Source, agents: Sequence[str], *, need_tf: bool = True) -> BagContext:
    """Reads the context of these agents, of ground truth that of the first, the vehicle.

    CooptrackError for a bag without /tf or /tf_static.
    """
    with opened(source) as bag:
        if need_tf:
            for topic in ("/tf", "/tf_static"):
                bag.require(topic, _RECORD_TF)
        context = BagContext(TransformBuffer(history_ns=bag.duration_ns + 3_600_000_000_000))
        owner = {f"/{agent}/{topic}": agent for agent in agents for topic in ("frame_info", "camera_info")}
        truth = f"/{agents[0]}/ground_truth"  # another vehicle's is another one's
        for item in bag.messages(["/tf", "/tf_static", *owner, truth]):
            if item.topic in ("/tf", "/tf_static"):
                _add_transforms(context.transforms, item.message, static=item.topic == "/tf_static", path=bag.path)
            elif item.topic == truth:
                context.ground_truth[stamp_of(item.message)] = item.message
            elif item.topic.endswith("/frame_info"):
                info = frame_info_of(item.message)
                context.frame_infos.setdefault(owner[item.topic], {})[info.stamp_ns] = info
            else:
                context.cameras[owner[item.topic]] = camera_of(item.message)
        return context


def bag_events(
    source: Source, vehicle: str = "vehicle", roadside: Sequence[str] = ("rsu",), context: BagContext | None = None
) -> Iterator[BagEvent]:
    """Frames of the agents in log order: each detections_in is one frame, with the pose at its stamp.

    A frame_info without detections gives no event: on a live system the frame was lost there, too.
    """
    agents = (vehicle, *roadside)
    context = context or bag_context(source, agents)
    topics = {f"/{agent}/detections_in": agent for agent in agents}
    with opened(source) as bag:
        if not any(bag.count(topic) for topic in topics):
            raise CooptrackError(
                f"{bag.path}: /{vehicle}/detections_in: topic is missing or empty; make the bag with cooptrack to-bag"
            )
        for item in bag.messages(list(topics)):
            agent = topics[item.topic]
            stamp_ns = stamp_of(item.message)
            detections, _ = instances_from_detections(item.message)
            T = context.pose(agent, item.message.header.frame_id, stamp_ns)
            info = context.frame_infos.get(agent, {}).get(stamp_ns)
            yield event_of(agent, item.log_time_ns, Frame(stamp_ns, T, detections), info)


def event_of(agent: str, log_time_ns: int, frame: Frame, info: FrameInfo | None) -> BagEvent:
    """The event of a frame, with what its frame_info says."""
    if info is None:
        return BagEvent(agent, log_time_ns, frame)
    return BagEvent(agent, log_time_ns, frame, info.sequence_id, info.frame_id, info.image_stamp_ns)


def agents_of(topics: Mapping[str, str], suffix: str) -> list[str]:
    """Namespaces that have a topic `/<namespace>/<suffix>`."""
    return sorted(topic[1 : -len(suffix) - 1] for topic in topics if topic.endswith(f"/{suffix}"))


def matrix_of_pose(pose: Any) -> Float | None:
    """[4, 4] of a geometry_msgs/Pose, None if it is not finite or its quaternion has no length."""
    p, q = pose.position, pose.orientation
    return _matrix((q.x, q.y, q.z, q.w), (p.x, p.y, p.z))


def _matrix(xyzw: tuple[float, ...], xyz: tuple[float, ...]) -> Float | None:
    if not np.isfinite([*xyzw, *xyz]).all() or abs(math.hypot(*xyzw) - 1.0) > 0.01:
        return None
    return from_quaternion(xyzw, xyz)


def _add_transforms(buffer: TransformBuffer, message: Any, *, static: bool, path: Path | str) -> None:
    for item in message.transforms:
        t, q = item.transform.translation, item.transform.rotation
        T = _matrix((q.x, q.y, q.z, q.w), (t.x, t.y, t.z))
        if T is None:  # as a live listener: a broken pose is not heard
            continue
        try:
            buffer.set_transform(item.header.frame_id, item.child_frame_id, stamp_of(item), T, static=static)
        except ValueError as error:
            raise CooptrackError(f"{path}: /tf: {error}; correct the publisher") from None


def frame_info_of(message: Any) -> FrameInfo:
    """From a cooptrack_msgs/FrameInfo."""
    return FrameInfo(stamp_of(message), time_ns(message.image_stamp), message.sequence_id, message.frame_id)


def camera_of(message: Any) -> CameraModel:
    """From a sensor_msgs/CameraInfo."""
    K = np.asarray(message.k, np.float64).reshape(3, 3)
    return CameraModel(K, np.asarray(message.d, np.float64), int(message.width), int(message.height))


__all__ = [
    "BagContext", "BagEvent", "FrameInfo", "Source", "agents_of", "bag_context", "bag_events", "camera_of", "event_of",
    "frame_info_of", "matrix_of_pose", "opened",
]  # fmt: skip
