"""Damaged, repeated and reordered messages: done to bytes and fields, refused by name, never felt by the vehicle."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from disturbed_drives import FRAMES, drive, refusals, tracked
from scenarios import STEP_NS, cars, message

from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.disturbance import DAMAGES, Disturbance
from cooptrack_core.cooperation.impairment_file import read_impairment
from cooptrack_core.data.instance_messages import cdr_codec
from cooptrack_core.types import CooptrackError, Features, Message, Refusal

NEVER = 4 * 10**18
ROOT = Path(__file__).resolve().parents[2]
SMOKE = dict.fromkeys((*DAMAGES, "duplicated", "reordered"), 0.3)


def line(**disturbance: float) -> Channel:
    return Channel(Disturbance(**disturbance), "a", codec=cdr_codec())


def carried(channel: Channel, count: int) -> list[Message | Refusal]:
    """What arrives of messages that are sent at their stamps, looked at after each."""
    found = []
    for index in range(count):
        sent = message(index, cars((1, 0), (9, 2)))
        channel.send(sent, sent.stamp_ns)
        found += [item for item, _ in channel.due(sent.stamp_ns, sent.stamp_ns)]
    return found


def everything_finite(frames: list[dict]) -> bool:
    """Of tracks and associations; what is unknown is None there."""

    def finite(value: object) -> bool:
        if isinstance(value, dict):
            return all(finite(item) for item in value.values())
        if isinstance(value, (list, tuple)):
            return all(finite(item) for item in value)
        return not isinstance(value, float) or math.isfinite(value)

    return all(finite(frame["tracks"]) and finite(frame["associations"]) for frame in frames)


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("truncated", {"malformed"}),
        ("not_finite", {"not_finite", "no_pose"}),
        ("wrong_version", {"schema_version"}),
        ("crowded", {"too_large"}),
    ],
)
def test_a_damaged_message_is_refused_by_name_and_costs_no_more_than_itself(kind: str, reasons: set[str]) -> None:
    channel = line(**{kind: 1.0})
    run = tracked(drive(), channel=channel)
    found = refusals(run)
    assert channel.counts[kind] == FRAMES
    assert found and set(found) <= reasons
    assert sum(found.values()) + sum(len(frame["messages"]) for frame in run) == FRAMES  # NaN velocity: unknown
    assert everything_finite(run)
    if kind != "not_finite":
        ego = tracked(drive(), "ego")
        assert [frame["tracks"] for frame in run] == [frame["tracks"] for frame in ego]


def test_not_finite_numbers_come_to_every_field_of_floating_point() -> None:
    found = carried(line(not_finite=1.0), 300)
    refused = {item.reason for item in found if isinstance(item, Refusal)}
    poses = sum(isinstance(item, Message) and item.T_map_from_sensor is None for item in found)
    assert "not_finite" in refused and poses > 0 and len(found) == 300


def test_an_emptied_message_is_news_that_nothing_was_seen() -> None:
    (arrived, *_) = carried(line(emptied=1.0), 1)
    assert isinstance(arrived, Message) and len(arrived.instances) == 0
    assert refusals(tracked(drive(), channel=line(emptied=1.0))) == {}


def test_every_message_can_come_twice_and_the_second_is_refused_as_a_duplicate() -> None:
    run = tracked(drive(), channel=line(duplicated=1.0))
    plain = tracked(drive())
    assert refusals(run) == {"duplicate": FRAMES}
    assert [frame["tracks"] for frame in run] == [frame["tracks"] for frame in plain]


def test_a_reordered_message_comes_right_after_the_next_one() -> None:
    arrived = [item.sequence for item in carried(line(reordered=0.3), 200)]
    assert set(range(1, 200)) <= set(arrived)  # the last may wait for one that never comes
    late = [b for a, b in itertools.pairwise(arrived) if b < a]
    assert 30 < len(late) < 90
    assert set(refusals(tracked(drive(), channel=line(reordered=0.3)))) == {"out_of_order"}


def test_shares_are_kept_and_a_stronger_damage_hits_the_same_messages() -> None:
    few, many = (
        {i for i, item in enumerate(carried(line(wrong_version=share), 400)) if isinstance(item, Refusal)}
        for share in (0.2, 0.5)
    )
    assert few < many
    assert len(few) == pytest.approx(80, abs=25) and len(many) == pytest.approx(200, abs=30)


def test_all_together_with_seed_repeat_exactly_and_stay_finite_and_named() -> None:
    worst = {**SMOKE, "delay_ms": 50.0, "jitter_ms": 250.0, "loss": 0.2, "clock_offset_ms": 30.0, "yaw_noise_deg": 1.0}
    first, second = (tracked(drive(), channel=line(**worst)) for _ in range(2))
    assert first == second and first != tracked(drive(), channel=line(**worst, seed=1))
    assert len(first) == FRAMES and everything_finite(first)
    assert set(refusals(first)) >= {"malformed", "schema_version", "too_large"}


def test_bytes_that_arrive_at_a_node_decode_to_what_arrives_offline() -> None:
    codec = cdr_codec()
    for disturbance in ({}, {**SMOKE, "position_noise_m": 1.0, "instance_loss": 0.3, "clock_offset_ms": 20.0}):
        offline, node = line(**disturbance), line(**disturbance)
        for index in range(60):
            sent = message(index, cars((1, 0), (9, 2)))
            offline.send(sent, sent.stamp_ns)
            node.send(sent, sent.stamp_ns, codec.write(sent))
            now_ns = sent.stamp_ns + STEP_NS // 2
            messages = [item for item, _ in offline.due(now_ns, now_ns)]
            read = [codec.read(data, "rsu") for data in node.due_bytes(now_ns)]
            assert [type(item) for item in read] == [type(item) for item in messages]
            for a, b in zip(read, messages, strict=True):
                if isinstance(a, Refusal):
                    assert a == b
                    continue
                assert (a.sequence, a.stamp_ns, len(a.instances)) == (b.sequence, b.stamp_ns, len(b.instances))
                if a.T_map_from_sensor is not None:
                    np.testing.assert_allclose(a.T_map_from_sensor, b.T_map_from_sensor, atol=1e-9)


@pytest.mark.parametrize("precision", ["rvq", "int8", "fp16", "fp32", "none"])
@pytest.mark.parametrize("kinematics", ["compact", "fp32"])
def test_every_form_of_a_message_survives_what_the_channel_does_to_it(precision: str, kinematics: str) -> None:
    """Noise changes a message, damage writes it anew: it keeps the form in which it came."""
    values = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    plain = Features(values, None, None, "tiny_inf", bytes(range(32)))
    coded = Features(
        np.zeros((2, 0), np.float32), None, None, "tiny_inf", bytes(range(32)), np.ones((2, 1, 4), np.uint8),
        bytes(range(32)), 8,
    )  # fmt: skip
    features = {"none": None, "rvq": coded}.get(precision, plain)
    codec, arrived = cdr_codec(), []
    channel = line(position_noise_m=1.0, clock_offset_ms=20.0, wrong_version=0.3, emptied=0.3, truncated=0.2)
    for index in range(40):
        seen = cars((1, 0), (9, 2), instance_id=np.array([3, 7]), features=features)
        sent = message(index, seen, precision=precision, kinematics=kinematics, held_id=np.array([11]))
        channel.send(sent, sent.stamp_ns, codec.write(sent))
        arrived += [codec.read(data, "rsu") for data in channel.due_bytes(sent.stamp_ns)]
    whole = [item for item in arrived if isinstance(item, Message)]
    assert {item.reason for item in arrived if isinstance(item, Refusal)} <= {"schema_version", "malformed"}
    assert {(item.precision, item.kinematics) for item in whole if len(item.instances)} == {(precision, kinematics)}
    assert {len(item.instances) + len(item.held_id) for item in whole} == {0, 3}, "empty says that nothing is there"


def test_time_that_jumps_back_leaves_nothing_on_the_way() -> None:
    channel = line(delay_ms=500.0)
    channel.send(message(0, cars()), 0)
    channel.clear()
    assert channel.due(NEVER, NEVER) == []


def test_the_example_file_names_every_impairment_of_a_link() -> None:
    path = ROOT / "config" / "impairment.yaml"
    read_impairment(path)
    named = {text.split(":")[0].strip() for text in path.read_text().splitlines() if ":" in text and text[0] != "#"}
    assert named | {"noise_correlation_s", "drop_roadside", "async_frames"} == {f.name for f in fields(Disturbance)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("delay: 3", "'delay' is no impairment; known are delay_ms"),
        ("delay_ms: soon", "delay_ms: 'soon' is not a number"),
        ("loss: true", "loss: True is not a number"),
        ("seed: 0.5", "seed: 0.5 is not a whole number"),
        ("loss: 1.5", "1.5 is outside 0 .. 1"),
        ("async_frames: 2", "async_frames: 2 exists in offline runs only; give delay_ms"),
        ("drop_roadside: 0.5", "exists in offline runs only"),
        ("- 1", "holds no names"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_bad_file_is_one_line_with_file_name_and_remedy(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(CooptrackError) as caught:
        read_impairment(path)
    text = str(caught.value)
    assert said in text and str(path) in text and "\n" not in text


def test_a_missing_file_says_so_and_an_empty_one_impairs_nothing(tmp_path: Path) -> None:
    with pytest.raises(CooptrackError, match="cannot be read"):
        read_impairment(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert read_impairment(tmp_path / "empty.yaml").is_none
