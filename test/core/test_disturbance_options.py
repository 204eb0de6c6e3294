"""Disturbances as options: every field has one, values are checked in one line, the words say what was done."""

from __future__ import annotations

import argparse
from dataclasses import fields

import pytest

from cooptrack_core.commands.disturbance_options import add_disturbance_options, disturbance_of
from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE, Disturbance
from cooptrack_core.types import CooptrackError


def parsed(*arguments: str) -> Disturbance:
    parser = argparse.ArgumentParser()
    add_disturbance_options(parser)
    return disturbance_of(parser.parse_args(arguments))


def test_without_options_there_is_no_disturbance():
    assert parsed() == NO_DISTURBANCE and NO_DISTURBANCE.is_none and NO_DISTURBANCE.describe() == "none"
    assert parsed("--disturbance-seed", "9") == NO_DISTURBANCE


def test_every_field_has_its_option():
    values = {
        "delay_ms": 100.0, "jitter_ms": 50.0, "loss": 0.3, "burst": 4.0, "instance_loss": 0.1, "position_noise_m": 0.5,
        "yaw_noise_deg": 2.0, "noise_correlation_s": 1.5, "clock_offset_ms": -200.0, "drop_roadside": 0.25,
        "async_frames": 2, "duplicated": 0.1, "reordered": 0.1, "truncated": 0.1, "not_finite": 0.1,
        "wrong_version": 0.1, "emptied": 0.1, "crowded": 0.1, "seed": 11,
    }  # fmt: skip
    assert values.keys() == {item.name for item in fields(Disturbance)}
    options = [
        part
        for name, value in values.items()
        for part in ("--" + ("disturbance_seed" if name == "seed" else name).replace("_", "-"), str(value))
    ]
    assert parsed(*options) == Disturbance(**values)


def test_the_words_name_every_disturbance_and_the_seed():
    text = Disturbance(
        delay_ms=100.0, jitter_ms=50.0, loss=0.3, burst=4.0, position_noise_m=0.5, noise_correlation_s=2.0,
        clock_offset_ms=-200.0, async_frames=2, seed=11,
    ).describe()  # fmt: skip
    assert text == (
        "delay 100 ms, jitter 0 .. 50 ms, 30 % of messages lost in bursts of 4 messages on average, position noise "
        "0.5 m correlated over 2 s, sender's clock -200 ms, messages 2 frames older, seed 11"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--loss", "1.5"), "disturbance --loss: 1.5 is outside 0 .. 1; choose a value in between"),
        (("--loss", "nan"), "disturbance --loss: nan is outside 0 .. 1; choose a value in between"),
        (("--delay-ms", "-1"), "disturbance --delay-ms: -1.0 is outside 0 .. 10000; choose a value in between"),
        (("--delay-ms", "inf"), "disturbance --delay-ms: inf is outside 0 .. 10000; choose a value in between"),
        (("--async-frames", "-2"), "disturbance --async-frames: -2 is outside 0 .. 1000; choose a value in between"),
        (("--disturbance-seed", "-1"), "disturbance --disturbance-seed: -1 is outside"),
        (("--burst", "3"), "disturbance --burst: nothing gets lost; give --loss too"),
        (("--noise-correlation-s", "1"), "disturbance --noise-correlation-s: there is no noise; give"),
        (("--loss", "0.9", "--burst", "5"), "disturbance --burst: 5 is too short: with loss 0.9, bursts are at least"),
        (("--loss", "0.3", "--burst", "0.5"), "disturbance --burst: 0.5 is too short"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_with_the_option_and_the_remedy(arguments, expected):
    with pytest.raises(CooptrackError) as caught:
        parsed(*arguments)
    assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)


def test_bursts_of_the_shortest_possible_length_are_allowed():
    assert Disturbance(loss=0.9, burst=9.0).burst_probabilities() == pytest.approx((1.0, 1 - 1 / 9))
    assert Disturbance(loss=0.3).burst_probabilities() == (0.3, 0.3)
