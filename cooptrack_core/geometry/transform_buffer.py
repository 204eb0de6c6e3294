"""A tree of timed transforms, as tf2 keeps it, without ROS."""

from __future__ import annotations

import bisect
import math
import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.transforms import interpolate, inverse

Float = NDArray[np.float64]
DEFAULT_HISTORY_NS = 10_000_000_000


class TransformError(Exception):
    """A transform cannot be given."""


class UnknownFrame(TransformError):
    """A frame was never heard of."""


class NotConnected(TransformError):
    """Both frames are known but no chain joins them."""


class Extrapolation(TransformError):
    """The chain has no pose around the requested time."""


@dataclass
class _Edge:
    parent: str
    static: bool
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[Float] = field(default_factory=list)  # T_parent_from_child


class TransformBuffer:
    """Poses of child frames in their parents over the last `history_ns`, looked up by time.

    Between two stamps the rotation is slerped and the translation interpolated linearly, as tf2 does.
    Safe to use from several threads.
    """

    def __init__(self, history_ns: int = DEFAULT_HISTORY_NS) -> None:
        self._history_ns = history_ns
        self._edges: dict[str, _Edge] = {}
        self._known: set[str] = set()
        self._lock = threading.RLock()

    def set_transform(
        self, parent: str, child: str, stamp_ns: int, T_parent_from_child: Float, *, static: bool = False
    ) -> None:
        """Adds one pose; a pose with the same stamp replaces the old one, one older than the history is ignored.

        Raises ValueError for a non-finite pose or a frame that would be its own parent.
        """
        if not parent or not child or parent == child:
            raise ValueError(f"transform from {child!r} to {parent!r}: frames must be two different names")
        if not np.all(np.isfinite(T_parent_from_child)):
            raise ValueError(f"transform from {child!r} to {parent!r}: not finite")
        with self._lock:
            edge = self._edges.get(child)
            if edge is None or edge.parent != parent or edge.static != static:
                edge = self._edges[child] = _Edge(parent, static)
            self._known.update((parent, child))
            if static:
                edge.stamps_ns, edge.poses = [0], [T_parent_from_child]
                return
            self._insert(edge, stamp_ns, T_parent_from_child)

    def _insert(self, edge: _Edge, stamp_ns: int, pose: Float) -> None:
        stamps = edge.stamps_ns
        if stamps and stamp_ns < stamps[-1] - self._history_ns:
            return
        at = bisect.bisect_left(stamps, stamp_ns)
        if at < len(stamps) and stamps[at] == stamp_ns:
            edge.poses[at] = pose
            return
        stamps.insert(at, stamp_ns)
        edge.poses.insert(at, pose)
        keep_from = bisect.bisect_left(stamps, stamps[-1] - self._history_ns)
        if keep_from:
            del stamps[:keep_from], edge.poses[:keep_from]

    def lookup(self, target: str, source: str, stamp_ns: int) -> Float:
        """T_target_from_source [4, 4] at stamp_ns; stamp 0 means the latest time common to the chain.

        Raises UnknownFrame, NotConnected or Extrapolation.
        """
        with self._lock:
            for frame in (target, source):
                if frame not in self._known:
                    raise UnknownFrame(f"frame {frame!r} does not exist")
            up_source, up_target = self._chain(source), self._chain(target)
            common = next((frame for frame in up_source if frame in up_target), None)
            if common is None:
                raise NotConnected(f"frames {target!r} and {source!r} are not part of the same tree")
            path_source = up_source[: up_source.index(common)]
            path_target = up_target[: up_target.index(common)]
            if stamp_ns == 0:
                stamp_ns = self._newest_of(path_source + path_target)
            T_common_from_source = self._compose(path_source, stamp_ns)
            T_common_from_target = self._compose(path_target, stamp_ns)
        return inverse(T_common_from_target) @ T_common_from_source

    def latest_common_ns(self, target: str, source: str) -> int:
        """Newest time at which every moving link between the frames is known; 0 if none moves."""
        with self._lock:
            up_source, up_target = self._chain(source), self._chain(target)
            links = set(up_source) ^ set(up_target)
            return self._newest_of([frame for frame in links if frame in self._edges])

    def frames(self) -> frozenset[str]:
        """Names of all frames heard of."""
        with self._lock:
            return frozenset(self._known)

    def clear(self) -> None:
        """Forgets the timed poses; static ones stay, since nobody repeats them (as in tf2)."""
        with self._lock:
            self._edges = {child: edge for child, edge in self._edges.items() if edge.static}
            self._known = {name for child, edge in self._edges.items() for name in (child, edge.parent)}

    def _chain(self, frame: str) -> list[str]:
        chain = [frame]
        while (edge := self._edges.get(chain[-1])) is not None:
            if edge.parent in chain:
                raise NotConnected(f"frames {' -> '.join([*chain, edge.parent])} form a loop")
            chain.append(edge.parent)
        return chain

    def _newest_of(self, children: list[str]) -> int:
        newest = [self._edges[c].stamps_ns[-1] for c in children if not self._edges[c].static]
        return min(newest, default=0)

    def _compose(self, children: list[str], stamp_ns: int) -> Float:
        T = np.eye(4)
        for child in children:
            T = self._at(child, stamp_ns) @ T
        return T

    def _at(self, child: str, stamp_ns: int) -> Float:
        edge = self._edges[child]
        if edge.static:
            return edge.poses[0]
        stamps = edge.stamps_ns
        at = bisect.bisect_left(stamps, stamp_ns)
        if at < len(stamps) and stamps[at] == stamp_ns:
            return edge.poses[at]
        if at in (0, len(stamps)):
            side, nearest = ("past", stamps[0]) if at == 0 else ("future", stamps[-1])
            gap_ms = math.ceil(abs(stamp_ns - nearest) / 1e6)
            raise Extrapolation(
                f"pose of {child!r} in {edge.parent!r} requested at {stamp_ns} ns, {gap_ms} ms into the {side}"
            )
        fraction = (stamp_ns - stamps[at - 1]) / (stamps[at] - stamps[at - 1])
        return interpolate(edge.poses[at - 1], edge.poses[at], fraction)
