"""Split lists: which sequences and frames are train, val and test (`cooperative-split-data-spd.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooptrack_core.data.files import expect_list, expect_object, problem, read_json

FILE_NAME = "cooperative-split-data-spd.json"
NAMES = ("train", "val", "test", "test_A")
_KINDS = {
    "sequences": "batch_split",
    "vehicle": "vehicle_split",
    "infrastructure": "infrastructure_split",
    "cooperative": "cooperative_split",
}

# The official assignment of the 95 sequences; the labels of `test` are not public.
_VAL = "03 07 14 15 17 20 21 42 52 58 59 61 63 71 73 75 85 86 88 89 92"
_TEST = "06 09 11 12 13 19 24 26 27 28 31 38 39 43 44 45 46 51 53 64 65 67 69 74 76 83 90 91"
_TEST_A = "09 13 26 38 44 67 76 91"


@dataclass(frozen=True)
class Split:
    """Lists of ids by name (train, val, test, test_A); test_A is part of test. Frame lists may be empty."""

    sequences: Mapping[str, tuple[str, ...]]
    vehicle: Mapping[str, tuple[str, ...]]
    infrastructure: Mapping[str, tuple[str, ...]]
    cooperative: Mapping[str, tuple[str, ...]]

    def of_sequence(self, sequence_id: str) -> str | None:
        """train, val or test, the first that has it; None for a sequence in no list."""
        return next(iter(self.lists_of(sequence_id)), None)

    def lists_of(self, sequence_id: str) -> tuple[str, ...]:
        """All of train, val and test that have the sequence: one, unless somebody shares it on purpose."""
        return tuple(name for name in NAMES[:3] if sequence_id in self.sequences.get(name, ()))


def official() -> Split:
    """The published assignment of sequences, without frame lists."""

    def ids(text: str) -> tuple[str, ...]:
        return tuple(f"00{item}" for item in text.split())

    held_out = {*ids(_VAL), *ids(_TEST)}
    train = tuple(f"{i:04d}" for i in range(95) if f"{i:04d}" not in held_out)
    lists = {"train": train, "val": ids(_VAL), "test": ids(_TEST), "test_A": ids(_TEST_A)}
    return Split(lists, {}, {}, {})


def load(path: Path) -> Split:
    """A split file; batch_split is required, the frame lists are optional. CooptrackError when it is malformed."""
    content = expect_object(read_json(path), path)
    if "batch_split" not in content:
        raise problem(path, "batch_split", "is missing", f"use the {FILE_NAME} of the dataset's repository")
    parts = {field: _lists(content.get(key, {}), path, key) for field, key in _KINDS.items()}
    return Split(**parts)


def _lists(content: Any, path: Path, key: str) -> dict[str, tuple[str, ...]]:
    lists = expect_object(content, path, key)
    return {
        # named twice, still once there
        name: tuple(dict.fromkeys(_id(item, path, f"{key}.{name}[{index}]") for index, item in enumerate(ids)))
        for name, ids in ((name, expect_list(ids, path, f"{key}.{name}")) for name, ids in lists.items())
    }


def _id(item: Any, path: Path, field: str) -> str:
    if not isinstance(item, str):
        remedy = 'write ids as the dataset has them, with zeros in front, for example "0003"'
        raise problem(path, field, f"is {item!r}, not a string", remedy)
    return item


def find(root: Path) -> Path | None:
    """The split file beside or inside a dataset, None if there is none."""
    return next((p for p in (root / FILE_NAME, root.parent / FILE_NAME) if p.is_file()), None)


__all__ = ["FILE_NAME", "NAMES", "Split", "find", "load", "official"]
