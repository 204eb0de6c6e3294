"""A drive made by hand with a sender that an attack can speak for: cars that both sides see, and cars that one sees."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
from disturbed_drives import ROADSIDE_KNOWN_NS, T_MAP_FROM_ROADSIDE, VEHICLE_KNOWN_NS, Event
from scenarios import cars, frame, yawed
from simulated import UNIT

from cooptrack_core.config import VehicleConfig, from_parameters
from cooptrack_core.cooperation.attack import Attack, Attacker
from cooptrack_core.offline import OfflineFrame, make_agents, run
from cooptrack_core.pipeline import VehicleAgent

FRAMES = 110


def cars_in_map(k: int) -> dict[str, tuple[float, float]]:
    """Where everybody is in frame k: a row of cars ahead of the vehicle, crossing ones, and some it cannot see."""
    t = 0.1 * k
    return {
        "ahead": (20.0 + 4.0 * t, 0.0), "left": (26.0 + 2.0 * t, 3.5), "right": (24.0 + 3.0 * t, -4.0),
        "far": (48.0 + 4.0 * t, 1.0), "hidden": (30.0, 22.0 - 1.0 * t), "behind": (-8.0 + 4.0 * t, 0.5),
    }  # fmt: skip


VEHICLE_SEES = ("ahead", "left", "right", "far")


@functools.cache
def _events(frames: int, seed: int) -> tuple[Event, ...]:
    rng, events = np.random.default_rng(seed), []
    for k in range(frames):
        T_vehicle, places = yawed(0.0, 0.4 * k, 0.0), cars_in_map(k)
        for agent, T, known_ns, names in (
            ("rsu", T_MAP_FROM_ROADSIDE, ROADSIDE_KNOWN_NS, tuple(places)),
            ("vehicle", T_vehicle, VEHICLE_KNOWN_NS, VEHICLE_SEES),
        ):
            seen = [(np.linalg.inv(T) @ (*places[name], 0.0, 1.0))[:2] for name in names]
            made = frame(k, cars(*[place + 0.1 * rng.standard_normal(2) for place in seen]), T)
            events.append(Event(agent, made.stamp_ns + known_ns, made))
    return tuple(events)


def drive(frames: int = FRAMES, seed: int = 5) -> list[Event]:
    """A vehicle at 4 m/s whose detector misses nothing ahead, and a unit that sees all; noise of 0.1 m."""
    return list(_events(frames, seed))


def driven(attack: str = "", events: list[Event] | None = None, **values) -> tuple[VehicleAgent, list[OfflineFrame]]:
    """The vehicle and its frames. values: of the attack, and with a dot in them of the vehicle's configuration."""
    config = {"mode": "late", "detector": "simulated"} | {name: v for name, v in values.items() if "." in name}
    strength = {name: value for name, value in values.items() if "." not in name}
    vehicle, units = make_agents("vehicle", ("rsu",), from_parameters(VehicleConfig, config), UNIT)
    attacker = Attacker(replace(Attack(name=attack), **strength), "0001") if attack else None
    return vehicle, list(run(events or drive(), vehicle, units, attacker=attacker))


def quarantines(frames: list[OfflineFrame]) -> list[tuple[int, bool, str]]:
    """Frame, whether it is a quarantine or a return, and the cause."""
    return [(k, v.quarantined, v.cause) for k, item in enumerate(frames) for v in item.output.verdicts]


__all__ = ["FRAMES", "cars_in_map", "drive", "driven", "quarantines"]
