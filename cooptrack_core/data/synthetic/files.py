"""Writing so that a killed run never leaves a half-written file where a reader would look."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cooptrack_core.types import CooptrackError

WORK_FOLDER = ".partial"


def write_bytes(root: Path, path: Path, content: bytes) -> None:
    """Writes a file of the dataset at root at once: to a temporary name in its work folder, then renamed.

    Raises CooptrackError if the folder cannot be written.
    """
    temporary = root / WORK_FOLDER / f"{os.getpid()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise CooptrackError(
            f"{path}: file: cannot be written ({error.strerror}); make room or choose another folder, then run again"
        ) from error


def write_json(root: Path, path: Path, content: Any, *, indent: int | None = None) -> None:
    """write_bytes of JSON."""
    separators = (",", ": ") if indent else (", ", ": ")
    write_bytes(root, path, json.dumps(content, indent=indent, separators=separators).encode())


__all__ = ["WORK_FOLDER", "write_bytes", "write_json"]
