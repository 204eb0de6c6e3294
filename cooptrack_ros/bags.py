"""Rosbag2 directories for the replay and recorder nodes: opening, read-ahead, QoS, message types."""

from __future__ import annotations

import importlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader

from cooptrack_core.data.bag import open_reader
from cooptrack_core.types import CooptrackError

_AHEAD = 200
_FOREVER = QosTime(9223372036, 854775807)


@dataclass(frozen=True)
class Logged:
    """One message of a bag, serialised. log_ns: when it was recorded."""

    topic: str
    log_ns: int
    data: bytes


def open_bag(path: str) -> Reader:
    """An opened reader. Raises CooptrackError."""
    if not path:
        raise CooptrackError("bag: parameter is empty; give a rosbag2 directory, e.g. bag:=demo/bag")
    return open_reader(Path(path).expanduser())


def message_class(type_name: str) -> type[Any]:
    """The class of `pkg/msg/Name`. Raises CooptrackError if the package is not installed."""
    try:
        package, _, name = type_name.split("/")
        return getattr(importlib.import_module(f"{package}.msg"), name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError, ValueError) as error:
        raise CooptrackError(
            f"{type_name}: message type: not installed ({error}); source the workspace that has it"
        ) from error


def profile_of(connection: Connection) -> QoSProfile:
    """The QoS with which a topic was recorded; reliable, volatile, depth 10 where the bag does not say."""
    offered = getattr(connection.ext, "offered_qos_profiles", None) or []
    profile = QoSProfile(depth=10)
    if connection.topic == "/tf_static":
        profile.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
    if not offered:
        return profile
    first = offered[0]
    profile.depth = max(1, first.depth)
    if first.history == QosHistory.KEEP_ALL:
        profile.history = QoSHistoryPolicy.KEEP_ALL
    if first.reliability == QosReliability.BEST_EFFORT:
        profile.reliability = QoSReliabilityPolicy.BEST_EFFORT
    if all(one.durability == QosDurability.TRANSIENT_LOCAL for one in offered):
        profile.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
    return profile


def is_latched(connection: Connection) -> bool:
    """Whether late subscribers get the topic's last messages."""
    return bool(profile_of(connection).durability == QoSDurabilityPolicy.TRANSIENT_LOCAL)


def adapted_profile(offered: list[QoSProfile], depth: int) -> QoSProfile:
    """A subscription that matches all publishers of a topic and gets as much as they offer."""
    profile = QoSProfile(depth=depth)
    if any(one.reliability == QoSReliabilityPolicy.BEST_EFFORT for one in offered):
        profile.reliability = QoSReliabilityPolicy.BEST_EFFORT
    if offered and all(one.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL for one in offered):
        profile.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
    return profile


def recorded_qos(offered: QoSProfile) -> Qos:
    """The same for a bag. Depth is not known of a publisher elsewhere: 10."""
    best_effort = offered.reliability == QoSReliabilityPolicy.BEST_EFFORT
    latched = offered.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
    return Qos(
        QosHistory.KEEP_LAST,
        offered.depth or 10,
        QosReliability.BEST_EFFORT if best_effort else QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )


class ReadAhead:
    """Iterates over a bag's messages while a thread reads the next ones: decompression must not delay publishing."""

    def __init__(self, reader: Reader, connections: list[Connection], start_ns: int | None = None) -> None:
        self._reader, self._connections, self._start_ns = reader, connections, start_ns
        self._queue: queue.Queue[Logged | Exception | None] = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="bag read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Logged]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise CooptrackError(f"{self._reader.path}: bag: breaks off ({item}); record it again") from item
            yield item

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue

    def _read(self) -> None:
        try:
            for connection, log_ns, data in self._reader.messages(self._connections, start=self._start_ns):
                if self._closed.is_set():
                    return
                self._queue.put(Logged(connection.topic, log_ns, bytes(data)))
        except Exception as error:  # handed to the thread that iterates
            self._queue.put(error)
            return
        self._queue.put(None)


def header_stamp_ns(data: bytes) -> int:
    """Stamp of a serialised message whose first field is a std_msgs/Header."""
    order = "little" if data[1] & 1 else "big"
    return int.from_bytes(data[4:8], order, signed=True) * 1_000_000_000 + int.from_bytes(data[8:12], order)
