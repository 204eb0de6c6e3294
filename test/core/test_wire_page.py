"""docs/wire.md: its example bytes are those of the code, and its tables name what the code has."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cooptrack_core.cooperation import compact, wire
from cooptrack_core.cooperation.message_size import size_bytes
from cooptrack_core.data.instance_messages import instances_message
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.types import Features, Instances, Message

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
TYPE = "cooptrack_msgs/msg/InstanceFeatures"


def block(name: str) -> bytes:
    (found,) = re.findall(rf"```hex {name}\n(.*?)```", PAGE, re.DOTALL)
    return bytes.fromhex(found)


def example() -> Message:
    features = Features(
        np.zeros((2, 0), np.float32), None, None, "tiny_inf", bytes(range(32)),
        np.array([[[7, 250, 3, 99]], [[0, 1, 2, 3]]], np.uint8), bytes(range(0xA0, 0xC0)), 128,
    )  # fmt: skip
    instances = Instances.create(
        np.array([[12.34, -5.60, -0.80], [80.0, 20.5, 0.0]]), np.array([[4.4, 1.8, 1.5], [0.6, 0.7, 1.75]]),
        np.array([np.pi / 2, -0.5]), np.array([0, 2]), np.array([0.9, 0.35]),
        velocity_mps=np.array([[10.0, 0.0], [np.nan, np.nan]]), instance_id=np.array([17, 300]),
        age_frames=np.array([12, 3]), time_since_update_s=np.array([0.0, 0.1]), features=features,
    )  # fmt: skip
    return Message(
        "rsu", 1, 42, 10**18, "rsu/lidar", np.eye(4), instances, held_id=np.array([16, 18]), precision="rvq",
        kinematics="compact",
    )  # fmt: skip


def test_the_packed_example_is_what_is_written_and_read():
    sent = example()
    assert compact.pack(sent.instances, sent.held_id) == block("packed")
    read = compact.unpack(block("packed"), 2)
    assert read.held_id.tolist() == [16, 18] and read.instances.instance_id.tolist() == [17, 300]
    assert read.instances.center_m.tolist() == [pytest.approx([12.34, -5.6, -0.8]), pytest.approx([80.0, 20.5, 0.0])]


def test_the_message_example_is_what_goes_on_the_air():
    data = block("message")
    assert bytes(typestore().serialize_cdr(instances_message(example()), TYPE)) == data
    assert size_bytes(example()) == len(data) and f"{len(data)} bytes:" in PAGE
    read = wire.decode(typestore().deserialize_cdr(data, TYPE), len(data))
    assert (read.agent_id, read.sequence, read.precision, read.kinematics) == ("rsu", 42, "rvq", "compact")
    assert read.instances.features.codes.tolist() == [[[7, 250, 3, 99]], [[0, 1, 2, 3]]]


def test_what_deflate_gains_is_in_the_header_alone():
    data, packed = block("message"), block("packed")
    (stated,) = re.findall(rf"from {len(data)} bytes to (\d+)", PAGE)
    assert len(zlib.compress(data, 9)) == pytest.approx(int(stated), abs=4)  # libraries differ a little
    assert len(zlib.compress(packed, 9)) > len(packed)


def test_what_a_vehicle_would_tell_of_what_it_sees_costs_more_than_it_saves():
    def told(count):
        rows = np.arange(count)
        seen = Instances.create(
            np.zeros((count, 3)), np.ones((count, 3)), np.zeros(count), np.zeros(count, np.int64), np.ones(count),
            instance_id=rows + 1,
        )  # fmt: skip
        return size_bytes(replace(example(), instances=seen, held_id=np.zeros(0, np.int64), precision="none"))

    assert told(0) == 224 and all(told(count) > 20 * count for count in range(56))
    assert "below 57" in PAGE


@pytest.mark.parametrize("preset", ["tiny", "r50", "r101", "convnext_s", "official_r50"])
def test_the_bytes_per_instance_are_those_of_the_presets(preset):
    cost = pytest.importorskip("cooptrack_core.model.cost")
    from cooptrack_core.model.presets import get_preset

    (row,) = [line for line in PAGE.splitlines() if line.startswith("| `") and f"`{preset}`" in line and "%" in line]
    stated = [int(cell.split("(")[0].replace(",", "")) for cell in row.strip("| ").split("|")[1:]]
    config = get_preset(f"{preset}_inf")
    fp16, int8, rvq = (cost.instance_bytes(config, name) for name in ("fp16", "int8", "rvq"))
    assert [stated[1], stated[2], stated[4]] == [fp16, int8, rvq]
    streams = 1 if config.needed_streams else 3
    assert stated[0] == cost.instance_bytes(config, "fp32") + (3 - streams) * 4 * config.embed_dims
    assert stated[3] == int8 - 39


def test_the_sizes_of_an_empty_message_are_those_in_the_text():
    empty = replace(example(), instances=example().instances.select(slice(0, 0)), held_id=np.zeros(0, np.int64))
    alone = replace(empty, instances=replace(empty.instances, features=None))
    assert f"has {size_bytes(empty)} bytes ({size_bytes(alone)} without features)" in PAGE


def test_the_table_of_a_record_has_its_bits_in_order():
    rows = re.search(r"\| Bits \| Field.*?\n\n", PAGE, re.DOTALL).group().splitlines()[2:]
    bits = [int(n) for row in rows if row.startswith("|") for n in row.split("|")[1].split(",")]
    assert bits == [width for _, width in compact.FIELDS] and sum(bits) == 8 * compact.RECORD_BYTES


def test_offsets_of_fields_are_those_of_the_example():
    data = block("message")
    offsets = dict(re.findall(r"^\| (\d+) \| `(packed|feature_precision|feature_dim|features)`", PAGE, re.MULTILINE))
    places = {name: int(at) for at, name in offsets.items()}
    packed = block("packed")
    assert int.from_bytes(data[places["packed"] :][:4], "little") == len(packed)
    assert data[places["packed"] + 4 :].startswith(packed)
    assert data[places["feature_precision"]] == wire.PRECISION_CODES["rvq"]
    assert int.from_bytes(data[places["feature_dim"] :][:2], "little") == 128
    assert int.from_bytes(data[places["features"] :][:4], "little") == 8
