"""Sweeps of the robustness curves: which points there are, and what a wrong grid gets."""

from __future__ import annotations

import pytest

from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE, Disturbance
from cooptrack_core.evaluation.disturbance_sweeps import SWEEPS, chosen, draws, seeds_of
from cooptrack_core.types import CooptrackError

PROTOCOLS = {
    "delay": "delay_ms", "jitter": "jitter_ms", "loss": "loss", "burst": "burst", "instance-loss": "instance_loss",
    "position-noise": "position_noise_m", "yaw-noise": "yaw_noise_deg", "clock-offset": "clock_offset_ms",
    "drop-roadside": "drop_roadside", "async": "async_frames",
}  # fmt: skip


def test_every_protocol_has_a_sweep_that_begins_without_disturbance():
    assert {name: sweep.parameter for name, sweep in SWEEPS.items()} == PROTOCOLS
    for sweep in SWEEPS.values():
        assert 0 in sweep.values and len(sweep.values) >= 4
        start = sweep.disturbance(0)
        assert start.is_none if sweep.name != "burst" else start == Disturbance(loss=0.3)


def test_a_point_disturbs_by_its_value_and_takes_seed_and_correlation_from_the_common_ones():
    common = Disturbance(position_noise_m=1.0, noise_correlation_s=2.0, seed=5)
    assert SWEEPS["loss"].disturbance(0.3, common) == Disturbance(loss=0.3, seed=5)
    assert SWEEPS["burst"].disturbance(10, common) == Disturbance(loss=0.3, burst=10.0, seed=5)
    assert SWEEPS["async"].disturbance(2.0, common) == Disturbance(async_frames=2)
    noisy = Disturbance(yaw_noise_deg=2.0, noise_correlation_s=2.0, seed=5)
    assert SWEEPS["yaw-noise"].disturbance(2, common) == noisy


def test_points_without_chance_are_run_once_and_the_others_with_every_seed():
    fixed = [Disturbance(delay_ms=1.0), Disturbance(loss=1.0), Disturbance(drop_roadside=1.0), Disturbance(
        clock_offset_ms=-5.0), Disturbance(async_frames=1), NO_DISTURBANCE, Disturbance(instance_loss=1.0)]  # fmt: skip
    assert all(not draws(item) and list(seeds_of(item, 3)) == [item] for item in fixed)
    random = Disturbance(jitter_ms=1.0, seed=7)
    assert [item.seed for item in seeds_of(random, 3)] == [7, 8, 9]


def test_grids_replace_values_and_alone_choose_the_sweeps():
    assert [sweep.name for sweep in chosen(None, ())] == list(SWEEPS)
    assert [sweep.name for sweep in chosen("loss,delay", ())] == ["loss", "delay"]
    (delay,) = chosen(None, ["delay=0,70"])
    assert (delay.name, delay.values) == ("delay", (0.0, 70.0))
    both = chosen("loss,delay", ["delay=5"])
    assert [sweep.values for sweep in both] == [SWEEPS["loss"].values, (5.0,)]


def test_independent_losses_stand_at_the_burst_length_of_chance():
    assert SWEEPS["burst"].place(0) == pytest.approx(1 / 0.7) and SWEEPS["burst"].label(0) == "1.4 (chance)"
    assert SWEEPS["burst"].place(5) == 5 and SWEEPS["clock-offset"].label(50) == "+50"


@pytest.mark.parametrize(
    ("only", "grid", "expected"),
    [
        ("", [], "--only: names no disturbance; choose among delay, "),
        (",", ["delay=1"], "--only: names no disturbance"),
        ("wind", [], "--only: 'wind' is no disturbance; choose among delay, "),
        (None, ["wind=1"], "--grid: 'wind' is no disturbance; choose among delay, "),
        ("loss", ["delay=1"], "--grid: delay is not among --only loss; name it there or leave its grid out"),
        (None, ["delay"], "--grid: 'delay' is not NAME=VALUE,VALUE,...; for example delay=0,100,200"),
        (None, ["delay="], "--grid: 'delay=' is not NAME=VALUE,VALUE,..."),
        (None, ["delay=soon"], "--grid: 'delay=soon' is not NAME=VALUE,VALUE,..."),
        (None, ["loss=0,1.5"], "disturbance --loss: 1.5 is outside 0 .. 1; choose a value in between"),
        (None, ["loss=nan"], "disturbance --loss: nan is outside 0 .. 1; choose a value in between"),
        (None, ["async=1.5"], "--grid: async: 1.5 is not a whole number; give whole numbers"),
        (None, ["async=nan"], "--grid: async: nan is not a whole number; give whole numbers"),
        (None, ["burst=0.2"], "disturbance --burst: 0.2 is too short"),
    ],
)
def test_a_wrong_choice_is_one_line_that_names_it(only, grid, expected):
    with pytest.raises(CooptrackError) as caught:
        chosen(only, grid)
    assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)
