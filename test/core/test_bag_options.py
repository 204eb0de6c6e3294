"""to-bag: its options, incomplete datasets, and what it refuses."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_log import everything
from rosbags.rosbag2 import Writer
from tiny_spd import (
    OFFSET_M,
    T_map_from_novatel,
    TinySpd,
    dair_tree,
    dump,
    edit,
    extrinsic,
)

from cooptrack_core.cli import main
from cooptrack_core.data.bag import Bag, stamp_of
from cooptrack_core.data.bag_events import bag_context, matrix_of_pose
from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.geometry.transforms import apply
from cooptrack_core.types import CooptrackError


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinySpd(tmp_path_factory.mktemp("data") / "spd").write()


def test_raw_images_replace_the_compressed_ones(spd: Path, tmp_path: Path) -> None:
    sequence_to_bag(Dataset(spd), "0010", tmp_path / "bag", BagOptions(raw=True, max_frames=2))
    images = [m for t, _, m in everything(tmp_path / "bag") if t == "/vehicle/image"]
    assert [(m.width, m.height, m.encoding, m.step) for m in images] == [(64, 48, "bgr8", 192)] * 2
    assert images[1].data.reshape(48, 64, 3).mean() == pytest.approx(60, abs=2)


def test_namespaces_are_a_choice(spd: Path, tmp_path: Path) -> None:
    sequence_to_bag(Dataset(spd), "0010", tmp_path / "bag", BagOptions(vehicle="car7", roadside="east"))
    with Bag(tmp_path / "bag") as bag:
        assert {t.split("/")[1] for t in bag.topics} == {"tf", "tf_static", "car7", "east"}


def test_sequence_without_images_still_has_frames_and_cameras(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", images=False).write()
    summary = sequence_to_bag(Dataset(root), "0010", tmp_path / "bag")
    assert (summary.images, summary.vehicle_frames) == (0, 4)
    topics = [t for t, _, _ in everything(tmp_path / "bag")]
    assert topics.count("/vehicle/camera_info") == 4
    assert not any("image" in t for t in topics)


def test_vehicle_alone_makes_a_bag_without_registration(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", roadside=False).write()
    summary = sequence_to_bag(Dataset(root), "0010", tmp_path / "bag")
    assert summary.roadside_frames == 0
    context = bag_context(tmp_path / "bag", ["vehicle"])
    E_inverse = context.transforms.lookup("vehicle/lidar", "vehicle/lidar_registered", 0)
    np.testing.assert_array_equal(E_inverse, np.eye(4))
    assert context.ground_truth == {}


def test_frames_without_partner_keep_the_last_registration_and_have_no_ground_truth(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd").write()
    edit(root / "cooperative" / "data_info.json", lambda rows: [rows[1]])
    sequence_to_bag(Dataset(root), "0010", tmp_path / "bag")
    context = bag_context(tmp_path / "bag", ["vehicle", "rsu"])
    stamps = sorted(context.frame_infos["vehicle"])
    for stamp in stamps:
        T = context.transforms.lookup("vehicle/lidar", "vehicle/lidar_registered", stamp)
        np.testing.assert_allclose(T[:2, 3], [-OFFSET_M[0], -OFFSET_M[1]])
    assert list(context.ground_truth) == [stamps[1]]
    assert len(context.frame_infos["rsu"]) == 4  # the roadside unit sends whether or not somebody listens


def test_existing_bag_is_kept_unless_overwriting_is_asked_for(
    spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bag"
    assert main(["to-bag", str(spd), str(out), "--frames", "2"]) == 0
    before = (out / "metadata.yaml").read_text()
    assert main(["to-bag", str(spd), str(out)]) == 2
    assert "exists already; give --overwrite" in capsys.readouterr().err
    assert (out / "metadata.yaml").read_text() == before
    assert main(["to-bag", str(spd), str(out), "--overwrite"]) == 0
    assert (out / "metadata.yaml").read_text() != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bag"]  # nothing temporary is left


def test_folder_that_is_no_bag_is_never_overwritten(spd: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CooptrackError, match="is not a bag, so it is not overwritten"):
        sequence_to_bag(Dataset(spd), "0010", tmp_path, BagOptions(overwrite=True))


def test_failure_leaves_neither_bag_nor_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = TinySpd(tmp_path / "spd").write()
    out = tmp_path / "out" / "bag"

    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Writer, "write", full_disk)
    with pytest.raises(CooptrackError, match=r"bag: output: cannot be written \(No space left on device\)"):
        sequence_to_bag(Dataset(root), "0010", out)
    assert list((tmp_path / "out").iterdir()) == []


def nan_pose(root: Path) -> None:
    T = T_map_from_novatel(0)
    T[:] = np.nan
    dump(root / "vehicle-side/calib/novatel_to_world/000001.json", extrinsic(T))


def no_calibration(root: Path) -> None:
    (root / "infrastructure-side/calib/virtuallidar_to_world/000501.json").unlink()


@pytest.mark.parametrize(
    ("damage", "expected", "kept"),
    [
        (nan_pose, "000001.json: rotation: has NaN", "3 vehicle frames, 4 roadside frames"),
        (no_calibration, "000501.json: file: is missing", "4 vehicle frames, 3 roadside frames"),
    ],
)
def test_broken_frame_stops_with_one_line_or_is_left_out_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any, expected: str, kept: str
) -> None:
    root = TinySpd(tmp_path / "spd").write()
    damage(root)
    assert main(["to-bag", str(root), str(tmp_path / "bag")]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert main(["to-bag", str(root), str(tmp_path / "bag"), "--skip-broken"]) == 0
    captured = capsys.readouterr()
    assert expected in captured.err
    assert kept in captured.out


def test_truncated_jpeg_is_stored_as_it_is_with_a_warning(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd").write()
    path = root / "vehicle-side/image/000002.jpg"
    path.write_bytes(path.read_bytes()[:-30])
    summary = sequence_to_bag(Dataset(root), "0010", tmp_path / "bag")
    assert len(summary.warnings) == 1
    assert "000002.jpg: image: is a truncated JPEG" in summary.warnings[0]
    images = [m for t, _, m in everything(tmp_path / "bag") if t == "/vehicle/image/compressed"]
    assert bytes(images[2].data) == path.read_bytes()
    raw = sequence_to_bag(Dataset(root), "0010", tmp_path / "raw", BagOptions(raw=True))
    assert raw.images == 7


def test_several_sequences_need_a_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = TinySpd(tmp_path / "spd", sequences=("0010", "0014"), frames=2).write()
    assert main(["to-bag", str(root), str(tmp_path / "bags")]) == 2
    assert "has 2 of them (0010, 0014); choose with --sequence" in capsys.readouterr().err
    assert main(["to-bag", str(root), str(tmp_path / "bags"), "--sequence", "all"]) == 0
    assert sorted(p.name for p in (tmp_path / "bags").iterdir()) == ["0010", "0014"]
    assert main(["to-bag", str(root), str(tmp_path / "one"), "--sequence", "0099"]) == 2
    assert "0099 has no vehicle frames; choose one of 0010, 0014" in capsys.readouterr().err


def test_times_that_stand_still_are_refused(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd").write()
    rows = json.loads((root / "vehicle-side/data_info.json").read_text())
    rows[2]["pointcloud_timestamp"] = rows[1]["pointcloud_timestamp"]
    dump(root / "vehicle-side/data_info.json", rows)
    with pytest.raises(CooptrackError, match="pointcloud_timestamp: of frame 000002 is not later"):
        sequence_to_bag(Dataset(root), "0010", tmp_path / "bag")


def test_unreadable_image_is_one_line(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd").write()
    path = root / "vehicle-side/image/000001.jpg"
    path.unlink()
    path.mkdir()
    with pytest.raises(CooptrackError, match=r"000001.jpg: image: cannot be read \(Is a directory\)"):
        sequence_to_bag(Dataset(root), "0010", tmp_path / "bag")


def test_dair_rows_and_world_labels_make_a_bag_too(tmp_path: Path) -> None:
    root = dair_tree(tmp_path / "dair")
    dump(root / "cooperative" / "label_world" / "000001.json", [])
    summary = sequence_to_bag(Dataset(root), "7", tmp_path / "bag")
    assert (summary.vehicle_frames, summary.roadside_frames) == (2, 2)
    context = bag_context(tmp_path / "bag", ["vehicle", "rsu"])
    first, second = (context.ground_truth[stamp] for stamp in sorted(context.ground_truth))
    T = matrix_of_pose(first.map_from_frame)
    at = first.objects[0].pose.pose.position
    np.testing.assert_allclose(apply(T, [[at.x, at.y, at.z]]), [[3010.0, 2010.0, 23.8]], atol=1e-6)
    assert np.isnan(first.objects[0].twist.twist.linear.x)  # no tracks, no velocity
    assert len(second.objects) == 0
    registered = context.transforms.lookup("vehicle/lidar_registered", "rsu/lidar", stamp_of(first))
    np.testing.assert_allclose(registered, Dataset(root).T_lidar_from_virtuallidar("000000"), atol=1e-8)


@pytest.mark.parametrize("arguments", [["--vehicle", "a b"], ["--roadside", ""], ["--vehicle", "rsu"]])
def test_a_namespace_that_ros_does_not_take_is_refused(
    spd: Path, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["to-bag", str(spd), str(tmp_path / "bag"), *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (tmp_path / "bag").exists()


def test_labels_of_unknown_type_are_named(tmp_path: Path) -> None:
    spd = TinySpd(tmp_path / "spd").write()
    label = sorted((spd / "vehicle-side" / "label" / "lidar").glob("*.json"))[0]
    rows = json.loads(label.read_text())
    rows[0]["type"] = "Dragon"
    label.write_text(json.dumps(rows))
    summary = sequence_to_bag(Dataset(spd), "0010", tmp_path / "bag", BagOptions())
    assert [line for line in summary.warnings if "1 of unknown type" in line and label.stem in line]
