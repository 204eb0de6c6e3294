"""`network.engine: onnxruntime` with the shipped weights: the numbers of eager, from a file that is kept."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from scenarios import STEP_NS
from small_runtime import START_NS, camera, config, model, street, vehicle_pose

from cooptrack_core.config import NetworkConfig
from cooptrack_core.model import onnx_engine
from cooptrack_core.model.engine import engine_of
from cooptrack_core.model.example_frames import blank_frame, picture
from cooptrack_core.model.fixed_shapes import frame_inputs
from cooptrack_core.model.loading import load_network
from cooptrack_core.model.onnx_files import OnnxGraph
from cooptrack_core.model.presets import ROADSIDE_POINT_RANGE_M
from cooptrack_core.types import CooptrackError, Message

pytestmark = pytest.mark.usefixtures("one_thread")
# So that much of what random pictures show is a track.
RULES = "score_threshold=0.05,output_threshold=0.05,min_peak_score=0.02"
CPU = torch.device("cpu")
SMALL = config("inf", encoder_layers=1, decoder_layers=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A home for files that are made at first use, shared by the tests here."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


def tiny(role: str, engine: str):
    return load_network(NetworkConfig(preset="tiny", engine=engine, device="cpu", rules=RULES), role)


def seen(index: int):
    """A frame of blurred noise that moves with the vehicle a little."""
    pixels = 127 + 50 * picture(180, 320, 0).numpy().transpose(1, 2, 0)
    image = np.clip(np.roll(pixels, index, axis=1), 0, 255).astype(np.uint8)
    return replace(street(index), image=np.ascontiguousarray(image), camera=camera(320, 180))


def message(index: int, output) -> Message:
    """What a roadside unit that stands where the vehicle is says of the frame."""
    return Message(
        "rsu", 1, index + 1, START_NS + index * STEP_NS, "rsu/lidar", vehicle_pose(index), output.instances,
        point_range_m=ROADSIDE_POINT_RANGE_M,
    )  # fmt: skip


def pairs_of(found) -> list[tuple[int, int, float]]:
    """Instance, track and affinity of each pair; rows of queries may differ where two peaks are equally good."""
    columns = found.pair_instance_index, found.pair_track_id, found.pair_affinity
    return list(zip(*(column.tolist() for column in columns), strict=True))


def assert_same(got, expected) -> None:
    assert got.tracks.track_id.tolist() == expected.tracks.track_id.tolist()
    assert got.tracks.sources.tolist() == expected.tracks.sources.tolist()
    for name in ("center_m", "size_m", "score", "velocity_mps"):
        np.testing.assert_allclose(getattr(got.tracks, name), getattr(expected.tracks, name), atol=1e-3, err_msg=name)
    for name in ("query", "motion"):
        a, b = (getattr(side.instances.features, name) for side in (got, expected))
        np.testing.assert_allclose(a, b, atol=1e-3, err_msg=name)
    a, b = ({p[:2]: p[2] for p in pairs_of(side.associations)} for side in (got, expected))
    assert a.keys() == b.keys() and all(abs(a[pair] - b[pair]) < 1e-3 for pair in a)
    a, b = (side.associations.unmatched_remote_instance_index.tolist() for side in (got, expected))
    assert sorted(a) == sorted(b)


def test_shipped_weights_give_the_same_ids_pairs_and_numbers_as_eager(cache):
    """Roadside unit and vehicle with its messages, over a first frame and later ones."""
    units, vehicles = ([tiny(role, engine) for engine in ("eager", "onnxruntime")] for role in ("inf", "coop"))
    paired = 0
    for i in range(4):
        frame, pose = seen(i), vehicle_pose(i)
        eager, onnx = (unit.step(frame, pose, ()) for unit in units)
        assert_same(onnx, eager)
        eager, onnx = (vehicle.step(frame, pose, [message(i, eager)]) for vehicle in vehicles)
        assert_same(onnx, eager)
        paired += len(eager.associations.pair_ego_index)
    assert paired > 20 and len(eager.tracks) > 20
    assert len(list(cache.glob("cooptrack/*/perception.onnx"))) == 2


def test_a_file_is_made_once_and_again_for_other_weights(cache, monkeypatch):
    made = model(SMALL)
    onnx_engine.onnx_network(made, CPU)
    kept = onnx_engine.cache_folder(made) / "perception.onnx"
    assert kept.is_file() and str(kept).startswith(str(cache))
    assert list(kept.parent.iterdir()) == [kept]  # nothing unfinished stays

    def never(*_):
        raise AssertionError("made again")

    monkeypatch.setattr(onnx_engine, "write_onnx", never)
    onnx_engine.onnx_network(made, CPU)
    with torch.no_grad():
        made.heads.class_head[-1].bias.add_(1.0)
    with pytest.raises(AssertionError, match="made again"):
        onnx_engine.onnx_network(made, CPU)


def test_two_at_once_both_get_a_whole_file(tmp_path, monkeypatch):
    """As two nodes that start together: the second finds no file, and puts its own in place of the first one's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = model(SMALL)
    kept = onnx_engine.cache_folder(made) / "perception.onnx"
    write, found = onnx_engine.write_onnx, []

    def overtaken(*arguments):
        write(*arguments)
        found.append(kept.exists())
        if len(found) == 1:  # meanwhile the other one comes, and is done first
            onnx_engine.onnx_network(made, CPU)

    monkeypatch.setattr(onnx_engine, "write_onnx", overtaken)
    network = onnx_engine.onnx_network(made, CPU)
    assert found == [False, False] and list(kept.parent.iterdir()) == [kept]
    assert len(network._run_frame(blank_frame(made))[0]) == 1


def test_a_home_that_cannot_be_written_to_does_without_a_cache(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")  # a file where the folder would be
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = model(SMALL)
    network = onnx_engine.onnx_network(made, CPU)
    given = blank_frame(made)
    assert len(network._run_frame(given)[0]) == 1
    assert blocked.read_text() == ""


def test_a_missing_package_a_gpu_and_a_damaged_file_are_said_in_a_line(cache, tmp_path, monkeypatch):
    made = model(SMALL)
    with pytest.raises(CooptrackError, match="onnxruntime runs on the CPU, not on cuda; choose device cpu"):
        engine_of(made, "onnxruntime", "fp32", torch.device("cuda"))
    damaged = tmp_path / "perception.onnx"
    damaged.write_bytes(b"no graph")
    with pytest.raises(CooptrackError, match=r"perception\.onnx: ONNX Runtime cannot load it .*delete it") as raised:
        OnnxGraph(damaged, frame_inputs(SMALL), 1)
    assert "\n" not in str(raised.value)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(CooptrackError, match="onnxruntime is missing; pip install") as raised:
        engine_of(made, "onnxruntime", "fp32", CPU)
    assert "\n" not in str(raised.value)
