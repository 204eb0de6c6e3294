"""Joins images with the perception time of their frames, and notices what does not come.

A frame_info announces a frame: its perception time and the stamp of its image. Where nobody publishes
frame_info, the image's stamp is the perception time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

IMAGE, CAMERA_INFO = "image", "camera_info"  # what a frame may lack
_KEPT_IMAGES, _KEPT_FRAMES = 10, 50  # that wait


@dataclass(frozen=True)
class Moment:
    """Now: on the node's clock, which stands still while a lock-step replay waits, and on the monotonic one."""

    node_ns: int  # 0: sim time has not begun
    wall_ns: int

    def since(self, then: Moment) -> int:
        """Nanoseconds of the node's clock since then."""
        return self.node_ns - then.node_ns if then.node_ns else self.wall_since(then)

    def wall_since(self, then: Moment) -> int:
        """Nanoseconds of the monotonic clock since then."""
        return self.wall_ns - then.wall_ns


@dataclass(frozen=True)
class _Announced:
    stamp_ns: int
    image_stamp_ns: int
    since: Moment


class FrameJoin:
    """Gives frames in the order in which they were announced, each at most once, whole or with what it lacks.

    A frame that lacks something is given up when a later one is complete or after `wait_ms` of the node's
    clock. An image that no frame_info names is dropped after the same time if there is a publisher of
    frame_info; if there is none, images count as frames of their own from then on, at once, until a
    frame_info comes.
    """

    def __init__(
        self,
        wait_ms: float,
        on_frame: Callable[[int, Any, str], None],
        on_unannounced: Callable[[int], None],
        announcers: Callable[[], int],
    ) -> None:
        """on_frame(perception stamp, pair or None, what is missing); announcers: number of frame_info publishers."""
        self._wait_ns = round(wait_ms * 1e6)
        self._on_frame, self._on_unannounced, self._announcers = on_frame, on_unannounced, announcers
        self._announced: list[_Announced] = []
        self._pairs: OrderedDict[int, tuple[Any, Moment]] = OrderedDict()
        self._alone: OrderedDict[int, Moment] = OrderedDict()  # images without camera_info
        self.announced = True  # whether frames are announced by frame_info

    def clear(self) -> None:
        """Forgets what waits."""
        self._announced.clear()
        self._pairs.clear()
        self._alone.clear()

    def on_frame_info(self, stamp_ns: int, image_stamp_ns: int, now: Moment) -> None:
        """A frame is announced."""
        self.announced = True
        self._announced.append(_Announced(stamp_ns, image_stamp_ns, now))
        self._release()
        if len(self._announced) > _KEPT_FRAMES:
            self._give(1)

    def on_image(self, image_stamp_ns: int, now: Moment) -> None:
        """An image has come; on_pair may follow."""
        self._alone[image_stamp_ns] = now
        while len(self._alone) > _KEPT_IMAGES:
            self._alone.popitem(last=False)

    def on_pair(self, image_stamp_ns: int, pair: Any, now: Moment) -> None:
        """An image and its camera_info have come."""
        self._alone.pop(image_stamp_ns, None)
        if not self.announced:
            self._on_frame(image_stamp_ns, pair, "")
            return
        self._pairs[image_stamp_ns] = (pair, now)
        while len(self._pairs) > _KEPT_IMAGES:
            self._on_unannounced(self._pairs.popitem(last=False)[0])
        self._release()

    def tick(self, now: Moment) -> None:
        """Gives up what has waited long enough; to be called now and then."""
        overdue = [n for n, item in enumerate(self._announced) if now.since(item.since) > self._wait_ns]
        if overdue:
            self._give(overdue[-1] + 1)
        if self.announced and self._is_old((*self._pairs.values(), *((None, s) for s in self._alone.values())), now):
            self.announced = self._announcers() > 0
        if self.announced:
            self._drop_unannounced(now)
        else:
            self._give_unannounced(now)

    def _is_old(self, waiting: Any, now: Moment) -> bool:
        return any(now.wall_since(since) > self._wait_ns for _, since in waiting)

    def _release(self) -> None:
        complete = [n for n, item in enumerate(self._announced) if item.image_stamp_ns in self._pairs]
        if complete:
            self._give(complete[-1] + 1)

    def _give(self, count: int) -> None:
        """Gives the first announced frames, whole or not."""
        given, self._announced = self._announced[:count], self._announced[count:]
        for item in given:
            pair, _ = self._pairs.pop(item.image_stamp_ns, (None, None))
            alone = self._alone.pop(item.image_stamp_ns, None) is not None
            self._on_frame(item.stamp_ns, pair, "" if pair is not None else CAMERA_INFO if alone else IMAGE)

    def _drop_unannounced(self, now: Moment) -> None:
        for stamp_ns, (_, since) in list(self._pairs.items()):
            if now.since(since) > self._wait_ns:
                del self._pairs[stamp_ns]
                self._on_unannounced(stamp_ns)
        named = {item.image_stamp_ns for item in self._announced}
        for stamp_ns, since in list(self._alone.items()):
            if now.since(since) > self._wait_ns and stamp_ns not in named:
                del self._alone[stamp_ns]

    def _give_unannounced(self, now: Moment) -> None:
        ready = [(stamp_ns, pair, "") for stamp_ns, (pair, _) in self._pairs.items()]
        self._pairs.clear()
        for stamp_ns, since in list(self._alone.items()):
            if now.wall_since(since) > self._wait_ns:
                del self._alone[stamp_ns]
                ready.append((stamp_ns, None, CAMERA_INFO))
        for stamp_ns, pair, missing in sorted(ready, key=lambda item: item[0]):
            self._on_frame(stamp_ns, pair, missing)
