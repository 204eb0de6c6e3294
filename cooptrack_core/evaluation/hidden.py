"""Recall by how the vehicle sees an object: outside its view and occluded inside it, apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.matching import ClearMatcher
from cooptrack_core.evaluation.tables import VIEW_ROADSIDE_ONLY, BoxTable, EvaluationSet
from cooptrack_core.types import VIEW_OCCLUDED, VIEW_OUTSIDE, VIEW_UNKNOWN, VIEW_VISIBLE

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

VIEW_NAMES = {
    VIEW_VISIBLE: "visible",
    VIEW_OUTSIDE: "outside_view",
    VIEW_OCCLUDED: "occluded",
    VIEW_ROADSIDE_ONLY: "roadside_only",
    VIEW_UNKNOWN: "unknown",
}
DEFINITION = (
    "share of the objects in range that a published track of their class is matched with, frame by frame (CLEAR, 2 m); "
    "outside_view: outside the vehicle camera's field of view; occluded: inside it, under 10 % visible; "
    "roadside_only: a proxy where the view is unknown (real data): annotated from the roadside alone; "
    "unknown: the rest, interpolated boxes among them"
)


@dataclass(frozen=True)
class Side:
    """The objects or the tracks of one frame: ids (unique), classes [N], centres [N, 3] in m, whether in range [N]."""

    ids: Sequence[int | str]
    class_id: Int
    center_m: Float
    in_range: Bool


@dataclass
class ViewRecall:
    """Counts over the frames of one sequence, which it matches one after the other."""

    matcher: ClearMatcher = field(default_factory=ClearMatcher)
    seen: Counter[tuple[int, int]] = field(default_factory=Counter)  # (class, VIEW_*) -> objects in range
    found: Counter[tuple[int, int]] = field(default_factory=Counter)  # (class, VIEW_*) -> those that are matched
    false_tracks: int = 0  # in range, matched with nothing

    def step(self, objects: Side, view: Int, tracks: Side) -> None:
        """One frame. Objects and tracks out of range take part in the matching, but do not count. view: [N] VIEW_*."""
        matches = self.matcher.step(
            [str(identity) for identity in objects.ids], objects.class_id, objects.center_m,
            [int(identity) for identity in tracks.ids], tracks.class_id, tracks.center_m,
        )  # fmt: skip
        for row in np.flatnonzero(objects.in_range).tolist():
            key = int(objects.class_id[row]), int(view[row])
            self.seen[key] += 1
            self.found[key] += str(objects.ids[row]) in matches
        matched = set(matches.values())
        self.false_tracks += sum(
            bool(near) and int(identity) not in matched
            for identity, near in zip(tracks.ids, tracks.in_range, strict=True)
        )


@dataclass(frozen=True)
class HiddenCounts:
    """Objects in range and those found: [S, C, V] by scene, class and view (the order of VIEW_NAMES)."""

    class_names: tuple[str, ...]
    seen: Int
    found: Int


def hidden_recall(data: EvaluationSet) -> dict[str, Any]:
    """{class or "all": {"visible", "outside_view", "occluded", "hidden" (the two before together), "roadside_only",
    "unknown", "any": recall 0..1 or NaN, "objects": {the same names: boxes}}, "definition": what it means}.

    data: all boxes, those out of range too: as in evaluation/summary.py they are matched, only not counted.
    """
    return combined_hidden(hidden_by_scene(data))


def hidden_by_scene(data: EvaluationSet) -> HiddenCounts:
    """The counts of every scene, to be combined in any multiplicity."""
    shape = len(data.frames.scene_names), len(data.class_names), len(VIEW_NAMES)
    seen, found = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    views = list(VIEW_NAMES)
    truth, predictions = _sides(data, data.truth), _sides(data, data.predictions)
    cuts = np.searchsorted(data.truth.frame, np.arange(1, len(data.frames)))
    counts = [ViewRecall() for _ in data.frames.scene_names]
    for scene, view in zip(data.frames.scene, np.split(data.truth.view, cuts), strict=False):
        counts[scene].step(next(truth), view, next(predictions))
    for scene, recall in enumerate(counts):
        for (class_index, view_code), number in recall.seen.items():
            place = scene, class_index, views.index(view_code)
            seen[place], found[place] = number, recall.found[class_index, view_code]
    return HiddenCounts(data.class_names, seen, found)


def combined_hidden(counts: HiddenCounts, weights: Int | None = None) -> dict[str, Any]:
    """As `hidden_recall`, with each scene as often as its weight [S] says (once if None)."""
    w = np.ones(len(counts.seen), np.int64) if weights is None else np.asarray(weights, np.int64)
    seen, found = np.tensordot(w, counts.seen, 1), np.tensordot(w, counts.found, 1)
    result: dict[str, Any] = {
        name: _recall(seen[index], found[index]) for index, name in enumerate(counts.class_names)
    }  # fmt: skip
    return result | {"all": _recall(seen.sum(axis=0), found.sum(axis=0)), "definition": DEFINITION}


def _recall(seen: Int, found: Int) -> dict[str, Any]:
    """Of one class: seen and found [V]."""
    groups = {name: [index] for index, name in enumerate(VIEW_NAMES.values())}
    groups["hidden"] = groups["outside_view"] + groups["occluded"]
    groups["any"] = list(range(len(VIEW_NAMES)))
    objects = {name: int(seen[group].sum()) for name, group in groups.items()}
    ratios: dict[str, Any] = {
        name: float(found[group].sum() / objects[name]) if objects[name] else float("nan")
        for name, group in groups.items()
    }
    return ratios | {"objects": objects}


def _sides(data: EvaluationSet, boxes: BoxTable) -> Iterator[Side]:
    """The boxes of every frame."""
    in_range = data.near(boxes)
    for rows in np.split(np.arange(len(boxes)), np.searchsorted(boxes.frame, np.arange(1, len(data.frames)))):
        own = boxes.select(rows)
        yield Side(own.track.tolist(), own.class_index, own.center_m, in_range[rows])


__all__ = [
    "DEFINITION", "VIEW_NAMES", "HiddenCounts", "Side", "ViewRecall", "combined_hidden", "hidden_by_scene",
    "hidden_recall",
]  # fmt: skip
