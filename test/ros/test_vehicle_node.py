"""The vehicle node gives one array of tracks per frame, in order, whatever comes in."""

from __future__ import annotations

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from drives import VehicleDrive
from ros_messages import at, instances_message, tf, transform

from cooptrack_ros.conversions import stamp_ns


def test_every_frame_gives_one_array_in_stamp_order(graph):
    drive = VehicleDrive(graph)
    for index in range(6):
        last = drive.frame(index)
    assert [stamp_ns(t.header.stamp) for t in drive.tracks] == [at(i) for i in range(6)]
    assert [t.frame_index for t in drive.tracks] == [1, 2, 3, 4, 5, 6]
    assert last.header.frame_id == "vehicle/lidar" and last.mode == "late" and last.detector == "simulated"
    assert last.pose_known and not last.predicted_only
    assert [o.track_id for o in last.objects] == [1]
    assert last.objects[0].pose.pose.position.x == pytest.approx(10, abs=0.1)


def test_each_frame_tells_where_its_time_went(graph):
    drive = VehicleDrive(graph)
    drive.frame(0)
    graph.wait_for(lambda: drive.timings)
    stages = dict(zip(drive.timings[0].stage, drive.timings[0].duration_ms, strict=True))
    parts = {"convert_in", "receive_to_start", "wait_tf", "perceive", "cooperate", "advance", "trust", "publish"}
    assert parts | {"publish_rest", "total"} == set(stages)
    # What lies between the parts is the drain of the radio's messages.
    assert sum(stages[part] for part in parts) == pytest.approx(stages["total"], rel=0.5)
    assert all(value >= 0 for value in stages.values())


def test_tracks_that_come_after_the_deadline_are_counted_and_a_warning(graph):
    drive = VehicleDrive(graph, deadline_ms=200.0)
    drive.frame(0)
    assert "deadline_missed" not in drive.node.health.events()
    step = drive.node.agent.step
    drive.node.agent.step = lambda frame: (time.sleep(0.25), step(frame))[1]
    drive.frame(1)
    status = drive.wait_for_status("frames", "tracks come later than deadline_ms")
    assert status.level == DiagnosticStatus.WARN
    assert {item.key: item.value for item in status.values}["deadline_missed"] == "1"


def test_without_a_deadline_nothing_is_late(graph):
    drive = VehicleDrive(graph, deadline_ms=0.0)
    step = drive.node.agent.step
    drive.node.agent.step = lambda frame: (time.sleep(0.05), step(frame))[1]
    drive.frame(0)
    graph.wait_for(lambda: drive.timings)
    assert drive.wait_for_status("frames", "frames arrive").level == DiagnosticStatus.OK
    assert "deadline_missed" not in drive.node.health.events()


def test_remote_instances_become_tracks_of_hidden_objects(graph):
    drive = VehicleDrive(graph)
    for index in range(5):
        drive.hear(instances_message(index + 1, at(index), [(40, 5, 0)]))
        tracks = drive.frame(index)
    hidden = [o for o in tracks.objects if o.pose.pose.position.x > 30]
    assert len(hidden) == 1 and hidden[0].sources_ever == 2 and hidden[0].agents == ["rsu"]
    used = drive.associations_of(4)
    assert list(used.message_agent) == ["rsu"] and list(used.message_sequence) == [5]
    np.testing.assert_allclose(used.unmatched_remote_center_m, [40, 5, 0], atol=1e-5)
    assert list(used.unmatched_remote_track_id) == [hidden[0].track_id]


def test_message_size_is_what_was_on_the_wire(graph):
    from rclpy.serialization import serialize_message

    drive = VehicleDrive(graph)
    message = instances_message(1, at(0), [(40, 5, 0), (20, 0, 0)])
    drive.hear(message)
    drive.frame(0)
    assert list(drive.associations_of(0).message_bytes) == [len(serialize_message(message))]


def test_ego_mode_does_not_listen_to_the_radio(graph):
    drive = VehicleDrive(graph, mode="ego")
    assert graph.node.count_subscribers("/rsu/instances") == 0
    assert drive.frame(0).mode == "ego"
    assert not drive.statuses("instances of rsu")


def test_registered_frame_gives_the_pose_where_tf_knows_it(graph):
    drive = VehicleDrive(graph)
    registration = transform("vehicle/lidar", "vehicle/lidar_registered", at(0), x=-1.0)
    drive.tf.publish(tf(transform("map", "vehicle/lidar", at(0), x=5.0), registration))
    tracks = drive.frame(0, pose=False)
    assert tracks.pose_known
    assert tracks.map_from_frame.position.x == pytest.approx(4)


def test_frame_waits_for_a_pose_that_comes_later(graph):
    drive = VehicleDrive(graph, tf_timeout_ms=4000.0)
    drive.tf.publish(tf(transform("map", "vehicle/lidar", at(0))))
    drive.send(1, pose=False)
    graph.wait_for(lambda: drive.node._worker._busy)
    assert not drive.tracks
    drive.tf.publish(tf(transform("map", "vehicle/lidar", at(1), x=3.0)))
    graph.wait_for(lambda: drive.tracks)
    assert drive.tracks[0].map_from_frame.position.x == pytest.approx(3)


def test_detections_are_published_for_other_software(graph):
    from vision_msgs.msg import Detection3DArray

    drive = VehicleDrive(graph)
    found = graph.collect(Detection3DArray, "/vehicle/detections")
    graph.wait_for(lambda: drive.node._detections_publisher.get_subscription_count() > 0)
    for index in range(4):
        tracks = drive.frame(index)
    graph.wait_for(lambda: len(found) == 4)
    detection = found[-1].detections[0]
    assert detection.id == str(tracks.objects[0].track_id)
    assert detection.results[0].hypothesis.class_id == "car"
    assert detection.bbox.size.x == pytest.approx(tracks.objects[0].size.x)
    assert found[-1].header == tracks.header


def test_the_clock_offset_of_an_agent_is_in_its_diagnostics(graph):
    drive = VehicleDrive(graph)
    for index in range(16):
        centers = [(20.0 - 0.8 * index, y, 0) for y in (-6.0, 6.0, 12.0)]  # 8 m/s
        drive.hear(instances_message(index + 1, at(index) + 50_000_000, centers))
        drive.frame(index, centers=centers)
    status = drive.wait_for_status("instances of rsu", "messages arrive")
    graph.wait_for(lambda: "clock_offset_ms" in {item.key for item in drive.statuses("instances of rsu")[-1].values})
    status = drive.statuses("instances of rsu")[-1]
    values = {item.key: item.value for item in status.values}
    assert float(values["clock_offset_ms"]) == pytest.approx(50.0, abs=5.0)
    assert float(values["clock_offset_std_ms"]) < 10.0 and int(values["clock_offset_objects"]) == 3
