"""Files of a run that a kill, a power cut or a full disk leaves whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from cooptrack_core.types import CooptrackError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside, a disk that is full or not writable becomes a CooptrackError about `path`."""
    try:
        yield
    except OSError as error:
        remedy = "make room or mend the folder, then give the same command again: it goes on from the last checkpoint"
        raise CooptrackError(f"{path}: cannot be written ({error.strerror}); {remedy}") from error


def write_synced(path: Path, content: bytes) -> None:
    """Writes a file that a power cut after the return leaves whole. Raises OSError."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_synced(path: Path, content: bytes) -> None:
    """The same for a file that may be there already, and is the old or the new one at any time."""
    part = path.with_name(f".{path.name}.part")
    write_synced(part, content)
    part.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same file; who comes later waits. A process that dies lets go."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sync_folder(folder: Path) -> None:
    """Brings new names in a folder to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["held", "replace_synced", "sync_folder", "write_synced", "writing"]
