"""The frames that camera images make, for a network offline: as image, camera_info and frame_info reach a node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cooptrack_core.data.bag import Bag, stamp_of
from cooptrack_core.data.bag_events import (
    BagContext,
    BagEvent,
    FrameInfo,
    Source,
    bag_context,
    camera_of,
    event_of,
    frame_info_of,
    opened,
)
from cooptrack_core.data.files import problem
from cooptrack_core.data.images import bgr_of_raw, jpeg_size
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.geometry.transforms import through_quaternion
from cooptrack_core.types import CameraView, CooptrackError, Frame

_NEEDS_IMAGES = "detector network needs the camera's images; or choose detector simulated"
_NEEDS_INFO = "detector network needs the camera's calibration; record camera_info with the images"
_NEEDS_MOUNT = "detector network needs the mounting of the camera; record /tf_static, or write it anew with to-bag"

_KEPT = 50  # images and camera infos that wait for each other


@dataclass
class _Camera:
    """What has come from the camera of one agent and waits for the rest of its frame."""

    agent: str
    image_topic: str
    announces: bool  # whether there are frame_info messages
    announced: list[FrameInfo] = field(default_factory=list)
    images: dict[int, Any] = field(default_factory=dict)  # by stamp
    infos: dict[int, Any] = field(default_factory=dict)
    checked: bool = False
    last_ns: int = -1

    def take(self, topic: str, message: Any) -> list[tuple[FrameInfo, Any, Any]]:
        """Frames that this message completes, after those before them that lack something: (info, image, camera)."""
        if topic.endswith("/frame_info"):
            info = frame_info_of(message)
            self.announced.append(info)
            stamp_ns = info.image_stamp_ns
        else:
            stamp_ns = stamp_of(message)
            waiting = self.infos if topic.endswith("/camera_info") else self.images
            waiting[stamp_ns] = message
            if len(waiting) > _KEPT:
                del waiting[next(iter(waiting))]
        if stamp_ns not in self.images or stamp_ns not in self.infos:
            return []
        if not self.announces:
            self.announced.append(FrameInfo(stamp_ns, stamp_ns, "", ""))
        at = next((n for n, info in enumerate(self.announced) if info.image_stamp_ns == stamp_ns), -1)
        return self.release(at + 1)

    def release(self, count: int | None = None) -> list[tuple[FrameInfo, Any, Any]]:
        """The first announced frames, complete or not, none behind its predecessor; None: all."""
        given = self.announced[:count]
        del self.announced[:count]
        frames = []
        for info in given:
            image, camera = self.images.pop(info.image_stamp_ns, None), self.infos.pop(info.image_stamp_ns, None)
            if info.stamp_ns > self.last_ns:
                self.last_ns = info.stamp_ns
                frames.append((info, image, camera))
        return frames


def image_events(
    source: Source, vehicle: str = "vehicle", roadside: Sequence[str] = ("rsu",), context: BagContext | None = None
) -> Iterator[BagEvent]:
    """Frames of the agents in log order: each image with its camera_info and frame_info is one.

    The frame's stamp is that of its frame_info, the image's own where an agent has none. A frame whose image
    or camera_info never came is lost: it has no image, and comes before the next complete one. An agent
    that has images at all needs camera_info and a static transform to its camera.
    """
    agents = (vehicle, *roadside)
    context = context or bag_context(source, agents)
    with opened(source) as bag:
        cameras = [_camera(bag, agent, agent == vehicle) for agent in agents]
        present = [camera for camera in cameras if camera is not None]
        owner = {
            topic: camera
            for camera in present
            for topic in (camera.image_topic, f"/{camera.agent}/camera_info", f"/{camera.agent}/frame_info")
        }
        log_ns = 0
        for item in bag.messages(list(owner)):
            camera, log_ns = owner[item.topic], item.log_time_ns
            for frame in camera.take(item.topic, item.message):
                yield _event(camera, log_ns, *frame, context, bag.path)
        for camera in present:
            for frame in camera.release():
                yield _event(camera, log_ns, *frame, context, bag.path)


def _camera(bag: Bag | SequenceSource, agent: str, required: bool) -> _Camera | None:
    """The camera of an agent; None for one that is not in the bag. CooptrackError where something is missing."""
    compressed, raw = f"/{agent}/image/compressed", f"/{agent}/image"
    topic = raw if bag.count(raw) and not bag.count(compressed) else compressed
    announces = bag.count(f"/{agent}/frame_info") > 0
    if not (required or announces or bag.count(topic)):
        return None
    bag.require(topic, _NEEDS_IMAGES)
    bag.require(f"/{agent}/camera_info", _NEEDS_INFO)
    return _Camera(agent, topic, announces)


def _event(
    camera: _Camera, log_ns: int, info: FrameInfo, image: Any, camera_info: Any, context: BagContext, path: Path
) -> BagEvent:
    agent = camera.agent
    T = context.pose(agent, f"{agent}/lidar", info.stamp_ns)
    frame = Frame(info.stamp_ns, T)
    if image is not None and camera_info is not None:
        view = _view(agent, image.header.frame_id or camera_info.header.frame_id, camera_info, context, path)
        content = _content(image, camera.image_topic, path)
        if not camera.checked:  # a later one that is broken is a frame that the network rejects
            _check(content, view, camera, path)
            camera.checked = True
        frame = Frame(info.stamp_ns, T, None, content, view, info.image_stamp_ns)
    return event_of(agent, log_ns, frame, info)


def _view(agent: str, frame_id: str, camera_info: Any, context: BagContext, path: Path) -> CameraView:
    camera_frame, sensor_frame = frame_id or f"{agent}/camera", f"{agent}/lidar"
    T = context.transform(camera_frame, sensor_frame)
    if T is None:
        raise problem(path, "/tf_static", f"no transform from {sensor_frame} to {camera_frame}", _NEEDS_MOUNT)
    model = camera_of(camera_info)
    return CameraView(model.K, through_quaternion(T), model.width_px or 0, model.height_px or 0)


def _content(image: Any, topic: str, path: Path) -> Any:
    if topic.endswith("/compressed"):
        return bytes(image.data)
    try:
        return bgr_of_raw(image)
    except CooptrackError as error:
        raise problem(path, topic, str(error), "record bgr8, or image/compressed") from None


def _check(content: Any, view: CameraView, camera: _Camera, path: Path) -> None:
    K, topic = view.K, f"/{camera.agent}/camera_info"
    if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0 or abs(np.linalg.det(K)) < 1e-6:
        what = f"k is {' '.join(f'{v:g}' for v in K.ravel())}; expected finite numbers with positive focal lengths"
        raise problem(path, topic, what, "calibrate the camera")
    size = jpeg_size(content) if isinstance(content, bytes) else content.shape[1::-1]
    if size is not None and tuple(size) != (view.width, view.height):
        what = f"the image has {size[0]}x{size[1]} pixels, {topic} says {view.width}x{view.height}"
        raise problem(path, camera.image_topic, what, "correct the calibration or scale the images")


__all__ = ["image_events"]
