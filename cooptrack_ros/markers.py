"""RViz markers of tracks, associations and ground truth; every kind has a namespace that RViz can switch off."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose
from numpy.typing import NDArray
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker

from cooptrack_core.geometry.boxes import corners
from cooptrack_core.geometry.transforms import apply, from_quaternion, rotate_xy
from cooptrack_core.types import CLASS_NAMES, SOURCE_EGO, SOURCE_REMOTE
from cooptrack_msgs.msg import AssociationArray, TrackedObject, TrackedObjectArray

Float = NDArray[np.float64]

BOXES, IDS, VELOCITIES, TRAILS = "boxes", "ids", "velocities", "trails"
LINES, UNMATCHED_EGO, UNMATCHED_REMOTE = "association_lines", "unmatched_ego", "unmatched_remote"
GROUND_TRUTH = "ground_truth"
TRACK_KINDS = (BOXES, IDS, VELOCITIES, TRAILS)
ASSOCIATION_KINDS = (LINES, UNMATCHED_EGO, UNMATCHED_REMOTE)

# As in figure 2 of the CoopTrack paper: instances of the vehicle blue, of the roadside green.
EGO_COLOR = ColorRGBA(r=0.15, g=0.45, b=1.0, a=0.9)
REMOTE_COLOR = ColorRGBA(r=0.1, g=0.8, b=0.3, a=0.9)
LINE_COLOR = ColorRGBA(r=1.0, g=0.75, b=0.1, a=0.95)
TEXT_COLOR = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
TRUTH_COLOR = ColorRGBA(r=0.9, g=0.9, b=0.9, a=0.6)
_GOLDEN_ANGLE = 0.618033988749895
_EDGES = np.array([0, 1, 1, 2, 2, 3, 3, 0, 4, 5, 5, 6, 6, 7, 7, 4, 0, 4, 1, 5, 2, 6, 3, 7])
_SPOT_M, _LINE_M, _OUTLINE_M = 0.8, 0.15, 0.06


def color_of(track_id: int, alpha: float = 0.55) -> ColorRGBA:
    """A colour that stays with an id; successive ids differ clearly."""
    r, g, b = colorsys.hsv_to_rgb(track_id * _GOLDEN_ANGLE % 1.0, 0.75, 0.95)
    return ColorRGBA(r=r, g=g, b=b, a=alpha)


def source_text(sources: int) -> str:
    """Who measured a track: E ego, R remote, P predicted only."""
    return "".join(name for bit, name in ((SOURCE_EGO, "E"), (SOURCE_REMOTE, "R")) if sources & bit) or "P"


def points(rows: Iterable[Sequence[float]]) -> list[Point]:
    """Points of [N, 3]."""
    return [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in rows]


class MarkerMaker:
    """Makes the markers of one message. T_out_from_in [4, 4] moves its positions into the frame of `header`."""

    def __init__(self, header: Header, T_out_from_in: Float, lifetime_ms: float) -> None:
        self._header, self._T = header, T_out_from_in
        self._yaw = math.atan2(T_out_from_in[1, 0], T_out_from_in[0, 0])
        self._lifetime = Duration(nanoseconds=round(lifetime_ms * 1e6)).to_msg()

    def _marker(self, kind: str, marker_id: int, shape: int, color: ColorRGBA, scale: Sequence[float]) -> Marker:
        marker = Marker(header=self._header, ns=kind, id=marker_id, type=shape, action=Marker.ADD, color=color)
        marker.scale.x, marker.scale.y, marker.scale.z = (float(v) for v in scale)
        marker.pose.orientation.w = 1.0
        marker.lifetime = self._lifetime
        return marker

    def center(self, item: TrackedObject) -> Float:
        """[3] centre of an object in the output frame."""
        p = item.pose.pose.position
        return apply(self._T, np.array([p.x, p.y, p.z]))

    def _pose(self, item: TrackedObject) -> Pose:
        q = item.pose.pose.orientation
        heading = 2 * math.atan2(q.z, q.w) + self._yaw
        pose = Pose(position=points([self.center(item)])[0])
        pose.orientation.z, pose.orientation.w = math.sin(heading / 2), math.cos(heading / 2)
        return pose

    def box(self, item: TrackedObject, *, faint: bool = False) -> Marker:
        """Solid box in the colour of the id; a track that is only predicted, or of low score (faint), is fainter."""
        color = color_of(item.track_id, 0.1 if faint else 0.55 if item.sources else 0.2)
        marker = self._marker(BOXES, _id(item), Marker.CUBE, color, (item.size.x, item.size.y, item.size.z))
        marker.pose = self._pose(item)
        return marker

    def text(self, item: TrackedObject, height_m: float) -> Marker:
        """Id, class and sources above the box."""
        marker = self._marker(IDS, _id(item), Marker.TEXT_VIEW_FACING, TEXT_COLOR, (0, 0, height_m))
        name = CLASS_NAMES[item.class_id] if item.class_id < len(CLASS_NAMES) else "unknown"
        marker.text = f"{item.track_id} {name} {source_text(item.sources)}"
        x, y, z = self.center(item)
        marker.pose.position = Point(x=x, y=y, z=z + item.size.z / 2 + height_m)
        return marker

    def arrow(self, item: TrackedObject, seconds: float) -> Marker:
        """The way driven in some seconds."""
        velocity = np.array([[item.twist.twist.linear.x, item.twist.twist.linear.y]])
        ahead = np.append(rotate_xy(self._T, velocity)[0] * seconds, 0.0)
        begin = self.center(item)
        marker = self._marker(VELOCITIES, _id(item), Marker.ARROW, color_of(item.track_id, 1.0), (0.15, 0.4, 0.5))
        marker.points = points([begin, begin + ahead])
        return marker

    def trail(self, track_id: int, way: Sequence[Float]) -> Marker:
        """Line through positions that are already in the output frame."""
        marker = self._marker(TRAILS, track_id & 0x7FFFFFFF, Marker.LINE_STRIP, color_of(track_id, 0.8), (0.2, 0, 0))
        marker.points = points(way)
        return marker

    def outline(self, item: TrackedObject) -> Marker:
        """Thin edges of a ground-truth box."""
        q, s, p = item.pose.pose.orientation, item.size, item.pose.pose.position
        heading = 2 * math.atan2(q.z, q.w)
        box = corners([[p.x, p.y, p.z]], [[s.x, s.y, s.z]], [heading])[0]
        marker = self._marker(GROUND_TRUTH, _id(item), Marker.LINE_LIST, TRUTH_COLOR, (_OUTLINE_M, 0, 0))
        marker.points = points(apply(self._T, box)[_EDGES])
        return marker

    def associations(self, message: AssociationArray) -> list[Marker]:
        """Lines between the two centres of each pair, spots at what found no partner. One marker of each kind."""
        ego, remote = _rows(message.pair_ego_center_m), _rows(message.pair_remote_center_m)
        ends = np.stack([ego, remote], axis=1).reshape(-1, 3)
        lines = self._marker(LINES, 0, Marker.LINE_LIST, LINE_COLOR, (_LINE_M, 0, 0))
        lines.points = points(apply(self._T, ends))
        made = [lines]
        for kind, color, centers in (
            (UNMATCHED_EGO, EGO_COLOR, message.unmatched_ego_center_m),
            (UNMATCHED_REMOTE, REMOTE_COLOR, message.unmatched_remote_center_m),
        ):
            spots = self._marker(kind, 0, Marker.SPHERE_LIST, color, (_SPOT_M,) * 3)
            spots.points = points(apply(self._T, _rows(centers)))
            made.append(spots)
        return [marker for marker in made if marker.points]


def _id(item: TrackedObject) -> int:
    return int(item.track_id) & 0x7FFFFFFF


def _rows(flat: Any) -> Float:
    return np.asarray(flat, np.float64).reshape(-1, 3)


def pose_matrix(message: TrackedObjectArray) -> Float | None:
    """T_map_from_frame [4, 4] of a message, or None if it does not know it."""
    if not message.pose_known:
        return None
    p, q = message.map_from_frame.position, message.map_from_frame.orientation
    values = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
    if not all(map(math.isfinite, values)) or math.hypot(q.x, q.y, q.z, q.w) < 0.5:
        return None
    return from_quaternion(values[3:], values[:3])


def deletion(header: Header, kind: str, marker_id: int) -> Marker:
    """Removes one marker."""
    return Marker(header=header, ns=kind, id=marker_id, action=Marker.DELETE)


def deletion_of_all(header: Header) -> Marker:
    """Removes every marker of the topic."""
    return Marker(header=header, action=Marker.DELETEALL)
