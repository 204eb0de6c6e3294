"""vision_msgs/Detection3DArray as Instances; works on rclpy and on rosbags messages alike."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from cooptrack_core.types import CLASS_ID, Instances


def instances_from_detections(message: Any) -> tuple[Instances, Counter[str]]:
    """Instances in the frame of the message, and how many detections were left out for which reason."""
    rows: list[tuple[float, ...]] = []
    classes: list[int] = []
    dropped: Counter[str] = Counter()
    for detection in message.detections:
        if not len(detection.results):
            dropped["detection_without_class"] += 1
            continue
        best = max(detection.results, key=lambda result: float(result.hypothesis.score))
        class_id = CLASS_ID.get(best.hypothesis.class_id)
        if class_id is None:
            dropped["detection_of_unknown_class"] += 1
            continue
        p, q, s = detection.bbox.center.position, detection.bbox.center.orientation, detection.bbox.size
        covariance = best.pose.covariance
        score = float(best.hypothesis.score)
        rows.append((p.x, p.y, p.z, s.x, s.y, s.z, q.x, q.y, q.z, q.w, score, covariance[0], covariance[7]))
        classes.append(class_id)
    table = np.array(rows, np.float64).reshape(-1, 13)
    sound = np.isfinite(table[:, :11]).all(axis=1) & (table[:, 3:6] > 0).all(axis=1)
    sound &= (table[:, 10] >= 0) & (table[:, 10] <= 1)
    if not sound.all():
        dropped["detection_not_finite"] += int((~sound).sum())
        table = table[sound]
    x, y, z, w = table[:, 6:10].T
    variance = table[:, 11:13]
    instances = Instances.create(
        table[:, :3],
        table[:, 3:6],
        np.arctan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z),
        np.array(classes, np.int64)[sound],
        table[:, 10],
        position_variance_m2=np.where(variance > 0, variance, np.nan),
    )
    return instances, dropped


__all__ = ["instances_from_detections"]
