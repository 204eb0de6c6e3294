"""Runs with disturbed messages: what they leave as it was, and how age, refusals and loss show in the result."""

from __future__ import annotations

import json

import numpy as np
import pytest
from disturbed_drives import FRAMES, ages_ms, disturbed, drive, refusals, tracked
from fake_networks import fake_networks
from simulated import LATE, UNIT, simulated_run
from tiny_spd import TinySpd

from cooptrack_core import cli
from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE, Disturbance
from cooptrack_core.evaluation.run import SequenceRunner
from cooptrack_core.offline import make_agents, run


@pytest.fixture(scope="module")
def spd_with_images(tmp_path_factory):
    """Two sequences of 8 frames."""
    return TinySpd(tmp_path_factory.mktemp("data") / "spd", sequences=("0003", "0007"), frames=8).write()


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
    late = disturbed(delay_ms=1700.0)
    assert tracks(late) == tracks(tracked(drive(), "ego"))
    assert refusals(late).keys() == {"stale"} and refusals(late)["stale"] >= FRAMES - 19


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


@pytest.mark.parametrize("mode", ["learned", "distance"])
def test_a_network_without_messages_tracks_exactly_as_in_mode_ego(spd_with_images, mode):
    runner = SequenceRunner(simulated_run(spd_with_images, sequences=("0003",)), networks=fake_networks)
    unit = RoadsideConfig(detector="network")
    alone, heard, lost = (
        runner.run("0003", VehicleConfig(mode=name, detector="network"), unit, disturbance)
        for name, disturbance in (("ego", NO_DISTURBANCE), (mode, NO_DISTURBANCE), (mode, Disturbance(loss=1.0)))
    )
    assert lost["channel"] == {"disturbance": "100 % of messages lost, seed 0", "sent": 8, "lost": 8, "arrived": 0}
    assert tracks(lost["frames"]) == tracks(alone["frames"]) != tracks(heard["frames"])


@pytest.mark.parametrize("disturbance", [{}, EVERYTHING], ids=["none", "everything"])
def test_the_track_command_disturbs_as_an_evaluation_does(spd_with_images, tmp_path, disturbance):
    options = [text for name, value in disturbance.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = ["track", str(spd_with_images), "--sequence", "0007", "--detector", "simulated"]
    command += ["-o", str(tmp_path / "r.json"), *options]
    assert cli.main(command) == 0
    tracked_by_command = json.loads((tmp_path / "r.json").read_text())
    run = SequenceRunner(simulated_run(spd_with_images)).run("0007", disturbance=Disturbance(**disturbance))
    assert tracks(tracked_by_command["frames"]) == tracks(run["frames"])
    assert tracked_by_command.get("channel") == run.get("channel") and ("channel" in run) == bool(disturbance)


def test_a_repeated_run_takes_no_disturbance(spd_with_images, tmp_path, capsys):
    command = ["track", str(spd_with_images), "--sequence", "0007", "--schedule", str(tmp_path), "--loss", "0.1"]
    assert cli.main(command) == 2
    assert capsys.readouterr().err == (
        "cooptrack track: error: --schedule: repeats the messages of a recorded run; leave out what disturbs messages\n"
    )


def test_what_was_sent_is_reported_as_it_was_sent():
    sent = {}
    for name, disturbance in (("plain", {}), ("disturbed", EVERYTHING)):
        vehicle, units = make_agents("vehicle", ("rsu",), LATE, UNIT)
        got = sent.setdefault(name, [])
        channel = Channel(Disturbance(**disturbance), "0001")
        list(run(drive(), vehicle, units, channel=channel, on_message=got.append))
        assert channel.counts["sent"] == FRAMES
    a, b = ([(m.stamp_ns, len(m.instances), m.T_map_from_sensor.tolist()) for m in sent[name]] for name in sent)
    assert a == b
