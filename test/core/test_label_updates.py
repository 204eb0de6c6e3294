"""update_label_info.json: boxes deleted and rewritten by side, frame and token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_spd import TinySpd

from cooptrack_core.data import label_updates
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.types import CLASS_ID, CooptrackError


@pytest.fixture
def spd(tmp_path: Path) -> Path:
    return TinySpd(tmp_path / "spd", images=False).write()


def write(path: Path, **lists: object) -> Path:
    path.write_text(json.dumps(lists))
    return path


def entry(frame: str, token: str, *operation: str) -> dict[str, object]:
    return {"frame": frame, "token": token, "operation": list(operation)}


def test_boxes_are_deleted_and_rewritten_where_they_are_named(spd: Path) -> None:
    plain = Dataset(spd)
    vehicle, roadside = plain.labels("vehicle", "000001"), plain.labels("infrastructure", "000502")
    together = plain.cooperative_labels("000000")
    path = write(
        spd / label_updates.FILE_NAME,
        vehicle=[entry("000001", vehicle.token[0])],
        infrastructure=[entry("000502", roadside.token[1], "Car", "000777")],
        cooperative=[entry("000000", together.token[2])],
    )
    assert label_updates.find(spd) == label_updates.find(spd / "inside") == path
    updated = Dataset(spd, label_updates.load(path))
    assert updated.labels("vehicle", "000001").token == vehicle.token[1:]
    assert updated.labels("vehicle", "000000").token == plain.labels("vehicle", "000000").token
    changed = updated.labels("infrastructure", "000502")
    assert changed.raw_type == ("Car", "Car") and changed.track_id == (roadside.track_id[0], "000777")
    assert changed.instances.class_id.tolist() == [CLASS_ID["car"]] * 2
    assert changed.instances.instance_id.tolist()[1] == 777
    assert updated.cooperative_labels("000000").token == together.token[:2]
    assert updated.cooperative_labels("000001").token == plain.cooperative_labels("000001").token


def test_without_the_cooperative_list_only_the_sides_change(spd: Path) -> None:
    plain = Dataset(spd)
    vehicle, together = plain.labels("vehicle", "000000").token, plain.cooperative_labels("000000").token
    names = {"vehicle-side": [entry("000000", vehicle[0])], "cooperative": [entry("000000", together[0])]}
    updates = label_updates.load(write(spd / "updates.json", **names)).without_cooperative()
    assert Dataset(spd, updates).labels("vehicle", "000000").token == vehicle[1:]
    assert Dataset(spd, updates).cooperative_labels("000000").token == together


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ({"drone": []}, "drone: is none of vehicle, infrastructure, cooperative"),
        ({"vehicle": {}}, "vehicle: is dict, not a list"),
        ({"vehicle": [{"frame": "1", "operation": []}]}, "vehicle[0]: token: is missing"),
        ({"vehicle": [entry("1", "a", "Car")]}, "vehicle[0].operation: is ['Car'], neither [] nor [type, track_id]"),
        ({"vehicle": [entry("1", "a", "Tank", "1")]}, "neither [] nor [type, track_id]"),
    ],
)
def test_files_of_another_shape_are_one_line(tmp_path: Path, lists: dict, says: str) -> None:
    path = write(tmp_path / "updates.json", **lists)
    with pytest.raises(CooptrackError) as error:
        label_updates.load(path)
    assert says in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
