"""The validator: silent on a sound tree, one line with file, field and remedy for every defect, never a traceback."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_spd import T_MAP_FROM_VIRTUALLIDAR, T_NOVATEL_FROM_LIDAR, TinySpd, dair_tree, dump, edit, extrinsic

from cooptrack_core.cli import main
from cooptrack_core.data.validate import validate
from cooptrack_core.types import CooptrackError

VEHICLE_ROWS = "vehicle-side/data_info.json"
INFRASTRUCTURE_ROWS = "infrastructure-side/data_info.json"
PAIRS = "cooperative/data_info.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return TinySpd(tmp_path / "spd", sequences=("0010", "0014")).write()


def test_sound_tree_has_no_defect(root: Path) -> None:
    for deep in (False, True):
        report = validate(root, deep=deep)
        assert report.defects == []
    assert report.counts == {"vehicle_frames": 8, "infrastructure_frames": 8, "pairs": 8, "sequences": 2}


def rows(path: str, index: int, **changes: object) -> Callable[[Path], None]:
    return lambda root: edit(root / path, lambda content: content[index].update(changes))


def without(path: str, index: int, key: str) -> Callable[[Path], None]:
    return lambda root: edit(root / path, lambda content: content[index].pop(key) and None)


def removed(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def cut(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:-40])


def written(path: str, content: object) -> Callable[[Path], None]:
    return lambda root: dump(root / path, content)


def with_nan() -> dict:
    T = T_NOVATEL_FROM_LIDAR.copy()
    T[1, 3] = np.nan
    return extrinsic(T)


def skewed(T: np.ndarray, by: float) -> dict:
    T = T.copy()
    T[0, 0] += by
    return extrinsic(T)


def box(path: str, **changes: object) -> Callable[[Path], None]:
    return lambda root: edit(root / path, lambda boxes: boxes[0].update(changes))


VEH_LABEL, INF_LABEL = "vehicle-side/label/lidar/000001.json", "infrastructure-side/label/virtuallidar/000501.json"
COOP_LABEL = "cooperative/label/000001.json"
IMAGE, MAP = "vehicle-side/image/000001.jpg", "maps/yizhuang09.json"
POSE = "vehicle-side/calib/novatel_to_world/000001.json"
SAME_TRACK = lambda root: edit(root / VEH_LABEL, lambda b: b[1].update(track_id=b[0]["track_id"]))  # noqa: E731
SAME_TOKEN = lambda root: edit(root / COOP_LABEL, lambda b: b[1].update(token=b[0]["token"]))  # noqa: E731

DEFECTS = {
    "missing calibration": (removed(POSE), POSE, "file", "is missing"),
    "broken JSON": (cut(POSE), POSE, "file", "is not valid JSON"),
    "NaN pose": (written(POSE, with_nan()), POSE, "translation", "NaN"),
    "skewed pose": (written(POSE, skewed(T_NOVATEL_FROM_LIDAR, 1e-6)), POSE, "rotation", "not orthonormal"),
    "skewed virtual lidar": (
        written("infrastructure-side/calib/virtuallidar_to_world/000501.json", skewed(T_MAP_FROM_VIRTUALLIDAR, 0.01)),
        "infrastructure-side/calib/virtuallidar_to_world/000501.json", "rotation", "not orthonormal",
    ),
    "missing label": (removed(VEH_LABEL), VEH_LABEL, "file", "is missing"),
    "missing camera label": (
        removed("vehicle-side/label/camera/000001.json"), "vehicle-side/label/camera/000001.json", "file", "is missing",
    ),
    "missing cooperative label": (removed(COOP_LABEL), COOP_LABEL, "file", "is missing"),
    "truncated image": (cut(IMAGE), IMAGE, "image", "truncated JPEG"),
    "missing image": (removed(IMAGE), IMAGE, "file", "is missing"),
    "empty cloud": (
        lambda root: (root / "vehicle-side/velodyne/000001.pcd").write_bytes(b""),
        "vehicle-side/velodyne/000001.pcd", "header", "no DATA line",
    ),
    "duplicate track": (SAME_TRACK, VEH_LABEL, "track_id", "000100 occurs 2 times"),
    "duplicate token": (SAME_TOKEN, COOP_LABEL, "token", "occurs 2 times"),
    "no token": (box(INF_LABEL, token=""), INF_LABEL, "[0].token", "is missing"),
    "unknown type": (box(VEH_LABEL, type="Tram"), VEH_LABEL, "[0].type", "is 'Tram'"),
    "misspelt type": (box(VEH_LABEL, type="Trafficcone"), VEH_LABEL, "[0].type", "is 'Trafficcone'"),
    "occlusion out of range": (box(VEH_LABEL, occluded_state=3), VEH_LABEL, "[0].occluded_state", "is 3"),
    "track id": (box(VEH_LABEL, track_id="car-7"), VEH_LABEL, "[0].track_id", "not a numeric string"),
    "flat box": (
        box(VEH_LABEL, **{"3d_dimensions": {"l": 4, "w": 0, "h": 1}}),
        VEH_LABEL, "[0].3d_dimensions", "not all positive",
    ),
    "lost box": (box(VEH_LABEL, **{"3d_location": {"x": "far"}}), VEH_LABEL, "[0].3d_location.x", "is 'far'"),
    "turned box": (box(VEH_LABEL, rotation=7.0), VEH_LABEL, "[0].rotation", "outside -pi..pi"),
    "strange side": (box(COOP_LABEL, from_side="both"), COOP_LABEL, "[0].from_side", "is 'both'"),
    "other frame": (box(COOP_LABEL, inf_frame_id="000777"), COOP_LABEL, "[0].inf_frame_id", "is 000777"),
    "class change": (
        box("vehicle-side/label/lidar/000002.json", type="Pedestrian"),
        "vehicle-side/label", "000002.type", "car in frame 000000 and pedestrian in frame 000002",
    ),
    "time standing still": (
        rows(VEHICLE_ROWS, 2, pointcloud_timestamp="1626155123100000"),
        VEHICLE_ROWS, "000002.pointcloud_timestamp", "is not later than that of frame 000001",
    ),
    "time as a word": (
        rows(INFRASTRUCTURE_ROWS, 2, image_timestamp="noon"),
        INFRASTRUCTURE_ROWS, "000502.image_timestamp", "not integer microseconds",
    ),
    "duplicate frame": (rows(VEHICLE_ROWS, 2, frame_id="000001"), VEHICLE_ROWS, "000001.frame_id", "occurs 2 times"),
    "missing key": (without(VEHICLE_ROWS, 1, "image_path"), VEHICLE_ROWS, "000001.image_path", "is missing"),
    "empty location": (rows(VEHICLE_ROWS, 1, intersection_loc=""), VEHICLE_ROWS, "intersection_loc", "is ''"),
    "frame range": (
        rows(VEHICLE_ROWS, 1, end_frame_id="000099"), VEHICLE_ROWS, "000001.end_frame_id", "000099 is not a frame",
    ),
    "missing partner": (
        rows(PAIRS, 1, infrastructure_frame="000999"), PAIRS, "000001.infrastructure_frame", "999 is not listed",
    ),
    "other sequence": (
        rows(PAIRS, 1, infrastructure_sequence="0014"), PAIRS, "000001.infrastructure_sequence", "differs",
    ),
    "partner twice": (
        rows(PAIRS, 1, infrastructure_frame="000500"), PAIRS, "000500.infrastructure_frame", "is paired 2 times",
    ),
    "empty offset": (
        rows(PAIRS, 1, system_error_offset={"delta_x": "", "delta_y": 0.1}),
        PAIRS, "000001.system_error_offset.delta_x", "is '', not a number",
    ),
    "no offset": (without(PAIRS, 1, "system_error_offset"), PAIRS, "000001.system_error_offset.delta_y", "is None"),
    "rows are no list": (written(PAIRS, {}), PAIRS, "top level", "is dict, not a list"),
    "foreign file among the maps": (written("maps/notes.json", {}), "maps/notes.json", "file", "does not belong"),
    "map without junctions": (written(MAP, {"LANE": {}}), MAP, "JUNCTION", "not an object"),
    "map point as a pair": (
        written(MAP, {"LANE": {}, "JUNCTION": {"1": {"polygon": [[1, 2], [3, 4]]}}, "CROSSWALK": {}}),
        MAP, "JUNCTION.1.polygon", "has the point [1, 2]",
    ),
    "sidecar without an object": (
        written("visibility/000001.json", {"schema": "cooptrack/visibility/1", "objects": {}}),
        "visibility/000001.json", "objects.000001", "is missing",
    ),
    "sidecar schema": (written("visibility/000001.json", {}), "visibility/000001.json", "schema", "is None"),
    "split file": (
        written("cooperative-split-data-spd.json", {"batch_split": {"train": ["0010", "0014"], "test_A": ["0009"]}}),
        "cooperative-split-data-spd.json", "batch_split.test_A", "sequence 0009 is not in test",
    ),
    "sequence in no list": (
        written("cooperative-split-data-spd.json", {"batch_split": {"train": ["0010"]}}),
        "cooperative-split-data-spd.json", "batch_split", "sequence 0014 is in no list",
    ),
    "frames listed elsewhere": (
        written(
            "cooperative-split-data-spd.json",
            {"batch_split": {"train": ["0010"], "val": ["0014"]}, "vehicle_split": {"val": ["000001", "000002"]}},
        ),
        "cooperative-split-data-spd.json", "vehicle_split.val", "2 frames of sequence 0010 (train) are listed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_reported_with_file_field_and_remedy(root: Path, name: str) -> None:
    damage, file, field, what = DEFECTS[name]
    damage(root)
    report = validate(root)
    matching = [d for d in report.defects if (d.file, d.field) == (file, field) and what in d.what]
    assert len(matching) == 1, [str(d) for d in report.defects]
    assert matching[0].remedy
    assert all("\n" not in str(d) for d in report.defects)


def test_undecodable_image_is_found_by_deep(root: Path) -> None:
    path = root / "vehicle-side/image/000001.jpg"
    data = path.read_bytes()
    path.write_bytes(data[:20] + bytes(len(data) - 40) + data[-20:])
    assert validate(root).defects == []
    assert [(d.file, d.what) for d in validate(root, deep=True).defects] == [
        ("vehicle-side/image/000001.jpg", "cannot be decoded")
    ]


def test_absent_point_clouds_are_a_note_since_no_camera_model_opens_them(root: Path) -> None:
    for side in ("vehicle-side", "infrastructure-side"):
        shutil.rmtree(root / side / "velodyne")
    report = validate(root)
    assert report.defects == []
    assert any(note.startswith("8 vehicle point clouds, 8 infrastructure point clouds") for note in report.notes)


def test_scene_listed_as_train_and_val_is_a_note(root: Path) -> None:
    lists = {"train": ["0010", "0014"], "val": ["0010"]}
    dump(root / "cooperative-split-data-spd.json", {"batch_split": lists, "vehicle_split": {"val": ["000001"]}})
    report = validate(root)
    assert report.defects == []
    assert any("sequence 0010 is in train and in val" in note for note in report.notes)


def test_metadata_only_download_is_one_line_and_a_note_where_it_is_meant(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", images=False).write()
    report = validate(root)
    assert [d.field for d in report.defects] == ["sensor files"]
    assert "4 vehicle images, 4 infrastructure images, 4 vehicle point clouds" in report.defects[0].what
    meant = validate(root, metadata_only=True)
    assert meant.defects == []
    assert any(note.startswith("4 vehicle images") for note in meant.notes)


def test_dair_tree_is_judged_by_its_own_layout(tmp_path: Path) -> None:
    root = dair_tree(tmp_path / "dair")
    missing = [(d.file, d.field) for d in validate(root).defects]
    assert missing == [("cooperative/label_world/000001.json", "file")]
    dump(root / "cooperative/label_world/000001.json", [])
    assert validate(root).defects == []


def test_all_defects_of_a_tree_are_listed(root: Path) -> None:
    for frame in range(8):
        (root / f"vehicle-side/calib/lidar_to_novatel/{frame:06d}.json").unlink()
    assert len(validate(root).defects) == 8


def test_data_of_one_side_alone_is_reported_not_raised(root: Path) -> None:
    shutil.rmtree(root / "infrastructure-side")
    report = validate(root)
    assert any(d.file == "infrastructure-side/data_info.json" and d.what == "is missing" for d in report.defects)


def test_command_exits_with_1_for_defects_and_0_without(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(root)]) == 0
    assert capsys.readouterr().out.strip().endswith("2 sequences: valid")
    (root / POSE).unlink()
    assert main(["validate", str(root)]) == 1
    assert capsys.readouterr().out.startswith(f"{POSE}: file: is missing; restore it")
    assert main(["validate", "--json", str(root)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["valid"], report["defects"][0]["file"]) == (False, POSE)


def test_command_exits_with_2_for_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    with pytest.raises(CooptrackError):
        validate(tmp_path / "nowhere")


def test_any_damaged_json_gives_lines_and_no_traceback(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", frames=2, images=False).write()
    dump(root / "maps" / "yizhuang09.json", {"LANE": {"1": {"lane_type": "BIKING"}}, "JUNCTION": {}, "CROSSWALK": {}})
    rng = random.Random(5)
    files = sorted(root.rglob("*.json"))
    values = [None, "", "x", -1, [], {}, [1], {"a": 1}, True, float("nan"), 1e400]
    for _ in range(60):
        path = rng.choice(files)
        before = path.read_text()
        content = json.loads(before)
        target = content
        while isinstance(target, (dict, list)) and target:
            key = rng.choice(list(target)) if isinstance(target, dict) else rng.randrange(len(target))
            if rng.random() < 0.4 or not isinstance(target[key], (dict, list)):
                target[key] = rng.choice(values)
                break
            target = target[key]
        dump(path, content)
        report = validate(root)
        assert all("\n" not in str(defect) for defect in report.defects)
        path.write_text(before)
