"""Evidence against a sender from its own messages: what no road user does, and what was said before."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.physical import limits_of
from cooptrack_core.geometry.overlap import box_iou
from cooptrack_core.geometry.transforms import apply, rotate_xy
from cooptrack_core.types import Instances, Message

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_SETTLED = 5  # messages with an object before its motion is judged: tracks begin with wild velocities
_KEPT_S = 1.3
_HALF_S, _WINDOW_S = 0.5, 1.0
_JUMP_M = 2.0  # position error of a detector from one message to the next
_SPEED_ERROR_MPS = 4.0
_DRIFT_M = 3.0
_BEND_M = 3.0
_TRAVELLED_M = 2.0  # in the window: an object whose velocity is put to the test
_TRUE_SHARE = 0.3  # of that way by which velocities usually err, up to which they mean something
_RESIZED = float(np.log(1.8))
_OVERLAP, _MOST_OVERLAPS = 0.6, 2  # poor detectors double objects; that alone is slow to condemn
_MOVING_MPS = 0.3
_REMEMBERED = 300  # messages whose content is known again


@dataclass(frozen=True)
class _Past:
    """What a message said of its objects with an id; numbers side by side, so that rows are taken at once."""

    stamp_s: float
    row_of: dict[int, int]  # by id, rising
    numbers: Float  # [N, 11]
    class_id: Int  # [N]

    @staticmethod
    def of(message: Message) -> _Past:
        assert message.T_map_from_sensor is not None, "admission refuses messages without a pose"
        own = message.instances
        ids, rows = np.unique(own.instance_id, return_index=True)
        rows, ids = rows[ids > 0], ids[ids > 0]
        T, velocity, center_m = message.T_map_from_sensor, np.nan_to_num(own.velocity_mps[rows]), own.center_m[rows]
        columns = (apply(T, center_m)[:, :2], center_m[:, :2], rotate_xy(T, velocity), velocity, own.size_m[rows])
        row_of = {i: row for row, i in enumerate(ids.tolist())}
        return _Past(message.stamp_ns / 1e9, row_of, np.concatenate(columns, axis=1), own.class_id[rows])

    def rows(self, ids: list[int]) -> _Past:
        """Those of some of its ids, in their order."""
        at = [self.row_of[i] for i in ids]
        return _Past(self.stamp_s, dict(zip(ids, range(len(ids)), strict=True)), self.numbers[at], self.class_id[at])

    @property
    def in_map_m(self) -> Float:
        """[N, 2]"""
        return self.numbers[:, :2]

    @property
    def in_sensor_m(self) -> Float:
        """[N, 2]"""
        return self.numbers[:, 2:4]

    @property
    def velocity_mps(self) -> Float:
        """[N, 2] along the map's axes, 0 where unknown."""
        return self.numbers[:, 4:6]

    @property
    def sensor_velocity_mps(self) -> Float:
        """[N, 2]"""
        return self.numbers[:, 6:8]

    @property
    def size_m(self) -> Float:
        """[N, 3]"""
        return self.numbers[:, 8:]


class PhysicsWatch:
    """Watches the messages of one sender. Positions are compared in the map and in the sender's frame.

    The smaller error counts: a fixed unit whose pose is reported with noise is not to blame for that, nor a vehicle
    for its own motion.
    """

    def __init__(self) -> None:
        self._pasts: deque[_Past] = deque()
        self._heard: Counter[int] = Counter()  # messages with an id, of the ids in _pasts
        self._one_since: dict[int, float] = {}  # stamp of the last jump of an id: before it, it was another object
        self._said: deque[frozenset[bytes]] = deque()  # the last ones end with number _count
        self._said_in: dict[bytes, deque[int]] = {}  # numbers of the messages in _said that say it
        self._count = 0
        self._velocity_error = 1.0  # usual share of an object's way that its velocity does not explain

    def judge(self, message: Message) -> dict[str, int]:
        """How many objects of a message speak against its sender, by the name of the evidence."""
        now = _Past.of(message)
        if self._pasts and now.stamp_s <= self._pasts[-1].stamp_s:
            return {}
        while self._pasts and now.stamp_s - self._pasts[0].stamp_s > _KEPT_S:
            self._heard.subtract(self._pasts.popleft().row_of.keys())
        self._heard = +self._heard
        self._one_since = {i: at for i, at in self._one_since.items() if now.stamp_s - at <= _KEPT_S}
        found = {
            "overlap": min(overlapping(message.instances), _MOST_OVERLAPS),
            "replay": self._repeated(message.instances),
            "jump": 0, "resize": 0, "speed": 0, "drift": 0, "bend": 0,
        }  # fmt: skip
        if self._pasts:
            found |= self._steps(now, self._pasts[-1])
            half, window = self._near(now.stamp_s - _HALF_S), self._near(now.stamp_s - _WINDOW_S)
            if half is not None:
                found["speed"] = self._speed_changes(now, half)
            if half is not None and window is not None and window is not half:
                found["drift"], found["bend"] = self._paths(now, half, window)
        self._pasts.append(now)
        self._heard.update(now.row_of.keys())
        return {name: count for name, count in found.items() if count}

    def _near(self, stamp_s: float) -> _Past | None:
        """The message nearest to a time, None where none is within 0.2 s."""
        best = min(self._pasts, key=lambda past: abs(past.stamp_s - stamp_s))
        return best if abs(best.stamp_s - stamp_s) <= 0.2 else None

    def _settled(self, *pasts: _Past) -> list[int]:
        """Ids that all of these messages have, that were heard often enough and have not jumped since the last one."""
        heard, jumped, oldest_s = self._heard, self._one_since, pasts[-1].stamp_s
        others = [past.row_of for past in pasts[1:]]
        return [
            i for i in pasts[0].row_of
            if heard[i] >= _SETTLED and jumped.get(i, -np.inf) <= oldest_s and all(i in rows for rows in others)
        ]  # fmt: skip

    def _steps(self, now: _Past, before: _Past) -> dict[str, int]:
        ids = self._settled(now, before)
        a, b, dt_s = before.rows(ids), now.rows(ids), now.stamp_s - before.stamp_s
        _, fastest, acceleration = limits_of(b.class_id)
        moved = _least(
            b.in_map_m - a.in_map_m - dt_s * (a.velocity_mps + b.velocity_mps) / 2,
            b.in_sensor_m - a.in_sensor_m - dt_s * (a.sensor_velocity_mps + b.sensor_velocity_mps) / 2,
        )
        # Where a sender's velocities mean nothing, an object may go at any speed that its class can have.
        unknown_mps = _SPEED_ERROR_MPS if self._velocity_error < _TRUE_SHARE else fastest / 3
        jumps = moved > _JUMP_M + unknown_mps * dt_s + acceleration * dt_s**2 / 2
        self._one_since.update({i: now.stamp_s for i, jumped in zip(ids, jumps.tolist(), strict=True) if jumped})
        resized = np.abs(np.log(b.size_m / a.size_m)).max(axis=1, initial=0.0) > _RESIZED
        return {"jump": int(jumps.sum()), "resize": int(resized.sum())}

    def _speed_changes(self, now: _Past, half: _Past) -> int:
        ids = self._settled(now, half)
        a, b = half.rows(ids), now.rows(ids)
        change = np.minimum(
            _length(b.velocity_mps - a.velocity_mps), _length(b.sensor_velocity_mps - a.sensor_velocity_mps)
        )
        allowed = _SPEED_ERROR_MPS + limits_of(b.class_id)[2] * (now.stamp_s - half.stamp_s)
        return int((change > allowed).sum())

    def _paths(self, now: _Past, half: _Past, window: _Past) -> tuple[int, int]:
        """Objects that are not where their speeds led, and those on a path that needs too much acceleration."""
        ids = self._settled(now, half, window)
        if not ids:
            return 0, 0
        a, h, b = window.rows(ids), half.rows(ids), now.rows(ids)
        dt_s = b.stamp_s - a.stamp_s

        def left(start: Float, end: Float, first: Float, middle: Float, last: Float) -> Float:
            return end - start - dt_s * (first + 4 * middle + last) / 6  # Simpson

        drifted = _least(
            left(a.in_map_m, b.in_map_m, a.velocity_mps, h.velocity_mps, b.velocity_mps),
            left(a.in_sensor_m, b.in_sensor_m, a.sensor_velocity_mps, h.sensor_velocity_mps, b.sensor_velocity_mps),
        )
        first_s, second_s = h.stamp_s - a.stamp_s, b.stamp_s - h.stamp_s

        def bent(start: Float, middle: Float, end: Float) -> Float:
            return (end - middle) / second_s - (middle - start) / first_s

        change = _least(bent(a.in_map_m, h.in_map_m, b.in_map_m), bent(a.in_sensor_m, h.in_sensor_m, b.in_sensor_m))
        between_s = dt_s / 2
        allowed = limits_of(b.class_id)[2] * between_s + _BEND_M / between_s
        drifts = int((drifted > _DRIFT_M).sum()) if self._velocity_error < _TRUE_SHARE else 0
        travelled = np.minimum(_length(b.in_map_m - a.in_map_m), _length(b.in_sensor_m - a.in_sensor_m))
        tested = travelled > _TRAVELLED_M
        if tested.any():
            error = float(_median(np.minimum(drifted[tested] / travelled[tested], 1.0)))
            self._velocity_error += 0.1 * (error - self._velocity_error)
        return drifts, int((change > allowed).sum())

    def _repeated(self, instances: Instances) -> int:
        """Objects that claim to move and are reported as in an earlier message, to the last digit."""
        moving = _length(np.nan_to_num(instances.velocity_mps)) > _MOVING_MPS
        state = np.column_stack(
            [instances.instance_id, instances.center_m, instances.heading_rad, instances.velocity_mps]
        )
        said = frozenset(row.tobytes() for row in state[moving])
        earlier = Counter(number for row in said for number in self._said_in.get(row, ()))
        self._count += 1
        self._said.append(said)
        for row in said:
            self._said_in.setdefault(row, deque()).append(self._count)
        if len(self._said) > _REMEMBERED:
            self._forget(self._said.popleft())
        return max(earlier.values(), default=0)

    def _forget(self, oldest: frozenset[bytes]) -> None:
        for row in oldest:
            self._said_in[row].popleft()
            if not self._said_in[row]:
                del self._said_in[row]


def _length(vectors: Float) -> Float:
    """[N] of vectors [N, 2]."""
    return np.asarray(np.hypot(vectors[:, 0], vectors[:, 1]))


def _median(values: Float) -> Float:
    """np.median of finite numbers along the first axis, in a tenth of its time for a few."""
    ordered, middle = np.sort(values, axis=0), len(values) // 2
    return np.asarray(ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


def _least(in_map: Float, in_sensor: Float) -> Float:
    """[N] the smaller error; in the map what all objects share is the pose's."""
    if len(in_map) >= 3:
        in_map = in_map - _median(in_map)
    return np.asarray(np.minimum(_length(in_map), _length(in_sensor)))


def overlapping(instances: Instances) -> int:
    """Pairs of boxes of one message that cannot both be there."""
    c, s, h = instances.center_m, instances.size_m, instances.heading_rad
    longest_m = s[:, :2].max(axis=1, initial=0.0)
    gap = np.hypot(c[:, None, 0] - c[None, :, 0], c[:, None, 1] - c[None, :, 1])
    a, b = np.nonzero(np.triu(gap < longest_m[:, None] / 2, k=1))
    if not len(a):
        return 0
    # Boxes of different sizes, or apart along an edge of one, share little: that spares nearly all polygons.
    possible = np.minimum(_most_shared(c, s, h, a, b), _most_shared(c, s, h, b, a)) > _OVERLAP - 1e-6
    a, b = a[possible], b[possible]
    return int((box_iou(c[a], s[a], h[a], c[b], s[b], h[b])[0] > _OVERLAP).sum()) if len(a) else 0


def _most_shared(center_m: Float, size_m: Float, heading_rad: Float, a: Int, b: Int) -> Float:
    """[P] bound of the overlap of boxes a and b on the ground, by what lies between the edges of a around b."""
    turn, offset = heading_rad[b] - heading_rad[a], center_m[b, :2] - center_m[a, :2]
    c, s = np.cos(heading_rad[a]), np.sin(heading_rad[a])
    along, across = np.abs(c * offset[:, 0] + s * offset[:, 1]), np.abs(c * offset[:, 1] - s * offset[:, 0])
    cos, sin, half_a, half_b = np.abs(np.cos(turn)), np.abs(np.sin(turn)), size_m[a, :2] / 2, size_m[b, :2] / 2
    reach_m = half_b[:, 0] * cos + half_b[:, 1] * sin, half_b[:, 0] * sin + half_b[:, 1] * cos
    common = []
    for axis, away in enumerate((along, across)):
        top, bottom = (
            np.minimum(half_a[:, axis], away + reach_m[axis]),
            np.maximum(-half_a[:, axis], away - reach_m[axis]),
        )
        common.append(np.maximum(top - bottom, 0.0))
    areas = 4 * half_a.prod(axis=1), 4 * half_b.prod(axis=1)
    shared = np.minimum(common[0] * common[1], np.minimum(*areas))
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-12))


__all__ = ["PhysicsWatch", "overlapping"]
