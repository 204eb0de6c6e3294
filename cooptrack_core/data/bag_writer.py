"""Writing a rosbag2 directory: mcap with zstd chunks, offered QoS, type hashes; complete or not there at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from cooptrack_core.data.files import DataProblem, problem
from cooptrack_core.data.message_definitions import typestore

_FOREVER = QosTime(9223372036, 854775807)


def qos(*, depth: int, latched: bool = False) -> Qos:
    """Reliable, keep last `depth`; latched: transient local, as /tf_static needs."""
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    return Qos(
        QosHistory.KEEP_LAST, depth, QosReliability.RELIABLE, durability, _FOREVER, _FOREVER,
        QosLiveliness.AUTOMATIC, _FOREVER, False,
    )  # fmt: skip


SENSOR_QOS = qos(depth=10)  # subscribers may still ask for best effort
TF_QOS = qos(depth=100)
LATCHED_QOS = qos(depth=1, latched=True)


def claim(path: Path, overwrite: bool) -> None:
    """Checks that `path` may become a bag: absent, an empty folder, or overwrite asked for an older bag."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise problem(path, "output", "exists already", "give --overwrite or another folder")
    if not (path / "metadata.yaml").is_file():
        raise problem(path, "output", "is not a bag, so it is not overwritten", "give another folder")


class BagWriter:
    """Context manager that writes beside the target and moves the result there when all went well."""

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        self.path = Path(path).absolute()
        claim(self.path, overwrite)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        except OSError as error:
            what = f"cannot be created ({error.strerror})"
            raise problem(self.path, "output", what, "choose another folder") from None
        # The storage file takes its name from the folder, hence a folder of the final name inside the temporary one.
        self._writer = Writer(self._folder / self.path.name, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            if kind is None:
                if self.path.exists():
                    self.path.rename(self._folder / "replaced")
                (self._folder / self.path.name).rename(self.path)
        except OSError as failure:
            raise self._unwritable(failure) from None
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _unwritable(self, error: OSError) -> DataProblem:
        return problem(self.path, "output", f"cannot be written ({error.strerror})", "free some space or go elsewhere")

    def topic(self, name: str, msgtype: str, offered: Qos = SENSOR_QOS) -> None:
        """Declares a topic with its QoS before the first message."""
        if name not in self._connections:
            self._connections[name] = self._writer.add_connection(
                name, msgtype, typestore=typestore(), offered_qos_profiles=[offered]
            )

    def write(self, topic: str, log_time_ns: int, message: Any, offered: Qos = SENSOR_QOS) -> None:
        """Writes one message; the topic is declared on first use."""
        self.topic(topic, message.__msgtype__, offered)
        data = typestore().serialize_cdr(message, message.__msgtype__)
        try:
            self._writer.write(self._connections[topic], log_time_ns, data)
        except OSError as error:
            raise self._unwritable(error) from None


__all__ = ["LATCHED_QOS", "SENSOR_QOS", "TF_QOS", "BagWriter", "claim", "qos"]
