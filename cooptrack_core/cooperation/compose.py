"""What an agent tells others: what it measured, the best-scored instances in range that receivers can believe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import TrackerConfig
from cooptrack_core.cooperation.physical import impossible
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.ranges import INFRASTRUCTURE_RANGE_M, inside
from cooptrack_core.tracking.life_cycle import Measurements, Tracker
from cooptrack_core.types import SOURCE_EGO, Instances, TrackedObjects

Int = NDArray[np.int64]
Float = NDArray[np.float64]


class OwnMeasurements:
    """A vehicle's own detections, tracked apart from what it hears.

    Its published tracks hold what others have said. Sent on, that would come back to its authors as if somebody else
    had seen it, and be believed twice (data incest). Step it only while the pose is known.
    """

    def __init__(self, config: TrackerConfig) -> None:
        self._tracker = Tracker(config)

    def reset(self) -> None:
        """Forgets all tracks; ids go on."""
        self._tracker.reset()

    def step(self, stamp_ns: int, seen: Instances, T_map_from_sensor: Float) -> Instances:
        """What to tell of the detections of a frame, with ids that last; in the sensor frame."""
        count = len(seen)
        fed = self._tracker.step(
            stamp_ns,
            Measurements(
                move(seen, T_map_from_sensor), np.full(count, SOURCE_EGO, np.int64), ((),) * count,
                np.ones(count, np.int64),
            ),
        )  # fmt: skip
        return measured_instances(self._tracker.report(T_map_from_sensor), seen, fed)


def measured_instances(tracks: TrackedObjects, seen: Instances, fed: Int) -> Instances:
    """Tracks measured in this frame, with the features of the instance that each was measured by.

    fed: [len(seen)] the track id that each seen instance feeds.
    """
    rows = np.flatnonzero(tracks.sources > 0)
    return Instances.create(
        tracks.center_m[rows],
        tracks.size_m[rows],
        tracks.heading_rad[rows],
        tracks.class_id[rows],
        np.clip(tracks.score[rows], 0.0, 1.0),
        velocity_mps=tracks.velocity_mps[rows],
        instance_id=tracks.track_id[rows],
        position_variance_m2=np.diagonal(tracks.position_covariance_m2[rows], axis1=1, axis2=2)[:, :2],
        velocity_variance_m2ps2=np.diagonal(tracks.velocity_covariance_m2ps2[rows], axis1=1, axis2=2),
        time_since_update_s=tracks.time_since_update_s[rows],
        age_frames=tracks.age_frames[rows],
        features=None if seen.features is None else seen.features.select(_rows_of(tracks.track_id[rows], fed)),
    )


def select_for_message(
    instances: Instances, max_instances: int, point_range_m: tuple[float, ...] = INFRASTRUCTURE_RANGE_M
) -> tuple[Instances, int]:
    """The instances to send, in their order, and how many had to stay behind.

    One of a size or speed that no road user has would cost the whole message: receivers refuse it.
    """
    rows = np.flatnonzero(inside(instances.center_m, point_range_m) & ~impossible(instances))
    best = np.sort(rows[np.argsort(-instances.score[rows], kind="stable")][:max_instances])
    return instances.select(best), len(rows) - len(best)


def _rows_of(track_id: Int, fed: Int) -> Int:
    """[N] the row of the instance that feeds each track."""
    order = np.argsort(fed, kind="stable")
    return np.asarray(order[np.searchsorted(fed[order], track_id)], np.int64)
