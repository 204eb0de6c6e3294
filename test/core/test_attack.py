"""An attack does to messages what it says, from its start on, with draws that depend on seed, sequence and sender."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenarios import STEP_NS, message, yawed
from test_trust import moving

from cooptrack_core.cooperation.attack import ATTACKS, Attack, Attacker
from cooptrack_core.types import CooptrackError, Features, Message

START = 10  # frames
T_MAP_FROM_VICTIM = yawed(0.3, 5.0, -2.0)


def sent(k: int) -> Message:
    return message(k, moving(k, ids=(1, 2, 3, 4)), sequence=k + 1)


def attacked(name: str, frames: int = 40, key: str = "0001", **values) -> list[list[Message]]:
    """What goes on the air in each frame."""
    attacker = Attacker(Attack(name=name, start_s=1.0, **values), key)
    return [attacker.send(sent(k), T_MAP_FROM_VICTIM) for k in range(frames)]


def positions(on_air: list[list[Message]]) -> np.ndarray:
    return np.concatenate([item.instances.center_m for messages in on_air for item in messages])


@pytest.mark.parametrize("name", ATTACKS)
def test_before_it_begins_nothing_is_changed_and_then_something_is(name):
    on_air = attacked(name)
    for k in range(START):
        (only,) = on_air[k]
        assert only.stamp_ns == sent(k).stamp_ns and np.array_equal(only.instances.center_m, sent(k).instances.center_m)
    changed = [
        len(messages) > 1 or messages[0].instances.center_m.shape != sent(k).instances.center_m.shape
        or not np.allclose(messages[0].instances.center_m, sent(k).instances.center_m)
        for k, messages in enumerate(on_air)
    ]  # fmt: skip
    assert sum(changed[START:]) >= 25


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_seed_gives_the_same_messages(name):
    np.testing.assert_array_equal(positions(attacked(name)), positions(attacked(name)))


@pytest.mark.parametrize("name", ["insert", "shift", "drift"])
def test_other_seeds_and_sequences_give_others(name):
    first = positions(attacked(name))
    assert not np.array_equal(first, positions(attacked(name, seed=1)))
    assert not np.array_equal(first, positions(attacked(name, key="0002")))


def test_inserted_objects_stand_ahead_of_the_victim_and_claim_to_be_tracked():
    (first,) = attacked("insert", objects=2)[START]
    ghosts = first.instances.select(first.instances.instance_id > 1000)
    ahead = np.linalg.inv(T_MAP_FROM_VICTIM) @ np.column_stack([ghosts.center_m, np.ones(2)]).T
    assert (ahead[0] > 8).all() and (np.abs(ahead[1]) < 2).all() and (ghosts.age_frames > 10).all()


def test_inserted_objects_carry_features_where_the_message_has_some():
    features = Features(np.ones((4, 8), np.float32), None, np.ones((4, 8), np.float32), "tiny_inf", bytes(32))
    attacker = Attacker(Attack(name="insert", start_s=0.0, objects=2))
    with_features = replace(sent(0), instances=replace(sent(0).instances, features=features))
    (made,) = attacker.send(with_features, T_MAP_FROM_VICTIM)
    assert made.instances.features.query.shape == (len(made.instances), 8) and len(made.instances) == 6


def test_removed_objects_are_gone_and_the_others_stay():
    for (made,) in attacked("remove", objects=2)[START:]:
        assert len(made.instances) == 2


def test_shifted_objects_keep_one_displacement_of_the_given_way_and_never_jump():
    on_air = attacked("shift", 60, objects=1, shift_m=2.0, shift_mps=1.0)
    ways = np.array([m.instances.center_m - sent(k).instances.center_m for k, (m,) in enumerate(on_air)])[..., :2]
    size = np.hypot(*ways.transpose(2, 0, 1)).max(axis=1)
    assert size.max() == pytest.approx(2.0) and np.diff(size).max() <= 0.1 + 1e-9
    assert (np.hypot(*ways.transpose(2, 0, 1)) > 0).sum(axis=1).max() == 1


def test_accelerated_objects_claim_the_speed_that_they_have():
    on_air = attacked("accelerate", 28, objects=1, acceleration_mps2=20.0)
    (made,) = on_air[START + 10]
    way = made.instances.center_m - sent(START + 10).instances.center_m
    gained = made.instances.velocity_mps - sent(START + 10).instances.velocity_mps
    assert np.hypot(*way[:, :2].T).max() == pytest.approx(10.0) and np.hypot(*gained.T).max() == pytest.approx(20.0)


def test_replayed_messages_have_old_content_and_new_stamps():
    (made,) = attacked("replay", replay_s=0.5)[30]
    assert (made.stamp_ns, made.sequence) == (sent(30).stamp_ns, 31)
    np.testing.assert_array_equal(made.instances.center_m, sent(25).instances.center_m)


def test_resent_messages_are_the_old_ones_beside_the_new():
    new, old = attacked("resend", replay_s=0.5)[30]
    assert new.stamp_ns == sent(30).stamp_ns and old.stamp_ns == sent(30).stamp_ns - 5 * STEP_NS and old.sequence == 26


@pytest.mark.parametrize(
    ("values", "named"),
    [({"name": "bribe"}, "name"), ({"objects": 0}, "objects"), ({"shift_m": -1.0}, "shift_m"),
     ({"replay_s": float("nan")}, "replay_s")],
)  # fmt: skip
def test_what_is_no_attack_is_named_with_what_is_allowed(values, named):
    with pytest.raises(CooptrackError, match=rf"attack {named}: .*choose"):
        Attack(**values)


def test_what_is_done_is_said_in_words():
    assert Attack().describe() == "none"
    assert Attack(name="shift", shift_m=2.0).describe() == "shift (3 objects by 2 m) from 2 s, seed 0"
