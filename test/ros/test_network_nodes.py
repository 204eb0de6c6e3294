"""Nodes with a network: images make frames, bad ones cost only themselves, features travel or fall back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drives import PARAMETERS
from fake_network import CHANNELS, FakeNetwork, fingerprint
from image_drives import CameraRoadside, CameraVehicle, jpeg, mounting, pixels
from rclpy.lifecycle import TransitionCallbackReturn
from ros_messages import at, remote_message

from cooptrack_core.cooperation.wire import decode
from cooptrack_core.types import Features
from cooptrack_ros.conversions import features_message, stamp_ns
from cooptrack_ros.vehicle_node import VehicleNode


def warnings_of(capfd) -> list[str]:
    return [line for line in capfd.readouterr().err.splitlines() if "[WARN]" in line]


def test_an_image_makes_a_frame_at_its_perception_time(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="ego")
    for index in range(3):
        tracks = drive.frame(index)
    assert [stamp_ns(t.header.stamp) for t in drive.tracks] == [at(i) for i in range(3)]
    assert tracks.detector == "network" and tracks.header.frame_id == "vehicle/lidar" and tracks.pose_known
    assert not tracks.predicted_only and [o.track_id for o in tracks.objects] == [1]
    frames = drive.network.frames
    assert [frame.image for frame in frames] == [jpeg(index) for index in range(3)]
    camera = frames[0].camera
    assert (camera.width, camera.height) == (320, 180) and camera.K[0, 0] == 320
    ahead = camera.T_camera_from_sensor @ [10.0, 1.0, 0.0, 1.0]  # 1 m to the left of a point 10 m ahead
    np.testing.assert_allclose(ahead, [-1.0, 1.5, 10.0, 1.0], atol=1e-9)
    assert drive.node.health.drops() == {}
    assert graph.node.count_subscribers("/vehicle/detections_in") == 0


def test_raw_images_are_pixels_in_blue_green_red(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="ego", image_transport="raw")
    drive.frame(0)
    seen = drive.network.frames[0].image
    assert np.array_equal(seen, pixels(0)) and not seen.flags.owndata  # the message's own bytes
    drive.frame(1, data=b"123")
    assert drive.node.health.drops() == {"rejected": 1}


def test_live_without_frame_info_the_image_gives_the_perception_time(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, announce=False, mode="ego", image_wait_ms=400.0)
    for index in range(3):
        tracks = drive.frame(index)
    assert not tracks.predicted_only and tracks.pose_known
    assert drive.node.health.drops() == {} and len(drive.network.frames) == 3


def test_without_an_image_tracks_are_predicted(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="ego", image_wait_ms=400.0)
    drive.frame(0)
    tracks = drive.frame(1, image=False)
    assert tracks.predicted_only and [o.track_id for o in tracks.objects] == [1] and tracks.objects[0].sources == 0
    drive.frame(2)
    assert drive.node.health.drops() == {"image_missing": 1}
    assert [t.frame_index for t in drive.tracks] == [1, 2, 3]


def test_without_camera_info_tracks_are_predicted_and_it_is_named(graph, monkeypatch, capfd):
    drive = CameraVehicle(graph, monkeypatch, mode="ego", image_wait_ms=400.0)
    assert drive.frame(0, info=False).predicted_only
    assert not drive.frame(1).predicted_only
    assert drive.node.health.drops() == {"camera_info_missing": 1}
    assert any("/vehicle/image/compressed: frame at" in w and "no camera_info" in w for w in warnings_of(capfd))


BAD = {
    "truncated": ({"data": jpeg(1)[:2000]}, "2000 bytes"),
    "empty": ({"data": b""}, "0 bytes"),
    "undecodable": ({"data": b"this is no image at all"}, "cannot be decoded"),
    "wrong size": ({"size": (160, 90)}, "expected 320x180 as of the camera calibration, found 160x90"),
    "wrong aspect": ({"size": (320, 320), "camera": {"height": 320}}, "320x320"),
    "zero K": ({"camera": {"k": np.zeros(9)}}, "fx 0"),
    "NaN in K": ({"camera": {"k": np.full(9, math.nan)}}, "not finite"),
    "no size": ({"camera": {"width": 0, "height": 0}}, "0x0"),
}


@pytest.mark.parametrize("case", sorted(BAD))
@pytest.mark.parametrize("drive_class", [CameraVehicle, CameraRoadside])
def test_an_unusable_frame_is_one_warning_and_predicted_tracks(graph, monkeypatch, capfd, drive_class, case):
    more, text = BAD[case]
    drive = drive_class(graph, monkeypatch)
    drive.frame(0)
    tracks = drive.frame(1, **more)
    assert tracks.predicted_only and len(tracks.objects) == (0 if drive_class is CameraVehicle else 1)
    assert not drive.frame(2).predicted_only
    assert drive.node.health.drops() == {"rejected": 1}
    found = warnings_of(capfd)
    assert len(found) == 1 and text in found[0] and "image/compressed: frame at" in found[0]


def test_a_roadside_unit_sends_nothing_for_a_frame_that_it_could_not_use(graph, monkeypatch):
    drive = CameraRoadside(graph, monkeypatch)
    drive.frame(0)
    drive.frame(1, data=b"")
    drive.frame(2)
    graph.wait_for(lambda: len(drive.instances) == 2)
    assert [stamp_ns(m.header.stamp) for m in drive.instances] == [at(0), at(2)]
    assert [m.sequence for m in drive.instances] == [1, 2]


def test_without_the_mounting_of_the_camera_tracks_are_predicted_until_it_is_there(graph, monkeypatch, capfd):
    drive = CameraVehicle(graph, monkeypatch, mount=False, mode="ego")
    assert drive.frame(0).predicted_only
    assert drive.node.health.drops() == {"camera_unusable": 1}
    found = [line for line in warnings_of(capfd) if "tf_static" in line]
    assert len(found) == 1 and "no transform from vehicle/lidar to vehicle/camera" in found[0]
    drive.tf.publish(mounting("vehicle"))
    graph.wait_for(
        lambda: drive.node._poses.fixed("vehicle/camera", "vehicle/lidar", drive.node._worker.stopping)[1] == ""
    )
    assert not drive.frame(1).predicted_only


def test_lens_distortion_is_said_to_be_ignored_once(graph, monkeypatch, capfd):
    drive = CameraVehicle(graph, monkeypatch, mode="ego")
    for index in range(3):
        drive.frame(index, camera={"distortion_model": "plumb_bob", "d": [0.1, 0.0, 0.0, 0.0, 0.0]})
    found = warnings_of(capfd)
    assert len(found) == 1 and "lens distortion plumb_bob (0.1, 0, 0, 0, 0) is ignored" in found[0]
    assert drive.node.health.drops() == {}


def test_an_image_that_no_frame_info_names_is_left_out_and_counted(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="ego", image_wait_ms=400.0)
    drive.frame(0)
    drive.images.publish(drive.image(7))
    drive.send_info(7)
    graph.wait_for(lambda: drive.node.health.drops() == {"image_unannounced": 1})
    assert not drive.frame(8).predicted_only and len(drive.tracks) == 2


def test_features_are_in_the_message_of_the_roadside_unit(graph, monkeypatch):
    drive = CameraRoadside(graph, monkeypatch, feature_precision="fp32", kinematics_precision="fp32")
    drive.frame(0)
    graph.wait_for(lambda: drive.instances)
    message = decode(drive.instances[0])
    assert message.stamp_ns == at(0) and message.sequence == 1 and len(message.instances) == 1
    features = message.instances.features
    assert features.preset == "tiny_inf" and features.fingerprint == fingerprint("inf")
    assert np.array_equal(features.query, np.full((1, CHANNELS), 1, np.float32))
    assert np.array_equal(features.motion, np.full((1, CHANNELS), 3, np.float32))


def with_features(sequence: int, index: int, maker: bytes | None):
    features = None
    if maker is not None:
        rows = np.ones((1, CHANNELS), np.float32)
        features = Features(rows, rows, rows, "tiny_inf", maker)
    return features_message(remote_message(sequence, at(index), [(40, 5, 0)], features), "fp16")


def test_features_that_the_network_understands_go_into_it(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="learned")
    drive.hear(with_features(1, 0, fingerprint("inf")))
    tracks = drive.frame(0)
    assert tracks.mode == "learned" and drive.network.messages == [[1]]
    drive.wait_for_status("instances of rsu", "messages arrive")


@pytest.mark.parametrize(
    ("maker", "text"),
    [(b"\xab" * 32, "tiny_inf abababab"), (None, "the message has no features")],
    ids=["another model", "no features"],
)
def test_features_of_another_model_fall_back_to_kinematics_with_a_diagnostic(graph, monkeypatch, capfd, maker, text):
    drive = CameraVehicle(graph, monkeypatch, mode="learned", **{"admission.silence_warning_ms": 60000.0})
    for index in range(4):
        drive.hear(with_features(index + 1, index, maker))
        tracks = drive.frame(index)
    assert drive.network.messages == [[]] * 4  # the network never saw them
    hidden = [o for o in tracks.objects if o.pose.pose.position.x > 30]
    assert len(hidden) == 1 and hidden[0].agents == ["rsu"]
    status = drive.wait_for_status("instances of rsu", "features of rsu are not used")
    assert status.level == b"\x01" and text in status.message and status.message.endswith("kinematics only")
    found = [line for line in warnings_of(capfd) if "features of rsu" in line]
    assert len(found) == 1 and text in found[0]
    drive.hear(with_features(5, 4, fingerprint("inf")))
    drive.frame(4)
    assert drive.network.messages[-1] == [5]
    graph.wait_for(lambda: drive.statuses("instances of rsu")[-1].message == "messages arrive")


def test_late_mode_fuses_the_objects_of_the_network(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="late")
    for index in range(4):
        drive.hear(with_features(index + 1, index, b"\xab" * 32))
        tracks = drive.frame(index)
    assert sorted(round(o.pose.pose.position.x) for o in tracks.objects) == [10, 40]
    assert not [s for s in drive.statuses("instances of rsu") if "features" in s.message]


def test_frames_that_come_too_fast_are_predicted_and_the_newest_is_done(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="ego")
    drive.frame(0)
    drive.pile_up(1, 2, 3, 4)
    graph.wait_for(lambda: len(drive.tracks) == 5)
    assert [t.predicted_only for t in drive.tracks] == [False, False, True, True, False]
    assert drive.node.health.drops() == {"overload": 2}


def test_diagnostics_name_the_network_and_its_times(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="ego")
    drive.frame(0)
    status = drive.wait_for_status("network", "tiny_coop " + fingerprint("coop").hex()[:8])
    graph.wait_for(lambda: any(v.key == "network_ms.p50" for v in drive.statuses("network")[-1].values))
    values = {item.key: item.value for item in drive.statuses("network")[-1].values}
    assert status.level == b"\x00"
    assert values["preset"] == "tiny_coop" and values["device"] == "cpu" and values["trained"] == "True"
    assert values["fingerprint"] == fingerprint("coop").hex()
    assert {"network_ms.p50", "network_ms.p99", "image_age_ms.p50", "image_age_ms.p99"} <= set(values)


def test_untrained_weights_are_a_warning_in_log_and_diagnostics(graph, monkeypatch, capfd):
    monkeypatch.setattr(FakeNetwork.__init__, "__defaults__", ("coop", False))
    drive = CameraVehicle(graph, monkeypatch, mode="ego")
    assert drive.wait_for_status("network", "UNTRAINED random weights: tracks are meaningless").level == b"\x01"
    assert len([line for line in warnings_of(capfd) if "UNTRAINED random weights" in line]) == 1


def test_time_that_jumps_back_forgets_the_images(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="ego", image_wait_ms=1500.0)
    drive.frame(100)
    drive.send(101, image=False)
    assert not drive.frame(0).predicted_only
    assert drive.node.health.events()["time_jumps"] == 1
    assert len(drive.network.frames) == 1  # it was reset


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"mode": "learned"}, "mode learned: needs detector network"),
        ({"mode": "distance"}, "mode distance: needs detector network"),
        ({"detector": "network", "image_transport": "none"}, "image_transport: none; detector network needs"),
        ({"detector": "network", "network.weights": "/nowhere/a.safetensors"}, "/nowhere/a.safetensors"),
        ({"detector": "network", "network.preset": "gigantic"}, "'gigantic' is unknown; choose one of tiny"),
    ],
)
def test_a_configuration_that_cannot_work_is_one_clear_line(graph, capfd, parameters, what):
    node = graph.add(VehicleNode, "/vehicle", {**PARAMETERS, **parameters})
    assert not graph.call(node.start)
    assert node.state == "unconfigured"
    errors = [line for line in capfd.readouterr().err.splitlines() if "ERROR" in line]
    assert len(errors) == 1 and "cannot configure: /vehicle/vehicle_node: " in errors[0] and what in errors[0]


def test_without_torch_one_line_says_how_to_get_it(graph, monkeypatch, capfd):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    node = graph.add(VehicleNode, "/vehicle", {**PARAMETERS, "detector": "network"})
    assert graph.call(node.trigger_configure) == TransitionCallbackReturn.FAILURE
    errors = [line for line in capfd.readouterr().err.splitlines() if "ERROR" in line]
    assert len(errors) == 1 and "pip install torch safetensors" in errors[0]


def test_real_networks_of_both_nodes_cooperate(graph, capfd):
    roadside = CameraRoadside(graph)
    vehicle = CameraVehicle(graph, mode="learned")
    received = []
    receive = vehicle.node.agent.receive
    vehicle.node.agent.receive = lambda message, now_ns: (receive(message, now_ns), received.append(message))[0]
    graph.wait_for(lambda: roadside.node._instances_publisher.get_subscription_count() == 2)
    for index in range(4):
        roadside.frame(index)
        graph.wait_for(lambda index=index: len(received) == index + 1)
        tracks = vehicle.frame(index)
    message = decode(roadside.instances[-1])
    assert message.instances.features.fingerprint == roadside.node.agent.network.fingerprint[:8]
    assert len(message.instances) > 0
    used = vehicle.associations_of(3)
    assert list(used.message_sequence) == [4] and len(tracks.objects) > 0
    assert vehicle.node.health.drops() == roadside.node.health.drops() == {}
    assert vehicle.wait_for_status("network", "UNTRAINED").level == b"\x01"
    assert "features of rsu are not used" not in capfd.readouterr().err
