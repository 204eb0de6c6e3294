"""Markers show what there is, each kind in its namespace, and nothing stale stays."""

from __future__ import annotations

from array import array

import pytest
from ros_messages import at
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from cooptrack_msgs.msg import AssociationArray, TrackedObject, TrackedObjectArray
from cooptrack_ros.conversions import stamp_message, stamp_ns
from cooptrack_ros.marker_node import MarkerNode
from cooptrack_ros.markers import color_of


class Scene:
    """What RViz would show of the markers published so far."""

    def __init__(self, graph, **parameters):
        self.graph = graph
        self.node = graph.add(MarkerNode, "/vehicle", parameters)
        self.arrays = graph.collect(MarkerArray, "/vehicle/markers")
        self.tracks = graph.publisher(TrackedObjectArray, "/vehicle/tracks")
        self.associations = graph.publisher(AssociationArray, "/vehicle/associations")
        self.truth = graph.publisher(TrackedObjectArray, "/vehicle/ground_truth")
        graph.wait_for(lambda: self.node._publisher.get_subscription_count() > 0)

    def send(self, publisher, message):
        """Publishes and waits for the markers of it."""
        seen = len(self.arrays)
        publisher.publish(message)
        self.graph.wait_for(lambda: len(self.arrays) > seen)
        return self.arrays[-1].markers

    def shown(self):
        """(namespace, id) -> marker."""
        found = {}
        for array_message in self.arrays:
            for marker in array_message.markers:
                if marker.action == Marker.DELETEALL:
                    found.clear()
                elif marker.action == Marker.DELETE:
                    del found[marker.ns, marker.id]
                else:
                    found[marker.ns, marker.id] = marker
        return found

    def of(self, kind):
        """Shown markers of a kind by id."""
        return {marker_id: marker for (namespace, marker_id), marker in self.shown().items() if namespace == kind}


def tracks(index, *objects, x=0.0, pose_known=True):
    message = TrackedObjectArray(agent_id="vehicle", mode="late", pose_known=pose_known, objects=list(objects))
    message.header.stamp, message.header.frame_id = stamp_message(at(index)), "vehicle/lidar"
    message.map_from_frame.position.x = x
    return message


def track(track_id, x, speed=0.0, sources=1, score=0.9):
    item = TrackedObject(track_id=track_id, class_id=0, sources=sources, sources_ever=3, score=score)
    item.pose.pose.position.x, item.pose.pose.position.z = x, -1.0
    item.size.x, item.size.y, item.size.z = 4.0, 2.0, 1.5
    item.twist.twist.linear.x = speed
    return item


def of_network(index, *objects):
    message = tracks(index, *objects)
    message.detector = "network"
    return message


def associations(index):
    message = AssociationArray(
        agent_id="vehicle",
        pair_ego_center_m=array("f", [10, 0, 0, 20, 0, 0]),
        pair_remote_center_m=array("f", [10, 1, 0, 20, 1, 0]),
        unmatched_ego_center_m=array("f", [5, 5, 0]),
        unmatched_remote_center_m=array("f", [40, 5, 0, 50, 5, 0]),
    )
    message.header.stamp, message.header.frame_id = stamp_message(at(index)), "vehicle/lidar"
    return message


def test_every_kind_has_its_namespace_and_its_looks(graph):
    scene = Scene(graph)
    scene.send(scene.tracks, tracks(0, track(1, 10.0, speed=5.0), track(2, 20.0, sources=2), x=100.0))
    scene.send(scene.tracks, tracks(1, track(1, 10.5, speed=5.0), track(2, 20.0, sources=0), x=100.0))
    scene.send(scene.associations, associations(1))
    scene.send(scene.truth, tracks(1, track(9, 10.0), x=100.0))
    assert {kind for kind, _ in scene.shown()} == {
        "boxes", "ids", "velocities", "trails", "association_lines", "unmatched_ego", "unmatched_remote",
        "ground_truth",
    }  # fmt: skip
    box = scene.of("boxes")[1]
    assert box.type == Marker.CUBE and box.header.frame_id == "map"
    assert box.pose.position.x == pytest.approx(110.5)
    assert (box.scale.x, box.scale.y, box.scale.z) == (4.0, 2.0, 1.5)
    assert [m.text for m in scene.of("ids").values()] == ["1 car E", "2 car P"]
    assert list(scene.of("velocities")) == [1]  # the other one stands
    arrow = scene.of("velocities")[1]
    assert arrow.points[1].x - arrow.points[0].x == pytest.approx(5.0)
    assert [p.x for p in scene.of("trails")[1].points] == pytest.approx([110.0, 110.5])
    lines = scene.of("association_lines")[0]
    assert lines.type == Marker.LINE_LIST and len(lines.points) == 4 and lines.points[0].x == pytest.approx(110.0)
    assert len(scene.of("unmatched_ego")[0].points) == 1 and len(scene.of("unmatched_remote")[0].points) == 2
    ego, remote = scene.of("unmatched_ego")[0].color, scene.of("unmatched_remote")[0].color
    assert ego.b > max(ego.r, ego.g) and remote.g > max(remote.r, remote.b)
    outline = scene.of("ground_truth")[9]
    assert outline.type == Marker.LINE_LIST and len(outline.points) == 24
    assert {round(p.x, 6) for p in outline.points} == {108.0, 112.0}
    assert all(stamp_ns(m.lifetime) == 1_000_000_000 for m in scene.shown().values())


def test_the_color_of_an_id_stays_and_neighbours_differ(graph):
    scene = Scene(graph)
    first = scene.send(scene.tracks, tracks(0, track(1, 10.0)))
    later = scene.send(scene.tracks, tracks(1, track(2, 10.0), track(1, 30.0)))
    colors = {m.id: m.color for m in later if m.ns == "boxes"}
    assert next(m.color for m in first if m.ns == "boxes") == colors[1]
    assert max(abs(getattr(colors[1], c) - getattr(colors[2], c)) for c in "rgb") > 0.2
    assert isinstance(color_of(3), ColorRGBA)


def test_a_track_that_ends_takes_all_its_markers_along(graph):
    scene = Scene(graph)
    for index in range(2):
        scene.send(scene.tracks, tracks(index, track(1, 10.0, speed=5.0), track(2, 20.0, speed=5.0)))
    assert {i for _, i in scene.shown()} == {1, 2}
    scene.send(scene.tracks, tracks(2, track(2, 20.5, speed=5.0)))
    assert {i for _, i in scene.shown()} == {2}
    assert set(scene.shown()) == {(kind, 2) for kind in ("boxes", "ids", "velocities", "trails")}
    scene.send(scene.tracks, tracks(3))
    assert scene.shown() == {}


def test_a_doubtful_track_is_a_faint_box_alone_until_its_score_rises(graph):
    scene = Scene(graph)
    for index in range(2):
        scene.send(scene.tracks, of_network(index, track(1, 10.0, 5.0), track(2, 20.0, 5.0, score=0.4)))
    assert {kind for kind, i in scene.shown() if i == 2} == {"boxes"}
    assert scene.of("boxes")[2].color.a < 0.3 * scene.of("boxes")[1].color.a
    scene.send(scene.tracks, of_network(2, track(1, 11.0, 5.0), track(2, 20.5, 5.0, score=0.6)))
    assert {kind for kind, i in scene.shown() if i == 2} == {"boxes", "ids", "velocities", "trails"}
    assert len(scene.of("trails")[2].points) == 3, "where it was while doubtful belongs to its way"


@pytest.mark.parametrize(("below", "message"), [(0.0, of_network), (0.5, tracks)])
def test_no_track_is_doubtful_where_that_is_asked_for_or_nothing_of_a_network(graph, below, message):
    scene = Scene(graph, faint_below_score=below)
    scene.send(scene.tracks, message(0, track(1, 10.0, 5.0, score=0.01)))
    assert {kind for kind, _ in scene.shown()} == {"boxes", "ids", "velocities"}


def test_a_car_that_stops_loses_its_arrow(graph):
    scene = Scene(graph)
    scene.send(scene.tracks, tracks(0, track(1, 10.0, speed=5.0)))
    scene.send(scene.tracks, tracks(1, track(1, 10.0)))
    assert not scene.of("velocities") and scene.of("boxes")


def test_associations_that_end_are_wiped(graph):
    scene = Scene(graph)
    scene.send(scene.tracks, tracks(0))
    scene.send(scene.associations, associations(0))
    scene.send(scene.tracks, tracks(1, track(1, 10.0)))
    empty = AssociationArray(agent_id="vehicle")
    empty.header.stamp, empty.header.frame_id = stamp_message(at(1)), "vehicle/lidar"
    scene.send(scene.associations, empty)
    assert set(scene.shown()) == {("boxes", 1), ("ids", 1)}


def test_associations_that_come_before_their_tracks_wait_for_the_pose(graph):
    scene = Scene(graph)
    scene.associations.publish(associations(0))
    graph.wait_for(lambda: scene.node._waiting)
    assert not scene.arrays
    scene.tracks.publish(tracks(0, x=100.0))
    graph.wait_for(lambda: scene.of("association_lines"))
    assert scene.of("association_lines")[0].points[0].x == pytest.approx(110.0)


def test_without_a_pose_boxes_are_drawn_in_their_own_frame(graph):
    scene = Scene(graph)
    scene.send(scene.tracks, tracks(0, track(1, 10.0), x=100.0, pose_known=False))
    box = scene.of("boxes")[1]
    assert box.header.frame_id == "vehicle/lidar" and box.pose.position.x == pytest.approx(10.0)
    assert not scene.of("trails")


def test_everything_is_wiped_when_time_jumps_back(graph):
    scene = Scene(graph)
    for index in (100, 101):
        scene.send(scene.tracks, tracks(index, track(1, 10.0)))
    scene.send(scene.associations, associations(101))
    markers = scene.send(scene.tracks, tracks(0, track(5, 10.0)))
    assert markers[0].action == Marker.DELETEALL
    assert {i for _, i in scene.shown()} == {5}


def test_trails_end_after_so_many_frames(graph):
    scene = Scene(graph, trail_length=3)
    for index in range(6):
        scene.send(scene.tracks, tracks(index, track(1, float(index))))
    assert [p.x for p in scene.of("trails")[1].points] == [3.0, 4.0, 5.0]
