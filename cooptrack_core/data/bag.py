"""Reading rosbag2 directories and files (mcap, sqlite3) without ROS, with one-line errors."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError, get_types_from_idl, get_types_from_msg

from cooptrack_core.data.files import DataProblem, problem
from cooptrack_core.data.message_definitions import PACKAGES, new_typestore, typestore


@dataclass(frozen=True)
class BagMessage:
    """One message: topic, log time, the decoded message as a rosbags object and its serialised size."""

    topic: str
    log_time_ns: int
    message: Any
    size_bytes: int


def open_reader(path: Path) -> Reader:
    """An opened rosbags reader of a rosbag2; CooptrackError for anything else."""
    if not path.exists():
        raise problem(path, "bag", "does not exist", "give a rosbag2 folder; cooptrack to-bag makes one")
    try:
        reader = Reader(path)
        reader.open()
    except FileNotFoundError:
        raise problem(path, "bag", "has no metadata.yaml", "give a rosbag2 folder, or run ros2 bag reindex") from None
    except Exception as error:  # rosbags passes on whatever its storage and YAML libraries raise
        what = f"is not a readable rosbag2 ({_first_line(error)})"
        raise problem(path, "bag", what, "record it again") from error
    return reader


class Bag:
    """Context manager over a bag. Types that are not known are registered from the bag's own definitions."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __enter__(self) -> Bag:
        self._reader = open_reader(self.path)
        self._store = typestore()
        self._registered: set[str] = set()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader.is_open:
            self._reader.close()

    @property
    def topics(self) -> dict[str, str]:
        """Type of each topic."""
        return {c.topic: c.msgtype for c in self._reader.connections}

    def count(self, topic: str) -> int:
        """Messages of a topic."""
        return sum(c.msgcount for c in self._reader.connections if c.topic == topic)

    @property
    def duration_ns(self) -> int:
        """Between the first and the last log time."""
        return int(self._reader.duration)

    def require(self, topic: str, remedy: str) -> None:
        """Raises CooptrackError when the bag has no message of this topic."""
        if not self.count(topic):
            raise problem(self.path, topic, "topic is missing or empty", remedy)

    def messages(
        self,
        topics: Collection[str] | None = None,
        *,
        types: Collection[str] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
        open_topics: Collection[str] = (),
    ) -> Iterator[BagMessage]:
        """Messages in log order, of these topics and types (None: all), logged from start_ns to before stop_ns.

        On open_topics anybody may have sent anything: messages that cannot be decoded are left out there.
        """
        chosen = [
            c
            for c in self._reader.connections
            if (topics is None or c.topic in topics) and (types is None or c.msgtype in types)
        ]
        if not chosen:
            return
        for connection in chosen:
            self._register(connection)
        raw = self._reader.messages(chosen, start_ns, stop_ns)
        while True:
            try:
                connection, log_time_ns, data = next(raw)
            except StopIteration:
                return
            except Exception as error:  # as above, also from decompression
                raise problem(self.path, "bag", f"is damaged ({_first_line(error)})", "record it again") from error
            try:
                message = self._decode(connection, data)
            except DataProblem:
                if connection.topic in open_topics:
                    continue
                raise
            yield BagMessage(connection.topic, log_time_ns, message, len(data))

    def _decode(self, connection: Connection, data: bytes) -> Any:
        try:
            return self._store.deserialize_cdr(data, connection.msgtype)
        except (SerdeError, ValueError, LookupError, struct.error) as error:
            what = f"a {connection.msgtype} cannot be decoded ({_first_line(error)})"
            raise problem(self.path, connection.topic, what, "record it again") from None

    def _register(self, connection: Connection) -> None:
        """Makes the type known, or says that this bag holds another version of one of ours."""
        name = connection.msgtype
        if name in self._registered:
            return
        if name in self._store.types:
            own = name.split("/")[0] in PACKAGES
            if own and connection.digest and connection.digest != self._store.hash_rihs01(name):
                what = f"{name} is another version of the message than this program's"
                remedy = "record it again, or read it with the program that made it"
                raise problem(self.path, connection.topic, what, remedy)
        else:
            self._register_foreign(connection)
        self._registered.add(name)

    def _register_foreign(self, connection: Connection) -> None:
        definition, name = connection.msgdef, connection.msgtype
        parsers: dict[MessageDefinitionFormat, Callable[[], Any]] = {
            MessageDefinitionFormat.MSG: lambda: get_types_from_msg(definition.data, name),
            MessageDefinitionFormat.IDL: lambda: get_types_from_idl(definition.data),
        }
        if definition.format not in parsers:
            what = f"type {name} is unknown and the bag does not define it"
            raise problem(self.path, connection.topic, what, "record to mcap, or leave the topic out")
        if self._store is typestore():  # shared by all bags: foreign types go into a store of this bag alone
            self._store = new_typestore()
        try:
            types = parsers[definition.format]()
            self._store.register({key: value for key, value in types.items() if key not in self._store.types})
        except TypesysError as error:
            what = f"the definition of {name} cannot be used ({_first_line(error)})"
            raise problem(self.path, connection.topic, what, "leave the topic out") from None


def stamp_of(message: Any) -> int:
    """header.stamp in ns."""
    return time_ns(message.header.stamp)


def time_ns(time: Any) -> int:
    """builtin_interfaces/Time in ns."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


__all__ = ["Bag", "BagMessage", "stamp_of", "time_ns"]
