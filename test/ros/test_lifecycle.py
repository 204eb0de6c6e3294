"""Managed nodes: transitions, refusals in one line, other people's publishers, time that jumps."""

from __future__ import annotations

import gc
import math
import threading

import pytest
import rclpy
from drives import PARAMETERS, RoadsideDrive, VehicleDrive
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_messages import at, instances_message
from rosgraph_msgs.msg import Clock

from cooptrack_core.types import CooptrackError
from cooptrack_msgs.msg import TrackedObjectArray
from cooptrack_ros.conversions import stamp_message, stamp_ns
from cooptrack_ros.roadside_node import RoadsideNode
from cooptrack_ros.vehicle_node import VehicleNode

SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.mark.parametrize("node_class", [VehicleNode, RoadsideNode])
def test_a_manager_can_drive_every_transition_again_and_again(graph, node_class):
    node = graph.add(node_class, "/agent", {**PARAMETERS, "autostart": False})
    assert node.start() and node.state == "unconfigured"
    client = graph.node.create_client(ChangeState, f"/agent/{node.get_name()}/change_state")
    state = graph.node.create_client(GetState, f"/agent/{node.get_name()}/get_state")
    graph.wait_for(lambda: client.service_is_ready() and state.service_is_ready())

    def change(transition: int) -> str:
        done = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        graph.wait_for(done.done)
        assert done.result().success
        now = state.call_async(GetState.Request())
        graph.wait_for(now.done)
        return now.result().current_state.label

    for _ in range(2):
        assert change(Transition.TRANSITION_CONFIGURE) == "inactive"
        assert change(Transition.TRANSITION_ACTIVATE) == "active"
        assert change(Transition.TRANSITION_DEACTIVATE) == "inactive"
        assert change(Transition.TRANSITION_ACTIVATE) == "active"
        assert change(Transition.TRANSITION_DEACTIVATE) == "inactive"
        assert change(Transition.TRANSITION_CLEANUP) == "unconfigured"
    assert change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) == "finalized"


def test_an_inactive_vehicle_is_silent_and_goes_on_when_active_again(graph):
    drive = VehicleDrive(graph)
    for index in range(4):
        drive.frame(index)
    assert graph.call(drive.node.trigger_deactivate) == SUCCESS
    assert graph.node.count_subscribers("/vehicle/detections_in") == 0
    assert graph.call(drive.node.trigger_activate) == SUCCESS
    graph.wait_for(lambda: drive.frames.get_subscription_count() > 0)
    tracks = drive.frame(5)
    assert tracks.frame_index == 5 and [o.track_id for o in tracks.objects] == [1]
    assert len(drive.tracks) == 5


def test_unknown_mode_is_one_clear_line_and_the_node_stays_unconfigured(graph, capfd):
    node = graph.add(VehicleNode, "/vehicle", {**PARAMETERS, "mode": "telepathy"})
    assert not graph.call(node.start)
    assert node.state == "unconfigured"
    lines = [line for line in capfd.readouterr().err.splitlines() if line]
    assert len(lines) == 1 and "parameter mode: 'telepathy'" in lines[0] and "late" in lines[0]
    node.set_parameters([Parameter("mode", value="ego")])
    assert graph.call(node.start) and node.state == "active"


def test_a_bad_value_is_refused_when_it_is_set(graph):
    node = graph.add(VehicleNode, "/vehicle", PARAMETERS)
    attempts = (("mode", "telepathy"), ("late.gate_m", -1.0), ("late.gate_m", 2.0))
    results = node.set_parameters([Parameter(name, value=value) for name, value in attempts])
    assert [r.successful for r in results] == [False, False, True]
    assert "'telepathy'" in results[0].reason


def test_a_value_out_of_range_or_of_another_type_names_the_parameter(graph):
    with pytest.raises(CooptrackError, match=r"parameter late\.gate_m.*100"):
        graph.add(VehicleNode, "/vehicle", {"late.gate_m": 100.0})
    with pytest.raises(CooptrackError, match=r"parameter tracker\.birth_hits.*like the default 3"):
        graph.add(VehicleNode, "/vehicle", {"tracker.birth_hits": "three"})


def test_other_publishers_on_our_topics_stop_the_activation(graph, capfd):
    intruder = Node("intruder", context=graph.context)
    intruder.create_publisher(TrackedObjectArray, "/vehicle/tracks", 1)
    node = graph.add(VehicleNode, "/vehicle", {**PARAMETERS, "discovery_wait_ms": 2000.0})
    assert not graph.call(node.start)
    assert node.state == "inactive"
    errors = [line for line in capfd.readouterr().err.splitlines() if "ERROR" in line]
    assert len(errors) == 1 and "/vehicle/tracks (by /intruder)" in errors[0]
    intruder.destroy_node()
    graph.wait_for(lambda: graph.node.count_publishers("/vehicle/tracks") == 1)
    assert graph.call(node.trigger_activate) == SUCCESS


def test_a_twin_with_the_same_name_is_found_too(graph):
    drive = VehicleDrive(graph)
    twin = graph.add(VehicleNode, "/vehicle", {**PARAMETERS, "discovery_wait_ms": 10000.0, "predecessor_wait_ms": 0.0})
    assert not graph.call(twin.start)
    status = drive.wait_for_status("state", "another node publishes on our topics")
    assert status.level == b"\x02" and "/vehicle/vehicle_node" in status.message


def test_a_killed_predecessor_is_waited_for(graph):
    predecessor = Node("vehicle_node", namespace="/vehicle", context=graph.context)
    predecessor.create_publisher(TrackedObjectArray, "/vehicle/tracks", 1)
    node = graph.add(VehicleNode, "/vehicle", {**PARAMETERS, "discovery_wait_ms": 10000.0})
    vanish = threading.Timer(0.5, predecessor.destroy_node)
    vanish.start()
    assert graph.call(node.start) and node.state == "active"
    vanish.join()


def test_sharing_topics_can_be_allowed(graph):
    intruder = Node("intruder", context=graph.context)
    intruder.create_publisher(TrackedObjectArray, "/vehicle/tracks", 1)
    node = graph.start(VehicleNode, "/vehicle", {**PARAMETERS, "allow_shared_topics": True})
    assert node.state == "active"
    intruder.destroy_node()


def test_other_publishers_that_come_later_are_an_error_and_tracks_go_on(graph, capfd):
    drive = VehicleDrive(graph)
    drive.frame(0)
    intruder = Node("intruder", context=graph.context)
    intruder.create_publisher(TrackedObjectArray, "/vehicle/tracks", 1)
    drive.wait_for_status("state", "/vehicle/tracks (by /intruder)")
    seen = len(drive.statuses("state"))
    graph.wait_for(lambda: len(drive.statuses("state")) > seen)
    assert drive.frame(1).frame_index == 2
    intruder.destroy_node()
    graph.wait_for(lambda: drive.statuses("state")[-1].message == "active")
    errors = [line for line in capfd.readouterr().err.splitlines() if "ERROR" in line]
    assert len(errors) == 1


@pytest.mark.parametrize("drive_class", [VehicleDrive, RoadsideDrive])
def test_stamps_that_jump_back_start_everything_anew(graph, drive_class, capfd):
    drive = drive_class(graph)
    for index in range(100, 104):
        old = drive.frame(index)
    tracks = drive.frame(0)
    assert tracks.objects == [] and tracks.frame_index == 5
    for index in range(1, 5):  # the first pose may have come before the jump was noticed
        tracks = drive.frame(index)
    assert tracks.pose_known
    assert tracks.objects[0].track_id > old.objects[0].track_id  # ids are never used twice
    warnings = [line for line in capfd.readouterr().err.splitlines() if "time jumped back" in line]
    assert len(warnings) == 1 and "10.300 s" in warnings[0]


def test_messages_are_taken_again_after_time_jumped_back(graph):
    drive = VehicleDrive(graph)
    for index, sequence in ((100, 1), (101, 2), (0, 3), (1, 4)):
        tracks = drive.frame(index)
        drive.hear(instances_message(sequence, at(index), [(40, 5, 0)]))
    drive.frame(2)
    assert list(drive.associations_of(2).message_sequence) == [4]
    assert tracks.frame_index == 4
    assert drive.node.agent.counters == {}


def test_a_clock_that_jumps_back_starts_everything_anew_once(graph, capfd):
    clock = graph.node.create_publisher(Clock, "/clock", 10)
    drive = VehicleDrive(graph, use_sim_time=True)
    graph.wait_for(lambda: clock.get_subscription_count() > 0)

    def tick(index: int) -> None:
        clock.publish(Clock(clock=stamp_message(at(index))))
        graph.wait_for(lambda: drive.node.get_clock().now().nanoseconds == at(index))

    tick(100)
    for index in range(100, 104):
        drive.frame(index)
    tick(104)
    tick(0)
    graph.wait_for(lambda: drive.node.health.events().get("time_jumps") == 1)
    assert drive.frame(0).objects == []
    drive.frame(1)
    tick(1)
    assert drive.node.health.events()["time_jumps"] == 1
    assert len([line for line in capfd.readouterr().err.splitlines() if "time jumped back" in line]) == 1
    assert [stamp_ns(t.header.stamp) for t in drive.tracks[-2:]] == [at(0), at(1)]


def test_diagnostics_name_rate_ages_timings_and_drops(graph):
    drive = VehicleDrive(graph)
    drive.hear(instances_message(1, at(0), [(40, 5, 0)]))
    drive.frame(0)
    drive.frame(1, centers=[(10, 0, 0), (math.nan, 0, 0)])

    def last(name):
        found = drive.statuses(name)
        return {item.key: item.value for item in found[-1].values} if found else {}

    graph.wait_for(lambda: last("frames").get("frames") == "2" and "rsu.age_ms.p50" in last("instances of rsu"))
    assert "detection_not_finite 1" in drive.statuses("frames")[-1].message
    values = last("frames")
    assert values["dropped.detection_not_finite"] == "1"
    assert {"rate_hz", "age_ms.p50", "age_ms.p99", "total_ms.p50", "publish_ms.p99"} <= set(values)
    assert drive.wait_for_status("instances of rsu", "messages arrive")
    assert float(last("instances of rsu")["rsu.age_ms.p50"]) == 0.0
    assert drive.statuses("state")[-1].message == "active"
    assert rclpy.ok(context=graph.context)


def test_a_publisher_whose_node_has_no_name_yet_is_waited_for():
    from types import SimpleNamespace

    from cooptrack_ros.topic_guard import wait_for_other_publishers

    looks = []

    def publishers(topic):
        looks.append(topic)
        name = "_NODE_NAME_UNKNOWN_" if len(looks) < 8 else "stranger"
        return [SimpleNamespace(node_name=name, node_namespace="/")]

    node = SimpleNamespace(
        get_name=lambda: "vehicle_node",
        get_namespace=lambda: "/vehicle",
        get_publishers_info_by_topic=publishers,
        context=SimpleNamespace(ok=lambda: True),
    )
    assert wait_for_other_publishers(node, ["/vehicle/tracks"], 0.001) == [("/vehicle/tracks", "/stranger")]


def test_what_configuring_made_is_left_alone_by_the_collector_in_a_process_of_its_own(graph):
    """It would stop the worker in mid-frame to look through all of torch; a process shared with others is not ours."""
    node = graph.add(RoadsideNode, "/rsu", PARAMETERS)
    assert graph.call(node.start) and gc.get_freeze_count() == 0
    alone = graph.add(RoadsideNode, "/rsu2", PARAMETERS)
    alone.own_process = True
    try:
        assert graph.call(alone.start) and gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()
