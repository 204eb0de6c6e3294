"""Clocks of others: found from what moves, only as sure as the objects make it, applied only where that is wanted."""

import numpy as np
import pytest
from scenarios import STEP_NS, cars, frame, message

from cooptrack_core.config import AdmissionConfig, LatencyConfig, TrackerConfig, VehicleConfig
from cooptrack_core.cooperation.clock_offset import _Pair, estimate
from cooptrack_core.pipeline import VehicleAgent

IDS = np.array([1, 2, 3, 4])
LINES = np.array([[-40.0, 6.0, 9.0], [40.0, -6.0, -8.0], [-30.0, 12.0, 7.0], [10.0, 18.0, 0.0]])  # x, y, speed along x


def places(time_s: float) -> np.ndarray:
    return np.column_stack([LINES[:, 0] + LINES[:, 2] * time_s, LINES[:, 1]])


def drive(offset_ms: float, *, frames: int = 40, correct: bool = False, noise_m: float = 0.1, moving: bool = True):
    """Outputs of a vehicle that sees the same four cars as a roadside unit whose clock is ahead."""
    config = VehicleConfig(
        mode="late", detector="simulated", tracker=TrackerConfig(birth_hits=1),
        admission=AdmissionConfig(clock_tolerance_ms=400.0), latency=LatencyConfig(correct_clock_offset=correct),
    )  # fmt: skip
    agent, rng, outputs = VehicleAgent("vehicle", config), np.random.default_rng(0), []
    for index in range(frames):
        xy = places(0.1 * index if moving else 0.0)
        own, theirs = (
            cars(*(xy + noise_m * rng.normal(size=xy.shape)), **extra) for extra in ({}, {"instance_id": IDS})
        )
        stamp_ns = 10**18 + index * STEP_NS + round(offset_ms * 1e6)
        agent.receive(message(index, theirs, stamp_ns=stamp_ns, point_range_m=()), 10**18 + index * STEP_NS)
        outputs.append(agent.step(frame(index, own)))
    return outputs


@pytest.mark.parametrize("offset_ms", [-200.0, -100.0, 0.0, 100.0, 200.0])
def test_an_offset_is_found_within_its_confidence(offset_ms):
    found = drive(offset_ms)[-1].clock_offsets["rsu"]
    assert found.offset_ms == pytest.approx(offset_ms, abs=max(10.0, 3 * found.std_ms))
    assert found.std_ms < 20.0 and found.objects == 3 and found.count > 60


def test_nothing_is_known_of_clocks_where_nothing_moves_or_all_is_new():
    assert np.isnan(drive(100.0, moving=False)[-1].clock_offsets["rsu"].offset_ms)
    early = drive(100.0, frames=3)[-1].clock_offsets["rsu"]
    assert np.isnan(early.offset_ms) and np.isnan(early.std_ms)


def test_a_known_offset_is_taken_off_only_where_that_is_wanted():
    def off_m(outputs):
        tracks = outputs[-1].tracks
        truth = places(0.1 * (len(outputs) - 1))[:3]
        return np.mean([np.linalg.norm(tracks.center_m[:, :2] - xy, axis=1).min() for xy in truth])

    as_it_is, corrected = drive(200.0), drive(200.0, correct=True)
    assert off_m(corrected) < 0.5 * off_m(as_it_is)
    assert corrected[-1].clock_offsets["rsu"].offset_ms == pytest.approx(200.0, abs=20.0)
    ages = [use.age_ms for use in corrected[-1].associations.messages]
    assert ages == pytest.approx([-200.0])  # what is reported is the stamp, as it came


def test_objects_that_disagree_make_an_estimate_uncertain_and_it_is_not_believed():
    pairs = [_Pair(k, k % 4, 10.0, (-4.0, 4.0, -3.5, 3.6)[k % 4], 0.0) for k in range(80)]
    found = estimate(pairs, 500.0)
    assert found.std_ms > abs(found.offset_ms)
    agreeing = estimate([_Pair(k, k % 4, 10.0, 1.0, 0.0) for k in range(80)], 500.0)
    assert agreeing.offset_ms == pytest.approx(100.0) and agreeing.std_ms < 1.0


def test_wrong_pairs_do_not_pull_the_estimate_and_none_goes_beyond_the_limit():
    pairs = [_Pair(k, k % 8, 8.0, 0.8 if k % 8 else 5.0, 0.0) for k in range(160)]
    assert estimate(pairs, 500.0).offset_ms == pytest.approx(100.0, abs=15.0)
    assert estimate([_Pair(k, k % 5, 8.0, 8.0, 0.0) for k in range(100)], 500.0).offset_ms == 500.0


def test_one_object_seen_for_long_is_no_second_witness():
    assert np.isnan(estimate([_Pair(k, 1, 10.0, 2.0, 0.0) for k in range(500)], 500.0).offset_ms)
