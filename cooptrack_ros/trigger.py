"""What makes a frame of an agent: the interface between its node and the topics that bring frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from numpy import float64
from numpy.typing import NDArray

from cooptrack_core.types import Frame, Instances


@dataclass(frozen=True)
class Arrival:
    """A frame as it came in. What it brings is None where it is unusable: its tracks are then only predicted."""

    stamp_ns: int  # perception time
    received_ns: int  # monotonic clock, entry of the callback that completed it
    convert_ms: float = 0.0
    detections: Instances | None = None
    image: Any = None  # CompressedImage or Image
    camera_info: Any = None
    overtaken: bool = False  # it brought something, which a newer frame has made useless

    @property
    def usable(self) -> bool:
        """Whether it brought anything to look at; why not has been counted already."""
        return self.overtaken or self.detections is not None or self.image is not None

    def emptied(self) -> Arrival:
        """Only its times: what waits behind a newer frame must not keep an image alive."""
        return replace(self, detections=None, image=None, camera_info=None, overtaken=self.usable)


# Takes an arrival in the executor thread.
Take = Callable[[Arrival], None]


class Trigger(Protocol):
    """Subscribes to what brings frames while the node is active."""

    topic: str  # whose silence means that there are no frames
    remedy: str  # what to look at then

    @property
    def images_received(self) -> int | None:
        """Number of images so far; None: nobody looks at images."""

    def frame(
        self, arrival: Arrival, T_map_from_sensor: NDArray[float64] | None, lost: bool, give_up: threading.Event
    ) -> Frame:
        """The frame for the agent; called in the worker thread, where it may wait. lost: only time passes."""

    def lose(self, reason: str, at_ns: int, text: str) -> None:
        """Counts and logs a frame that came to nothing: its tracks are only predicted."""

    def clear(self) -> None:
        """Forgets what waits (time jumped back)."""

    def close(self) -> None:
        """Ends the subscriptions."""
