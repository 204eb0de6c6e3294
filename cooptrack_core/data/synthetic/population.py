"""Who is on the road: the cast of one sequence, drawn from a seeded generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cooptrack_core.data.synthetic import layout
from cooptrack_core.data.synthetic.catalog import CARS, EGO_KIND, KINDS, MOTOR, PALETTES, RIDERS, TALL, WALKERS, Kind
from cooptrack_core.data.synthetic.layout import ARMS, Route
from cooptrack_core.data.synthetic.paths import Path
from cooptrack_core.data.synthetic.signals import Signals
from cooptrack_core.data.synthetic.traffic import Plan

WARM_UP_S = 20.0
EGO_BIRTH_S = -5.0
_EGO_START_U_M = 90.0


@dataclass(frozen=True)
class Cast:
    """All plans of a sequence, the lights, and what the ego vehicle does (through, left or right)."""

    plans: list[Plan]
    signals: Signals
    manoeuvre: str


class _Casting:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.plans: list[Plan] = []

    def kind(self, names: Sequence[str]) -> Kind:
        weights = np.array([KINDS[n].weight for n in names])
        return KINDS[names[int(self.rng.choice(len(names), p=weights / weights.sum()))]]

    def add(self, kind: Kind, route: Route, birth_s: float, start_s_m: float, speed_mps: float, **extra: bool) -> None:
        spread = 0.05 if kind.name in WALKERS else 0.025
        factor = 1.0 + float(self.rng.uniform(-spread, spread))
        palette = PALETTES[kind.colours]
        paint = palette[int(self.rng.integers(len(palette)))]
        pace = float(self.rng.uniform(0.88, 1.12))
        length, width, height = (round(d * factor, 3) for d in kind.size_m)
        plan = Plan(kind, route, birth_s, start_s_m, speed_mps, (length, width, height), paint, pace, **extra)
        self.plans.append(plan)

    def traffic(
        self, arm: str, lane: int, movement: str, names: Sequence[str], births: Sequence[tuple[float, float]]
    ) -> None:
        """Vehicles of one lane at (birth time, u)."""
        for birth_s, u_m in births:
            route = layout.vehicle_route(arm, lane, movement)
            # A long vehicle would swing into the next lane on the tight right turn.
            kind = self.kind(CARS if movement == "right" else names)
            speed = kind.speed_mps * (0.8 if u_m > 60 else 0.5)
            self.add(kind, route, birth_s, layout.ARM_LENGTH_M - u_m, speed)


def draw(rng: np.random.Generator, duration_s: float) -> Cast:
    """The cast of one sequence of this length."""
    cast = _Casting(rng)
    manoeuvre = ("through", "through", "left", "right")[int(rng.integers(4))]
    group = "NS-left" if manoeuvre == "left" else "NS-through"
    signals = Signals(group, float(rng.uniform(-2.8, -0.8) if manoeuvre != "left" else rng.uniform(-2.0, -0.5)))
    ego_lane = {"through": 1, "left": 0, "right": 2}[manoeuvre]
    route = layout.vehicle_route("south", ego_lane, manoeuvre)
    ego_start = layout.ARM_LENGTH_M - _EGO_START_U_M
    # The test vehicle keeps a larger distance than others, which also leaves it something to see.
    careful = replace(KINDS[EGO_KIND], standstill_m=5.5, headway_s=1.7)
    cast.add(careful, route, EGO_BIRTH_S, ego_start, 10.0, ego=True)
    for arm in ARMS:
        _motor_traffic(cast, arm, duration_s, ego_lane if arm == "south" else -1, manoeuvre)
        _leaving_traffic(cast, arm)
        _riders(cast, arm, duration_s)
        _walkers(cast, arm)
        _parked(cast, arm)
    return Cast(cast.plans, signals, manoeuvre)


def _motor_traffic(cast: _Casting, arm: str, duration_s: float, ego_lane: int, manoeuvre: str) -> None:
    rng = cast.rng
    tall_lane = int(rng.choice([lane for lane in range(3) if lane != ego_lane]))
    for lane in range(3):
        movement = ("left", "through", "through" if rng.random() < 0.6 else "right")[lane]
        if lane == ego_lane:
            _ego_lane(cast, arm, lane, movement, manoeuvre)
            continue
        beside = arm == "south"  # next to the ego vehicle the queues are long
        u = 46.0 + float(rng.uniform(0, 6))
        for place, likely in enumerate((1.0, 0.95, 0.5) if beside else (0.75, 0.6, 0.0)):
            tall = lane == tall_lane and place == (1 if beside and rng.random() < 0.5 else 0)
            if tall or rng.random() < likely:
                cast.traffic(arm, lane, movement, TALL if tall else CARS, [(-WARM_UP_S, u)])
            u += float(rng.uniform(14, 19))
        t = -WARM_UP_S + float(rng.uniform(6, 18))
        while t < duration_s:
            cast.traffic(arm, lane, movement, MOTOR, [(t, 128.0)])
            t += float(rng.uniform(9, 20))


def _ego_lane(cast: _Casting, arm: str, lane: int, movement: str, manoeuvre: str) -> None:
    """Two vehicles wait before the ego vehicle, the second often one that hides the first; two follow it."""
    rng = cast.rng
    cast.traffic(arm, lane, manoeuvre, CARS, [(-WARM_UP_S, 46.0 + float(rng.uniform(0, 5)))])
    hides = rng.random() < 0.6 and manoeuvre != "right"
    second = ("delivery_van", "minivan") if hides else ("sedan", "hatchback", "taxi")
    cast.traffic(arm, lane, manoeuvre, second, [(-WARM_UP_S, 66.0 + float(rng.uniform(0, 5)))])
    for birth_s in (-6.0 + float(rng.uniform(0, 2)), float(rng.uniform(2, 4))):
        cast.traffic(arm, lane, movement, CARS, [(birth_s, 130.0)])


def _leaving_traffic(cast: _Casting, arm: str) -> None:
    """Vehicles already past the intersection as the sequence begins, on their way out of the arm."""
    rng = cast.rng
    for lane in (1, 2):
        if rng.random() < 0.5:
            route = layout.vehicle_route(layout.OPPOSITE[arm], lane, "through")
            u = float(rng.uniform(24, 60))
            start = route.path.nearest(layout.from_arm(arm, u, layout.OUTBOUND_V_M[lane - 1]))
            cast.add(cast.kind(MOTOR), route, -4.0, start, 8.0)


def _riders(cast: _Casting, arm: str, duration_s: float) -> None:
    rng = cast.rng
    for birth in (-WARM_UP_S, -9.0, 1.0):
        if rng.random() < 0.62:
            route = layout.bike_route(arm, "through" if rng.random() < 0.75 else "right")
            kind = cast.kind(RIDERS)
            u = float(rng.uniform(55, 110)) if birth < -10 else float(rng.uniform(45, 70))
            cast.add(kind, route, birth, layout.ARM_LENGTH_M - u, 0.8 * kind.speed_mps)
    if rng.random() < 0.5:
        route = layout.bike_route(layout.OPPOSITE[arm], "through")
        kind = cast.kind(RIDERS)
        start = route.path.nearest(layout.from_arm(arm, float(rng.uniform(22, 70)), -layout.BIKE_V_M))
        cast.add(kind, route, -3.0, start, 0.8 * kind.speed_mps)


def _walkers(cast: _Casting, arm: str) -> None:
    rng = cast.rng
    for side in (-1.0, 1.0):
        for _ in range(int(rng.integers(0, 3))):
            inward = bool(rng.random() < 0.5)
            u = float(rng.uniform(30, 85))
            route = layout.walk_route(arm, side, False, inward, u, float(rng.uniform(-1.2, 1.2)))
            cast.add(cast.kind(WALKERS), route, -8.0, 0.0, 1.2)
        for _ in range(int(rng.integers(1, 3))):
            u = 18.6 + float(rng.uniform(8, 32))
            offset = side * float(rng.uniform(0.2, 1.3))
            route = layout.walk_route(arm, side, True, True, u, offset)
            cast.add(cast.kind(WALKERS), route, -WARM_UP_S + float(rng.uniform(0, 4)), 0.0, 1.2)


def _parked(cast: _Casting, arm: str) -> None:
    rng = cast.rng
    u = layout.PARKING_FROM_U_M + float(rng.uniform(0, 8))
    tall = int(rng.integers(0, 3))
    for place in range(int(rng.integers(1, 4))):
        kind = cast.kind(("delivery_van", "box_truck", "minivan") if place == tall else CARS)
        u += kind.size_m[0] / 2
        v = layout.PARKING_V_M - 0.15 * float(rng.uniform(-1, 1))
        ends = [layout.from_arm(arm, u - 3, v), layout.from_arm(arm, u + 3, v + 0.05 * float(rng.uniform(-1, 1)))]
        route = Route(f"{arm}-parked", arm, arm, "parked", Path(np.stack(ends)), (), ())
        cast.add(kind, route, -WARM_UP_S, 3.0, 0.0, parked=True)
        u += kind.size_m[0] / 2 + 1.2 + float(rng.exponential(5.0))


__all__ = ["EGO_BIRTH_S", "WARM_UP_S", "Cast", "draw"]
