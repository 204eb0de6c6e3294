"""What a receiver can foresee is not sent again; what it cannot is; and loss costs no more than what was lost."""

from dataclasses import replace

import numpy as np
import pytest
from scenarios import STEP_NS, cars, yawed

from cooptrack_core.config import RedundancyConfig, RoadsideConfig
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.cooperation.redundancy import ReceivedStates
from cooptrack_core.cooperation.sender import Sender
from cooptrack_core.types import Features, Instances

HELD = RoadsideConfig(
    detector="simulated",
    feature_precision="fp32",
    feature_streams="all",
    kinematics_precision="fp32",
    redundancy=RedundancyConfig(refresh_ms=500.0),
)
START_NS = 10**18
V = np.array([[10.0, 0.0], [0.0, 0.0], [-5.0, 2.0]])


def street(i, turn=0.0):
    """Three cars at constant velocity; with `turn` the first leaves its line."""
    t = 0.1 * i
    places = [(10 + 10 * t, turn), (30.0, 5.0), (60 - 5 * t, 2 * t - 9)]
    features = Features(np.full((3, 4), float(i), np.float32), None, np.zeros((3, 4), np.float32), "tiny", b"\1" * 32)
    return cars(*places, velocity_mps=V, instance_id=np.array([4, 5, 9]), features=features)


def sender(config=HELD, **options):
    return Sender("rsu", config, 7, "rsu/lidar", "map", **options)


def drive(count, seen=street, unit=None, T=lambda i: np.eye(4)):
    unit = unit or sender()
    return [unit.compose(START_NS + i * STEP_NS, seen(i), T(i)) for i in range(count)]


def received(messages, states=None):
    states = states or ReceivedStates()
    return [states.expand(over_the_air(m)) for m in messages], states


def test_without_refresh_time_everything_is_sent():
    sent = drive(4, unit=sender(replace(HELD, redundancy=RedundancyConfig())))
    assert [len(m.instances) for m in sent] == [3] * 4 and all(len(m.held_id) == 0 for m in sent)


def test_what_moves_as_foreseen_is_held_and_arrives_where_it_is():
    sent = drive(12)
    assert len(sent[0].instances) == 3 and len(sent[1].instances) == 0 and sent[1].held_id.tolist() == [4, 5, 9]
    assert sum(len(m.instances) for m in sent) < 12 * 3 / 2
    got, _ = received(sent)
    for i, message in enumerate(got):
        order = np.argsort(message.instances.instance_id)
        assert message.instances.instance_id[order].tolist() == [4, 5, 9]
        np.testing.assert_allclose(message.instances.center_m[order], street(i).center_m, atol=1e-4)


def test_every_instance_comes_anew_within_the_refresh_time():
    last = {}
    for i, message in enumerate(drive(40)):
        last |= dict.fromkeys(message.instances.instance_id.tolist(), i)
        assert all(i - last[key] <= 5 for key in (4, 5, 9))


def test_what_leaves_its_line_is_sent_at_once():
    sent = drive(3, seen=lambda i: street(i, turn=1.0 if i == 2 else 0.0))
    assert sent[2].instances.instance_id.tolist() == [4] and sent[2].held_id.tolist() == [5, 9]
    got, _ = received(sent)
    assert sorted(got[2].instances.instance_id.tolist()) == [4, 5, 9]
    assert got[2].instances.center_m[0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize("column", ["heading_rad", "score", "class_id"])
def test_other_columns_count_too(column):
    def seen(i):
        given = street(i)
        if i == 2:
            getattr(given, column)[1] += 1 if column == "class_id" else 0.15
        return given

    assert drive(3, seen)[2].instances.instance_id.tolist() == [5]


def test_what_is_no_longer_seen_is_gone():
    sent = drive(3, seen=lambda i: street(i) if i < 2 else street(i).select([0]))
    got, _ = received(sent)
    assert got[2].instances.instance_id.tolist() == [4]


def test_after_a_loss_only_what_was_lost_is_missing_until_its_refresh():
    sent = drive(12)
    got, states = received(sent[1:])  # the first one, with everything, was lost
    assert len(got[0].instances) == 0 and states.counters["held_unknown"] > 0
    assert {len(message.instances) for message in got[5:]} == {3}


def test_another_session_inherits_nothing():
    sent = drive(2)
    states = ReceivedStates()
    states.expand(sent[0])
    assert len(states.expand(replace(sent[1], session_id=8)).instances) == 0


def test_a_sender_that_moves_holds_nothing():
    sent = drive(4, T=lambda i: yawed(0.0, 1.0 * i))
    assert [len(m.instances) for m in sent] == [3] * 4
    assert len(drive(2, T=lambda i: yawed(0.0, 0.001 * i))[1].held_id) == 3


def test_features_are_those_received_last():
    got, _ = received(drive(2))
    assert (got[1].instances.features.query == 0.0).all() and got[1].instances.features.preset == "tiny"


def test_rows_with_other_features_are_not_mixed():
    sent = drive(2)
    other = Features(np.zeros((1, 6), np.float32), None, None, "x", b"\2" * 32)
    odd = replace(sent[1], instances=replace(street(1).select([0]), features=other))
    states = ReceivedStates()
    states.expand(sent[0])
    got = states.expand(odd)
    assert got.instances.instance_id.tolist() == [4] and got.instances.features.query.shape == (1, 6)


def test_made_up_names_do_not_fill_the_memory():
    states = ReceivedStates()
    (sent,) = drive(1)
    for i in range(100):
        states.expand(replace(sent, agent_id=f"x{i}"))
    assert len(states._of_sender) == 32


def test_a_held_id_that_is_sent_too_counts_once():
    sent = drive(2)
    states = ReceivedStates()
    states.expand(sent[0])
    twice = replace(sent[1], instances=street(1), held_id=np.array([4, 4, 5]))
    assert sorted(states.expand(twice).instances.instance_id.tolist()) == [4, 5, 9]


def test_an_empty_street_stays_empty():
    sent = drive(2, seen=lambda i: Instances.empty())
    got, states = received(sent)
    assert [len(m.instances) for m in got] == [0, 0] and not states.counters
