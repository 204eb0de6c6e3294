"""`cooptrack profile`: a trace that names the stages of a frame, a table of them, and frames that go on and on."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_spd
from scenarios import cars, message

from cooptrack_core import cli
from cooptrack_core.cooperation import wire
from cooptrack_core.cooperation.loopback import as_fields
from cooptrack_core.model.fixed_shapes import FRAME_STAGE
from cooptrack_core.stage_clock import MESSAGE_STAGES, NETWORK_STAGES
from cooptrack_core.timing.agents import Sent, Timed
from cooptrack_core.timing.frames import STEP_NS, frame_at
from cooptrack_core.timing.table import REST, WHOLE, rows_of
from cooptrack_core.types import CameraView, Features, Frame

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_spd, "IMAGE_SIZE", (320, 180))
    return tiny_spd.TinySpd(tmp_path / "spd", frames=3).write()


def test_the_trace_names_every_stage_of_both_frames_and_the_table_says_how_long_they_took(dataset, tmp_path, capsys):
    out = tmp_path / "trace.json"
    command = ["profile", str(dataset), "--frames", "1", "--threads", "1", "--device", "cpu", "--out", str(out)]
    assert cli.main(command) == 0
    events = json.loads(out.read_text())["traceEvents"]
    lasting = {event["name"] for event in events if event.get("ph") == "X" and event["dur"] > 0}
    stages = [stage for stage in (*NETWORK_STAGES, *MESSAGE_STAGES) if stage != FRAME_STAGE]  # of other engines
    assert lasting >= {*stages, "roadside frame", "vehicle frame"}
    said = capsys.readouterr().out
    assert all(f"\n{stage} " in said for stage in (WHOLE, *stages, REST))
    assert "aten::" in said and "ui.perfetto.dev" in said and str(out) in said


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        (["nowhere"], "nowhere"),
        (["SPD", "--frames", "0"], "give 1 or more"),
        (["SPD", "--sequence", "9999"], "9999"),
        (["SPD", "--out", "no/such/folder/trace.json"], "make it, or choose another"),
        (["--sequence", "0010"], "give one, or leave it out"),
        (["SPD", "--threads", "-1"], "outside 0 .. 256"),
        (["SPD", "--weights", "missing.safetensors"], "missing.safetensors"),
    ],
)
def test_what_cannot_be_profiled_is_said_in_one_line(dataset, tmp_path, monkeypatch, capsys, arguments, remedy):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["profile", *(str(dataset) if a == "SPD" else a for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cooptrack profile: error: ") and remedy in error and error.count("\n") == 1
    assert not (tmp_path / "trace.json").exists()


def test_frames_go_forward_and_back_at_ten_hertz_with_their_images_as_late_as_they_were():
    kept = [Frame(10**18 + i * STEP_NS, np.eye(4) * i, image_stamp_ns=10**18 + i * STEP_NS + i) for i in range(3)]
    made = [frame_at(kept, number) for number in range(7)]
    places = [int(frame.T_map_from_sensor[0, 0]) for frame in made]
    assert places == [0, 1, 2, 1, 0, 1, 2]
    assert [frame.stamp_ns - 10**18 for frame in made] == [number * STEP_NS for number in range(7)]
    assert [frame.image_stamp_ns - frame.stamp_ns for frame in made] == places
    assert frame_at(kept[:1], 5).stamp_ns == 10**18 + 5 * STEP_NS


def test_the_parts_of_frames_add_up_to_the_whole():
    frames = [Timed(10.0, {"decoder": 4.0, "backbone": 3.0}, 1), Timed(20.0, {"decoder": 4.0, "trust": 1.0}, 1)]
    rows = {row.what: row for row in rows_of(frames)}
    assert list(rows) == [WHOLE, "backbone", "decoder", "trust", REST]
    assert rows[WHOLE].p50_ms == 15.0 and rows["decoder"].share == pytest.approx(8 / 30)
    assert sum(row.share for name, row in rows.items() if name != WHOLE) == pytest.approx(1.0)
    assert (rows["trust"].p50_ms, rows[REST].p99_ms) == (0.5, pytest.approx(15.0, rel=0.01))
    assert rows_of(frames, [7.0, 7.0])[0].p50_ms == 7.0


def test_frames_and_messages_come_out_of_the_files_of_the_bench_as_they_went_in(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from bench import files

    camera = CameraView(np.eye(3), np.eye(4), 1920, 1080)
    frames = [Frame(10**18 + 5, np.eye(4), image=b"\xff\xd8 of any length", camera=camera, image_stamp_ns=10**18 + 9)]
    files.save_frames(tmp_path / "frames.npz", frames)
    found = files.load_frames(tmp_path / "frames.npz")[0]
    assert (found.stamp_ns, found.image_stamp_ns, found.image) == (10**18 + 5, 10**18 + 9, frames[0].image)
    assert (found.camera.width, found.camera.height) == (1920, 1080)

    streams = np.random.default_rng(0).normal(size=(3, 2, 8)).astype(np.float32)
    seen = cars((3, 4), (8, -2), features=Features(*streams, "tiny_inf", bytes(range(32))))
    for kinematics in ("fp32", "compact"):
        sent = Sent(as_fields(message(3, seen), "fp16", kinematics), 1234)
        files.save_messages(tmp_path / "messages.npz", [None, sent])
        nothing, kept = files.load_messages(tmp_path / "messages.npz")
        assert nothing is None and kept.size_bytes == 1234
        before, after = wire.decode(sent.fields, 1234), wire.decode(kept.fields, 1234)
        np.testing.assert_array_equal(after.instances.center_m, before.instances.center_m)
        np.testing.assert_array_equal(after.instances.features.query, before.instances.features.query)
        np.testing.assert_array_equal(after.T_map_from_sensor, before.T_map_from_sensor)
        assert (after.agent_id, after.sequence, after.stamp_ns) == (before.agent_id, before.sequence, before.stamp_ns)
