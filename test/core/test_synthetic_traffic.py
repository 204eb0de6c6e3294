"""Synthetic traffic: nobody drives through anybody, everybody stops at red, the same seed moves the same way."""

from __future__ import annotations

import numpy as np
import pytest

from cooptrack_core.data.synthetic import layout, population
from cooptrack_core.data.synthetic.catalog import KINDS, WALKERS
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.paths import Path
from cooptrack_core.data.synthetic.scene import Scene, make_scene
from cooptrack_core.data.synthetic.selection import overlap_count
from cooptrack_core.data.synthetic.signals import CYCLE_S, GREEN_S, GROUPS, YELLOW_S, Signals
from cooptrack_core.data.synthetic.traffic import TIME_STEP_S, Plan, simulate
from cooptrack_core.types import CooptrackError

SHORT = SceneOptions(seed=3, duration_s=3.0, renderer="none", width_px=192, height_px=108)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(SHORT, 0)


def plan(kind: str, route: layout.Route, s_m: float, speed_mps: float, birth_s: float = 0.0) -> Plan:
    return Plan(KINDS[kind], route, birth_s, s_m, speed_mps, KINDS[kind].size_m, (1.0, 1.0, 1.0))


def test_no_two_bodies_overlap(scene: Scene) -> None:
    assert all(overlap_count(scene.users, float(t)) == 0 for t in np.arange(0.0, 3.01, 0.1))


def test_nobody_crosses_a_stop_line_at_red(scene: Scene) -> None:
    crossings = 0
    for user in scene.users:
        route, front = user.plan.route, user.plan.size_m[0] / 2
        for line, group in zip(route.stop_s_m, route.signals, strict=True):
            ahead = np.flatnonzero(np.array(user.s_m) + front > line)
            if len(ahead) == 0 or ahead[0] == 0:
                continue
            crossings += 1
            time_s = user.plan.birth_s + (ahead[0] - 1) * TIME_STEP_S
            if route.movement == "walk":
                assert scene.signals.may_walk(group, time_s - TIME_STEP_S)
            else:
                assert scene.signals.state(group, time_s) != "red", (user.plan.kind.name, route.name, time_s)
    assert crossings > 5


def test_vehicle_waits_before_the_stop_line_until_green() -> None:
    route = layout.vehicle_route("south", 1, "through")
    signals = Signals("EW-through", 0.0)
    (user,) = simulate([plan("sedan", route, 40.0, 11.0)], signals, 0.0, 50.0)
    red_until = sum(GREEN_S[g] + 5.0 for g in ("EW-through", "EW-left"))
    fronts = np.array(user.s_m) + user.plan.size_m[0] / 2
    times = user.plan.birth_s + np.arange(len(fronts)) * TIME_STEP_S
    waiting = fronts[times < red_until]
    assert waiting.max() <= route.stop_s_m[0]
    assert waiting.max() > route.stop_s_m[0] - 3.0
    assert fronts[-1] > route.stop_s_m[0] + 20.0


def test_follower_keeps_its_distance_to_a_standing_vehicle() -> None:
    route = layout.vehicle_route("west", 1, "through")
    parked = Plan(**{**plan("city_bus", route, 80.0, 0.0).__dict__, "parked": True})
    bus, car = simulate([parked, plan("sedan", route, 20.0, 12.0)], Signals("NS-through", 0.0), 0.0, 25.0)
    gap = bus.s_m[-1] - car.s_m[-1] - (bus.plan.size_m[0] + car.plan.size_m[0]) / 2
    assert 0.5 < gap < 6.0
    assert car.v_mps[-1] < 0.05


def test_signals_never_show_two_groups_green_and_give_each_its_time() -> None:
    signals = Signals("EW-left", -7.3)
    times = np.arange(0.0, CYCLE_S, 0.1)
    states = np.array([[signals.state(group, float(t)) for group in GROUPS] for t in times])
    assert ((states != "red").sum(axis=1) <= 1).all()
    for k, group in enumerate(GROUPS):
        assert (states[:, k] == "green").sum() * 0.1 == pytest.approx(GREEN_S[group], abs=0.2)
        assert (states[:, k] == "yellow").sum() * 0.1 == pytest.approx(YELLOW_S, abs=0.2)


def test_same_seed_gives_the_same_motion_and_another_seed_another(scene: Scene) -> None:
    again = make_scene(SHORT, 0)
    assert [u.s_m for u in again.users] == [u.s_m for u in scene.users]
    other = population.draw(np.random.default_rng([4, 0, 0]), 3.0)
    assert [p.start_s_m for p in other.plans] != [u.plan.start_s_m for u in scene.users]


def test_everybody_moves_smoothly(scene: Scene) -> None:
    for user in scene.users:
        v = np.array(user.v_mps)
        assert (v >= 0).all()
        assert np.abs(np.diff(v)).max(initial=0.0) <= 7.0 * TIME_STEP_S + 1e-9
        start = max(0.0, user.plan.birth_s)
        p = np.array([user.pose(t)[:2] for t in np.arange(start, min(user.end_s, 3.0), 0.02)])
        if len(p) > 1:
            assert np.hypot(*np.diff(p, axis=0).T).max() <= 0.02 * (v.max() + 0.5)


def test_cast_has_all_classes_over_a_few_seeds_and_parked_occluders() -> None:
    kinds = set()
    for seed in range(4):
        cast = population.draw(np.random.default_rng([seed, 0, 0]), 10.0)
        kinds |= {p.kind.raw_type for p in cast.plans}
        assert sum(p.ego for p in cast.plans) == 1
        assert any(p.parked for p in cast.plans)
    assert kinds >= {"Car", "Truck", "Van", "Bus", "Cyclist", "Motorcyclist", "Tricyclist", "Pedestrian"}


def test_pedestrians_stand_on_the_raised_sidewalk_and_walk_down_to_the_road(scene: Scene) -> None:
    heights = {True: [], False: []}
    for user in scene.users:
        if user.plan.kind.name in WALKERS and user.exists(1.0):
            x, y, _, _ = user.pose(1.0)
            heights[min(abs(x), abs(y)) > layout.KERB_V_M + 1.0].append(layout.ground_z_m(x, y))
    assert heights[True]
    assert all(z == pytest.approx(layout.SIDEWALK_Z_M) for z in heights[True])
    assert layout.ground_z_m(0.0, 30.0) == 0.0


def test_path_goes_straight_on_beyond_its_ends_and_point_agrees_with_at() -> None:
    path = Path([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)])
    for s in (-3.0, 0.0, 4.2, 9.9, 15.0, path.length_m, path.length_m + 2.5):
        xy, heading = path.at(s)
        assert path.point(s) == pytest.approx((*xy, heading), abs=1e-9)
    assert path.point(-3.0)[:2] == pytest.approx((-3.0, 0.0), abs=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"sequences": 0}, {"rate_hz": 0.5}, {"duration_s": 0.05}, {"width_px": 10}, {"supersample": 3.0},
        {"renderer": "blender"}, {"split": "test"}, {"jpeg_quality": 5}, {"point_clouds": "dense"},
    ],
)  # fmt: skip
def test_impossible_options_are_refused_in_one_line(change: dict[str, object]) -> None:
    with pytest.raises(CooptrackError, match=r"synthesize: --[a-z-]+: .* is not possible|needs 2 frames") as info:
        SceneOptions(**change)  # type: ignore[arg-type]
    assert "\n" not in str(info.value)
