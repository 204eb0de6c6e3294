"""Transform buffer with the interface of tf2_ros.Buffer around cooptrack's ROS-free transform tree."""

from __future__ import annotations

import threading
import time as wall_time
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.time import Time
from tf2_ros.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)

from cooptrack_core.geometry.transform_buffer import Extrapolation, NotConnected, TransformBuffer, UnknownFrame
from cooptrack_core.geometry.transforms import from_quaternion, to_quaternion

LOGGER = get_logger("tf2_ros")  # one object: it is what remembers when a line was last logged
DEFAULT_CACHE_TIME_NS = 10_000_000_000
EXCEPTIONS = {
    UnknownFrame: LookupException,
    NotConnected: ConnectivityException,
    Extrapolation: ExtrapolationException,
}


def _nanoseconds(time: Time | TimeMessage) -> int:
    return time.nanoseconds if isinstance(time, Time) else time.sec * 1_000_000_000 + time.nanosec


class Buffer:
    """Transforms of the last `cache_time` (10 s), looked up by target frame, source frame and time.

    Waiting blocks the calling thread on wall time, as in the original: something else has to spin the listener.
    `node` is accepted for compatibility; the original uses it to offer the tf2_frames service.
    """

    def __init__(self, cache_time: Duration | None = None, node: Any = None) -> None:
        self._tree = TransformBuffer(DEFAULT_CACHE_TIME_NS if cache_time is None else cache_time.nanoseconds)
        self._changed = threading.Condition()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add a timed transform; one that is not finite or not a rotation is reported and ignored."""
        self._set(transform, authority, static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Add a transform that holds at all times."""
        self._set(transform, authority, static=True)

    def _set(self, transform: TransformStamped, authority: str, *, static: bool) -> None:
        parent, child = transform.header.frame_id.lstrip("/"), transform.child_frame_id.lstrip("/")
        rotation, translation = transform.transform.rotation, transform.transform.translation
        quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w])
        try:
            if not abs(np.dot(quaternion, quaternion) - 1) < 0.1:
                raise ValueError(f"transform from {child!r} to {parent!r}: rotation {quaternion} is not normalized")
            T = from_quaternion(quaternion, (translation.x, translation.y, translation.z))
            with self._changed:
                self._tree.set_transform(parent, child, _nanoseconds(transform.header.stamp), T, static=static)
                self._changed.notify_all()
        except ValueError as error:
            LOGGER.error(f"ignoring {error} (from {authority})", throttle_duration_sec=10.0)

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time | TimeMessage,
        timeout: Duration | None = None,
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """Whether the transform is there, waiting for it at most `timeout`; with the reason if asked for it."""
        try:
            self.lookup_transform(target_frame, source_frame, time, timeout)
        except TransformException as error:
            return (False, str(error)) if return_debug_tuple else False
        return (True, "") if return_debug_tuple else True

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time | TimeMessage, timeout: Duration | None = None
    ) -> TransformStamped:
        """Transform that maps points of `source_frame` into `target_frame` at `time`; time 0 is the latest common one.

        Raises LookupException, ConnectivityException, ExtrapolationException or InvalidArgumentException if it is
        not there within `timeout` (none: at once).
        """
        if not target_frame or not source_frame:
            raise InvalidArgumentException(f"frame names must not be empty: {target_frame!r} from {source_frame!r}")
        deadline = wall_time.monotonic() + (0.0 if timeout is None else timeout.nanoseconds / 1e9)
        target, source = target_frame.lstrip("/"), source_frame.lstrip("/")
        with self._changed:
            while True:
                try:
                    return self._lookup(target, source, _nanoseconds(time))
                except TransformException:
                    remaining_s = deadline - wall_time.monotonic()
                    if remaining_s <= 0:
                        raise
                    self._changed.wait(remaining_s)

    def _lookup(self, target: str, source: str, stamp_ns: int) -> TransformStamped:
        try:
            T = self._tree.lookup(target, source, stamp_ns)
        except tuple(EXCEPTIONS) as error:
            raise EXCEPTIONS[type(error)](str(error)) from error
        message = TransformStamped()
        message.header.frame_id, message.child_frame_id = target, source
        answer_ns = stamp_ns or self._tree.latest_common_ns(target, source)
        message.header.stamp = Time(nanoseconds=answer_ns).to_msg()
        translation, rotation = message.transform.translation, message.transform.rotation
        translation.x, translation.y, translation.z = T[:3, 3].tolist()
        rotation.x, rotation.y, rotation.z, rotation.w = to_quaternion(T).tolist()
        return message

    def clear(self) -> None:
        """Forget the timed transforms."""
        with self._changed:
            self._tree.clear()
