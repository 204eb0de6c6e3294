"""Microscopic traffic: every road user follows its route, keeps its distance and obeys the lights.

Car following is the intelligent driver model. What is in the way is found geometrically: another road
user whose body, now or shortly, lies in the corridor that this one is about to sweep. That covers
queues, merging, crossing pedestrians and turning vehicles with one rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.catalog import KINDS, RIDERS, WALKERS, Kind
from cooptrack_core.data.synthetic.layout import BOX_U_M, Route
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
        s = (2 * u**3 - 3 * u**2 + 1) * s0 + (u**3 - 2 * u**2 + u) * v0 + (3 * u**2 - 2 * u**3) * s1 + (u**3 - u**2) * v1
        return s, (1 - u) * self.v_mps[i] + u * self.v_mps[j]

    def pose(self, time_s: float) -> tuple[float, float, float, float]:
        """x, y, heading, speed in the scene frame."""
        s, v = self.travelled(time_s)
        xy, heading = self.plan.route.path.at(s)
        return float(xy[0]), float(xy[1]), float(heading), v


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
        return float(np.interp(s_m, route.path.s_m, self._of[id(route)][1]))


class _Snapshot:
    """Bodies of all present road users as discs: now, and where crossing ones will be shortly."""

    def __init__(self, users: list[RoadUser], held: set[int]) -> None:
        centre, radius, owner, velocity, walker = [], [], [], [], []
        ahead: list[tuple[Float, float, int, float, bool]] = []
        self.pose: dict[int, tuple[float, float, float, float]] = {}
        for user in users:
            s, v = user.s_m[-1], user.v_mps[-1]
            xy, heading = user.plan.route.path.at(s)
            h = float(heading)
            forward = np.array([np.cos(h), np.sin(h)])
            self.pose[user.index] = (float(xy[0]), float(xy[1]), h, v)
            length, width, _ = user.plan.size_m
            count = max(1, round(length / width))
            reach = (length - width) / 2
            is_walker = user.plan.kind.name in WALKERS
            for offset in np.linspace(-reach, reach, count) if count > 1 else (0.0,):
                centre.append(xy + offset * forward)
                radius.append(width / 2)
                owner.append(user.index)
                velocity.append(v * forward)
                walker.append(is_walker)
            light = is_walker or user.plan.kind.name in RIDERS
            in_box = max(abs(float(xy[0])), abs(float(xy[1]))) < BOX_U_M
            if v > 0.5 and user.index not in held and (light or in_box):
                for horizon in (0.8, 1.6):
                    ahead.append((xy + horizon * v * forward, width / 2, user.index, h, is_walker))
        self.centre, self.radius = np.array(centre).reshape(-1, 2), np.array(radius)
        self.owner, self.velocity = np.array(owner, np.int64), np.array(velocity).reshape(-1, 2)
        self.walker = np.array(walker, bool)
        self.ahead_centre = np.array([a[0] for a in ahead]).reshape(-1, 2)
        self.ahead_radius, self.ahead_owner = np.array([a[1] for a in ahead]), np.array([a[2] for a in ahead], np.int64)
        self.ahead_heading = np.array([a[3] for a in ahead])

    def obstacle(self, user: RoadUser) -> tuple[float, float]:
        """Gap in m to the first body in the user's corridor and that body's speed along it (inf, 0: free)."""
        s, v = user.s_m[-1], user.v_mps[-1]
        path, kind = user.plan.route.path, user.plan.kind
        is_walker = kind.name in WALKERS
        look = 2.5 if is_walker else 6.0 + 1.8 * v + v * v / 5.0
        front = user.plan.size_m[0] / 2
        step = 0.5 if is_walker else 1.0
        offsets = np.arange(max(front - 0.5, 0.0), front + look, step)
        line, headings = path.at(s + offsets)
        x, y, heading, _ = self.pose[user.index]
        reach = user.plan.size_m[1] / 2 + (0.05 if is_walker else _MARGIN_M)
        near = (np.abs(self.centre - (x, y)).max(axis=1) < look + front + 3.0) & (self.owner != user.index)
        gap, speed = np.inf, 0.0
        if is_walker:
            # Pedestrians pass each other sideways; they mind wheels, and people walking the same way.
            same_way = (self.velocity @ np.array([np.cos(heading), np.sin(heading)])) > 0.3
            near &= ~self.walker | same_way
        if near.any():
            index = np.flatnonzero(near)
            d = np.linalg.norm(line[:, None] - self.centre[None, index], axis=2)
            hit = d < reach + self.radius[index]
            rows = np.flatnonzero(hit.any(axis=1))
            if len(rows):
                k = rows[0]
                j = index[np.flatnonzero(hit[k])[0]]
                gap = float(offsets[k]) - front
                speed = float(self.velocity[j] @ np.array([np.cos(headings[k]), np.sin(headings[k])]))
        if not is_walker and len(self.ahead_owner):
            crossing = np.abs(np.sin(self.ahead_heading - heading)) > 0.42
            index = np.flatnonzero(crossing & (self.ahead_owner != user.index))
            if len(index):
                d = np.linalg.norm(line[:, None] - self.ahead_centre[None, index], axis=2)
                rows = np.flatnonzero((d < reach + self.ahead_radius[index]).any(axis=1))
                if len(rows) and float(offsets[rows[0]]) - front < gap:
                    gap, speed = float(offsets[rows[0]]) - front, 0.0
        return gap, max(speed, 0.0)


def _idm(v: float, v0: float, gap: float, leader: float, kind: Kind) -> float:
    """Acceleration of the intelligent driver model in m/s2."""
    a, b = kind.acceleration_mps2, _COMFORT_MPS2
    free = 1.0 - (v / max(v0, 0.1)) ** 4
    if not np.isfinite(gap):
        return float(max(a * free, -b))
    wanted = kind.standstill_m + max(0.0, v * kind.headway_s + v * (v - leader) / (2 * np.sqrt(a * b)))
    return float(np.clip(a * (free - (wanted / max(gap, 0.05)) ** 2), -_HARDEST_MPS2, a))


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
                return gap + user.plan.kind.standstill_m
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
    xy, _ = plan.route.path.at(plan.start_s_m)
    for user in present:
        other, _ = user.plan.route.path.at(user.s_m[-1])
        walkers = plan.kind.name in WALKERS or user.plan.kind.name in WALKERS
        clear = 0.9 if walkers else (plan.size_m[0] + user.plan.size_m[0]) / 2 + 3.0
        beside = abs(float(np.hypot(*(other - xy))))
        if beside < clear and (walkers or _same_lane(plan, user, xy, other)):
            return False
    return True


def _same_lane(plan: Plan, user: RoadUser, xy: Float, other: Float) -> bool:
    """Whether two centres lie less than a lane apart sideways."""
    _, heading = plan.route.path.at(plan.start_s_m)
    d = other - xy
    across = abs(float(-np.sin(heading) * d[0] + np.cos(heading) * d[1]))
    return across < (plan.size_m[1] + user.plan.size_m[1]) / 2 + 0.3


__all__ = ["TIME_STEP_S", "Plan", "RoadUser", "simulate"]
