"""A roadside unit whose process dies costs the vehicle its messages, nothing else; a new one is heard again."""

from __future__ import annotations

import pytest
from drives import VehicleDrive
from processes import Process, parameters
from ros_messages import at, detections, tf, transform
from vision_msgs.msg import Detection3DArray


@pytest.fixture
def roadside():
    started = []

    def start(**values):
        node = Process(
            "roadside_node", *parameters(detector="simulated", discovery_wait_ms=0.0, **values), "-r", "__ns:=/rsu"
        )
        started.append(node)
        return node

    yield start
    for process in started:
        process.end()


def test_tracks_go_on_after_the_roadside_was_killed_and_it_is_heard_again_when_it_is_back(graph, roadside):
    drive = VehicleDrive(graph, **{"admission.silence_warning_ms": 1500.0})
    frames = graph.node.create_publisher(Detection3DArray, "/rsu/detections_in", 10)

    heard = drive.node._last_heard_ns

    def both(index, wait_s=0.3):
        """One frame of both sides: the vehicle's when the roadside's message is in, if one comes."""
        before = heard.get("/rsu/instances")
        drive.tf.publish(tf(transform("map", "rsu/lidar", at(index)), transform("map", "vehicle/lidar", at(index))))
        frames.publish(detections(at(index), [(40, 5, 0)], "rsu/lidar"))
        graph.try_wait_for(lambda: heard.get("/rsu/instances") != before, wait_s)
        return drive.frame(index)

    def until_both_are_seen(index):
        for later in range(index, index + 100):  # until DDS has connected everybody
            tracks = both(later)
            if sorted(o.sources for o in tracks.objects) == [1, 2]:
                return later
        raise AssertionError("the roadside unit is not heard")

    first = roadside()
    last = until_both_are_seen(0)
    first.end()
    for index in range(last + 1, last + 9):
        tracks = drive.frame(index)
    assert [o.sources for o in tracks.objects] == [1] and not tracks.predicted_only
    status = drive.wait_for_status("instances of rsu", "no message from rsu for")
    assert status.level == b"\x01"

    # DDS believes in the dead one for some seconds more: the new one must not wait for that here.
    second = roadside(allow_shared_topics=True)
    until_both_are_seen(last + 9)
    assert set(drive.node.agent.counters) <= {"stale"}  # what came while the test did not wait for it any more
    assert second.stop() == 0
    assert not any("ERROR" in line or "Traceback" in line for line in second.lines)
