"""impairment_node: messages leave as a channel of the same seed has them, and a vehicle behind it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drives import RADIO, VehicleDrive
from rclpy.qos import QoSProfile
from ros_messages import at, instances_message, remote_message

from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.types import CooptrackError
from cooptrack_msgs.msg import InstanceFeatures
from cooptrack_ros.impairment_node import ImpairmentNode, ros_codec

CARS = [(40.0, 5.0, 0.0), (20.0, -5.0, 0.0)]
MANY = QoSProfile(depth=200)


def start(graph: Any, folder: Path, content: str, **parameters: Any) -> ImpairmentNode:
    path = folder / "impairment.yaml"
    path.write_text(content)
    return graph.add(ImpairmentNode, "/", {"impairment": str(path), **parameters})


class Radio:
    """Sends messages of the roadside unit one by one and knows when the node has taken each."""

    def __init__(self, graph: Any, node: ImpairmentNode) -> None:
        self.graph, self.channel = graph, node._links[0].channel
        self.publisher = graph.publisher(InstanceFeatures, "/rsu/instances", RADIO)

    def send(self, index: int) -> None:
        before = self.channel.counts["sent"]
        self.publisher.publish(instances_message(index + 1, at(index), CARS))
        self.graph.wait_for(lambda: self.channel.counts["sent"] > before)


def test_the_same_messages_are_lost_and_doubled_as_in_a_channel_offline(graph: Any, tmp_path: Path) -> None:
    node = start(graph, tmp_path, "{loss: 0.4, duplicated: 0.3, seed: 5}")
    received = graph.collect(InstanceFeatures, "/rsu/instances_impaired", RADIO)
    radio = Radio(graph, node)
    graph.wait_for(lambda: node._links[0]._publisher.get_subscription_count())
    offline = Channel(Disturbance(loss=0.4, duplicated=0.3, seed=5), codec=ros_codec())
    expected: list[int] = []
    for index in range(30):
        radio.send(index)
        offline.send(remote_message(index + 1, at(index), CARS), at(index))
        expected += [message.sequence for message, _ in offline.due(at(index), at(index))]
        count = len(expected)
        graph.wait_for(lambda count=count: len(received) == count)
    assert [message.sequence for message in received] == expected and 10 < len(expected) < 35
    assert len(set(expected)) < min(30, len(expected))


def test_an_unimpaired_message_passes_byte_for_byte(graph: Any, tmp_path: Path) -> None:
    node = start(graph, tmp_path, "")
    received = graph.collect(InstanceFeatures, "/rsu/instances_impaired", RADIO)
    radio = Radio(graph, node)
    graph.wait_for(lambda: node._links[0]._publisher.get_subscription_count())
    radio.send(0)
    graph.wait_for(lambda: received)
    assert received[0] == instances_message(1, at(0), CARS)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("truncated", "malformed"), ("wrong_version", "schema_version"), ("crowded", "too_large")],
)
def test_a_vehicle_behind_it_refuses_the_damage_by_name_and_tracks_go_on(
    graph: Any, tmp_path: Path, kind: str, reason: str
) -> None:
    node = start(graph, tmp_path, f"{kind}: 1.0")
    drive = VehicleDrive(graph, instance_topics=["/rsu/instances_impaired"])
    radio = Radio(graph, node)
    graph.wait_for(lambda: node._links[0]._publisher.get_subscription_count())
    for index in range(6):
        radio.send(index)
        graph.wait_for(lambda index=index: sum(drive.node.agent.counters.values()) > index)
        tracks = drive.frame(index)
    assert [o.sources for o in tracks.objects] == [1] and not tracks.predicted_only
    assert set(drive.node.agent.counters) == {reason}
    refused = [name for index in range(6) for name in drive.associations_of(index).refused_reason]
    assert refused == [reason] * 6


def test_bytes_that_nobody_can_read_pass_and_are_counted(graph: Any, tmp_path: Path) -> None:
    node = start(graph, tmp_path, "loss: 1.0")
    drive = VehicleDrive(graph, instance_topics=["/rsu/instances_impaired"])
    publisher = graph.publisher(InstanceFeatures, "/rsu/instances", RADIO)
    graph.wait_for(lambda: node._links[0]._publisher.get_subscription_count())
    publisher.publish(b"\x00\x01\x00\x00\xff\xff\xff\xff")
    graph.wait_for(lambda: node._links[0].unreadable == 1)
    graph.wait_for(lambda: drive.node.agent.counters.get("malformed") == 1)


def test_a_bad_file_is_one_line(graph: Any, tmp_path: Path) -> None:
    with pytest.raises(CooptrackError, match="'lag' is no impairment; known are delay_ms"):
        start(graph, tmp_path, "lag: 1")
    with pytest.raises(CooptrackError, match="parameter suffix: is empty"):
        graph.add(ImpairmentNode, "/", {"suffix": ""})
