"""Bandwidth: what the encoder, the papers and DAIR-V2X count, on messages whose size is known."""

import math

import numpy as np
import pytest
from evaluation_recordings import frame, recording

from cooptrack_core.data.instance_messages import instances_message, transmit
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.data.recording_frames import sent_row
from cooptrack_core.evaluation.bandwidth import TEXT, bandwidth
from cooptrack_core.types import CooptrackError, Features, Instances, Message

CHANNELS = 8
KINEMATIC_BYTES = 8 + 1 + 4 * (1 + 3 + 3 + 1 + 2 + 2 + 2 + 1) + 2  # id, class, floats, age
CONVENTIONS = ("encoded", "encoded_without_header", "papers", "papers_with_header")


def message(count, *, features=False, embedding=False, sequence=1, variances=True, agent="rsu"):
    columns = np.zeros((count, CHANNELS), np.float32)
    learned = Features(columns, columns if embedding else None, columns, "tiny", bytes(range(32))) if features else None
    variance = np.ones((count, 2)) if variances else None
    instances = Instances.create(
        np.zeros((count, 3)), np.ones((count, 3)), np.zeros(count), np.zeros(count, np.int64), np.ones(count),
        velocity_mps=np.zeros((count, 2)), position_variance_m2=variance, velocity_variance_m2ps2=variance,
        features=learned,
    )  # fmt: skip
    return Message(agent, 5, sequence, 10**18, f"{agent}/lidar", np.eye(4), instances)


def row(*arguments, precision="fp16", **options):
    return sent_row(transmit(message(*arguments, **options), precision))


def encoded_size(*arguments, precision="fp16", **options):
    encoded = instances_message(message(*arguments, **options), precision)
    return len(typestore().serialize_cdr(encoded, "cooptrack_msgs/msg/InstanceFeatures"))


def run(sent, frames=5, **more):
    return recording([frame(n, tracks=[]) for n in range(frames)], sent=sent, **more)


@pytest.mark.parametrize("features", [False, True])
def test_the_header_is_a_message_without_instances(features):
    precision = "fp16" if features else "none"
    expected = encoded_size(0, features=features, precision=precision)
    for count in (0, 1, 7):
        got = row(count, features=features, precision=precision)
        assert got["header_bytes"] == expected
        assert got["bytes"] == encoded_size(count, features=features, precision=precision)


def test_the_header_grows_with_the_names_in_it():
    longer = row(3, agent="rsu_at_the_corner")
    assert longer["header_bytes"] == encoded_size(0, agent="rsu_at_the_corner") > row(3)["header_bytes"]
    assert longer["header_text"] - row(3)["header_text"] == 2 * len("_at_the_corner")  # agent_id and frame_id


@pytest.mark.parametrize(("precision", "bytes_each"), [("fp32", 4), ("fp16", 2), ("int8", 1)])
def test_an_instance_costs_its_columns_and_features(precision, bytes_each):
    rows = [row(n, features=True, precision=precision) for n in (10, 20)]
    result = [bandwidth([run([item])]) for item in rows]
    payload = [item["encoded_without_header"]["per_message"] for item in result]
    scales = 2 * 4 if precision == "int8" else 0  # a float for each of two streams
    # Arrays begin at multiples of four bytes, so that some bytes of padding come and go.
    each = KINEMATIC_BYTES + 2 * CHANNELS * bytes_each + scales
    assert payload[1] - payload[0] == pytest.approx(10 * each, abs=4)


def test_encoded_bytes_per_message_instance_frame_and_second():
    rows = [row(4, sequence=1, precision="none"), row(6, sequence=2, precision="none")]
    result = bandwidth([run(rows, frames=5)])  # 10 Hz: 0.5 s
    total = rows[0]["bytes"] + rows[1]["bytes"]
    assert result["messages"] == 2 and result["frames"] == 5 and result["seconds"] == pytest.approx(0.5)
    assert result["messages_per_second"] == pytest.approx(4) and result["instances_per_message"] == 5
    assert result["encoded"] == pytest.approx(
        {"per_message": total / 2, "per_instance": total / 10, "per_frame": total / 5, "per_second": total / 0.5}
    )
    header = rows[0]["header_bytes"]
    assert result["header_per_message"] == header
    assert result["encoded_without_header"]["per_message"] == pytest.approx(total / 2 - header)


def test_the_papers_count_four_bytes_for_each_of_2c_plus_3_floats():
    floats = 2 * CHANNELS + 3
    for options in ({"precision": "int8"}, {"precision": "fp32", "embedding": True}):
        result = bandwidth([run([row(5, features=True, **options)] * 5)])
        assert result["floats_per_instance"] == floats
        assert result["papers"] == pytest.approx(
            {
                "per_instance": 4 * floats, "per_message": 20 * floats, "per_frame": 20 * floats,
                "per_second": 200 * floats,
            }
        )  # fmt: skip
        assert result["papers_with_header"]["per_message"] == 20 * floats + 56


def test_256_channels_are_the_papers_2060_bytes():
    row_of_256 = row(1, features=True) | {"feature_size": 256}
    assert bandwidth([run([row_of_256])])["papers"]["per_instance"] == 2060


def test_late_objects_are_33_bytes_and_dair_counts_nine_numbers_of_them():
    result = bandwidth([run([row(5, precision="none")] * 5)])
    assert result["floats_per_instance"] is None and result["papers"]["per_instance"] == 33
    assert result["dair_ab_boxes"] == {"per_instance": 72, "per_frame": 360}


def test_dair_counts_eight_bytes_for_each_number_that_is_sent():
    # id, class, score, 3 centre, 3 size, heading, 2 velocity, age, time since update; 4 variances where known
    numbers = 14
    for options, more in (
        ({"variances": False, "precision": "none"}, 0),
        ({"precision": "none"}, 4),
        ({"features": True}, 4 + 2 * CHANNELS),
        ({"features": True, "embedding": True}, 4 + 3 * CHANNELS),
    ):
        result = bandwidth([run([row(5, **options)] * 2, frames=4)])
        assert result["dair_ab"] == {"per_instance": 8 * (numbers + more), "per_frame": 2.5 * 8 * (numbers + more)}
    # stamp 2, version, session, sequence, pose 7, pose_stamp 2, range 6, two counts, three of features
    header = 8 * (2 + 3 + 7 + 2 + 6 + 2 + 3) + len("rsu" + "map" + "rsu/lidar" + "tiny") + 32
    assert result["dair_ab_with_header"]["per_frame"] == pytest.approx(result["dair_ab"]["per_frame"] + header / 2)


def test_seconds_and_frames_are_those_of_the_vehicle_over_all_sequences():
    rows = [row(5, precision="none")] * 2
    slow = recording([frame(5 * n, tracks=[]) for n in range(3)], sent=rows)  # 2 Hz: 1.5 s
    both = bandwidth([run(rows, frames=10), slow])
    assert both["seconds"] == pytest.approx(1.0 + 1.5) and both["frames"] == 13
    apart = [frame(n, tracks=[]) for n in range(3)] + [frame(n + 10_000, tracks=[], sequence="0002") for n in range(3)]
    assert bandwidth([recording(apart, sent=rows)])["seconds"] == pytest.approx(0.6)  # not the time between them
    missed = recording([frame(0, tracks=[]), frame(1, objects=[]), frame(2, tracks=[])], sent=rows)
    assert bandwidth([missed])["frames"] == 3


def test_nothing_sent_costs_nothing():
    result = bandwidth([run([])])
    assert result["messages"] == 0 and math.isnan(result["encoded"]["per_message"])
    assert all(result[name]["per_second"] == result[name]["per_frame"] == 0 for name in CONVENTIONS)
    empty = bandwidth([run([row(0)])])
    assert empty["encoded_without_header"]["per_message"] == 0 and empty["papers"]["per_message"] == 0
    assert empty["encoded"]["per_message"] == empty["header_per_message"] > 0
    assert math.isnan(bandwidth([])["encoded"]["per_second"])


def test_every_convention_says_what_it_counts():
    result = bandwidth([run([row(3, features=True)])])
    assert {name for name, value in result.items() if isinstance(value, dict)} == {*TEXT, "text"}
    assert result["text"] == TEXT


def test_a_recording_of_an_earlier_version_is_refused_with_the_remedy():
    old = {name: value for name, value in row(3).items() if name != "header_bytes"}
    with pytest.raises(CooptrackError, match=r"drive: sent: message 1 of rsu .*make the recording again"):
        bandwidth([run([old])])
