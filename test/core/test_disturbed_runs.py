"""Runs with disturbed messages: what they leave as it was, and how age, refusals and loss show in the result."""

from __future__ import annotations

import json

import numpy as np
import pytest
from disturbed_drives import FRAMES, ages_ms, disturbed, drive, refusals, tracked

from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.disturbance import Disturbance


def tracks(frames: list[dict]) -> list[list[dict]]:
    return [frame["tracks"] for frame in frames]


def test_no_disturbance_gives_byte_for_byte_the_undisturbed_run():
    plain = tracked(drive())
    assert json.dumps(disturbed()) == json.dumps(plain)
    assert json.dumps(disturbed(seed=7)) == json.dumps(plain)
    assert sum(len(frame["messages"]) for frame in plain) == FRAMES


EVERYTHING = {
    "delay_ms": 80.0, "jitter_ms": 250.0, "loss": 0.3, "burst": 2.0, "instance_loss": 0.2, "position_noise_m": 0.5,
    "yaw_noise_deg": 1.0, "noise_correlation_s": 1.0, "clock_offset_ms": 30.0, "drop_roadside": 0.2, "async_frames": 1,
}  # fmt: skip


def test_equal_seeds_give_equal_runs_and_other_seeds_or_sequences_others():
    first = json.dumps(disturbed(**EVERYTHING, seed=3))
    assert first == json.dumps(disturbed(**EVERYTHING, seed=3))
    assert first != json.dumps(disturbed(**EVERYTHING, seed=4))
    assert first != json.dumps(disturbed("0002", **EVERYTHING, seed=3))


@pytest.mark.parametrize("name", ["loss", "drop_roadside"])
def test_without_any_message_the_tracks_are_exactly_those_of_mode_ego(name):
    ego = tracks(tracked(drive(), "ego"))
    assert tracks(disturbed(**{name: 1.0})) == ego
    assert tracks(tracked(drive())) != ego


def test_messages_that_are_too_late_are_refused_as_stale_and_leave_mode_ego():
    late = disturbed(delay_ms=600.0)
    assert tracks(late) == tracks(tracked(drive(), "ego"))
    assert refusals(late).keys() == {"stale"} and refusals(late)["stale"] >= FRAMES - 8


@pytest.mark.parametrize("delay_ms", [100.0, 200.0, 300.0])
def test_a_delay_adds_itself_to_the_age_of_the_messages_used(delay_ms):
    plain, late = ages_ms(disturbed()), ages_ms(disturbed(delay_ms=delay_ms))
    assert np.mean(late) - np.mean(plain) == pytest.approx(delay_ms, abs=1e-6)
    assert len(plain) - len(late) == delay_ms / 100


def test_overtaken_messages_are_refused_by_their_number_and_counted():
    run = disturbed(jitter_ms=350.0, frames=200)
    refused = refusals(run)
    used = [use["sequence"] for frame in run for use in frame["messages"]]
    assert refused["out_of_order"] > 10 and used == sorted(set(used))
    assert refusals(disturbed(jitter_ms=90.0)) == {}


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_async_frames_are_frames_of_age(frames):
    assert set(ages_ms(disturbed(async_frames=frames))) == {100.0 * frames}


def test_a_clock_ahead_looks_like_younger_messages_and_one_behind_like_older():
    plain = np.mean(ages_ms(disturbed()))
    for offset_ms in (-200.0, 90.0):
        assert np.mean(ages_ms(disturbed(clock_offset_ms=offset_ms))) == pytest.approx(plain - offset_ms)


def test_noise_of_the_senders_pose_moves_what_it_sees_and_never_the_vehicles_own():
    events = drive()
    for name, value in (("position_noise_m", 2.0), ("yaw_noise_deg", 5.0)):
        noisy = tracked(events, channel=Channel(Disturbance(**{name: value}), "0001"))
        plain = tracked(events)
        moved = [abs(a["center_m"][k] - b["center_m"][k])
                 for x, y in zip(plain, noisy, strict=True)
                 for a in x["tracks"] for b in y["tracks"] for k in (0, 1)
                 if a["id"] == b["id"] and a["sources_ever"] == 2]  # fmt: skip
        assert max(moved) > 0.5
        assert [frame["T_map_from_lidar"] for frame in noisy] == [frame["T_map_from_lidar"] for frame in plain]
        # With a noise that nothing can be paired through, what the vehicle sees alone stays where it was.
    far = tracked(events, channel=Channel(Disturbance(position_noise_m=1000.0), "0001"))
    ego = tracked(events, "ego")
    own = [[t["center_m"] for t in frame["tracks"] if not t["sources_ever"] & 2] for frame in far]
    alone = [[t["center_m"] for t in frame["tracks"]] for frame in ego]
    shared = sum(place in b for a, b in zip(own, alone, strict=True) for place in a)
    assert shared >= 0.9 * sum(map(len, alone))


def test_the_outage_of_a_drive_is_known_from_its_frames():
    run = disturbed(drop_roadside=0.5, frames=100)
    without = np.array([not frame["messages"] for frame in run])
    assert without.mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(np.diff(without.astype(int))).sum() <= 2


def test_what_was_sent_is_reported_as_it_was_sent():
    from cooptrack_core.config import RoadsideConfig, VehicleConfig
    from cooptrack_core.offline import make_agents, run

    sent = {}
    for name, disturbance in (("plain", {}), ("disturbed", EVERYTHING)):
        vehicle, units = make_agents("vehicle", ("rsu",), VehicleConfig(), RoadsideConfig())
        got = sent.setdefault(name, [])
        channel = Channel(Disturbance(**disturbance), "0001")
        list(run(drive(), vehicle, units, channel=channel, on_message=got.append))
        assert channel.counts["sent"] == FRAMES
    a, b = ([(m.stamp_ns, len(m.instances), m.T_map_from_sensor.tolist()) for m in sent[name]] for name in sent)
    assert a == b
