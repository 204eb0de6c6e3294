"""Whether a message contradicts itself: one object under two ids is a mistake, a message full of them is unusable."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from cooptrack_core.types import Instances

_LONG_M = 3.0  # vehicles: people may stand close together
_FEWEST = 8  # below, a few doubles of a network say nothing
_SHARE = 0.5


def contradiction(instances: Instances) -> str | None:
    """The name of a contradiction within the instances of one message, None if there is none.

    repeated_id: an id (other than 0, none) stands twice. overlapping: most vehicles have their centre at that of
    another one, as copies have; doubles of a detector that sees badly lie farther apart.
    """
    known = instances.instance_id[instances.instance_id != 0]
    if len(np.unique(known)) != len(known):
        return "repeated_id"
    long = instances.size_m[:, 0] >= _LONG_M
    if long.sum() >= _FEWEST:
        places, width_m = instances.center_m[long, :2], instances.size_m[long, 1]
        distances, _ = cKDTree(places).query(places, k=2)
        if np.mean(distances[:, 1] < width_m / 8.0) > _SHARE:
            return "overlapping"
    return None


__all__ = ["contradiction"]
