"""marker_node: tracks, associations and ground truth as a MarkerArray for RViz, in a process of its own."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from cooptrack_msgs.msg import AssociationArray, TrackedObjectArray
from cooptrack_ros.conversions import stamp_ns
from cooptrack_ros.lifecycle import run_node
from cooptrack_ros.markers import (
    ASSOCIATION_KINDS,
    GROUND_TRUTH,
    TRACK_KINDS,
    MarkerMaker,
    deletion,
    deletion_of_all,
    pose_matrix,
)
from cooptrack_ros.parameters import MarkerParameters, NodeParameters

Float = NDArray[np.float64]
_POSES_KEPT = 50
_BACK_NS = 500_000_000


class MarkerNode(Node):
    """Draws everything in the map with the pose that the tracks were made with: RViz needs no /tf for that time."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("marker_node", **arguments)
        self._settings: MarkerParameters = NodeParameters(self, MarkerParameters).read(MarkerParameters)
        self._publisher = self.create_publisher(MarkerArray, "markers", QoSProfile(depth=10))
        self._shown: dict[str, set[int]] = {}
        self._trails: dict[int, deque[Float]] = {}
        self._poses: OrderedDict[int, Float | None] = OrderedDict()
        self._waiting: OrderedDict[int, AssociationArray] = OrderedDict()
        self._last_stamp_ns = 0
        self._first = True
        for message_type, topic, callback in (
            (TrackedObjectArray, "tracks", self._on_tracks),
            (AssociationArray, "associations", self._on_associations),
            (TrackedObjectArray, "ground_truth", self._on_ground_truth),
        ):
            self.create_subscription(message_type, topic, callback, QoSProfile(depth=10))

    def _on_tracks(self, message: TrackedObjectArray) -> None:
        at_ns = stamp_ns(message.header.stamp)
        markers = self._begin(message.header, at_ns)
        pose = pose_matrix(message)
        self._poses[at_ns] = pose
        while len(self._poses) > _POSES_KEPT:
            self._poses.popitem(last=False)
        header, maker = self._maker(message.header, pose)
        doubtful = self._doubtful(message)
        for item in message.objects:
            if item.track_id in doubtful:
                markers.append(maker.box(item, faint=True))
                continue
            markers += [maker.box(item), maker.text(item, self._settings.text_height_m)]
            speed = np.hypot(item.twist.twist.linear.x, item.twist.twist.linear.y)
            if speed >= self._settings.minimum_arrow_mps and self._settings.velocity_arrow_s > 0:
                markers.append(maker.arrow(item, self._settings.velocity_arrow_s))
        if pose is not None:
            markers += self._extend_trails(message, maker, doubtful)
        self._publish(header, markers, TRACK_KINDS)
        if (waiting := self._waiting.pop(at_ns, None)) is not None:
            self._draw_associations(waiting, pose)

    def _doubtful(self, message: TrackedObjectArray) -> set[int]:
        """Ids of low score; scores of simulated detectors say little of what is true."""
        below = self._settings.faint_below_score if message.detector == "network" else 0.0
        return {item.track_id for item in message.objects if item.score < below}

    def _extend_trails(self, message: TrackedObjectArray, maker: MarkerMaker, doubtful: set[int]) -> list[Marker]:
        present = {item.track_id: maker.center(item) for item in message.objects}
        self._trails = {
            track_id: self._trails.get(track_id, deque(maxlen=self._settings.trail_length)) for track_id in present
        }
        for track_id, center in present.items():
            self._trails[track_id].append(center)
        drawn = {track_id: way for track_id, way in self._trails.items() if track_id not in doubtful and len(way) > 1}
        return [maker.trail(track_id, way) for track_id, way in drawn.items()]

    def _on_associations(self, message: AssociationArray) -> None:
        at_ns = stamp_ns(message.header.stamp)
        if at_ns in self._poses:
            self._draw_associations(message, self._poses[at_ns])
            return
        self._waiting[at_ns] = message  # its tracks, which know the pose, are still to come
        while len(self._waiting) > _POSES_KEPT:
            self._waiting.popitem(last=False)

    def _draw_associations(self, message: AssociationArray, pose: Float | None) -> None:
        header, maker = self._maker(message.header, pose)
        self._publish(header, maker.associations(message), ASSOCIATION_KINDS)

    def _on_ground_truth(self, message: TrackedObjectArray) -> None:
        header, maker = self._maker(message.header, pose_matrix(message))
        self._publish(header, [maker.outline(item) for item in message.objects], (GROUND_TRUTH,))

    def _begin(self, header: Header, at_ns: int) -> list[Marker]:
        """What has to be wiped before a frame: everything at the start and after time jumped back."""
        back = at_ns < self._last_stamp_ns - _BACK_NS
        self._last_stamp_ns = at_ns
        if not (self._first or back):
            return []
        self._first = False
        for memory in (self._shown, self._trails, self._poses):
            memory.clear()
        for waiting_ns in [ns for ns in self._waiting if ns > at_ns + _BACK_NS]:
            del self._waiting[waiting_ns]
        return [deletion_of_all(header)]

    def _maker(self, header: Header, pose: Float | None) -> tuple[Header, MarkerMaker]:
        """Draws in the map, or, while the pose is unknown, in the message's own frame."""
        drawn = header if pose is None else Header(stamp=header.stamp, frame_id=self._settings.map_frame)
        return drawn, MarkerMaker(drawn, np.eye(4) if pose is None else pose, self._settings.lifetime_ms)

    def _publish(self, header: Header, markers: list[Marker], kinds: tuple[str, ...]) -> None:
        """Publishes new markers of some kinds and deletes those of the same kinds that are gone."""
        for kind in kinds:
            now = {marker.id for marker in markers if marker.ns == kind and marker.action == Marker.ADD}
            markers += [deletion(header, kind, gone) for gone in sorted(self._shown.get(kind, set()) - now)]
            self._shown[kind] = now
        if markers:
            self._publisher.publish(MarkerArray(markers=markers))


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    return run_node(MarkerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
