"""Precision and recall of the association: whether what was paired, and only that, is one object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.conventions import Convention
from cooptrack_core.evaluation.recordings import scored_frames
from cooptrack_core.tracking.assignment import assign, centre_distance

Float = NDArray[np.float64]
Row = Mapping[str, Any]
Places = dict[int, list[float]]  # centre of a box in the vehicle's sensor frame, m, by its index

WITHIN_M = 3.0
DEFINITION = (
    f"the boxes of both sides are matched with the objects of the frame, one to one, within {WITHIN_M:g} m on the "
    "ground; possible: objects that both sides have a box at; pairs: those made; judged: of these, both boxes are at "
    "an object; right: at the same one; recall = right / possible, precision = right / judged, precision of all = "
    "right / pairs"
)


@dataclass(frozen=True)
class PairCounts:
    """Of any number of frames."""

    pairs: int = 0
    judged: int = 0
    right: int = 0
    possible: int = 0

    def __add__(self, other: PairCounts) -> PairCounts:
        return PairCounts(
            self.pairs + other.pairs, self.judged + other.judged, self.right + other.right,
            self.possible + other.possible,
        )  # fmt: skip


def association_scores(recordings: Iterable[Row], convention: Convention) -> dict[str, Any]:
    """{"precision", "recall", "precision_all": 0..1, NaN where nothing can be said, the counts, "definition"}.

    Over the scored frames of all recordings; every roadside unit by itself against the vehicle.
    """
    total = PairCounts()
    for recording in recordings:
        for _, rows in scored_frames(recording, convention):
            total = sum((count_pairs(row) for row in rows), total)
    return {
        "precision": _share(total.right, total.judged),
        "recall": _share(total.right, total.possible),
        "precision_all": _share(total.right, total.pairs),
        **vars(total),
        "definition": DEFINITION,
    }


def count_pairs(frame: Row) -> PairCounts:
    """The counts of one frame of a recording (missed frames have no associations, and count nothing)."""
    links = frame.get("associations", {})
    pairs, own_left, remote_left = (links.get(name, ()) for name in ("pairs", "unmatched_ego", "unmatched_remote"))
    objects = np.array([item["center_m"] for item in frame["ground_truth"]], np.float64).reshape(-1, 3)
    own = _objects_at(_places(pairs, "ego_index", "ego_center_m") | _places(own_left, "index", "center_m"), objects)
    total = PairCounts(pairs=len(pairs))
    for agent in {item["agent"] for item in (*pairs, *remote_left)}:
        made = [item for item in pairs if item["agent"] == agent]
        left = [item for item in remote_left if item["agent"] == agent]
        places = _places(made, "instance_index", "remote_center_m") | _places(left, "instance_index", "center_m")
        theirs = _objects_at(places, objects)
        ends = [(own.get(item["ego_index"]), theirs.get(item["instance_index"])) for item in made]
        judged = [(a, b) for a, b in ends if a is not None and b is not None]
        right = sum(a == b for a, b in judged)
        total += PairCounts(0, len(judged), right, len(set(own.values()) & set(theirs.values())))
    return total


def _places(rows: Sequence[Row], index: str, center_m: str) -> Places:
    """Those whose place is known."""
    return {item[index]: item[center_m] for item in rows if all(value is not None for value in item[center_m])}


def _objects_at(places: Places, objects_m: Float) -> dict[int, int]:
    """Row of the object [N, 3] (m) at each place that has one."""
    centers_m = np.array(list(places.values()), np.float64).reshape(-1, 3)
    distance = centre_distance(centers_m[:, :2], objects_m[:, :2])
    rows, columns = assign(distance, distance <= WITHIN_M)
    keys = list(places)
    return {keys[row]: column for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


__all__ = ["DEFINITION", "PairCounts", "association_scores", "count_pairs"]
