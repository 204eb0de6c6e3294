"""Where the agent is: looks its pose up on /tf, waiting for it outside the callbacks."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import tf2_ros
from numpy.typing import NDArray
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.time import Time

from cooptrack_ros.conversions import matrix_from_transform, stamp_ns

Float = NDArray[np.float64]
_POLL_S = 0.002


@dataclass(frozen=True)
class PoseResult:
    """T_map_from_sensor [4, 4] and the frame it belongs to, or None and the reason in words."""

    T_map_from_sensor: Float | None
    frame: str = ""
    problem: str = ""


class PoseSource:
    """Poses of the first of several frames that /tf knows, at exact times."""

    def __init__(self, node: Node, map_frame: str, frames: list[str], timeout_ms: float) -> None:
        """frames: names of the same sensor frame, the most exact first."""
        self._map_frame, self._frames = map_frame, frames
        self._timeout_s = timeout_ms / 1e3
        self._newest_at_timeout_ns: int | None = None  # None: the last wait was not in vain
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    def clear(self) -> None:
        """Forgets the timed poses (time jumped back)."""
        self._buffer.clear()
        self._newest_at_timeout_ns = None

    def close(self) -> None:
        """Ends the subscriptions."""
        self._listener.unregister()

    def pose(self, at_ns: int, give_up: threading.Event, wait: bool = True) -> PoseResult:
        """The pose at a time, waiting up to the timeout while it may still arrive.

        After a wait in vain the next ones are left out until /tf has news: a dead /tf must not cost every
        frame its time. Blocks: never call it in a callback, the listener would starve.
        """
        deadline = time.monotonic() + self._timeout_s
        while wait:
            result, may_arrive = self._look(at_ns, last_try=False)
            if result is not None:
                self._newest_at_timeout_ns = None
                return result
            if not may_arrive or self._newest_at_timeout_ns == self._newest_ns():
                break
            if time.monotonic() >= deadline:
                self._newest_at_timeout_ns = self._newest_ns()
                break
            if give_up.wait(_POLL_S):
                break
        result, _ = self._look(at_ns, last_try=True)
        assert result is not None
        return result

    def fixed(self, target: str, source: str, give_up: threading.Event, wait: bool = True) -> tuple[Float | None, str]:
        """T_target_from_source [4, 4] of frames that do not move against each other, or None and the reason in words.

        Waits up to the timeout for it. Blocks: never call it in a callback.
        """
        deadline = time.monotonic() + (self._timeout_s if wait else 0.0)
        while True:
            try:
                found = self._buffer.lookup_transform(target, source, _time(0))
            except tf2_ros.TransformException as error:
                if time.monotonic() >= deadline or give_up.wait(_POLL_S):
                    return None, str(error)
                continue
            T = matrix_from_transform(found.transform)
            return T, "" if T is not None else f"transform from {source} to {target} is not finite"

    def _look(self, at_ns: int, last_try: bool) -> tuple[PoseResult | None, bool]:
        """A result or None, and whether waiting can help. Only the last try falls back from a frame that exists."""
        problem = ""
        for frame in self._frames:
            try:
                found = self._buffer.lookup_transform(self._map_frame, frame, _time(at_ns))
            except tf2_ros.LookupException as error:
                problem = problem or str(error)
                continue
            except tf2_ros.TransformException as error:
                problem = str(error)
                if not last_try:
                    return None, not self._is_past(frame, at_ns)
                continue
            T = matrix_from_transform(found.transform)
            if T is None:
                return PoseResult(None, frame, f"pose of {frame} in {self._map_frame} is not finite"), False
            return PoseResult(T, frame), False
        return (PoseResult(None, "", problem) if last_try else None), True

    def _is_past(self, frame: str, at_ns: int) -> bool:
        """Whether /tf has gone on beyond the time already, so that waiting is useless."""
        return self._newest_of(frame) > at_ns

    def _newest_ns(self) -> int:
        """The newest time for which /tf gives a pose of any of the frames; -1: it never did."""
        return max(map(self._newest_of, self._frames))

    def _newest_of(self, frame: str) -> int:
        try:
            newest = self._buffer.lookup_transform(self._map_frame, frame, _time(0))
        except tf2_ros.TransformException:
            return -1
        return stamp_ns(newest.header.stamp)


def _time(ns: int) -> Time:
    """For a look-up; 0: the newest there is."""
    return Time(nanoseconds=ns, clock_type=ClockType.ROS_TIME)
