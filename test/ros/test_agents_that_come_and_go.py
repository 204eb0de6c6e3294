"""Agents that join and leave at run time are found by a pattern, heard, reported, forgotten and limited."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drives import PARAMETERS, RADIO, RoadsideDrive, VehicleDrive
from ros_messages import at, detections, remote_message, tf, transform
from vision_msgs.msg import Detection3DArray

from cooptrack_core.cooperation.wire import decode
from cooptrack_msgs.msg import AssociationArray, InstanceFeatures, TrackedObjectArray
from cooptrack_ros.agent_topics import is_pattern, pattern
from cooptrack_ros.conversions import features_message, stamp_ns
from cooptrack_ros.vehicle_node import VehicleNode

ALL = {"instance_topics": ["/*/instances"], "agent_forget_ms": 300.0}


def told_by(agent: str, session: int, sequence: int, stamp: int, centers) -> InstanceFeatures:
    message = remote_message(sequence, stamp, centers)
    return features_message(replace(message, agent_id=agent, session_id=session), "fp32")


class Crowd(VehicleDrive):
    """A vehicle that listens to everybody, and others that the test plays."""

    def __init__(self, graph, **parameters) -> None:
        super().__init__(graph, **{**ALL, **parameters})
        self.radios = {}

    def join(self, agent: str, wait: bool = True) -> None:
        self.radios[agent] = self.graph.publisher(InstanceFeatures, f"/{agent}/instances", RADIO, matched=wait)

    def leave(self, agent: str) -> None:
        self.graph.call(lambda: self.graph.node.destroy_publisher(self.radios.pop(agent)))

    def round(self, index: int, **centers) -> TrackedObjectArray:
        """A message of each agent that has something to say, then a frame of the vehicle."""
        for agent, where in centers.items():
            before = self.node._last_heard_ns.get(f"/{agent}/instances")
            session = where[1] if len(where) > 1 else 7
            self.radios[agent].publish(told_by(agent, session, index + 1, at(index), where[0]))
            topic = f"/{agent}/instances"
            self.graph.wait_for(lambda t=topic, b=before: self.node._last_heard_ns.get(t) != b)
        return self.frame(index)

    def heard(self) -> set[str]:
        return set(self.node._agent_of_topic)


@pytest.mark.parametrize(
    ("entry", "topic", "fits"),
    [
        ("/*/instances", "/rsu1/instances", True),
        ("/*/instances", "/site/rsu1/instances", False),
        ("/**/instances", "/site/rsu1/instances", True),
        ("/rsu?/instances", "/rsu2/instances", True),
        ("/rsu?/instances", "/rsu12/instances", False),
        ("/rsu.*/instances", "/rsu1/instances", False),
        ("*/instances", "/site/rsu1/instances", True),
        ("*/instances", "/rsu1/instances", False),
    ],
)
def test_a_pattern_means_levels_of_names(entry, topic, fits):
    assert is_pattern(entry) and not is_pattern("/rsu/instances")
    assert bool(pattern(entry, "/site").fullmatch(topic)) == fits


def test_an_agent_that_starts_later_is_heard_and_one_that_ends_is_reported_and_forgotten(graph):
    drive = Crowd(graph, publish_instances=True, agent_forget_ms=2500.0, **{"admission.silence_warning_ms": 500.0})
    assert drive.heard() == set(), "its own topic is not for its own ears"
    drive.wait_for_status("agents", "no agent so far")
    drive.join("rsu1")
    for index in range(4):
        tracks = drive.round(index, rsu1=([(40, 5, 0)],))
    assert sorted(len(o.agents) for o in tracks.objects) == [0, 1]
    ids = {o.track_id for o in tracks.objects}
    drive.join("car2")
    for index in range(4, 8):
        tracks = drive.round(index, rsu1=([(40, 5, 0)],), car2=([(40.5, 5, 0), (25, -9, 0)],))
    both = next(o for o in tracks.objects if len(o.agents) == 2)
    assert sorted(both.agents) == ["car2", "rsu1"] and both.track_id in ids and len(tracks.objects) == 3
    drive.wait_for_status("agents", "2 agents: car2, rsu1")
    drive.leave("rsu1")
    assert drive.wait_for_status("instances of rsu1", "no message from rsu1 for").level == b"\x01"
    graph.wait_for(lambda: drive.heard() == {"/car2/instances"})
    drive.wait_for_status("agents", "1 agents: car2")
    tracks = drive.round(8, car2=([(40.5, 5, 0), (25, -9, 0)],))
    assert ids < {o.track_id for o in tracks.objects}, "what car2 still sees keeps its id"


def test_a_restarted_agent_is_heard_again_in_its_new_session(graph):
    drive = Crowd(graph)
    drive.join("rsu1")
    for index in range(4):
        first = drive.round(index, rsu1=([(40, 5, 0)], 7))
    drive.leave("rsu1")
    graph.wait_for(lambda: not drive.heard())
    drive.join("rsu1")
    drive.radios["rsu1"].publish(told_by("rsu1", 8, 1, at(4), [(40, 5, 0)]))
    graph.wait_for(lambda: drive.node._last_heard_ns)
    again = drive.frame(4)
    used = drive.associations_of(4)
    assert list(used.message_session) == [8] and list(used.message_sequence) == [1]
    assert {o.track_id for o in again.objects} == {o.track_id for o in first.objects}


def test_agents_over_the_limit_are_refused_by_name_until_there_is_room(graph, capfd):
    drive = Crowd(graph, max_agents=2)
    for agent in ("a", "b"):
        drive.join(agent)
    drive.join("c", wait=False)
    status = drive.wait_for_status("agents", "too_many_agents: /c/instances not heard")
    assert status.level == b"\x01" and drive.heard() == {"/a/instances", "/b/instances"}
    drive.frame(0)
    refused = drive.associations_of(0)
    assert list(refused.refused_agent) == ["c"] and list(refused.refused_reason) == ["too_many_agents"]
    assert drive.node.agent.counters == {"too_many_agents": 1}, "once, however often it is seen again"
    drive.leave("a")
    graph.wait_for(lambda: drive.heard() == {"/b/instances", "/c/instances"})
    drive.round(1, c=([(40, 5, 0)],))
    assert "raise max_agents" in capfd.readouterr().err


def test_named_agents_stay_and_patterns_add_to_them(graph):
    drive = Crowd(graph, instance_topics=["/rsu/instances", "/car?/instances"])
    assert drive.heard() == {"/rsu/instances"}
    drive.join("car1")
    drive.join("rsu")
    assert drive.heard() == {"/rsu/instances", "/car1/instances"}
    drive.leave("car1")
    drive.leave("rsu")
    graph.wait_for(lambda: drive.heard() == {"/rsu/instances"})


def test_after_deactivation_nobody_is_followed_and_activation_finds_them_again(graph):
    drive = Crowd(graph)
    drive.join("rsu1")
    graph.call(drive.node.trigger_deactivate)
    assert graph.node.count_subscribers("/rsu1/instances") == 0
    graph.call(drive.node.trigger_activate)
    assert drive.heard() == {"/rsu1/instances"}


def test_vehicles_and_a_unit_hear_one_another(graph):
    """Real nodes: what only the unit and the first vehicle see reaches the second, which tells nothing of it."""
    first = VehicleDrive(graph, publish_instances=True, session_id=5, **ALL)
    unit = RoadsideDrive(graph)
    other = graph.start(VehicleNode, "/vehicle2", {**PARAMETERS, **ALL, "publish_instances": True})
    tracks = graph.collect(TrackedObjectArray, "/vehicle2/tracks")
    used = graph.collect(AssociationArray, "/vehicle2/associations")
    told = {name: graph.collect(InstanceFeatures, f"/{name}/instances", RADIO) for name in ("vehicle", "vehicle2")}
    frames = graph.publisher(Detection3DArray, "/vehicle2/detections_in")
    graph.wait_for(lambda: set(other._agent_of_topic) == {"/rsu/instances", "/vehicle/instances"})
    graph.wait_for(lambda: set(first.node._agent_of_topic) == {"/rsu/instances", "/vehicle2/instances"})
    for index in range(8):
        unit.frame(index, [(40, 5, 0)])
        first.frame(index, [(10, 0, 0)])
        heard = other._last_heard_ns
        graph.wait_for(lambda i=index, h=heard: len(h) == 2 or i == 0)
        first.tf.publish(tf(transform("map", "vehicle2/lidar", at(index))))
        frames.publish(detections(at(index), [(-10, 3, 0)], frame_id="vehicle2/lidar"))
        graph.wait_for(lambda i=index: any(stamp_ns(t.header.stamp) == at(i) for t in tracks))
    seen = {tuple(sorted(o.agents)): o for o in tracks[-1].objects}
    assert set(seen) == {(), ("rsu",), ("vehicle",)}
    graph.wait_for(lambda: len(used) >= 8 and len(told["vehicle2"]) >= 6)
    assert {"rsu", "vehicle"} in [set(one.message_agent) for one in used[-4:]]
    last = told["vehicle2"][-1]
    assert last.agent_id == "vehicle2" and decode(last).instances.instance_id.tolist() == [1], "what it measured itself"
    assert told["vehicle"][-1].session_id == 5 and told["vehicle"][-1].instance_count == 1
