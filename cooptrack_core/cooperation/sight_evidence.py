"""What a look at the reports of a sender says against it, weighed by how well the witness is known to see."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import numpy as np

from cooptrack_core.cooperation.sight_watch import Claim, View

_PLAIN = 8  # frames in which an object had to be seen before its absence counts
_TRANSPARENT = 3  # frames in which something was seen behind it
_SEEN_SHARE = 0.1
_LOST = 3
_REAL = 3  # sightings after which an object is surely there
_STREAK = 30  # frames for which an object that the sender surely can see is left out
_MANY_STREAK, _MANY = 12, 3  # the same for several at once, most of those expected
_PAIRS = 8  # frames with both positions before their difference counts
_KNOWN, _FILLED, _FAR_M = 20, 10, 20.0
_LEAST_RECALL = 0.7  # of a witness whose not seeing something says anything
_DISPLACED_M, _SCALES = 1.5, 3.0
_COMPARED = 8


class Recall:
    """How often the witness sees in a frame what it must see: of objects that are surely there, by class and range."""

    def __init__(self) -> None:
        self._plain: Counter[tuple[int, bool]] = Counter()
        self._seen: Counter[tuple[int, bool]] = Counter()

    def update(self, view: View) -> None:
        """Takes a frame."""
        for claim, plain, seen in zip(view.claims, view.plain.tolist(), view.there.tolist(), strict=True):
            if plain and claim.seen >= _REAL:
                self._plain[_kind(claim)] += 1
                self._seen[_kind(claim)] += seen

    def of(self, claim: Claim) -> float:
        """0..1 for objects like this one; 0 where too little was seen to say.

        Little of such objects is filled up with as much as is known of all together.
        """
        plain, kind = self._plain.total(), _kind(claim)
        if plain < _KNOWN:
            return 0.0
        overall = self._seen.total() / plain
        return (self._seen[kind] + _FILLED * overall) / (self._plain[kind] + _FILLED)


def _kind(claim: Claim) -> tuple[int, bool]:
    return claim.class_id, claim.range_m > _FAR_M


class Scale:
    """How far the places of reports and sight usually are apart, m."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque([0.3] * 5, maxlen=60)
        self._count = 0
        self._bound_m: float | None = None

    def add(self, distance_m: float) -> None:
        """Of one object."""
        self._samples.append(distance_m)
        self._count += 1
        self._bound_m = None

    @property
    def known(self) -> bool:
        """Whether enough was compared to say what is usual."""
        return self._count >= _COMPARED

    def bound_m(self) -> float:
        """A smoothed difference beyond this is no error of either."""
        if self._bound_m is None:
            self._bound_m = _DISPLACED_M + _SCALES * min(_quantile(self._samples, 0.7), 1.5)
        return self._bound_m


def _quantile(samples: Iterable[float], share: float) -> float:
    """np.quantile of a few numbers, which takes its time."""
    ordered = sorted(samples)
    place = (len(ordered) - 1) * share
    low = int(place)
    a, b, t = ordered[low], ordered[min(low + 1, len(ordered) - 1)], place - low
    return b - (b - a) * (1.0 - t) if t >= 0.5 else a + (b - a) * t


def refutations(view: View, recall: Recall) -> list[str]:
    """Of each judged object the name of the evidence that it is not there, '' if there is none in this frame."""
    rows = zip(view.claims, view.plain.tolist(), view.through.tolist(), strict=True)
    return [_refuted(claim, recall, plain=plain, through=through) for claim, plain, through in rows]


def _refuted(claim: Claim, recall: Recall, *, plain: bool, through: bool) -> str:
    # What was seen for a while and is lost now may be the witness's fault: that takes longer.
    lost = _LOST if claim.seen >= _SEEN_SHARE * claim.plain else 1
    if not (plain or through) or recall.of(claim) < _LEAST_RECALL:
        return ""
    if through and claim.transparent >= _TRANSPARENT * lost:
        return "transparent"
    return "unseen" if plain and claim.unseen >= _PLAIN * lost else ""


def evidence_of(view: View, recall: Recall, scale: Scale) -> dict[str, int]:
    """How many objects speak against the sender in this frame, by the name of the evidence."""
    recall.update(view)
    found = Counter(name for name in refutations(view, recall) if name)
    found["displaced"] = _displaced(view, scale)
    found["omitted"] = _omitted(view)
    return {name: count for name, count in found.items() if count}


def _displaced(view: View, scale: Scale) -> int:
    """Objects that both see and the sender reports elsewhere; what all share is the error of a pose."""
    settled = [claim for claim in view.claims if claim.pairs >= _PAIRS]
    if not settled:
        return 0
    offsets = np.array([claim.offset_m for claim in settled])
    bound_m = scale.bound_m()
    for claim in settled:
        if claim.pairs % _PAIRS == 0:
            scale.add(float(np.hypot(*claim.offset_m)))
    return int((np.hypot(*offsets.T) > bound_m).sum()) if scale.known else 0


def _omitted(view: View) -> int:
    """Objects of the witness that the sender leaves out for long, though it sees such places."""
    streaks = np.array([item.streak for item in view.omissions], np.int64)
    lately = int((streaks >= _MANY_STREAK).sum())
    if lately >= _MANY and lately > 0.6 * len(streaks):
        return lately
    return int((streaks >= _STREAK).sum())


__all__ = ["Recall", "Scale", "evidence_of", "refutations"]
