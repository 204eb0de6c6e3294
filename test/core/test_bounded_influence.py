"""Whatever messages say, a track that the own sensor measures stays near where it measures it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenarios import STEP_NS, cars, frame, message, yawed

from cooptrack_core.config import VehicleConfig, from_parameters
from cooptrack_core.cooperation.bounded_influence import InfluenceBound
from cooptrack_core.cooperation.sight import Sight
from cooptrack_core.model.outputs import no_tracks
from cooptrack_core.pipeline import VehicleAgent
from cooptrack_core.trust_config import TrustConfig
from cooptrack_core.types import SOURCE_EGO

FRAMES = 40
OWN_NOISE_M = 0.1


def driven(offset, *, own_until=FRAMES, seed=0, messages=True, measured=False, **trust):
    """[F, 2] errors of the reported track of a car at 8 m/s that the vehicle and a sender see.

    measured: only of tracks that the own sensor measures in the frame; one that is driven away from what it sees is
    soon not its track any more. offset: (frame, rng) -> x, y by which the sender displaces it; the sender claims to be
    very sure.
    """
    values = {"mode": "late", "detector": "simulated", "late.remote_std_m": 0.01, "late.ego_std_m": 2.0}
    values |= {"trust.influence_share": 0.0} | {f"trust.{name}": value for name, value in trust.items()}
    agent = VehicleAgent("vehicle", from_parameters(VehicleConfig, values))
    rng, errors = np.random.default_rng(seed), []
    for k in range(FRAMES):
        T_vehicle, place = yawed(0.1, 0.3 * k, 0.0), np.array([15.0 + 0.8 * k, 3.0])
        in_ego = (np.linalg.inv(T_vehicle) @ (*place, 0.0, 1.0))[:2]
        seen = cars(in_ego + OWN_NOISE_M * rng.standard_normal(2)) if k < own_until else cars()
        told = place + (offset(k, rng) if k >= 5 else 0.0)
        if messages:
            sure = {"position_variance_m2": np.full((1, 2), 1e-4), "age_frames": np.full(1, 9)}
            made = cars(told, velocity_mps=np.array([[8.0, 0.0]]), instance_id=np.array([1]), **sure)
            agent.receive(message(k, made, agent="liar"), frame(k, seen).stamp_ns)
        output = agent.step(frame(k, seen, T_vehicle))
        found = (T_vehicle @ np.column_stack([output.tracks.center_m, np.ones(len(output.tracks))]).T).T[:, :2]
        found = found[(output.tracks.sources & SOURCE_EGO) > 0] if measured else found
        if len(found):
            errors.append((found[np.hypot(*(found - place).T).argmin()] - place).tolist())
    return np.array(errors)


def liar(kind):
    return {
        "aside": lambda k, rng: np.array([0.0, 3.3]),
        "behind": lambda k, rng: np.array([-3.3, 0.0]),
        "creeping": lambda k, rng: np.array([0.0, min(3.4, 0.1 * (k - 5))]),
        "any": lambda k, rng: rng.uniform(-2.4, 2.4, 2),
    }[kind]


@pytest.mark.parametrize("kind", ["aside", "behind", "creeping", "any"])
@pytest.mark.parametrize("influence_m", [0.5, 1.0, 2.0])
def test_no_message_moves_a_track_that_the_own_sensor_measures_farther_than_the_bound(kind, influence_m):
    errors = driven(liar(kind), influence_m=influence_m, enabled=False, measured=True)
    assert len(errors) > 20
    assert np.hypot(*errors.T).max() <= influence_m + 5 * OWN_NOISE_M


@pytest.mark.parametrize("kind", ["aside", "behind"])
def test_without_the_bound_the_same_messages_move_it_farther(kind):
    errors = driven(liar(kind), influence_m=1000.0, influence_per_frame_m=1000.0, enabled=False)
    assert np.hypot(*errors.T).max() > 2.7


def test_from_one_frame_to_the_next_the_distance_grows_by_no_more_than_its_bound():
    errors = driven(liar("aside"), influence_m=3.0, influence_per_frame_m=0.2, enabled=False)
    steps = np.diff(np.hypot(*errors.T))
    assert steps.max() <= 0.2 + 5 * OWN_NOISE_M and np.hypot(*errors.T).max() > 1.5


def test_an_honest_sender_is_not_bounded():
    honest = lambda k, rng: 0.2 * rng.standard_normal(2)  # noqa: E731
    bounded, free = driven(honest), driven(honest, influence_m=1000.0, influence_per_frame_m=1000.0)
    np.testing.assert_array_equal(bounded, free)


def test_without_messages_nothing_is_bounded():
    nobody = liar("aside")
    alone = driven(nobody, messages=False, influence_m=0.0, influence_per_frame_m=0.0)
    free = driven(nobody, messages=False, influence_m=1000.0, influence_per_frame_m=1000.0)
    np.testing.assert_array_equal(alone, free)


def test_what_the_own_sensor_has_not_measured_for_long_follows_the_sender_again():
    held = driven(liar("creeping"), own_until=20, influence_m=0.5, influence_hold_ms=300.0, enabled=False)
    assert np.hypot(*held[:20].T).max() <= 0.5 + 5 * OWN_NOISE_M and np.hypot(*held[-1]) > 2.0


@pytest.mark.parametrize("moved_m", [0.5, 3.0, 50.0, 1e4])
def test_what_a_network_fused_is_bounded_by_what_it_measured_before_fusion(moved_m):
    """Any fusion, also of features: the bound looks at what is reported and at what was measured, nothing else."""
    bound = InfluenceBound(TrustConfig(influence_m=2.0, influence_per_frame_m=1.0, influence_share=0.0))
    distances = []
    for k in range(20):
        own = cars((20.0 + 0.1 * k, 3.0))
        sight = Sight(own.center_m, own.size_m, own.heading_rad, own.class_id, np.array([7]))
        fused = cars((20.0 + 0.1 * k, 3.0 + moved_m))
        reported = replace(
            no_tracks(k * STEP_NS), track_id=np.array([7, 8]), sources=np.array([3, 2]), sources_ever=np.array([3, 2]),
            center_m=np.repeat(fused.center_m, 2, axis=0),
        )  # fmt: skip
        made = bound.bounded(k * STEP_NS, yawed(0.02 * k, 0.3 * k, 0.0), sight, reported)
        distances.append(float(np.linalg.norm(made.center_m[0] - own.center_m[0])))
        np.testing.assert_array_equal(made.center_m[1], fused.center_m[0])  # only others see it: it is theirs to place
    assert max(distances) <= min(moved_m, 2.0) + 0.5 and distances[-1] >= 0.4


@pytest.mark.parametrize(("range_m", "most_m"), [(6.0, 2.0), (20.0, 5.0), (40.0, 10.0)])
@pytest.mark.parametrize("away", [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)], ids=["farther", "aside", "nearer"])
def test_by_default_a_track_is_moved_two_metres_or_a_quarter_of_the_range_at_most(range_m, most_m, away):
    bound, distances = InfluenceBound(TrustConfig()), []
    for k in range(20):
        own = cars((range_m, 0.0))
        sight = Sight(own.center_m, own.size_m, own.heading_rad, own.class_id, np.array([7]))
        told = replace(
            no_tracks(k * STEP_NS), track_id=np.array([7]), sources=np.array([3]), sources_ever=np.array([3]),
            center_m=own.center_m + 80.0 * np.array([[*away, 0.0]]),
        )  # fmt: skip
        made = bound.bounded(k * STEP_NS, np.eye(4), sight, told)
        distances.append(float(np.linalg.norm(made.center_m - own.center_m)))
    assert max(distances) == pytest.approx(most_m, abs=1e-6)


def test_after_a_reset_nothing_is_held_to_what_was_measured_before():
    bound = InfluenceBound(TrustConfig(influence_share=0.0))
    own = cars((20.0, 3.0))
    sight = Sight(own.center_m, own.size_m, own.heading_rad, own.class_id, np.array([7]))
    far = replace(
        no_tracks(0), track_id=np.array([7]), sources=np.array([2]), sources_ever=np.array([2]),
        center_m=cars((50.0, 3.0)).center_m,
    )  # fmt: skip
    assert bound.bounded(0, np.eye(4), sight, far).center_m[0, 0] < 23.0
    bound.reset()
    assert bound.bounded(STEP_NS, np.eye(4), None, far).center_m[0, 0] == 50.0


def test_a_sensor_that_misjudges_range_gives_way_by_its_share_of_it():
    near_m, far_m = (
        np.hypot(*driven(liar("aside"), influence_m=0.5, influence_share=share, enabled=False).T).max()
        for share in (0.0, 0.1)
    )
    assert near_m < 1.0 < 1.5 < far_m


def test_a_track_that_is_measured_twice_in_a_frame_counts_both():
    """As if the second measurement had come a moment later."""
    bound, plain = InfluenceBound(TrustConfig()), InfluenceBound(TrustConfig())
    tracks = no_tracks(0)

    def sight(places, ids) -> Sight:
        seen = cars(*places)
        return Sight(seen.center_m, seen.size_m, seen.heading_rad, seen.class_id, np.array(ids))

    for k in range(6):
        twice = sight([(10.0 + k, 0), (30.0, 5.0), (10.2 + k, 0.1), (0, 0)], [4, 9, 4, 0])
        bound.bounded(k * STEP_NS, np.eye(4), twice, tracks)
        for places, ids in (([(10.0 + k, 0), (30.0, 5.0)], [4, 9]), ([(10.2 + k, 0.1)], [4])):
            plain.bounded(k * STEP_NS, np.eye(4), sight(places, ids), tracks)
    for name in ("track_id", "position_m", "velocity_mps", "count", "variance_m2"):
        np.testing.assert_array_equal(getattr(bound._own, name), getattr(plain._own, name))
    assert bound._own.count.tolist() == [12, 6]
