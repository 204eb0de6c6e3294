"""Recordings that a run has stored: each with a digest of itself, so that only a complete one is taken as done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cooptrack_core.data.recording import load_recording
from cooptrack_core.report import save_json
from cooptrack_core.types import CooptrackError

Recording = dict[str, Any]
_DIGEST = "digest"


def store_recording(recording: Mapping[str, Any], path: Path) -> Recording:
    """Writes a recording with its `digest`, and gives it as stored. CooptrackError where it cannot be written."""
    stored = {**recording, _DIGEST: _digest(recording)}
    save_json(stored, path)
    return stored


def stored_recording(path: Path) -> Recording | None:
    """A stored recording; None where there is none, or one that is broken or changed, which is made again."""
    if not path.is_file():
        return None
    try:
        recording = load_recording(path)
    except CooptrackError:
        return None
    return recording if recording["frames"] and recording.get(_DIGEST) == _digest(recording) else None


def _digest(recording: Mapping[str, Any]) -> str:
    """SHA-256 of the JSON of all the rest, which is the same before writing and after reading."""
    rest = {name: value for name, value in recording.items() if name != _DIGEST}
    return hashlib.sha256(json.dumps(rest, allow_nan=False).encode()).hexdigest()


__all__ = ["store_recording", "stored_recording"]
