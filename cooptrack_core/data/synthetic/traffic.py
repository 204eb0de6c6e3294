"""Microscopic traffic: every road user follows its route, keeps its distance and obeys the lights.

Car following is the intelligent driver model. What is in the way is found geometrically: another road
user whose body, now or shortly, lies in the corridor that this one is about to sweep. That covers
queues, merging, crossing pedestrians and turning vehicles with one rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.catalog import RIDERS, WALKERS, Kind
from cooptrack_core.data.synthetic.layout import BOX_U_M, Route, ground_z_m
from cooptrack_core.data.synthetic.paths import STEP_M
from cooptrack_core.data.synthetic.signals import Signals

Float = NDArray[np.float64]

TIME_STEP_S = 0.1
_COMFORT_MPS2 = 2.2
_HARDEST_MPS2 = 7.0
_LATERAL_MPS2 = 2.2
_MARGIN_M = 0.25


@dataclass(frozen=True)
class Plan:
    """One road user as it enters: at birth_s it stands at start_s_m of its route with this speed."""

    kind: Kind
    route: Route
    birth_s: float
    start_s_m: float
    speed_mps: float
    size_m: tuple[float, float, float]
    paint: tuple[float, float, float]
    pace: float = 1.0  # factor on the kind's speed
    parked: bool = False
    ego: bool = False


@dataclass
class RoadUser:
    """A plan and its motion: distance and speed at birth_s + i * TIME_STEP_S."""

    plan: Plan
    index: int
    s_m: list[float] = field(default_factory=list)
    v_mps: list[float] = field(default_factory=list)

    @property
    def end_s(self) -> float:
        """Last instant at which it exists."""
        return self.plan.birth_s + (len(self.s_m) - 1) * TIME_STEP_S

    def exists(self, time_s: float) -> bool:
        """Whether it is in the scene."""
        return bool(self.s_m) and self.plan.birth_s - 1e-9 <= time_s <= self.end_s + 1e-9

    def travelled(self, time_s: float) -> tuple[float, float]:
        """Distance along the route and speed, by cubic interpolation between steps."""
        x = min(max((time_s - self.plan.birth_s) / TIME_STEP_S, 0.0), len(self.s_m) - 1.0)
        i = min(int(x), max(len(self.s_m) - 2, 0))
        j, u = min(i + 1, len(self.s_m) - 1), x - i
        s0, s1, v0, v1 = self.s_m[i], self.s_m[j], self.v_mps[i] * TIME_STEP_S, self.v_mps[j] * TIME_STEP_S
        s = (
            (2 * u**3 - 3 * u**2 + 1) * s0
            + (u**3 - 2 * u**2 + u) * v0
            + (3 * u**2 - 2 * u**3) * s1
            + (u**3 - u**2) * v1
        )
        return s, (1 - u) * self.v_mps[i] + u * self.v_mps[j]

    def pose(self, time_s: float) -> tuple[float, float, float, float]:
        """x, y, heading, speed in the scene frame."""
        s, v = self.travelled(time_s)
        return (*self.plan.route.path.point(s), v)

    def ground_m(self, x: float, y: float) -> float:
        """Height of the ground it stands on; wheels stay on the road."""
        return ground_z_m(x, y) if self.plan.kind.raw_type == "Pedestrian" else 0.0


class _Limits:
    """Speed allowed by the bends of each path, with braking ahead of them."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[Route, Float]] = {}

    def at(self, route: Route, s_m: float) -> float:
        if id(route) not in self._of:
            path = route.path
            limit = np.minimum(np.sqrt(_LATERAL_MPS2 / np.maximum(np.abs(path.curvature()), 1e-4)), 30.0)
            step = float(path.s_m[1] - path.s_m[0])
            for i in range(len(limit) - 2, -1, -1):
                limit[i] = min(limit[i], np.sqrt(limit[i + 1] ** 2 + 2 * 1.3 * step))
            self._of[id(route)] = (route, limit)
        limit = self._of[id(route)][1]
        return float(limit[min(max(int(s_m / STEP_M), 0), len(limit) - 1)])


class _Snapshot:
    """Bodies of all present road users as discs: now, and where crossing ones will be shortly."""

    def __init__(self, users: list[RoadUser], held: set[int]) -> None:
        discs: list[tuple[float, float, float, int, float, float, bool]] = []
        ahead: list[tuple[float, float, float, int, float]] = []
        self.pose: dict[int, tuple[float, float, float]] = {}
        for user in users:
            v = user.v_mps[-1]
            x, y, h = user.plan.route.path.point(user.s_m[-1])
            self.pose[user.index] = (x, y, h)
            cx, sy = math.cos(h), math.sin(h)
            length, width, _ = user.plan.size_m
            count = max(1, round(length / width))
            reach = (length - width) / 2
            walks = user.plan.kind.name in WALKERS
            for k in range(count):
                offset = reach * (2 * k / (count - 1) - 1) if count > 1 else 0.0
                discs.append((x + offset * cx, y + offset * sy, width / 2, user.index, v * cx, v * sy, walks))
            light = walks or user.plan.kind.name in RIDERS
            if v > 0.5 and user.index not in held and (light or max(abs(x), abs(y)) < BOX_U_M):
                ahead += [(x + t * v * cx, y + t * v * sy, width / 2, user.index, h) for t in (0.6, 1.2, 1.8, 2.4)]
        table = np.array([d[:6] for d in discs]).reshape(-1, 6)
        self.centre, self.radius, self.velocity = table[:, :2], table[:, 2], table[:, 4:6]
        self.owner, self.walker = table[:, 3].astype(np.int64), np.array([d[6] for d in discs], bool)
        future = np.array(ahead).reshape(-1, 5)
        self.ahead_centre, self.ahead_radius = future[:, :2], future[:, 2]
        self.ahead_owner, self.ahead_heading = future[:, 3].astype(np.int64), future[:, 4]

    def obstacle(self, user: RoadUser) -> tuple[float, float]:
        """Gap in m to the first body in the user's corridor and that body's speed along it (inf, 0: free)."""
        s, v, walks = user.s_m[-1], user.v_mps[-1], user.plan.kind.name in WALKERS
        look = 2.5 if walks else 6.0 + 1.8 * v + v * v / 5.0
        front = user.plan.size_m[0] / 2
        x, y, heading = self.pose[user.index]
        far = look + front + 3.0
        near = (
            (np.abs(self.centre[:, 0] - x) < far) & (np.abs(self.centre[:, 1] - y) < far) & (self.owner != user.index)
        )
        if walks:
            # Pedestrians pass each other sideways; they mind wheels, and people walking the same way.
            along = self.velocity[:, 0] * math.cos(heading) + self.velocity[:, 1] * math.sin(heading)
            near &= ~self.walker | (along > 0.3)
        now = np.flatnonzero(near)
        crossing = np.zeros(0, np.int64)
        if not walks and len(self.ahead_owner):
            close = (np.abs(self.ahead_centre[:, 0] - x) < far) & (np.abs(self.ahead_centre[:, 1] - y) < far)
            crossing = np.flatnonzero(close & (self.ahead_owner != user.index))
        if not len(now) and not len(crossing):
            return math.inf, 0.0
        offsets = np.arange(max(front - 0.5, 0.0), front + look, 0.5 if walks else 1.0)
        line, headings = user.plan.route.path.at(s + offsets)
        reach = user.plan.size_m[1] / 2 + (0.05 if walks else _MARGIN_M)
        gap, speed = math.inf, 0.0
        hit = _touching(line, self.centre[now], self.radius[now] + reach)
        if hit is not None:
            k, j = hit
            gap, v_other = float(offsets[k]) - front, self.velocity[now[j]]
            speed = float(v_other[0] * math.cos(headings[k]) + v_other[1] * math.sin(headings[k]))
        # Only what crosses the path where it is met: a turning vehicle minds the cyclist beside it, a queue does not.
        angle = np.abs(np.sin(self.ahead_heading[None, crossing] - headings[:, None])) > 0.42
        hit = _touching(line, self.ahead_centre[crossing], self.ahead_radius[crossing] + reach, angle)
        if hit is not None and float(offsets[hit[0]]) - front < gap:
            gap, speed = float(offsets[hit[0]]) - front, 0.0
        return gap, max(speed, 0.0)


def _touching(
    line: Float, centre: Float, reach: Float, where: NDArray[np.bool_] | None = None
) -> tuple[int, int] | None:
    """First point of the line [K, 2] within reach [M] of a centre [M, 2], where allowed [K, M].

    Returns its index and that of the centre.
    """
    if not len(centre):
        return None
    dx, dy = line[:, None, 0] - centre[None, :, 0], line[:, None, 1] - centre[None, :, 1]
    hit = dx * dx + dy * dy < reach * reach
    if where is not None:
        hit &= where
    rows = hit.any(axis=1)
    if not rows.any():
        return None
    k = int(rows.argmax())
    return k, int(hit[k].argmax())


def _idm(v: float, v0: float, gap: float, leader: float, kind: Kind) -> float:
    """Acceleration of the intelligent driver model in m/s2."""
    a, b = kind.acceleration_mps2, _COMFORT_MPS2
    free = 1.0 - (v / max(v0, 0.1)) ** 4
    if gap == math.inf:
        return max(a * free, -b)
    wanted = kind.standstill_m + max(0.0, v * kind.headway_s + v * (v - leader) / (2 * math.sqrt(a * b)))
    return min(max(a * (free - (wanted / max(gap, 0.05)) ** 2), -_HARDEST_MPS2), a)


def _light_gap(user: RoadUser, signals: Signals, time_s: float) -> float:
    """Gap in m to the stop line at which the user has to stop, inf if it may go."""
    route, s, v = user.plan.route, user.s_m[-1], user.v_mps[-1]
    front = user.plan.size_m[0] / 2
    for line, group in zip(route.stop_s_m, route.signals, strict=True):
        gap = line - s - front
        if not -1.0 < gap < 60.0:
            continue
        if route.movement == "walk":
            if gap > -0.3 and not signals.may_walk(group, time_s):
                return gap + user.plan.kind.standstill_m - 0.3
            continue
        state = signals.state(group, time_s)
        if state == "red" or (state == "yellow" and gap > v * v / (2 * 2.8)):
            return gap + user.plan.kind.standstill_m - 0.3
    return float("inf")


def simulate(plans: list[Plan], signals: Signals, start_s: float, end_s: float) -> list[RoadUser]:
    """Motion of all planned road users; one that finds its place taken at birth enters later or not at all."""
    waiting = sorted(range(len(plans)), key=lambda i: plans[i].birth_s)
    users: list[RoadUser] = []
    moving: list[RoadUser] = []
    limits = _Limits()
    held: set[int] = set()
    for step in range(round((end_s - start_s) / TIME_STEP_S) + 1):
        time_s = start_s + step * TIME_STEP_S
        while waiting and plans[waiting[0]].birth_s <= time_s + 1e-9:
            index = waiting.pop(0)
            plan = plans[index]
            if plan.parked or _is_free(plan, moving):
                born = Plan(**{**plan.__dict__, "birth_s": time_s})
                user = RoadUser(born, index, [plan.start_s_m], [plan.speed_mps])
                users.append(user)
                moving.append(user)
        snapshot = _Snapshot(moving, held)
        held = set()
        updates = []
        for user in moving:
            if user.plan.parked:
                updates.append((user.s_m[-1], 0.0))
                continue
            s, v, kind = user.s_m[-1], user.v_mps[-1], user.plan.kind
            v0 = min(kind.speed_mps * user.plan.pace, limits.at(user.plan.route, s))
            gap, leader = snapshot.obstacle(user)
            light = _light_gap(user, signals, time_s)
            if light < 15.0:
                held.add(user.index)
            a = min(_idm(v, v0, gap, leader, kind), _idm(v, v0, light, 0.0, kind))
            v1 = max(0.0, v + a * TIME_STEP_S)
            updates.append((s + (v + v1) / 2 * TIME_STEP_S, v1))
        for user, (s, v) in zip(moving, updates, strict=True):
            user.s_m.append(s)
            user.v_mps.append(v)
        moving = [u for u in moving if u.s_m[-1] < u.plan.route.path.length_m - 1.0]
    return users


def _is_free(plan: Plan, present: list[RoadUser]) -> bool:
    x, y, heading = plan.route.path.point(plan.start_s_m)
    for user in present:
        ox, oy, _ = user.plan.route.path.point(user.s_m[-1])
        walkers = plan.kind.name in WALKERS or user.plan.kind.name in WALKERS
        clear = 0.9 if walkers else (plan.size_m[0] + user.plan.size_m[0]) / 2 + 3.0
        across = abs(-math.sin(heading) * (ox - x) + math.cos(heading) * (oy - y))
        same_lane = across < (plan.size_m[1] + user.plan.size_m[1]) / 2 + 0.3
        if math.hypot(ox - x, oy - y) < clear and (walkers or same_lane):
            return False
    return True


__all__ = ["TIME_STEP_S", "Plan", "RoadUser", "simulate"]
