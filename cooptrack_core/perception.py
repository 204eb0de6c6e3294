"""From a frame to instances: the seam behind which a detector sits."""

from __future__ import annotations

import numpy as np

from cooptrack_core.types import Frame, Instances


def perceive(frame: Frame, min_score: float) -> Instances | None:
    """What the agent's own detector saw, in its sensor frame; None if the frame carries nothing usable.

    With the `simulated` detector the frame brings the detections. Rows that are not finite or have no
    extent are dropped: one broken row must not cost the others.
    """
    detections = frame.detections
    if detections is None:
        return None
    finite = np.isfinite(detections.center_m).all(axis=1) & np.isfinite(detections.heading_rad)
    sized = np.isfinite(detections.size_m).all(axis=1) & (detections.size_m > 0).all(axis=1)
    return detections.select(finite & sized & (detections.score >= min_score))
