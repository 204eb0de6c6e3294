"""The folder of a training run: what was asked for, and checkpoints from which it goes on exactly.

    config.json        stage, options and command; a run of other options does not go on here
    step_00001000/     weights, ema and optimizer as safetensors (by parameter name), state.json
    metrics.jsonl      losses and scores, and events.out.tfevents.* for TensorBoard with the same
    weights/           the finished weights, when all is done, and result.json

A checkpoint is a folder that gets its name once all of it is on the disk. The last two and the best are kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cooptrack_core.data.files import expect_object, read_json
from cooptrack_core.training.disk import replace_synced, sync_folder, write_synced, writing
from cooptrack_core.training.stage import FLAGS
from cooptrack_core.training.tensor_files import read_tensors, write_tensors
from cooptrack_core.types import CooptrackError

CONFIG, RESULT, STATE = "config.json", "result.json", "state.json"
KEPT = 2
_NAME = re.compile(r"step_(\d{8})")
_PARTS = ".*.part"
# What may change while a run goes on: it changes no number, at most the last bit.
_FREE = ("command", "--device", "--file-bytes")


class RunStore:
    """Configuration and checkpoints of one run."""

    def __init__(self, folder: Path, config: Mapping[str, Any], file_bytes: int) -> None:
        """config: flat, by option; its "command" is kept for the reader alone."""
        self.folder = folder
        self._config: dict[str, Any] = json.loads(json.dumps(config))
        self._file_bytes = file_bytes

    def check(self) -> None:
        """Reads only. CooptrackError where the folder holds something else, or a run of other options."""
        path = self.folder / CONFIG
        if not path.is_file():
            if self.folder.is_dir() and any(name for name in self.folder.iterdir() if not _is_ours(name)):
                raise CooptrackError(f"{self.folder}: holds files that are not of a training run; choose another --out")
            return
        if not self.steps() and self.result() is None:
            return  # nothing is lost by starting anew
        found = expect_object(read_json(path, "choose another --out"), path)
        for name in dict.fromkeys([*self._config, *found]):
            old, new = found.get(name), self._config.get(name)
            if name not in _FREE and old != new:
                what = f"{name} was {json.dumps(old)} when the run began and is {json.dumps(new)} now"
                raise CooptrackError(f"{self.folder}: {what}; give the same again, or another --out for a new run")

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Inside, this process alone writes the run; leftovers of a killed one are gone."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                what = f"{self.folder}: another process is training this run"
                raise CooptrackError(f"{what}; wait for it or choose another --out") from None
            with writing(self.folder / CONFIG):
                for part in self.folder.glob(_PARTS):
                    _remove(part)
                replace_synced(self.folder / CONFIG, json.dumps(self._config, indent=2).encode())
            yield

    def steps(self) -> list[int]:
        """Steps after which there are checkpoints, in order."""
        return _steps(self.folder)

    def path(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self.folder / f"step_{step:08}"

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Writes the checkpoint after `step` steps: tensors by file and name. CooptrackError if the disk is full."""
        final = self.path(step)
        part = final.with_name(f".{final.name}.part")
        try:
            with writing(final):
                part.mkdir()
                for stem, values in tensors.items():
                    write_tensors(part, stem, values, self._file_bytes)
                write_synced(part / STATE, json.dumps({"step": step, "files": sorted(tensors), **state}).encode())
                sync_folder(part)
                part.replace(final)
                sync_folder(self.folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def load(self, step: int, stem: str) -> dict[str, Tensor]:
        """The tensors of one file of a checkpoint, by name."""
        return read_tensors(self.path(step), stem)

    def state(self, step: int) -> dict[str, Any]:
        """What is not a tensor."""
        path = self.path(step) / STATE
        return expect_object(read_json(path, "delete this checkpoint to go on from the one before"), path)

    def prune(self, best: int | None) -> None:
        """Deletes all checkpoints but the last ones and the best."""
        for step in self.steps()[:-KEPT]:
            if step != best:
                shutil.rmtree(self.path(step), ignore_errors=True)

    def result(self) -> dict[str, Any] | None:
        """What a finished run has left; None: it is not finished."""
        path = self.folder / RESULT
        return expect_object(read_json(path), path) if path.is_file() else None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Says that all is done."""
        with writing(self.folder / RESULT):
            replace_synced(self.folder / RESULT, json.dumps(result, indent=2).encode())


def last_checkpoint(folder: Path) -> int:
    """Steps that the last checkpoint in a folder has done; 0: there is none."""
    return max(_steps(folder), default=0)


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir() if path.is_dir())
    return sorted(int(match[1]) for match in matches if match)


def flat_config(
    stage: Mapping[str, Any], options: Mapping[str, Any], settings: Mapping[str, Any], command: str
) -> dict[str, Any]:
    """Everything that decides a run, by the name that a user gives it: fields of LoopOptions by their option."""
    return {**stage, **settings, **{FLAGS[name]: value for name, value in options.items()}, "command": command}


def _is_ours(path: Path) -> bool:
    return path.name == ".lock" or path.match(_PARTS)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


__all__ = ["CONFIG", "KEPT", "RESULT", "RunStore", "flat_config", "last_checkpoint"]
