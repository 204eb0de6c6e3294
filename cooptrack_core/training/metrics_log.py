"""The log of a run: metrics.jsonl, and the same for TensorBoard.

A line holds `step` (steps done), `kind` (train: averages since the line before; evaluation), `time_s` (since 1970) and
`values` by name; null: not a number.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from cooptrack_core.training import event_file
from cooptrack_core.training.disk import replace_synced, writing

METRICS = "metrics.jsonl"
_EVENTS = "events.out.tfevents.{}.cooptrack"
TRAIN, EVALUATION = "train", "evaluation"


class MetricsLog:
    """Where a run has been, step by step."""

    def __init__(self, folder: Path, steps_done: int) -> None:
        """Goes on with the log of a run that has done so many steps: what was written after them is dropped."""
        self._path = folder / METRICS
        self._lines = [line for line in _lines(self._path) if line["step"] <= steps_done]
        with writing(self._path):
            replace_synced(self._path, b"".join(map(_encoded, self._lines)))
            for old in folder.glob(_EVENTS.format("*")):
                old.unlink()
            self._metrics: BinaryIO = self._path.open("ab")
            now_s = time.time()
            self._events: BinaryIO = (folder / _EVENTS.format(int(now_s))).open("wb")
            self._events.write(event_file.file_head(now_s))
            for line in self._lines:
                self._events.write(_event(line))
            self._events.flush()

    def add(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """A line after `step` steps."""
        line = {"step": step, "kind": kind, "time_s": time.time(), "values": dict(values)}
        with writing(self._path):
            self._metrics.write(_encoded(line))
            self._metrics.flush()
            self._events.write(_event(line))
            self._events.flush()
        self._lines.append(line)

    def sync(self) -> None:
        """Brings all lines to the disk."""
        with writing(self._path):
            os.fsync(self._metrics.fileno())

    def evaluated(self, step: int) -> bool:
        """Whether the weights after `step` steps were evaluated."""
        return any(line["kind"] == EVALUATION and line["step"] == step for line in self._lines)

    def best(self) -> tuple[int, float] | None:
        """Step and score of the best evaluation, the first of equals; None: there was none with a score."""
        scores = [(line["step"], line["values"].get("score")) for line in self._lines if line["kind"] == EVALUATION]
        known = [(step, score) for step, score in scores if _is_number(score)]
        return max(known, key=lambda found: found[1], default=None)

    def close(self) -> None:
        """Closes the files."""
        for file in (self._metrics, self._events):
            with contextlib.suppress(OSError):  # a full disk was reported when it was written to
                file.close()


def _encoded(line: Mapping[str, Any]) -> bytes:
    values = {name: value if _is_number(value) else None for name, value in line["values"].items()}
    return json.dumps({**line, "values": values}).encode() + b"\n"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _event(line: Mapping[str, Any]) -> bytes:
    values = {f"{line['kind']}/{name}": math.nan if v is None else v for name, v in line["values"].items()}
    return event_file.scalars(line["time_s"], line["step"], values)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a kill may have left half a line at the end."""
    lines = []
    with contextlib.suppress(FileNotFoundError):
        for text in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, struct.error):
                line = json.loads(text)
                _event(line)
                lines.append(line)
    return lines


__all__ = ["EVALUATION", "METRICS", "TRAIN", "MetricsLog"]
