"""Split lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_spd import dump

from cooptrack_core.data import splits
from cooptrack_core.types import CooptrackError


def test_official_split_has_the_published_sizes() -> None:
    split = splits.official()
    sizes = {name: len(ids) for name, ids in split.sequences.items()}
    assert sizes == {"train": 46, "val": 21, "test": 28, "test_A": 8}
    assert len({*split.sequences["train"], *split.sequences["val"], *split.sequences["test"]}) == 95
    assert set(split.sequences["test_A"]) <= set(split.sequences["test"])
    assert (split.of_sequence("0010"), split.of_sequence("0014"), split.of_sequence("0006")) == ("train", "val", "test")
    assert split.of_sequence("0100") is None


def test_split_file_is_read_and_found_beside_the_dataset(tmp_path: Path) -> None:
    path = tmp_path / splits.FILE_NAME
    lists = {"train": ["0100"], "val": ["0101"], "test": [], "test_A": []}
    dump(path, {"batch_split": lists, "vehicle_split": {"train": ["000000"]}})
    assert splits.find(tmp_path / "data") == path
    split = splits.load(path)
    assert split.of_sequence("0101") == "val"
    assert split.vehicle["train"] == ("000000",)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ([], "top level"),
        ({}, "batch_split"),
        ({"batch_split": {"val": 3}}, "val"),
        ({"batch_split": {"val": ["0003", 7]}}, r"split.json: batch_split.val\[1\]: is 7, not a string; write ids as"),
    ],
)
def test_malformed_split_file_is_named(tmp_path: Path, content: object, field: str) -> None:
    path = tmp_path / "split.json"
    dump(path, content)
    with pytest.raises(CooptrackError, match=field):
        splits.load(path)


def test_a_sequence_that_a_split_names_twice_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / splits.FILE_NAME
    dump(path, {"batch_split": {"val": ["0003", "0007", "0003"]}})
    assert splits.load(path).sequences["val"] == ("0003", "0007")
