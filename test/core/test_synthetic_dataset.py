"""Synthetic datasets: sound V2X-Seq-SPD trees, the same bytes again, whole after a kill."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cooptrack_core.cli import main
from cooptrack_core.data import pcd
from cooptrack_core.data.calibration import parse_transform, translation_xy
from cooptrack_core.data.synthetic.files import WORK_FOLDER
from cooptrack_core.data.synthetic.generate import MARKER, generate
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.sensors import LOCATIONS
from cooptrack_core.data.validate import validate
from cooptrack_core.types import CooptrackError

SMALL = SceneOptions(seed=3, duration_s=0.4, renderer="rays", width_px=192, height_px=108)
# A whole scene of 10 s at one frame a second, without pictures.
WHOLE = SceneOptions(seed=1, duration_s=10.0, rate_hz=1.0, renderer="none", width_px=480, height_px=270)


def digests(root: Path) -> dict[str, str]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def load(path: Path) -> Any:
    return json.loads(path.read_bytes())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small") / "scene"
    generate(root, SMALL, jobs=1)
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "scene"
    generate(root, WHOLE, jobs=1)
    return root


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("skewed") / "scene"
    options = dataclasses.replace(
        SMALL, renderer="none", sequences=2, duration_s=0.2, skewed_extrinsics=True, point_clouds="none"
    )
    generate(root, options, jobs=1)
    return root


def test_tree_passes_the_validator(small: Path, whole: Path, skewed: Path) -> None:
    assert validate(small, deep=True).defects == []
    assert validate(whole, metadata_only=True).defects == []
    assert validate(skewed, metadata_only=True).defects == []
    assert not (small / WORK_FOLDER).exists()


def test_same_options_give_the_same_bytes_with_any_number_of_processes(small: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", SMALL, jobs=2)
    assert digests(tmp_path / "again") == digests(small)


def test_another_seed_gives_other_labels(small: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(SMALL, seed=4, renderer="none", duration_s=0.2, point_clouds="none")
    generate(tmp_path / "other", other, jobs=1)
    name = "cooperative/label/000000.json"
    assert digests(tmp_path / "other")[name] != digests(small)[name]


KILLED = """
import os, sys
from pathlib import Path
from cooptrack_core.data.synthetic import files, generate
from cooptrack_core.data.synthetic.options import SceneOptions
left, replace = [7], os.replace
def dying(a, b):
    left[0] -= 1
    if left[0] == 0:
        Path(a).write_bytes(Path(a).read_bytes()[:20])
        os._exit(9)  # as a kill: nothing is tidied up
    replace(a, b)
files.os.replace = dying
options = SceneOptions(seed=3, duration_s=0.4, renderer="rays", width_px=192, height_px=108)
generate.generate(Path(sys.argv[1]), options, 1)
"""


def test_killed_run_leaves_no_broken_file_and_is_continued(small: Path, tmp_path: Path) -> None:
    root, expected = tmp_path / "scene", digests(small)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root)], capture_output=True, timeout=120, check=False)
    assert killed.returncode == 9, killed.stderr.decode()
    visible = {name: digest for name, digest in digests(root).items() if not name.startswith(WORK_FOLDER)}
    assert visible
    assert visible.items() <= expected.items()
    assert MARKER not in visible
    images = {p: p.stat().st_mtime_ns for p in root.glob("*-side/image/*.jpg")}
    generate(root, SMALL, jobs=1)
    assert digests(root) == expected
    kept = [p for p, written in images.items() if p.stat().st_mtime_ns == written]
    assert len(kept) >= len(images) - 1  # at most the look in progress is taken again


def test_complete_scene_is_left_alone_and_other_options_are_refused(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in small.rglob("*")}
    generate(small, SMALL, jobs=1)
    assert {p: p.stat().st_mtime_ns for p in small.rglob("*")} == before
    command = ["synthesize", str(small), "--renderer", "none", "--duration-s", "0.2", "--image-size", "192x108"]
    assert main(command) == 2
    assert "holds a complete scene of other options" in capsys.readouterr().err


def test_foreign_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CooptrackError, match="is not empty and holds no synthetic scene"):
        generate(tmp_path, SMALL, jobs=1, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CooptrackError, match=r"file: cannot be written \(.*\); make room or choose another folder"):
        generate(tmp_path / "file" / "scene", SMALL, jobs=1)


def test_overwrite_replaces_the_scene_only(tmp_path: Path) -> None:
    quick = dataclasses.replace(SMALL, renderer="none", duration_s=0.2, point_clouds="none")
    generate(tmp_path / "scene", quick, jobs=1)
    (tmp_path / "scene" / "notes.txt").write_text("mine")
    shorter = dataclasses.replace(quick, rate_hz=15.0)
    generate(tmp_path / "scene", shorter, jobs=1, overwrite=True)
    assert load(tmp_path / "scene" / MARKER)["options"]["rate_hz"] == 15.0
    assert (tmp_path / "scene" / "notes.txt").read_text() == "mine"


def test_road_users_are_hidden_from_either_side(whole: Path) -> None:
    hidden_from_vehicle = hidden_from_infrastructure = occluded = 0
    for path in sorted((whole / "visibility").glob("*.json")):
        content = load(path)
        assert content["schema"] == "cooptrack/visibility/1"
        for views in content["objects"].values():
            vehicle, infrastructure = views["vehicle"]["view"], views["infrastructure"]["view"]
            hidden_from_vehicle += vehicle != "visible" and infrastructure == "visible"
            hidden_from_infrastructure += infrastructure != "visible" and vehicle == "visible"
            occluded += vehicle == "occluded" and infrastructure == "visible"
    assert hidden_from_vehicle >= 50
    assert hidden_from_infrastructure >= 20
    assert occluded >= 3


def test_half_of_the_roadside_truth_lies_in_the_vehicles_range(whole: Path) -> None:
    (sequence,) = load(whole / MARKER)["sequences"]
    statistics = sequence["statistics"]
    assert statistics["infrastructure_in_range_share"] >= 0.5
    assert statistics["vehicle_labels"] >= 5
    assert statistics["both"] >= 1


def test_vehicle_sees_road_users_in_most_frames(whole: Path) -> None:
    counts = [len(load(p)) for p in sorted((whole / "vehicle-side/label/lidar").glob("*.json"))]
    assert sorted(counts)[2] >= 3


def test_cooperative_labels_are_the_union_with_their_own_ids(whole: Path) -> None:
    ego = load(whole / MARKER)["sequences"][0]["ego_infrastructure_track_id"]
    spaces: dict[str, dict[str, set[str]]] = {"veh": {}, "inf": {}}
    for pair in load(whole / "cooperative/data_info.json"):
        v, i = pair["vehicle_frame"], pair["infrastructure_frame"]
        veh = {r["track_id"]: r for r in load(whole / f"vehicle-side/label/lidar/{v}.json")}
        inf = {r["track_id"]: r for r in load(whole / f"infrastructure-side/label/virtuallidar/{i}.json")}
        coop = load(whole / f"cooperative/label/{v}.json")
        assert {r["veh_track_id"] for r in coop} - {"-1"} == set(veh)
        assert {r["inf_track_id"] for r in coop} - {"-1"} == set(inf) - {ego}
        assert len({r["token"] for r in coop}) == len(coop) == len({r["track_id"] for r in coop})
        for r in coop:
            sides = (r["veh_track_id"] != "-1", r["inf_track_id"] != "-1")
            assert r["from_side"] == {(True, True): "coop", (True, False): "veh", (False, True): "inf"}[sides]
            assert r["veh_token"] == (veh[r["veh_track_id"]]["token"] if sides[0] else "-1")
            for name in ("veh", "inf"):
                if r[f"{name}_track_id"] != "-1":
                    spaces[name].setdefault(r["track_id"], set()).add(r[f"{name}_track_id"])
    for space in spaces.values():
        assert all(len(ids) == 1 for ids in space.values())
        assert any(key not in ids for key, ids in space.items())


def chain(root: Path, pair: dict[str, Any]) -> np.ndarray[Any, Any]:
    """T_lidar_from_virtuallidar of the official converters: E inv(T_LN) inv(T_Nw) T_VLw."""
    v, i, offset = pair["vehicle_frame"], pair["infrastructure_frame"], pair["system_error_offset"]

    def transform(name: str) -> np.ndarray[Any, Any]:
        return parse_transform(load(root / name), name)

    E = translation_xy((offset["delta_x"], offset["delta_y"]))
    T_LN = transform(f"vehicle-side/calib/lidar_to_novatel/{v}.json")
    T_Nw = transform(f"vehicle-side/calib/novatel_to_world/{v}.json")
    T_VLw = transform(f"infrastructure-side/calib/virtuallidar_to_world/{i}.json")
    return np.asarray(E @ np.linalg.inv(T_LN) @ np.linalg.inv(T_Nw) @ T_VLw)


def centre(row: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.array([row["3d_location"][k] for k in "xyz"])


def test_roadside_labels_land_on_the_cooperative_ones_through_the_calibration(whole: Path) -> None:
    distances = []
    for pair in load(whole / "cooperative/data_info.json"):
        T = chain(whole, pair)
        name = f"infrastructure-side/label/virtuallidar/{pair['infrastructure_frame']}.json"
        inf = {r["track_id"]: r for r in load(whole / name)}
        for r in load(whole / f"cooperative/label/{pair['vehicle_frame']}.json"):
            if r["inf_track_id"] != "-1":
                moved = T[:3, :3] @ centre(inf[r["inf_track_id"]]) + T[:3, 3]
                distances.append(float(np.linalg.norm(moved - centre(r))))
    # Nobody moves farther than 13 m/s times the 63 ms between the two sweeps; who stands does not move at all.
    assert max(distances) < 0.063 * 13.0
    assert np.mean(np.array(distances) < 1e-4) > 0.2


@pytest.mark.parametrize("tree", ["small", "skewed"])
def test_calibration_keeps_the_rules_of_the_converters(tree: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(tree)

    def deviation(path: Path) -> float:
        R = parse_transform(load(path), path)[:3, :3]
        return float(np.abs(R @ R.T - np.eye(3)).max())

    for folder in ("lidar_to_novatel", "novatel_to_world", "lidar_to_camera"):
        assert max(deviation(p) for p in (root / "vehicle-side/calib" / folder).glob("*.json")) < 1e-8
    infrastructure = root / "infrastructure-side/calib"
    assert max(deviation(p) for p in (infrastructure / "virtuallidar_to_world").glob("*.json")) < 1e-8
    camera = [deviation(p) for p in (infrastructure / "virtuallidar_to_camera").glob("*.json")]
    assert min(camera) > 1e-2 if tree == "skewed" else max(camera) < 1e-8


def test_camera_labels_project_into_their_2d_boxes(whole: Path, skewed: Path) -> None:
    for root in (whole, skewed):
        for row in load(root / "infrastructure-side/data_info.json"):
            side = root / "infrastructure-side"
            K = np.array(load(side / row["calib_camera_intrinsic_path"])["cam_K"]).reshape(3, 3)
            T = parse_transform(load(side / row["calib_virtuallidar_to_camera_path"]), "camera")
            for label in load(side / row["label_camera_std_path"]):
                if label["truncated_state"] == 0:
                    p = K @ (T[:3, :3] @ centre(label) + T[:3, 3])
                    u, v = p[:2] / p[2]
                    box = label["2d_box"]
                    assert box["xmin"] <= u <= box["xmax"]
                    assert box["ymin"] <= v <= box["ymax"]


def test_stamps_and_offsets_are_as_in_the_real_data(whole: Path, skewed: Path) -> None:
    for root in (whole, skewed):
        vehicle, infra = (load(root / side / "data_info.json") for side in ("vehicle-side", "infrastructure-side"))
        pairs = load(root / "cooperative/data_info.json")
        for rows in (vehicle, infra):
            stamps = [int(r["pointcloud_timestamp"]) for r in rows]
            assert all(len(r["pointcloud_timestamp"]) == 16 for r in rows)
            assert (np.diff(stamps) > 0).all()
            assert {r["intersection_loc"] for r in rows} <= set(LOCATIONS)
        for v, i, pair in zip(vehicle, infra, pairs, strict=True):
            assert (pair["vehicle_frame"], pair["infrastructure_frame"]) == (v["frame_id"], i["frame_id"])
            late = int(v["image_timestamp"]) - int(v["pointcloud_timestamp"])
            assert 79_000 <= late <= 128_000
            assert v["image_timestamp"].endswith("000")
            assert abs(int(i["image_timestamp"]) - int(i["pointcloud_timestamp"])) <= 9_000
            assert -28_000 <= int(i["pointcloud_timestamp"]) - int(v["pointcloud_timestamp"]) <= 63_000
            for value in pair["system_error_offset"].values():
                steps = (value - 0.02) / 0.04
                assert steps == pytest.approx(round(steps), abs=1e-6)
                assert -1.1 <= value <= 0.7


def test_sequences_are_split_and_every_location_has_its_map(skewed: Path) -> None:
    split = load(skewed / "cooperative-split-data-spd.json")
    lists = split["batch_split"]
    assert [len(lists[name]) for name in ("train", "val", "test")] == [1, 1, 0]
    assert not set(lists["train"]) & set(lists["val"])
    assert sorted(split["vehicle_split"]["train"] + split["vehicle_split"]["val"]) == [f"{k:06d}" for k in range(4)]
    rows = load(skewed / "vehicle-side/data_info.json")
    assert {p.stem for p in (skewed / "maps").iterdir()} == {r["intersection_loc"] for r in rows}
    content = load(next((skewed / "maps").iterdir()))
    assert set(content) == {"LANE", "JUNCTION", "CROSSWALK"}
    assert len(content["CROSSWALK"]) == 4
    for lane in content["LANE"].values():
        assert len(lane["left_boundary"]) == len(lane["right_boundary"]) >= 2
        assert all(p.startswith("(") and ", " in p for p in lane["left_boundary"])


def test_point_clouds_lie_on_the_labelled_bodies(small: Path) -> None:
    hits = 0
    for row in load(small / "vehicle-side/data_info.json")[:2]:
        cloud = np.asarray(pcd.read(small / "vehicle-side" / row["pointcloud_path"]))
        assert cloud.shape[1] == 4
        assert np.isfinite(cloud).all()
        for label in load(small / "vehicle-side" / row["label_lidar_std_path"]):
            size = np.array([label["3d_dimensions"][k] for k in "lwh"])
            c, s = np.cos(label["rotation"]), np.sin(label["rotation"])
            local = (cloud[:, :3] - centre(label)) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            hits += int((np.abs(local) < size / 2 + 0.05).all(axis=1).sum())
    assert hits > 30


def test_command_says_which_renderer_and_prints_the_statistics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "scene")
    options = ["--duration-s", "0.2", "--image-size", "192x108", "--renderer", "none", "--point-clouds", "none"]
    assert main(["synthesize", out, *options, "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("renderer: none")
    assert "infrastructure in range share" in printed
    assert main(["synthesize", out, *options]) == 0
    assert "complete already" in capsys.readouterr().out
    (tmp_path / "scene" / MARKER).write_text("{")
    assert main(["synthesize", out, *options]) == 2
    assert "is not valid JSON" in capsys.readouterr().err
    assert main(["synthesize", out, "--image-size", "wide"]) == 2
    assert "--image-size" in capsys.readouterr().err
