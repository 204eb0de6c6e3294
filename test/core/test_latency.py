"""Instances of the past at the time of a frame: along an arc, with growing doubt, and not at all where nobody moves."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scenarios import STEP_NS, cars, frame, message, yawed

from cooptrack_core.commands.run_options import add_run_options, run_options
from cooptrack_core.config import LATENCY_METHODS, LatencyConfig, TrackerConfig, VehicleConfig
from cooptrack_core.cooperation.latency import propagate, reported_motion, standing
from cooptrack_core.cooperation.timing import Timing
from cooptrack_core.pipeline import VehicleAgent
from cooptrack_core.types import Instances, Motion


def motion(velocity, yaw_rate=0.0, variance=1.0):
    velocity = np.atleast_2d(np.asarray(velocity, float))
    return Motion(velocity, np.full(len(velocity), yaw_rate), np.full(velocity.shape, variance))


def test_a_turning_car_moves_along_its_circle():
    radius, rate = 20.0, 0.5  # 10 m/s, to the left about (0, 20)
    got = propagate(cars((0, 0), velocity_mps=np.array([[10.0, 0.0]])), 1.0, motion((10.0, 0.0), rate))
    np.testing.assert_allclose(got.center_m[0, :2], [radius * np.sin(rate), radius * (1 - np.cos(rate))])
    np.testing.assert_allclose(got.heading_rad, rate)
    np.testing.assert_allclose(got.velocity_mps, [[10 * np.cos(rate), 10 * np.sin(rate)]])


def test_forth_and_back_in_time_is_where_it_was():
    start = cars((3, 4), velocity_mps=np.array([[6.0, -2.0]]))
    there = propagate(start, 0.7, motion((6.0, -2.0), 0.3))
    turned = motion(there.velocity_mps, 0.3)
    back = propagate(there, -0.7, turned)
    np.testing.assert_allclose(back.center_m, start.center_m, atol=1e-12)
    np.testing.assert_allclose(back.heading_rad, start.heading_rad, atol=1e-12)


def test_doubt_grows_with_age_and_with_the_variance_of_the_velocity():
    start = cars((0, 0), position_variance_m2=np.full((1, 2), 0.25))
    variances = [propagate(start, dt, motion((5, 0), variance=v)).position_variance_m2[0, 0] for dt, v in
                 ((0.0, 1.0), (0.2, 1.0), (1.0, 1.0), (1.0, 4.0))]  # fmt: skip
    assert variances[0] == 0.25 and variances == sorted(variances)
    assert variances[2] == pytest.approx(0.25 + 1.0 + 0.25)


def test_what_stands_stays_and_an_unknown_velocity_is_none():
    unknown = cars((5, 5))  # NaN
    for moved in (propagate(unknown, 1.0, standing(1)), propagate(unknown, 1.0, reported_motion(unknown, 1.0))):
        np.testing.assert_array_equal(moved.center_m, unknown.center_m)
    assert len(propagate(Instances.empty(), 0.5, standing(0))) == 0


def driven(method: str, delay_frames: int, frames: int = 30, speed_mps: float = 10.0):
    """Distance of the vehicle's only track to the truth, by frame, of a car that only the roadside reports."""
    config = VehicleConfig(
        mode="late", detector="simulated", latency=LatencyConfig(method=method), tracker=TrackerConfig(birth_hits=1)
    )
    agent, off = VehicleAgent("vehicle", config), []
    for index in range(frames):
        if index >= delay_frames:
            sent = index - delay_frames
            seen = cars((-20 + speed_mps * 0.1 * sent, 8), instance_id=np.array([3]), age_frames=np.array([9]))
            assert agent.receive(message(sent, seen, point_range_m=()), 10**18 + index * STEP_NS) is None
        tracks = agent.step(frame(index, Instances.empty())).tracks
        off.append(abs(tracks.center_m[0, 0] - (-20 + speed_mps * 0.1 * index)) if len(tracks) else np.nan)
    return np.array(off)


def test_half_a_second_of_delay_costs_a_steady_car_next_to_nothing():
    assert driven("kinematic", 5)[-5:].max() < 0.15
    assert driven("none", 5)[-5:].min() > 3.0
    assert driven("reported", 5)[-5:].min() > 3.0  # these messages tell no velocity


def test_tracks_that_only_old_messages_feed_live_on_with_one_id():
    config = VehicleConfig(mode="late", detector="simulated", tracker=TrackerConfig(birth_hits=1))
    agent, ids = VehicleAgent("vehicle", config), []
    for index in range(40):
        if index >= 10:
            known = {"velocity_mps": np.array([[10.0, 0.0]]), "velocity_variance_m2ps2": np.full((1, 2), 0.25)}
            seen = cars((-20 + (index - 10), 8), instance_id=np.array([3]), age_frames=np.array([9]), **known)
            agent.receive(message(index - 10, seen, point_range_m=()), 10**18 + index * STEP_NS)
        ids.append(agent.step(frame(index, Instances.empty())).tracks.track_id.tolist())
    assert set(map(tuple, ids[13:])) == {(1,)}


def test_the_message_that_is_told_of_keeps_its_own_age():
    agent = VehicleAgent("vehicle", VehicleConfig(mode="late", detector="simulated"))
    agent.receive(message(0, cars((10, 0))), 10**18 + 3 * STEP_NS)
    output = agent.step(frame(3, Instances.empty()))
    assert [use.age_ms for use in output.associations.messages] == [300.0]


def test_the_same_run_of_given_messages_is_the_same_again():
    sent = [message(k, cars((k, 0), (30 - k, 5), instance_id=np.array([1, 2])), T=yawed(0.3, 4, 2)) for k in range(8)]
    runs = []
    for _ in range(2):
        agent = VehicleAgent("vehicle", VehicleConfig(mode="late", detector="simulated"))
        tracks = [agent.step(frame(k + 4, cars((k, 1))), [replace(sent[k])]).tracks for k in range(8)]
        runs.append([item.center_m.tolist() for item in tracks])
    assert runs[0] == runs[1]


def test_places_of_a_network_are_taken_to_lag_and_those_of_a_detector_outside_not():
    sent = message(0, cars((10, 0)))
    stamps = {detector: Timing(LatencyConfig(network_lag_ms=80.0), detector).prepared([sent])[0].perceived_ns
              for detector in ("network", "simulated")}  # fmt: skip
    assert stamps == {"network": sent.stamp_ns - 80_000_000, "simulated": sent.stamp_ns}


@pytest.mark.parametrize("method", LATENCY_METHODS)
def test_the_method_of_a_run_is_an_option_of_the_commands(method, tmp_path):
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    add_run_options(parser)
    given = [str(tmp_path), "--detector", "simulated"]
    assert run_options(parser.parse_args([*given, "--latency", method])).vehicle.latency.method == method
    assert run_options(parser.parse_args(given)).vehicle.latency.method == "kinematic"
