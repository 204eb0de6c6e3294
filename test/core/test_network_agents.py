"""Both agents with a network: modes, messages that it does not understand, frames that it rejects."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scenarios import STEP_NS, yawed
from scripted_network import (
    AHEAD,
    FOREIGN,
    START_NS,
    UNDERSTOOD,
    Network,
    drive,
    frame,
    message,
    places,
    roadside,
    vehicle,
)
from simulated import LATE, UNIT

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.networks import make_network, network_of
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent
from cooptrack_core.types import (
    SOURCE_EGO,
    SOURCE_REMOTE,
    CooptrackError,
)


@pytest.mark.parametrize("mode", ["learned", "distance"])
def test_features_go_into_the_network_whose_tracks_are_published(mode):
    agent = vehicle(mode)
    outputs = drive(agent, 2, lambda i: [message(i, (40.0, 5.0))])
    assert agent.network.calls == [(START_NS, ["rsu"]), (START_NS + STEP_NS, ["rsu"])]
    for output in outputs:
        assert output.tracks.track_id.tolist() == [41, 42, 43] and places(output.tracks) == {*AHEAD, (40.0, 5.0)}
        assert output.associations.unmatched_ego_index.tolist() == [100, 101]
        assert output.associations.unmatched_remote_track_id.tolist() == [43]
        assert output.unused_features == {} and output.problem == ""
        assert not output.predicted_only and not output.ego_lost and "network" in output.timings_ms


def test_ego_mode_uses_no_message():
    agent = vehicle("ego")
    last = drive(agent, 2, lambda i: [message(i, (40.0, 5.0)), message(i, (50.0, 5.0), agent="b", maker=FOREIGN)])[-1]
    assert agent.network.calls[-1][1] == [] and last.associations.messages == () and last.unused_features == {}
    assert last.tracks.track_id.tolist() == [41, 42]


def test_late_mode_fuses_what_the_network_detects_above_the_least_score():
    agent = vehicle("late")
    last = drive(agent, 4, lambda i: [message(i, (40.0, 5.0), (10.2, 0.0), maker=FOREIGN)])[-1]
    assert agent.network.calls[-1][1] == [] and last.unused_features == {}
    assert sorted(last.tracks.track_id.tolist()) == [1, 2, 3]  # of the object-level tracker
    near = [tuple(c) for c in last.tracks.center_m[:, :2].round(0).tolist()]
    source = dict(zip(near, last.tracks.sources.tolist(), strict=True))
    assert source == {(10.0, 0.0): 3, (20.0, 3.0): SOURCE_EGO, (40.0, 5.0): SOURCE_REMOTE}  # none at (30, -5)
    assert last.associations.pair_ego_index.tolist() == [0] and last.associations.pair_instance_index.tolist() == [1]
    all_of_them = VehicleConfig(mode="late", detector="network", min_score=0.0)
    last = drive(VehicleAgent("vehicle", all_of_them, network=Network()), 4)[-1]
    assert places(last.tracks) == {*AHEAD, (30.0, -5.0)}


@pytest.mark.parametrize(
    ("maker", "text"), [(FOREIGN, "fake_inf abababab, which this vehicle's network"), (None, "no features")]
)
@pytest.mark.parametrize("mode", ["learned", "distance"])
def test_features_of_another_network_fall_back_to_kinematics_with_a_reason(mode, maker, text):
    agent = vehicle(mode)
    outputs = drive(agent, 5, lambda i: [message(i, (40.0, 5.0), maker=maker)])
    assert [called for _, called in agent.network.calls] == [[]] * 5
    for output in outputs:
        assert list(output.unused_features) == ["rsu"] and text in output.unused_features["rsu"]
        assert "\n" not in output.unused_features["rsu"]
        assert [m.agent_id for m in output.associations.messages] == ["rsu"]
    last = outputs[-1].tracks
    assert places(last) == {*AHEAD, (40.0, 5.0)}
    assert [a for a in last.agents if a] == [("rsu",)]


def test_ids_after_a_fall_back_were_never_used_and_stay():
    agent = vehicle()
    before = drive(agent, 5, lambda i: [message(i, (40.0, 5.0))])
    after = drive(agent, 4, lambda i: [message(i, (40.0, 5.0), maker=FOREIGN)], start=5)
    later = drive(agent, 3, lambda i: [message(i, (40.0, 5.0))], start=9)
    old = {i for o in before for i in o.tracks.track_id.tolist()}
    new = {i for o in after + later for i in o.tracks.track_id.tolist()}
    assert old == {41, 42, 43} and new and min(new) > max(old)
    assert set(after[-1].tracks.track_id.tolist()) == set(later[-1].tracks.track_id.tolist())
    # What the network had tracked for long goes on without a frame in between.
    assert places(after[0].tracks) >= set(AHEAD)
    agent.reset()
    anew = drive(agent, 4, start=0)
    assert min(anew[-1].tracks.track_id) > max(new) and agent.network.resets >= 1


def test_associations_after_a_fall_back_name_each_object_once_with_the_published_ids():
    """rsu is understood and sees one car of its own; other is not, and sees one of each: ours, that of rsu, its own."""
    agent = vehicle()

    def both(i):
        return [
            message(i, (40.0, 5.0)),
            message(i, (50.0, -5.0), (20.3, 3.0), (40.3, 5.0), agent="other", maker=FOREIGN),
        ]

    last = drive(agent, 5, both)[-1]
    a, ids = last.associations, last.tracks.track_id.tolist()
    assert sorted(m.agent_id for m in a.messages) == ["other", "rsu"]
    other, rsu = (next(i for i, m in enumerate(a.messages) if m.agent_id == name) for name in ("other", "rsu"))
    at = {tuple(c): i for c, i in zip(last.tracks.center_m[:, :2].round(0).tolist(), ids, strict=True)}
    assert set(at) == {(10.0, 0.0), (20.0, 3.0), (40.0, 5.0), (50.0, -5.0)}
    pair = (a.pair_ego_index, a.pair_message_index, a.pair_instance_index, a.pair_track_id)
    assert [column.tolist() for column in pair] == [[101], [other], [1], [at[20.0, 3.0]]]
    np.testing.assert_allclose(a.pair_remote_center_m[:, :2], [[20.3, 3.0]])
    np.testing.assert_allclose(a.pair_ego_center_m[:, :2], [[20.0, 3.0]])
    assert a.unmatched_ego_index.tolist() == [100] and a.unmatched_ego_track_id.tolist() == [at[10.0, 0.0]]
    alone = {
        (int(m), int(i)): (int(track), tuple(c))
        for m, i, track, c in zip(
            a.unmatched_remote_message_index, a.unmatched_remote_instance_index, a.unmatched_remote_track_id,
            a.unmatched_remote_center_m[:, :2].round(1).tolist(), strict=True,
        )
    }  # fmt: skip
    assert alone == {
        (rsu, 0): (at[40.0, 5.0], (40.0, 5.0)),
        (other, 0): (at[50.0, -5.0], (50.0, -5.0)),
        (other, 2): (at[40.0, 5.0], (40.3, 5.0)),
    }
    origin = {i: (s, g) for i, s, g in zip(ids, last.tracks.sources.tolist(), last.tracks.agents, strict=True)}
    assert origin[at[10.0, 0.0]] == (SOURCE_EGO, ())
    assert origin[at[20.0, 3.0]] == (SOURCE_EGO | SOURCE_REMOTE, ("other",))
    assert origin[at[40.0, 5.0]] == (SOURCE_REMOTE, ("rsu", "other"))
    assert origin[at[50.0, -5.0]] == (SOURCE_REMOTE, ("other",))
    assert list(last.unused_features) == ["other"]


@pytest.mark.parametrize("mode", ["learned", "distance", "late", "ego"])
def test_a_rejected_frame_says_why_and_predicts(mode):
    agent = vehicle(mode)
    outputs = drive(agent, 6, image=lambda i: b"bad" if i == 4 else b"good")
    assert [o.problem for o in outputs] == [""] * 4 + ["image: expected a good one, found b'bad'"] + [""]
    assert [o.predicted_only for o in outputs] == [o.ego_lost for o in outputs] == [False] * 4 + [True, False]
    assert places(outputs[4].tracks) == set(AHEAD) and not outputs[4].tracks.sources.any()
    assert outputs[4].tracks.stamp_ns == frame(4).stamp_ns
    assert outputs[5].tracks.track_id.tolist() == outputs[3].tracks.track_id.tolist()
    assert len(outputs[4].associations.unmatched_ego_index) == 0


def test_a_lost_frame_is_predicted_and_is_no_fault_of_the_network():
    agent = vehicle()
    outputs = drive(agent, 3, image=lambda i: None if i == 1 else b"good")
    assert [(o.predicted_only, o.problem) for o in outputs] == [(False, ""), (True, ""), (False, "")]
    assert outputs[1].tracks.track_id.tolist() == [41, 42] and not outputs[1].tracks.sources.any()
    assert len(drive(vehicle(), 1, image=lambda i: None)[0].tracks) == 0


def test_messages_wait_for_the_frame_after_a_lost_one():
    agent = vehicle()
    outputs = drive(
        agent, 3, lambda i: [message(i, (40.0, 5.0))] if i == 1 else (), lambda i: None if i == 1 else b"good"
    )
    assert [[m.sequence for m in o.associations.messages] for o in outputs] == [[], [], [2]]
    assert [(o.ego_lost, o.predicted_only) for o in outputs] == [(False, False), (True, True), (False, False)]
    assert outputs[2].associations.messages[0].age_ms == 100.0
    assert places(outputs[2].tracks) == {*AHEAD, (40.0, 5.0)}


def test_what_others_see_is_tracked_by_kinematics_through_a_lost_frame():
    agent = vehicle()
    outputs = drive(agent, 6, lambda i: [message(i, (40.0, 5.0), maker=FOREIGN)], lambda i: None if i == 5 else b"good")
    assert not outputs[5].predicted_only and outputs[5].ego_lost
    assert (40.0, 5.0) in places(outputs[5].tracks)
    assert outputs[5].associations.unmatched_ego_index.tolist() == []


def test_an_unknown_pose_switches_cooperation_off():
    agent = vehicle()
    sent = [message(i, (40.0, 5.0)) for i in range(3)]
    outputs = []
    for i in range(3):
        agent.receive(sent[i], frame(i).stamp_ns)
        made = frame(i)
        outputs.append(agent.step(replace(made, T_map_from_sensor=None) if i == 1 else made))
    assert [o.pose_known for o in outputs] == [True, False, True]
    assert [called for _, called in agent.network.calls] == [["rsu"], [], ["rsu"]]
    assert [len(o.associations.messages) for o in outputs] == [1, 0, 1]


def test_the_first_pose_makes_the_network_start_anew():
    agent = vehicle("ego")
    agent.step(replace(frame(0), T_map_from_sensor=None))
    assert agent.network.resets == 0
    agent.step(frame(1, pose=yawed(1.0, 500.0)))
    agent.step(frame(2, pose=yawed(1.0, 501.0)))
    assert agent.network.resets == 1


@pytest.mark.parametrize("mode", ["learned", "distance", "late", "ego"])
@pytest.mark.parametrize("maker", [UNDERSTOOD, FOREIGN, None])
def test_empty_message_keeps_ego_tracks(mode, maker):
    heard = drive(vehicle(mode), 5, lambda i: [message(i, maker=maker)])
    alone = drive(vehicle(mode), 5)
    for a, b in zip(heard[2:], alone[2:], strict=True):
        assert places(a.tracks) == places(b.tracks) == set(AHEAD)
        assert a.tracks.sources.tolist() == b.tracks.sources.tolist() == [SOURCE_EGO] * 2
        if maker == UNDERSTOOD:
            assert a.tracks.track_id.tolist() == b.tracks.track_id.tolist()
        assert [m.agent_id for m in a.associations.messages] == ([] if mode == "ego" else ["rsu"])
        assert a.refusals == b.refusals == []


@pytest.mark.parametrize("mode", ["learned", "distance", "late", "ego"])
def test_empty_everything_works(mode):
    for sent in (lambda i: [message(i)], lambda i: [message(i, maker=FOREIGN)]):
        agent = vehicle(mode, Network(seen=()))
        for output in drive(agent, 4, sent, lambda i: (b"good", None, b"bad")[i % 3]):
            assert len(output.tracks) == 0 and len(output.associations.unmatched_ego_index) == 0
            assert len(output.associations.pair_ego_index) == 0
    sender = roadside(Network("inf", seen=()))
    sent = [o.message for o in drive(sender, 3)]
    assert [m.sequence for m in sent] == [1, 2, 3] and [len(m.instances) for m in sent] == [0, 0, 0]
    heard = over_the_air(sent[0])
    assert heard.instances.features.query.shape == (0, 4) and vehicle().network.understands(heard)


def test_a_schedule_can_be_repeated():
    def sent(i):
        return [message(i, (40.0, 5.0), maker=UNDERSTOOD if i < 3 else FOREIGN)]

    first, again = drive(vehicle(), 6, lambda i: sent(i) if i % 2 else []), vehicle()
    for i, expected in enumerate(first):
        got = again.step(frame(i), [sent(m.sequence - 1)[0] for m in expected.associations.messages])
        assert got.tracks.track_id.tolist() == expected.tracks.track_id.tolist()
        np.testing.assert_array_equal(got.tracks.center_m, expected.tracks.center_m)


def test_a_roadside_unit_sends_instances_with_features_and_the_ids_of_its_tracks():
    output = drive(roadside(), 3)[-1]
    instances = output.message.instances
    assert instances.instance_id.tolist() == output.tracks.track_id.tolist() == [41, 42]
    assert instances.features.fingerprint == UNDERSTOOD and instances.features.preset == "fake"
    assert instances.features.query.tolist() == [[1.0] * 4] * 2
    assert instances.features.motion.tolist() == [[3.0] * 4] * 2
    assert output.message.sequence == 3 and output.message.stamp_ns == frame(2).stamp_ns


def test_a_roadside_unit_sends_nothing_for_a_frame_that_is_lost_rejected_or_without_pose():
    agent = roadside()
    outputs = drive(agent, 4, image=lambda i: (b"good", b"bad", None, b"good")[i])
    assert [o.message is not None for o in outputs] == [True, False, False, True]
    assert [o.problem != "" for o in outputs] == [False, True, False, False]
    assert [o.message.sequence for o in (outputs[0], outputs[3])] == [1, 2]
    assert outputs[1].tracks.track_id.tolist() == [41, 42] and not outputs[1].tracks.sources.any()
    assert roadside().step(replace(frame(0), T_map_from_sensor=None)).message is None


def test_a_roadside_unit_withholds_what_is_too_much_or_out_of_its_range():
    agent = roadside(Network("inf", seen=((10.0, 0.0), (20.0, 0.0), (30.0, 0.0), (-20.0, 0.0))), max_instances=2)
    sent = agent.step(frame(0)).message
    assert sent.instances.instance_id.tolist() == [41, 42] and sent.instances_withheld == 1
    assert sent.instances.features.query.shape == (2, 4)


def test_what_does_not_go_together_is_one_line():
    network = Network()
    for make, text in (
        (lambda: VehicleAgent("v", replace(LATE, mode="learned")), "mode learned: needs detector network"),
        (lambda: VehicleAgent("v", replace(LATE, mode="distance")), "mode distance: needs detector network"),
        (lambda: VehicleAgent("v", VehicleConfig(mode="ego", detector="network")), "detector network: needs network"),
        (lambda: VehicleAgent("v", LATE, network=network), "detector simulated: takes no network"),
        (lambda: RoadsideAgent("r", RoadsideConfig(detector="network"), 1), "detector network: needs network"),
        (lambda: RoadsideAgent("r", UNIT, 1, network=network), "detector simulated: takes no network"),
    ):
        with pytest.raises(CooptrackError) as refusal:
            make()
        assert text in str(refusal.value) and "\n" not in str(refusal.value)


def test_networks_are_made_only_for_agents_that_want_one():
    assert network_of(LATE) is None and network_of(UNIT) is None


def test_missing_weights_and_torch_are_one_line_each(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # of this process, which has other tests to run
    wanted = replace(LATE.network, weights=str(tmp_path / "none.safetensors"), device="cpu", threads=1)
    with pytest.raises(CooptrackError, match="no such file") as refusal:
        make_network(wanted, "coop")
    assert "\n" not in str(refusal.value)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CooptrackError, match="torch is not installed"):
        make_network(wanted, "coop")
