"""Cooperative labels of a sequence with velocities, as the bag's ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.labels import Labels, concatenated
from cooptrack_core.data.rows import FrameRow
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.transforms import apply, inverse, rotate_xy

Float = NDArray[np.float64]

_OWN_M = (3.5, 1.5)  # half length and width of the place where a vehicle itself is, from its lidar
_SAME_TIME_NS = 30_000_000
_MAX_GAP_NS = 550_000_000  # a track seen again later than this gives no velocity


class GroundTruth:
    """Annotated objects of the vehicle frames that have cooperative labels.

    The labels are read once; velocities are differences of the centres in the map over the neighbouring
    frames of the same track, one-sided at the ends of a track, NaN for a track seen once.
    """

    def __init__(self, dataset: Dataset, rows: Sequence[FrameRow]) -> None:
        self._dataset = dataset
        self._labels: dict[str, Labels] = {}
        self._T_map: dict[str, Float] = {}
        self._stamps_ns: dict[str, int] = {}
        self._sightings: dict[str, list[tuple[int, Float]]] = {}
        self._rank: dict[tuple[str, str], int] = {}  # (frame, track) -> position in the track's sightings
        for row in rows:
            if dataset.has_cooperative_labels(row.frame_id):
                self._add(row)

    def _add(self, row: FrameRow) -> None:
        labels = self._dataset.cooperative_labels(row.frame_id)
        T = self._dataset.T_map_from_lidar_registered(row.frame_id)
        self._labels[row.frame_id], self._T_map[row.frame_id] = labels, T
        self._stamps_ns[row.frame_id] = row.stamp_ns
        for track_id, center in zip(labels.track_id, apply(T, labels.instances.center_m), strict=True):
            if track_id != "-1":
                sightings = self._sightings.setdefault(track_id, [])
                self._rank[row.frame_id, track_id] = len(sightings)
                sightings.append((row.stamp_ns, center))

    def velocity(self, frame_id: str) -> Float:
        """[N, 2] over ground in m/s along the vehicle lidar's axes, for the labels of a frame."""
        labels = self._labels[frame_id]
        in_map = np.full((len(labels), 2), np.nan)
        for i, track_id in enumerate(labels.track_id):
            rank = self._rank.get((frame_id, track_id))
            if rank is not None:
                in_map[i] = _slope(self._sightings[track_id], rank)
        return rotate_xy(inverse(self._T_map[frame_id]), in_map)

    def together(self, frame_id: str, others: Sequence[GroundTruth]) -> tuple[Labels, Float]:
        """Labels of a frame and their velocities [N, 2], with what only others have labelled at that time.

        others: of the same traffic, with the same track ids. What they label where this vehicle is, is this vehicle.
        """
        parts, velocities = [self._labels[frame_id]], [self.velocity(frame_id)]
        known = {"-1", *parts[0].track_id}
        for other in others:
            near = other._nearest(self._stamps_ns[frame_id])
            if near is None:
                continue
            labels, T = other._labels[near], inverse(self._T_map[frame_id]) @ other._T_map[near]
            moved = replace(labels, instances=move(labels.instances, T), from_side=("inf",) * len(labels))
            x, y = np.abs(moved.instances.center_m[:, 0]), np.abs(moved.instances.center_m[:, 1])
            own = (x < _OWN_M[0]) & (y < _OWN_M[1])
            rows = [i for i, track in enumerate(labels.track_id) if track not in known and not own[i]]
            known |= {labels.track_id[i] for i in rows}
            parts.append(moved.select(rows))
            velocities.append(rotate_xy(T, other.velocity(near)[rows]))
        return (parts[0], velocities[0]) if len(parts) == 1 else (concatenated(parts), np.concatenate(velocities))

    def _nearest(self, stamp_ns: int) -> str | None:
        """The frame at that time, if there is one."""
        near = min(self._stamps_ns, key=lambda name: abs(self._stamps_ns[name] - stamp_ns), default=None)
        return near if near is not None and abs(self._stamps_ns[near] - stamp_ns) <= _SAME_TIME_NS else None

    def message(
        self, row: FrameRow, frame_index: int, sensor_frame: str, agent_id: str, others: Sequence[GroundTruth] = ()
    ) -> object | None:
        """cooptrack_msgs/TrackedObjectArray of a frame, None where it has no cooperative labels.

        others: what they alone have labelled is there, too (see together).
        """
        if row.frame_id not in self._labels:
            return None
        labels, velocity = self.together(row.frame_id, others)
        sidecar = self._dataset.visibility(row.frame_id) or {}
        views = {track_id: sides["vehicle"] for track_id, sides in sidecar.items() if "vehicle" in sides}
        result: object = messages.ground_truth(
            row.stamp_ns, sensor_frame, agent_id, frame_index, self._T_map[row.frame_id], labels, velocity, views
        )
        return result


def _slope(sightings: Sequence[tuple[int, Float]], rank: int) -> Float:
    stamp_ns = sightings[rank][0]
    around = [s for s in sightings[max(rank - 1, 0) : rank + 2] if abs(s[0] - stamp_ns) <= _MAX_GAP_NS]
    (t0, p0), (t1, p1) = around[0], around[-1]
    return (p1[:2] - p0[:2]) / ((t1 - t0) / 1e9) if t1 > t0 else np.full(2, np.nan)


__all__ = ["GroundTruth"]
