"""Lock-step of a replay: which outputs a message of the bag makes due, and whether they have come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from rclpy.serialization import deserialize_message

from cooptrack_core.types import CooptrackError
from cooptrack_msgs.msg import FrameInfo, InstanceFeatures, TrackedObjectArray
from cooptrack_ros.bags import Logged, header_stamp_ns
from cooptrack_ros.conversions import stamp_ns

OUTPUT_TYPES: dict[str, type[Any]] = {"tracks": TrackedObjectArray, "instances": InstanceFeatures}
_KEPT = 100


@dataclass(frozen=True)
class Due:
    """An output that has to come before the bag goes on."""

    topic: str
    stamp_ns: int


class Frames(Protocol):
    """Recognises the frames of one agent among the messages of a bag."""

    topics: tuple[str, ...]  # that need a subscriber before the first message

    def completed(self, message: Logged) -> list[int]:
        """Perception stamps of the frames that are complete with this message."""


class DetectionFrames:
    """Every message of detections_in is a frame."""

    def __init__(self, namespace: str, topics: Collection[str]) -> None:
        self.topics = tuple(topic for topic in (f"{namespace}/detections_in",) if topic in topics)

    def completed(self, message: Logged) -> list[int]:
        """Its own stamp."""
        return [header_stamp_ns(message.data)] if message.topic in self.topics else []


class ImageFrames:
    """An image, its camera_info and, where the bag has them, the frame_info that names it are a frame, in any order."""

    def __init__(self, namespace: str, topics: Collection[str]) -> None:
        images = (f"{namespace}/image/compressed", f"{namespace}/image")
        self._image = next((topic for topic in images if topic in topics), images[0])
        self._camera, self._info = f"{namespace}/camera_info", f"{namespace}/frame_info"
        self._announced = self._info in topics
        wanted = (self._image, self._camera, self._info)
        self.topics = tuple(topic for topic in wanted if topic in topics) if {*wanted[:2]} <= {*topics} else ()
        self._parts: OrderedDict[int, set[str]] = OrderedDict()  # image stamp -> topics that have come
        self._stamps: dict[int, list[int]] = {}  # image stamp -> perception stamps

    def completed(self, message: Logged) -> list[int]:
        """The stamps that frame_info gives, else that of the image."""
        if message.topic not in self.topics:
            return []
        if message.topic == self._info:
            info = deserialize_message(message.data, FrameInfo)
            key = stamp_ns(info.image_stamp)
            self._stamps.setdefault(key, []).append(stamp_ns(info.header.stamp))
        else:
            key = header_stamp_ns(message.data)
        self._parts.setdefault(key, set()).add(message.topic)
        if len(self._parts) > _KEPT:
            old, _ = self._parts.popitem(last=False)
            self._stamps.pop(old, None)
        if len(self._parts[key]) < len(self.topics):
            return []
        return self._stamps.pop(key, []) if self._announced else [key]


KINDS: dict[str, type[DetectionFrames] | type[ImageFrames]] = {"detections": DetectionFrames, "images": ImageFrames}


class LockStep:
    """The outputs waited for, by agent; answers are noted as they come."""

    def __init__(self, where: str, outputs: Iterable[str], kind: str, topics: Collection[str]) -> None:
        """outputs: topics such as /rsu/instances; topics: those of the bag. Agents without frames are left out.

        Raises CooptrackError for an output of a kind that no agent has.
        """
        self._frames: dict[str, Frames] = {}
        self._outputs: dict[str, list[str]] = {}
        self._answered: dict[str, int] = {}
        for output in outputs:
            namespace, _, name = output.rpartition("/")
            if name not in OUTPUT_TYPES:
                raise CooptrackError(
                    f"{where}: parameter lockstep_outputs: {output!r} ends in none of {', '.join(sorted(OUTPUT_TYPES))}"
                )
            frames = self._frames.get(namespace) or KINDS[kind](namespace, topics)
            if frames.topics:
                self._frames[namespace] = frames
                self._outputs.setdefault(namespace, []).append(output)

    @property
    def inputs(self) -> set[str]:
        """Topics of the bag that frames are made of."""
        return {topic for frames in self._frames.values() for topic in frames.topics}

    @property
    def outputs(self) -> list[str]:
        """Topics waited for."""
        return [output for outputs in self._outputs.values() for output in outputs]

    @property
    def answers(self) -> set[str]:
        """Topics to listen to: the outputs, and the tracks that say that an agent is done with a frame."""
        return {*self.outputs, *(f"{namespace}/tracks" for namespace in self._outputs)}

    def answer(self, topic: str, at_ns: int) -> None:
        """Something has come on a topic."""
        self._answered[topic] = at_ns

    def due(self, message: Logged) -> list[Due]:
        """What has to come after this message of the bag."""
        return [
            Due(output, at_ns)
            for namespace, frames in self._frames.items()
            for at_ns in frames.completed(message)
            for output in self._outputs[namespace]
        ]

    def has_come(self, due: Due) -> bool:
        """Whether the output is there."""
        return self._answered.get(due.topic) == due.stamp_ns

    def tracks_have_come(self, due: Due) -> bool:
        """Whether the tracks of the same frame are there; what is still missing then will hardly come."""
        return self._answered.get(f"{due.topic.rpartition('/')[0]}/tracks") == due.stamp_ns
