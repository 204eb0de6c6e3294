"""More than one vehicle and roadside unit in the same traffic: pairs that look at it from other places.

Each pair is a dataset of its own in the V2X-Seq-SPD layout, which knows one vehicle and one unit. Traffic, place in the
world and the ids of the cooperative labels are the same in all, so that a bag can hold them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cooptrack_core.data.synthetic.catalog import CARS
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.scene import Scene
from cooptrack_core.data.synthetic.selection import views_of
from cooptrack_core.data.synthetic.sensors import Rig
from cooptrack_core.data.synthetic.traffic import RoadUser
from cooptrack_core.types import CooptrackError

_BEFORE_S, _AFTER_S = 0.4, 0.6  # poses around the frames
_REACH_M = 45.0  # from the middle of the intersection: where vehicles have something to tell each other


def another(first: Scene, options: SceneOptions, rig: Rig) -> Scene:
    """The traffic of pair 0 with the vehicle, the unit and the rig of pair options.pair."""
    chosen = _instrumented(first, options, rig)[options.pair - 1]
    users = [_driven(user, user.index == chosen.index) for user in first.users]
    return Scene(options, first.number, users, first.signals, chosen.plan.route.movement, rig, first.attempt)


def _driven(user: RoadUser, ego: bool) -> RoadUser:
    return RoadUser(replace(user.plan, ego=ego), user.index, user.s_m, user.v_mps)


def _instrumented(first: Scene, options: SceneOptions, rig: Rig) -> Sequence[RoadUser]:
    """The cars that could carry the sensors of further pairs, from other arms first, by what they see."""
    own_arm, times = first.ego.plan.route.arm, np.linspace(0.0, options.duration_s, 6)
    rated: list[tuple[bool, float, int, RoadUser]] = []
    for user in first.users:
        plan = user.plan
        there = user.exists(-_BEFORE_S) and user.exists(options.duration_s + _AFTER_S)
        if plan.ego or plan.parked or plan.kind.name not in CARS or not there:
            continue
        near = [float(np.hypot(*user.pose(float(t))[:2])) < _REACH_M for t in times]
        if np.mean(near) < 0.5:
            continue
        seen = float(np.mean([views_of(first.users, user, rig, options, float(t)) for t in times]))
        rated.append((plan.route.arm != own_arm, seen, -user.index, user))
    if len(rated) < options.pairs - 1:
        what = f"only {len(rated) + 1} cars are there during all of sequence {first.number}"
        raise CooptrackError(
            f"synthesize: --pairs: {options.pairs} is not possible; {what}; give fewer, or another seed"
        )
    return [entry[-1] for entry in sorted(rated, key=lambda entry: entry[:3], reverse=True)]


__all__ = ["another"]
