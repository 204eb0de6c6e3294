"""Writes serialised messages into a rosbag2 directory (mcap, zstd chunks) from a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rclpy.qos import QoSProfile
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from cooptrack_core.data.message_definitions import new_typestore
from cooptrack_core.types import CooptrackError
from cooptrack_ros.bags import recorded_qos
from cooptrack_ros.message_types import add_installed_types


class BagSink:
    """A bag that is being written; complete and readable after `close`."""

    def __init__(self, path: str, on_error: Callable[[Exception], None]) -> None:
        """on_error is called in the thread. Raises CooptrackError if the directory exists or cannot be made."""
        if not path:
            raise CooptrackError("output: parameter is empty; give a directory that does not exist yet")
        folder = Path(path).expanduser()
        if folder.exists():
            raise CooptrackError(f"{path}: output: exists already; remove it or give another name")
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            self._writer.open()
        except OSError as error:
            raise CooptrackError(f"{path}: output: cannot be made ({error}); give another place") from error
        self.counts: Counter[str] = Counter()
        self._path, self._failed = path, 0
        self._on_error = on_error
        self._store = new_typestore()
        self._connections: dict[str, Connection] = {}
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="bag writer")
        self._thread.start()

    def add_topic(self, topic: str, type_name: str, offered: QoSProfile) -> None:
        """Declares a topic. Raises CooptrackError if its type has no definition."""
        definition, type_hash = _definition(self._store, topic, type_name)

        def job() -> None:
            self._connections[topic] = self._writer.add_connection(
                topic, type_name, msgdef=definition, rihs01=type_hash, offered_qos_profiles=[recorded_qos(offered)]
            )

        self._jobs.put(job)

    def put(self, topic: str, log_ns: int, data: bytes) -> None:
        """Hands a message over."""

        def job() -> None:
            self._writer.write(self._connections[topic], log_ns, data)
            self.counts[topic] += 1

        self._jobs.put(job)

    def close(self) -> None:
        """Writes what is left and the index. Raises CooptrackError if the bag is not whole, as on a full disk."""
        self._jobs.put(None)
        self._thread.join()
        try:
            self._writer.close()
        except Exception as error:
            raise CooptrackError(f"{self._path}: the bag has no end ({error}); free space, record anew") from error
        if self._failed:
            raise CooptrackError(f"{self._path}: the bag lacks {self._failed} messages that could not be written")

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # a full disk must not end the recording silently
                self._failed += 1
                self._on_error(error)


def _definition(store: Typestore, topic: str, type_name: str) -> tuple[str, str]:
    if type_name not in store.fielddefs:
        add_installed_types(store)
    try:
        return store.generate_msgdef(type_name, ros_version=2)[0], store.hash_rihs01(type_name)
    except KeyError as error:
        raise CooptrackError(
            f"{topic}: definition of {error} not found, {type_name} is not recorded; source the workspace that has it"
        ) from error
