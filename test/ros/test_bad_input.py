"""Bad input costs at most itself: it is counted and named, tracks go on."""

from __future__ import annotations

import math
from array import array

import pytest
from drives import VehicleDrive
from rclpy.serialization import serialize_message
from ros_messages import at, camera_info, image, instances_message, tf, transform
from sensor_msgs.msg import CameraInfo, CompressedImage

JPEG = b"\xff\xd8\xff\xe0" + bytes(200) + b"\xff\xd9"


def nan_center(message):
    message.center_m = array("f", [math.nan, 0.0, 0.0])


def wrong_length(message):
    message.score = array("f", [0.5, 0.5])


def other_version(message):
    message.schema_version = 1


def no_name(message):
    message.agent_id = ""


def negative_size(message):
    message.size_m = array("f", [-1.0, 1.0, 1.0])


def half_features(message):
    message.feature_precision, message.feature_streams, message.feature_dim = 1, 7, 8
    message.features = array("B", bytes(10))


def broken_time(message):
    message.header.stamp.nanosec = 4_000_000_000


MALFORMED = {
    nan_center: "not_finite",
    wrong_length: "malformed",
    other_version: "schema_version",
    no_name: "malformed",
    negative_size: "malformed",
    half_features: "malformed",
    broken_time: "malformed",
}


def test_malformed_messages_are_refused_by_name_and_ego_tracks_go_on(graph):
    drive = VehicleDrive(graph)
    for index, (spoil, reason) in enumerate(MALFORMED.items()):
        message = instances_message(index + 1, at(index), [(40, 5, 0)])
        spoil(message)
        drive.hear(message)
        tracks = drive.frame(index)
        refused = drive.associations_of(index)
        assert list(refused.refused_reason) == [reason], spoil.__name__
        assert not refused.message_agent
    assert [o.track_id for o in tracks.objects] == [1]
    assert drive.node.agent.counters["malformed"] == 5


@pytest.mark.parametrize("keep", [0, 3, 4, 11, 40, 150])
def test_truncated_bytes_on_the_air_are_refused(graph, keep):
    drive = VehicleDrive(graph)
    whole = serialize_message(instances_message(1, at(0), [(40, 5, 0)]))
    drive.hear(whole[:4] if keep == 0 else whole[:keep])
    drive.frame(0)
    refused = drive.associations_of(0)
    assert list(refused.refused_agent) == ["rsu"] and list(refused.refused_reason) == ["malformed"]


def test_message_without_a_sender_pose_is_refused(graph):
    drive = VehicleDrive(graph)
    drive.hear(instances_message(1, at(0), [(40, 5, 0)], pose=None))
    drive.frame(0)
    assert list(drive.associations_of(0).refused_reason) == ["no_pose"]


def test_nan_pose_switches_cooperation_off_and_tracks_go_on(graph):
    drive = VehicleDrive(graph)
    for index in range(4):
        drive.frame(index)
    broken = transform("map", "vehicle/lidar", at(4))
    broken.transform.translation.x = math.nan
    drive.tf.publish(tf(broken))
    drive.hear(instances_message(1, at(4), [(40, 5, 0)]))
    tracks = drive.frame(4, pose=False)
    assert not tracks.pose_known and [o.track_id for o in tracks.objects] == [1]
    assert not drive.associations_of(4).message_agent
    assert drive.node.health.events()["frames_without_pose"] == 1
    assert drive.frame(5).pose_known


def test_without_any_tf_ego_tracks_are_published(graph):
    drive = VehicleDrive(graph, tf_timeout_ms=5.0)
    for index in range(4):
        tracks = drive.frame(index, pose=False)
    assert not tracks.pose_known and not tracks.predicted_only
    assert [o.track_id for o in tracks.objects] == [1]


def test_a_dead_tf_costs_one_wait_and_not_every_frame_its_detections(graph):
    drive = VehicleDrive(graph, tf_timeout_ms=5000.0)
    drive.node._poses._timeout_s = 0.05
    drive.frame(0, pose=False)
    drive.node._poses._timeout_s = 1e6  # another wait would never end
    for index in range(1, 4):
        tracks = drive.frame(index, pose=False)
    assert [o.track_id for o in tracks.objects] == [1] and drive.node.health.drops() == {}
    assert drive.frame(4).pose_known


def test_frames_that_stop_coming_are_one_line_until_they_come_again(graph):
    drive = VehicleDrive(graph)
    lines = []
    drive.node.get_logger().warning = lambda text, **_: lines.append(text)
    drive.frame(0)
    for _ in range(3):
        drive.node._last_frame_s -= 100.0
        graph.call(drive.node.statuses)
    assert len(lines) == 1 and "no frame on /vehicle/detections_in" in lines[0]
    drive.frame(1)
    drive.node._last_frame_s -= 100.0
    graph.call(drive.node.statuses)
    assert len(lines) == 2


def test_truncated_jpeg_is_counted_and_tracks_go_on(graph):
    drive = VehicleDrive(graph)
    images = graph.publisher(CompressedImage, "/vehicle/image/compressed")
    infos = graph.publisher(CameraInfo, "/vehicle/camera_info")
    for index, data in enumerate((JPEG, JPEG[:100], b"", JPEG)):
        images.publish(image(at(index), data))
        infos.publish(camera_info(at(index)))
        graph.wait_for(lambda index=index: drive.node._trigger.images.received == index + 1)
        tracks = drive.frame(index)
    assert drive.node.health.drops() == {"image_truncated": 2}
    assert [o.track_id for o in tracks.objects] == [1]
    assert drive.node._trigger.images.image_of(at(0)) is not None and drive.node._trigger.images.image_of(at(1)) is None
    drive.wait_for_status("frames", "image_truncated 2")


def test_detections_in_another_frame_are_not_taken_for_ours(graph):
    drive = VehicleDrive(graph)
    for index in range(4):
        drive.frame(index)
    tracks = drive.frame(4, centers=[(30, 0, 0)], frame_id="other/lidar")
    assert tracks.predicted_only and [o.track_id for o in tracks.objects] == [1]
    assert drive.node.health.drops() == {"wrong_frame": 1}


def test_broken_detections_do_not_cost_the_others(graph):
    drive = VehicleDrive(graph)
    for index in range(4):
        tracks = drive.frame(index, centers=[(10, 0, 0), (math.nan, 0, 0)])
    assert [o.track_id for o in tracks.objects] == [1]
    assert drive.node.health.drops() == {"detection_not_finite": 4}


def test_late_frame_is_dropped_and_counted(graph):
    drive = VehicleDrive(graph)
    drive.frame(0)
    drive.frame(2)
    drive.send(1)
    drive.frame(3)
    assert drive.node.health.drops() == {"out_of_order": 1}
    assert [t.frame_index for t in drive.tracks] == [1, 2, 3]


def test_an_error_in_the_core_becomes_node_state(graph):
    drive = VehicleDrive(graph)
    step = drive.node.agent.step

    def failing(frame):
        raise RuntimeError("boom")

    drive.node.agent.step = failing
    drive.send(0)
    graph.wait_for(lambda: drive.node.health.drops().get("exception") == 1)
    status = drive.wait_for_status("state", "boom")
    assert status.level == b"\x02" and "test_bad_input.py" in status.message
    drive.node.agent.step = step
    assert drive.frame(1).frame_index == 1


def test_silent_roadside_is_a_warning_with_a_name(graph):
    drive = VehicleDrive(graph, **{"admission.silence_warning_ms": 1500.0})
    drive.hear(instances_message(1, at(0), [(40, 5, 0)]))
    drive.frame(0)
    status = drive.wait_for_status("instances of rsu", "no message from rsu for")
    assert status.level == b"\x01"
    assert drive.frame(1).objects == []
    for sequence in range(2, 40):  # heard again and again: a status comes once a second
        drive.hear(instances_message(sequence, at(1), [(40, 5, 0)]))
        if graph.try_wait_for(lambda: drive.statuses("instances of rsu")[-1].message == "messages arrive", 1.5):
            break
    assert drive.statuses("instances of rsu")[-1].message == "messages arrive"


def test_a_lost_frame_with_a_message_says_that_the_own_sensor_was_lost(graph):
    drive = VehicleDrive(graph)
    for index in range(6):
        drive.hear(instances_message(index + 1, at(index), [(40, 5, 0)]))
        tracks = drive.frame(index, **({"frame_id": "elsewhere"} if index == 5 else {}))
    said = [drive.associations_of(index) for index in (4, 5)]
    assert [list(a.message_sequence) for a in said] == [[5], [6]] and [a.ego_lost for a in said] == [False, True]
    assert not tracks.predicted_only and sorted(o.sources for o in tracks.objects) == [0, 2]


def test_frames_that_come_too_fast_are_predicted_and_flagged(graph):
    drive = VehicleDrive(graph)
    for index in range(4):
        drive.frame(index)
    drive.pile_up(4, 5, 6, 7)
    graph.wait_for(lambda: len(drive.tracks) == 8)
    assert [t.predicted_only for t in drive.tracks[4:]] == [False, True, True, False]
    assert [t.frame_index for t in drive.tracks] == list(range(1, 9))
    assert drive.node.health.drops() == {"overload": 2}
    assert all([o.track_id for o in t.objects] == [1] for t in drive.tracks[4:])
