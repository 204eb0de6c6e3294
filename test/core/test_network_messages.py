"""What messages do to the network: pairs, origins, several agents, precision, poses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenarios import yawed
from small_runtime import (
    ROADSIDE_POSE,
    START_NS,
    assert_same_outputs,
    assert_tracks_equal,
    camera,
    config,
    frames,
    image,
    model,
    run,
    runtime,
    sent,
    street,
    with_message,
)

from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.presets import OFFICIAL, get_preset
from cooptrack_core.types import SOURCE_REMOTE

pytestmark = pytest.mark.usefixtures("one_thread")
COOP, ROADSIDE = config("coop"), config("inf")
PUBLISHED = config("coop", options=OFFICIAL)


@pytest.mark.parametrize("made", [COOP, PUBLISHED], ids=["ours", "published"])
def test_a_message_without_instances_equals_no_message(made):
    def empty(i):
        return [replace(sent(i), instances=sent(i).instances.select(slice(0, 0)))]

    a, b = run(runtime(made), frames(4), empty), run(runtime(made), frames(4))
    assert_same_outputs(a, b)
    assert [o.associations.messages[0].sequence for o in a] == [1, 2, 3, 4]
    assert all(o.associations.messages == () for o in b)


def test_only_features_of_the_roadside_network_it_knows_are_understood():
    vehicle, message = runtime(COOP), sent(0)
    features = message.instances.features

    def with_features(features):
        return replace(message, instances=replace(message.instances, features=features))

    assert vehicle.understands(message) and not runtime(ROADSIDE).understands(message)
    assert not vehicle.understands(with_features(None))
    assert not vehicle.understands(with_features(replace(features, fingerprint=b"\1" * 32)))
    assert not vehicle.understands(sent(0, dims=16))


def test_associations_point_to_rows_that_exist_and_belong_together():
    paired = 0
    for i, output in enumerate(run(runtime(COOP), frames(5), with_message)):
        a, instances = output.associations, sent(i).instances
        assert set(a.pair_message_index) | set(a.unmatched_remote_message_index) == {0}
        both = np.concatenate([a.pair_instance_index, a.unmatched_remote_instance_index])
        assert sorted(both.tolist()) == list(range(5))  # all lie in the vehicle's range
        T = np.linalg.inv(street(i).T_map_from_sensor) @ ROADSIDE_POSE
        expected = instances.center_m @ T[:3, :3].T + T[:3, 3]
        np.testing.assert_allclose(a.pair_remote_center_m, expected[a.pair_instance_index], atol=1e-4)
        np.testing.assert_allclose(a.unmatched_remote_center_m, expected[a.unmatched_remote_instance_index], atol=1e-4)
        off_m = np.linalg.norm((a.pair_ego_center_m - a.pair_remote_center_m)[:, :2], axis=1)
        assert (off_m <= COOP.options.distance_gate_m).all()
        assert ((a.pair_affinity >= COOP.options.affinity_threshold) & (a.pair_affinity <= 1.0)).all()
        assert a.pair_ego_index.max(initial=0) < COOP.num_queries
        rows = [*a.pair_ego_index, *a.unmatched_ego_index]
        assert len(rows) == len(set(rows))
        ids = np.concatenate([a.pair_track_id, a.unmatched_ego_track_id, a.unmatched_remote_track_id])
        named = ids[ids > 0].tolist()
        assert len(named) == len(set(named)) and set(named) == set(output.tracks.track_id.tolist())
        source = dict(zip(output.tracks.track_id.tolist(), output.tracks.sources.tolist(), strict=True))
        agents = dict(zip(output.tracks.track_id.tolist(), output.tracks.agents, strict=True))
        for track in a.pair_track_id[a.pair_track_id > 0]:
            assert source[track] & SOURCE_REMOTE and agents[track] == ("rsu",)
            paired += 1
        for track in a.unmatched_ego_track_id:
            assert not source[track] & SOURCE_REMOTE and agents[track] == ()
        for track in a.unmatched_remote_track_id[a.unmatched_remote_track_id > 0]:
            assert source[track] == SOURCE_REMOTE and agents[track] == ("rsu",)
    assert paired > 0


def test_a_query_beside_an_instance_is_paired_with_it_by_distance():
    own = run(runtime(COOP), frames(1))[0].associations
    rows = np.flatnonzero((np.abs(own.unmatched_ego_center_m[:, :2]) < 45).all(axis=1))[:3]
    assert len(rows) == 3
    told_m = own.unmatched_ego_center_m[rows] + [0.3, -0.2, 0.0]
    T = np.linalg.inv(ROADSIDE_POSE) @ street(0).T_map_from_sensor
    instances = replace(sent(0, 3).instances, center_m=told_m @ T[:3, :3].T + T[:3, 3])
    vehicle = runtime(COOP, matcher="distance")
    a = run(vehicle, frames(1), lambda i: [replace(sent(0), instances=instances)])[0].associations
    found = dict(zip(a.pair_instance_index.tolist(), a.pair_ego_index.tolist(), strict=True))
    assert found == dict(enumerate(own.unmatched_ego_index[rows].tolist()))
    np.testing.assert_allclose(a.pair_remote_center_m, told_m[a.pair_instance_index], atol=1e-4)
    np.testing.assert_allclose((a.pair_ego_center_m - a.pair_remote_center_m)[:, :2], [[-0.3, 0.2]] * 3, atol=1e-4)


def partners(a, b) -> list[int]:
    """For each object of a the nearest of b, all different."""
    nearest = np.linalg.norm(a.center_m[:, None] - b.center_m, axis=-1).argmin(axis=1).tolist()
    assert len(a.center_m) == len(b.center_m) == len(set(nearest))
    return nearest


def two_agents(i: int) -> list:
    return [sent(i, 4, "north", seed=1), sent(i, 3, "south", seed=2, T_map_from_sensor=yawed(-2.0, 50.0, 20.0))]


def test_several_agents_in_any_order_give_the_same_tracks():
    outputs = [run(runtime(COOP), frames(4), order) for order in (two_agents, lambda i: two_agents(i)[::-1])]
    for a, b in zip(*outputs, strict=True):
        order_b = partners(a.tracks, b.tracks)
        for name in ("center_m", "size_m", "velocity_mps", "score", "class_id", "sources", "age_frames"):
            got = getattr(b.tracks, name)[order_b]
            np.testing.assert_allclose(got, getattr(a.tracks, name), atol=1e-3, err_msg=name)
        assert [set(agents) for agents in a.tracks.agents] == [set(b.tracks.agents[i]) for i in order_b]
        assert [m.agent_id for m in a.associations.messages] == ["north", "south"]
        assert [m.agent_id for m in b.associations.messages] == ["south", "north"]
    seen = {agent for o in outputs[0] for agents in o.tracks.agents for agent in agents}
    assert seen == {"north", "south"}


def test_an_ego_query_takes_at_most_one_instance_of_each_agent():
    for output in run(runtime(COOP), frames(3), two_agents):
        a = output.associations
        pairs = list(zip(a.pair_ego_index.tolist(), a.pair_message_index.tolist(), strict=True))
        assert len(pairs) == len(set(pairs)) > 0
        remote = zip(a.pair_message_index.tolist(), a.pair_instance_index.tolist(), strict=True)
        alone = zip(a.unmatched_remote_message_index, a.unmatched_remote_instance_index, strict=True)
        expected = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]
        assert sorted([*remote, *((int(m), int(i)) for m, i in alone)]) == expected


def test_features_in_half_precision_are_taken():
    def halved(i):
        message = sent(i)
        f = message.instances.features
        features = replace(f, query=f.query.astype(np.float16), embedding=None, motion=f.motion.astype(np.float16))
        return [replace(message, instances=replace(message.instances, features=features))]

    def rounded(i):
        message = halved(i)[0]
        f = message.instances.features
        features = replace(f, query=f.query.astype(np.float32), motion=f.motion.astype(np.float32))
        return [replace(message, instances=replace(message.instances, features=features))]

    assert_same_outputs(run(runtime(COOP), frames(2), halved), run(runtime(COOP), frames(2), rounded))


def test_instances_come_to_where_they_are_when_the_frame_is_taken():
    late = replace(sent(0), stamp_ns=START_NS - 300_000_000)
    a = run(runtime(COOP), frames(1), lambda i: [late])[0].associations
    b = run(runtime(config(options=OFFICIAL)), frames(1), lambda i: [late])[0].associations
    T = np.linalg.inv(street(0).T_map_from_sensor) @ ROADSIDE_POSE
    standing = late.instances.center_m
    moved = standing + np.pad(0.3 * late.instances.velocity_mps, ((0, 0), (0, 1)))
    for associations, expected in ((a, moved), (b, standing)):
        rows = np.concatenate([associations.pair_instance_index, associations.unmatched_remote_instance_index])
        got = np.concatenate([associations.pair_remote_center_m, associations.unmatched_remote_center_m])
        np.testing.assert_allclose(got, (expected @ T[:3, :3].T + T[:3, 3])[rows], atol=1e-4)
    assert a.messages[0].age_ms == 300.0


def test_the_own_vehicle_in_a_message_is_not_tracked():
    T = np.linalg.inv(ROADSIDE_POSE) @ street(0).T_map_from_sensor
    message = sent(0, 2)
    center = np.array([[0.5, 0.2, -1.0], [0.5, 4.0, -1.0]]) @ T[:3, :3].T + T[:3, 3]
    still = replace(message.instances, center_m=center, velocity_mps=np.zeros((2, 2)))
    a = run(runtime(COOP), frames(1), lambda i: [replace(message, instances=still)])[0].associations
    assert [*a.pair_instance_index, *a.unmatched_remote_instance_index] == [1]


@pytest.mark.parametrize("made", [COOP, PUBLISHED], ids=["ours", "published"])
def test_more_instances_than_queries_are_no_trouble(made):
    network = runtime(made)
    run(network, frames(3))
    known = set(network._session.memory.live.track_id.tolist())
    output = run(network, frames(1, 3), lambda i: [sent(3, 40)])[0]
    a = output.associations
    assert len(a.pair_instance_index) + len(a.unmatched_remote_instance_index) == 40
    assert len(output.tracks) <= made.num_queries and np.isfinite(output.tracks.center_m).all()
    assert (SOURCE_REMOTE & output.tracks.sources).any()
    if made is COOP:  # live tracks are protected: they are there with their ids, active or not
        network = runtime(made)
        run(network, frames(3))
        given = network._input(street(3), street(3).T_map_from_sensor)
        remote = network._remote(sent(3, 40), 0, street(3).stamp_ns, street(3).T_map_from_sensor)
        assert known <= set(network._session.step(given, [remote]).refined.track_id.tolist())


def test_instances_of_unknown_velocity_count_as_standing():
    def told(velocity):
        instances = replace(sent(0).instances, velocity_mps=np.full((5, 2), velocity))
        return lambda i: [replace(sent(0), instances=instances, stamp_ns=START_NS - 200_000_000)]

    a, b = (run(runtime(COOP), frames(1), told(v)) for v in (np.nan, 0.0))
    assert_same_outputs(a, b)
    assert np.isfinite(a[0].detections.center_m).all()


def test_a_moved_map_origin_changes_nothing():
    offset = yawed(0.0, 4000.0, -2500.0, 30.0)

    def shifted(i):
        return [replace(sent(i), T_map_from_sensor=offset @ ROADSIDE_POSE)]

    there = [replace(f, T_map_from_sensor=offset @ f.T_map_from_sensor) for f in frames(4)]
    for a, b in zip(run(runtime(COOP), frames(4), with_message), run(runtime(COOP), there, shifted), strict=True):
        assert a.tracks.track_id.tolist() == b.tracks.track_id.tolist()
        assert_tracks_equal(a.tracks, b.tracks, atol=1e-3)
        np.testing.assert_allclose(a.associations.pair_affinity, b.associations.pair_affinity, atol=1e-3)


def test_a_turned_map_leaves_what_others_send_where_it_is():
    """The network's own input holds the absolute yaw, so that only the way of the messages can be compared."""
    for turn in (yawed(2.1, -300.0, 80.0), yawed(-0.7, 1e5, 1e5)):
        network = runtime(COOP)
        a, T_a = network._remote(sent(3), 0, street(3).stamp_ns, street(3).T_map_from_sensor)
        turned = replace(sent(3), T_map_from_sensor=turn @ ROADSIDE_POSE)
        b, T_b = network._remote(turned, 0, street(3).stamp_ns, turn @ street(3).T_map_from_sensor)
        torch.testing.assert_close(T_a, T_b, atol=1e-5, rtol=0)
        with torch.inference_mode():
            x, y = (network._model.align([(remote, T)]) for remote, T in ((a, T_a), (b, T_b)))
        for name in RemoteInstances.__dataclass_fields__:
            torch.testing.assert_close(getattr(x, name), getattr(y, name), atol=1e-3, rtol=0)


def test_a_message_over_the_air_gives_the_result_of_the_message_itself():
    """Of the real preset. Half precision of the features costs some mm and 1e-4 of a score."""
    sender, receiver = (replace(get_preset(f"tiny_{role}"), min_peak_score=0.0) for role in ("inf", "coop"))
    roadside = runtime(sender, made=model(sender, bias=0.0))
    vehicles = [runtime(receiver, made=model(receiver, bias=0.0), matcher="distance") for _ in range(3)]
    pairs = joined = 0
    for i in range(2):
        frame = street(i, image=image(i, 320, 180), camera=camera(320, 180))
        message = sent(i, instances=roadside.step(frame, ROADSIDE_POSE, ()).instances)
        heard = [message, over_the_air(message, "fp32"), over_the_air(message, "fp16")]
        assert all(v.understands(m) for v, m in zip(vehicles, heard, strict=True))
        direct, whole, half = (
            v.step(frame, frame.T_map_from_sensor, [m]) for v, m in zip(vehicles, heard, strict=True)
        )
        assert_tracks_equal(direct.tracks, whole.tracks, atol=1e-4)  # m: the poses of the boxes travel in fp32
        np.testing.assert_allclose(whole.tracks.score, direct.tracks.score, atol=1e-5)
        np.testing.assert_array_equal(direct.associations.pair_ego_index, whole.associations.pair_ego_index)
        a, b = direct.detections, half.detections
        np.testing.assert_allclose(b.score, a.score, atol=1e-3)  # both best first
        np.testing.assert_allclose(b.center_m[partners(a, b)], a.center_m, atol=0.02)
        pairs += len(direct.associations.pair_ego_index)
        joined += len(direct.associations.unmatched_remote_center_m)
    assert pairs > 0 and joined > 0
