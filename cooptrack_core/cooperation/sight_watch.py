"""Evidence against a sender from what a witness sees: objects that are not there, are left out, or stand elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.coverage import Coverage, hidden_behind, seen_through
from cooptrack_core.cooperation.sight import Sight
from cooptrack_core.geometry.transforms import apply, inverse
from cooptrack_core.tracking.assignment import assign, centre_distance
from cooptrack_core.types import CLASS_ID, Instances

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

_FORGET_S = 2.0
_SAME_PLACE_M = 2.5
_PAIR_M, _PAIR_PEDESTRIAN_M = 5.0, 2.5
_SMOOTHING = 0.15
_DOUBTFUL = 3
_BEHIND_M = 1.5


@dataclass
class Claim:
    """An object that a sender reports, and what the witness made of it."""

    class_id: int
    in_map_m: Float  # [2] where it was reported last
    stamp_s: float
    range_m: float = 0.0  # from the witness
    plain: int = 0  # frames in which it had to be seen
    transparent: int = 0  # frames in which something behind it was seen
    seen: int = 0  # frames in which something was seen there
    unseen: int = 0  # frames in a row in which it had to be seen and was not
    pairs: int = 0
    offset_m: Float = field(default_factory=lambda: np.zeros(2))  # smoothed, along and across the line of sight

    def see(self, *, plain: bool, there: bool, through: bool) -> None:
        """One frame: whether it had to be seen, whether it was, and whether something behind it was."""
        self.plain += plain
        self.seen += there
        self.transparent = 0 if there else self.transparent + through
        self.unseen = 0 if there else self.unseen + (plain or through)

    @property
    def doubtful(self) -> bool:
        """Whether it is too early to say that it is there, and something speaks against it."""
        return self.unseen >= _DOUBTFUL or self.transparent > 0


@dataclass
class Omission:
    """An object of the witness that the sender ought to report."""

    stamp_s: float
    expected: int = 0  # frames
    streak: int = 0  # frames since it was last reported
    reported: int = 0


@dataclass
class View:
    """What a sender reports in one frame as the witness has it, and what that says."""

    claims: list[Claim]  # of the reported objects that are judged
    plain: Bool  # [N] whether each had to be seen
    there: Bool  # [N] whether anything was
    through: Bool  # [N] whether something behind it was
    omissions: list[Omission]  # of the expected objects


class SightWatch:
    """Compares the reports of one sender with the sight of one witness, frame by frame."""

    def __init__(self, plain_range_m: float = 40.0) -> None:
        """plain_range_m: farther objects need not be seen."""
        self._plain_range_m = plain_range_m
        self.claims: dict[int, Claim] = {}
        self.omissions: dict[int, Omission] = {}
        self._reported = Coverage()  # where the sender has reported what the witness saw

    def look(
        self, stamp_s: float, T_map_from_ego: Float, T_map_from_sender: Float, reported: Instances, sight: Sight,
        coverage: Coverage, error_m: float,
    ) -> View:  # fmt: skip
        """reported: in the ego frame at the time of the frame, with ids; coverage: of the witness.

        error_m: how far reports and sight of the same object may lie apart.
        """
        claims = self._claims(stamp_s, T_map_from_ego, reported)
        distance = centre_distance(reported.center_m, sight.center_m)
        range_m = np.hypot(*reported.center_m[:, :2].T)
        there = _found(distance, error_m)
        clear = _clear(T_map_from_ego, reported, sight, coverage) & (range_m < self._plain_range_m)
        plain = clear & ~_hidden_by_reports(claims, reported)
        tracked_m = sight.center_m[sight.track_id > 0]
        through = clear & seen_through(
            reported.center_m, reported.size_m, tracked_m, error_m + _BEHIND_M
        ).any(axis=1)  # fmt: skip
        for row, claim in enumerate(claims):
            claim.range_m = float(range_m[row])
            claim.see(plain=bool(plain[row]), there=bool(there[row]), through=bool(through[row]))
        self._measure(claims, reported, sight, distance)
        omissions = self._expect(stamp_s, T_map_from_ego, T_map_from_sender, reported, sight, distance)
        return View(claims, plain, there, through, omissions)

    def _claims(self, stamp_s: float, T_map: Float, reported: Instances) -> list[Claim]:
        """What is remembered of each reported object; a new id at the place of an old one is the same object."""
        known = self.claims
        in_map = apply(T_map, reported.center_m)[:, :2]
        ids = reported.instance_id.tolist()
        present = set(ids)
        vanished = [i for i in known if i not in present]
        found = []
        for row, i in enumerate(ids):
            if i not in known or i == 0:
                same = [
                    j for j in vanished
                    if known[j].class_id == int(reported.class_id[row])
                    and np.hypot(*(known[j].in_map_m - in_map[row])) < _SAME_PLACE_M
                ]  # fmt: skip
                claim = Claim(int(reported.class_id[row]), in_map[row], stamp_s)
                if same:
                    vanished.remove(same[0])
                    claim = known.pop(same[0])
                key = i if i else -1 - row - 1000 * len(known)
                known[key] = claim
            claim = known[key if i == 0 else i]
            claim.in_map_m, claim.stamp_s = in_map[row], stamp_s
            found.append(claim)
        for i in [i for i, claim in known.items() if stamp_s - claim.stamp_s > _FORGET_S]:
            del known[i]
        return found

    def _measure(self, claims: list[Claim], reported: Instances, sight: Sight, distance: Float) -> None:
        """Smooths where each object is reported against where it is seen."""
        gate = np.where(reported.class_id == CLASS_ID["pedestrian"], _PAIR_PEDESTRIAN_M, _PAIR_M)[:, None]
        rows, columns = assign(distance, (distance < gate) & (reported.class_id[:, None] == sight.class_id[None]))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            seen = sight.center_m[column, :2]
            along = seen / max(float(np.hypot(*seen)), 0.1)
            error = reported.center_m[row, :2] - seen
            offset = np.array([along @ error, along[0] * error[1] - along[1] * error[0]])
            claim = claims[row]
            rate = max(_SMOOTHING, 1.0 / (claim.pairs + 1))
            claim.offset_m, claim.pairs = claim.offset_m + rate * (offset - claim.offset_m), claim.pairs + 1

    def _expect(
        self, stamp_s: float, T_map_from_ego: Float, T_map_from_sender: Float, reported: Instances, sight: Sight,
        distance: Float,
    ) -> list[Omission]:  # fmt: skip
        """The witness's objects where the sender has proven to see, and whether it reports them."""
        is_reported = _found(distance.T, _PAIR_M)
        in_sender = apply(inverse(T_map_from_sender) @ T_map_from_ego, sight.center_m)
        tracked = sight.track_id > 0
        expected = tracked & self._reported.in_sight(in_sender, T_map_from_sender)
        self._reported.add(in_sender[tracked & is_reported], T_map_from_sender)
        found = []
        for row in np.flatnonzero(expected).tolist():
            item = self.omissions.setdefault(int(sight.track_id[row]), Omission(stamp_s))
            item.stamp_s = stamp_s
            item.expected += 1
            item.reported += bool(is_reported[row])
            item.streak = 0 if is_reported[row] else item.streak + 1
            found.append(item)
        for i in [i for i, item in self.omissions.items() if stamp_s - item.stamp_s > _FORGET_S]:
            del self.omissions[i]
        return found


def _clear(T_map: Float, reported: Instances, sight: Sight, coverage: Coverage) -> Bool:
    """[N] whether the witness has proven to see such places, and nothing that it sees stands in between."""
    hidden = hidden_behind(reported.center_m, sight.center_m, sight.size_m).any(axis=1)
    return np.asarray(coverage.in_sight(reported.center_m, T_map) & ~hidden)


def _hidden_by_reports(claims: list[Claim], reported: Instances) -> Bool:
    """[N] whether something else that is reported hides it, unless that has not been seen where it had to be."""
    solid = np.array([not claim.doubtful for claim in claims], bool)
    hidden = hidden_behind(reported.center_m, reported.center_m, reported.size_m)
    return np.asarray((hidden & solid[None]).any(axis=1))


def _found(distance: Float, error_m: float) -> Bool:
    """[N] whether the witness sees something at each reported place that is not some other reported object."""
    rows, _ = assign(distance, distance < error_m)
    found: Bool = np.zeros(len(distance), bool)
    if distance.shape[1]:
        found |= (distance < error_m / 2).any(axis=1)
    found[rows] = True
    return found


__all__ = ["Claim", "Omission", "SightWatch", "View"]
