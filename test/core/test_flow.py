"""Learned flow: what is foreseen of instances and features, for whom, and what is learned from examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenarios import cars, message, yawed

from cooptrack_core.config import LatencyConfig
from cooptrack_core.cooperation import flow as module
from cooptrack_core.cooperation.flow import BOX_INPUTS, Flow, Seen, find_flows, inputs, load_flow, save_flow
from cooptrack_core.cooperation.latency import propagate, reported_motion
from cooptrack_core.cooperation.motion_history import MotionHistory
from cooptrack_core.geometry.transforms import apply
from cooptrack_core.model.presets import get_preset
from cooptrack_core.training.flow import Examples, errors_of, examples_of, trained
from cooptrack_core.training.frames import Clip, FrameSet
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.types import CooptrackError, Features, Message

ROADSIDE, CHANNELS = bytes(range(32)), 4
NEVER = Seen(np.zeros(0), np.zeros((0, 1, 2)), np.zeros((0, 1), bool))


def flow(said: np.ndarray | None = None) -> Flow:
    """Of a network that always says the same: [2 + C], by default nothing."""
    width, outputs = BOX_INPUTS + CHANNELS, 2 + CHANNELS
    tensors = {
        "mean": np.zeros(width), "deviation": np.full(width, 2.0),
        "weight0": np.zeros((8, width)), "bias0": np.zeros(8), "weight1": np.zeros((8, 8)), "bias1": np.zeros(8),
        "weight2": np.zeros((outputs, 8)), "bias2": np.zeros(outputs) if said is None else said,
    }  # fmt: skip
    return Flow({name: values.astype(np.float32) for name, values in tensors.items()}, ROADSIDE)


def features(count: int, fingerprint: bytes = ROADSIDE[:8], channels: int = CHANNELS) -> Features:
    query = np.arange(count * channels, dtype=np.float32).reshape(count, channels)
    return Features(query, None, None, "tiny_inf", fingerprint)


def told(index: int = 0, heading_rad: float = 0.0, **changes: object) -> Message:
    """One car at 5 m/s along its heading."""
    ahead = np.array([[np.cos(heading_rad), np.sin(heading_rad)]])
    given = {"heading_rad": heading_rad, "velocity_mps": 5.0 * ahead, "instance_id": np.array([3])}
    place = tuple((0.5 * index * ahead[0] + [10.0, 2.0]).tolist())
    return message(index, cars(place, **given, features=features(1)), **changes)  # type: ignore[arg-type]


def test_a_flow_that_says_nothing_changes_nothing() -> None:
    motion = reported_motion(told().instances, 1.0)
    found = flow().motion(told(), motion, NEVER)
    np.testing.assert_array_equal(found.velocity_mps, motion.velocity_mps)
    np.testing.assert_array_equal(found.feature_change_per_s, np.zeros((1, CHANNELS)))


@pytest.mark.parametrize("heading_rad", [0.0, 0.5 * np.pi, -2.0])
def test_corrections_of_a_velocity_lie_along_the_heading(heading_rad: float) -> None:
    sent = told(heading_rad=heading_rad)
    found = flow(np.array([0.3, 0.0, 0, 0, 0, 0])).motion(sent, reported_motion(sent.instances, 1.0), NEVER)
    wanted = 8.0 * np.array([[np.cos(heading_rad), np.sin(heading_rad)]])
    np.testing.assert_allclose(found.velocity_mps, wanted, atol=1e-6)


def test_features_move_on_with_time_but_not_back_nor_beyond_what_was_learned() -> None:
    sent = told()
    motion = flow(np.array([0, 0, 1.0, 0, 0, -0.5])).motion(sent, reported_motion(sent.instances, 1.0), NEVER)
    start = sent.instances.features.query
    for dt_s, share in [(0.5, 0.5), (-0.2, 0.0), (1.0, 1.0), (3.0, 1.0)]:
        moved = propagate(sent.instances, dt_s, motion)
        np.testing.assert_allclose(moved.features.query - start, [[2.0 * share, 0, 0, -share]], atol=1e-6)
    assert propagate(sent.instances, 0.5, reported_motion(sent.instances, 1.0)).features is sent.instances.features


def test_what_is_read_does_not_depend_on_how_the_sensor_stands_but_for_place_and_heading() -> None:
    histories = MotionHistory(LatencyConfig()), MotionHistory(LatencyConfig())
    turn = yawed(0.7)
    rows = []
    for index in range(4):
        straight = told(index)
        found = straight.instances
        there = replace(
            found, center_m=apply(turn, found.center_m), heading_rad=found.heading_rad + 0.7,
            velocity_mps=found.velocity_mps @ turn[:2, :2].T,
        )  # fmt: skip
        pair = straight, replace(straight, instances=there)
        motions = [h.motion(m) for h, m in zip(histories, pair, strict=True)]
        rows = [inputs(m, motion, h.seen_before(m)) for h, m, motion in zip(histories, pair, motions, strict=True)]
    place_and_heading = slice(8, 12)
    same = np.ones(BOX_INPUTS, bool)
    same[place_and_heading] = False
    np.testing.assert_allclose(rows[0][:, same], rows[1][:, same], atol=1e-5)
    assert not np.allclose(rows[0][:, ~same], rows[1][:, ~same])


def test_the_newest_places_before_come_first_and_missing_ones_are_zero() -> None:
    history = MotionHistory(LatencyConfig())
    for index in range(3):
        motion = history.motion(told(index))
    row = inputs(told(2), motion, history.seen_before(told(2)))[0]
    places = row[-15:].reshape(5, 3)
    np.testing.assert_allclose(places[:2], [[-0.5, 0.0, 0.1], [-1.0, 0.0, 0.2]], atol=1e-5)
    np.testing.assert_array_equal(places[2:], 0.0)
    assert row[-16] == pytest.approx(0.2)


def test_only_messages_of_its_own_roadside_network_are_foreseen(tmp_path: Path) -> None:
    save_flow(flow(np.array([0.5, 0, 0, 0, 0, 0])), tmp_path / "a_flow.safetensors")
    config = LatencyConfig(method="flow", flow=str(tmp_path / "a_flow.safetensors"))
    speed = {}
    for name, found in {
        "own": features(1), "another network": features(1, b"otherone"), "other channels": features(1, channels=3),
        "nothing": None,
    }.items():  # fmt: skip
        sent = told()
        sent = replace(sent, instances=replace(sent.instances, features=found))
        motion = MotionHistory(config).with_motion(sent).motion
        speed[name] = motion.velocity_mps[0, 0]
    assert speed["own"] == pytest.approx(10.0, abs=0.1)
    assert all(value == pytest.approx(5.0, abs=0.1) for name, value in speed.items() if name != "own")


@pytest.mark.parametrize("value", [3e38, -3e38, 1e20])
def test_no_features_make_anything_faster_than_its_class_or_boundless(tmp_path: Path, value: float) -> None:
    rng = np.random.default_rng(0)
    wild = {name: rng.normal(size=values.shape).astype(np.float32) for name, values in flow().tensors.items()}
    wild["deviation"] = np.abs(wild["deviation"]) + 0.1
    save_flow(Flow({k: v.astype(np.float16).astype(np.float32) for k, v in wild.items()}, ROADSIDE), tmp_path / "w")
    sent = told()
    hostile = replace(features(1), query=np.full((1, CHANNELS), value, np.float32))
    sent = replace(sent, instances=replace(sent.instances, features=hostile))
    history = MotionHistory(LatencyConfig(method="flow", flow=str(tmp_path / "w")))
    found = history.with_motion(sent)
    assert np.linalg.norm(found.motion.velocity_mps, axis=1).max() <= 40.0 + 1e-9
    largest = 10.0 * sum(np.abs(wild[f"weight{layer}"]).sum() for layer in range(3)) ** 3
    assert np.isfinite(found.motion.feature_change_per_s).all()
    assert np.abs(found.motion.feature_change_per_s).max() < largest


def test_method_flow_without_any_flow_is_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SHIPPED", tmp_path)
    with pytest.raises(CooptrackError, match=r"latency\.flow: .*cooptrack fit-flow"):
        find_flows("")


def test_a_stored_flow_foresees_as_before_and_broken_files_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "x_flow.safetensors"
    with pytest.raises(CooptrackError, match=r"cannot be read.*fit-flow"):
        load_flow(path)
    made = flow(np.array([0.25, -0.5, 1, 2, 3, 4]))
    save_flow(made, path)
    assert load_flow(path).fingerprint == made.fingerprint
    header = {"format": module.KIND.format, "schema": module.KIND.schema, "roadside_fingerprint": ROADSIDE.hex()}
    save_file(dict(made.tensors), path)
    with pytest.raises(CooptrackError, match="no flow"):
        load_flow(path)
    for name, broken in {"bias2": np.zeros(3), "weight1": np.full((8, 8), np.nan), "deviation": np.zeros(43)}.items():
        save_file({**made.tensors, name: broken.astype(np.float32)}, path, header)
        with pytest.raises(CooptrackError, match="not finite ones"):
            load_flow(path)
    save_file(dict(made.tensors), path, {**header, "fingerprint": "00"})
    with pytest.raises(CooptrackError, match="fingerprint"):
        load_flow(path)


def drive(name: str, seed: int, frames: int = 12) -> tuple[Clip, list[Message]]:
    """Cars whose speed only their features say, and that brake; features fade over time."""
    rng = np.random.default_rng(seed)
    start, speed = rng.uniform(-40, 40, (20, 2)), rng.uniform(-8, 8, 20)
    truths, messages = [], []
    for index in range(frames):
        t = 0.1 * index
        place = start + np.stack([speed * t - 0.5 * np.sign(speed) * t**2, 0 * speed], axis=1)
        query = np.stack([speed, speed * np.exp(-t), np.full(20, t), rng.normal(size=20)], axis=1).astype(np.float32)
        found = cars(*map(tuple, place), instance_id=np.arange(20) + 1)
        messages.append(message(index, replace(found, features=Features(query, None, None, "tiny_inf", ROADSIDE))))
        boxes = torch.zeros(20, 9)
        boxes[:, :2] = torch.from_numpy(place).float()
        truths.append(GroundTruth(boxes, torch.zeros(20, dtype=torch.int64), torch.arange(20)))
    eye = np.eye(4)[None].repeat(frames, 0)
    stamps = 0.1 * np.arange(frames)
    clip = Clip(
        name, "rsu", Path(), np.zeros((frames, 3, 3)), eye, eye, stamps, 0 * stamps,
        (stamps * 1e9).astype(np.int64), tuple(truths), get_preset("tiny_inf"),
    )  # fmt: skip
    return clip, messages


@pytest.mark.usefixtures("one_thread")
def test_what_only_features_say_of_speed_is_learned_and_runs_repeat_themselves() -> None:
    def examples(*seeds: int) -> Examples:
        drives = {str(seed): drive(str(seed), seed) for seed in seeds}
        clips = FrameSet(tuple(clip for clip, _ in drives.values()))
        return examples_of(clips, {name: messages for name, (_, messages) in drives.items()}, None)

    known, unseen = examples(*range(20)), examples(100, 101)
    network = trained(known, 300, 0)
    place_m, change = errors_of(network, unseen)
    assert set(place_m) == {0.2, 0.4, 0.6, 0.8, 1.0}
    assert all(with_flow < 0.5 * without for without, with_flow in place_m.values())
    assert change[1.0][1] < 0.5 * change[1.0][0]
    again = trained(known, 300, 0)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
