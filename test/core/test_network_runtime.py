"""The network over time behind the pipeline's seam: ids, state, determinism, weights."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scenarios import STEP_NS, yawed
from small_runtime import (
    ROADSIDE_POSE,
    START_NS,
    assert_same_outputs,
    assert_tracks_equal,
    camera,
    config,
    frames,
    image,
    memory_bytes,
    model,
    run,
    runtime,
    sent,
    street,
    with_message,
)

from cooptrack_core.checkpoints import store
from cooptrack_core.config import NetworkConfig
from cooptrack_core.geometry.transforms import apply, inverse
from cooptrack_core.model import loading
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import OFFICIAL, get_preset
from cooptrack_core.model.queries import Queries
from cooptrack_core.perception import FrameRejected
from cooptrack_core.types import SOURCE_EGO, CooptrackError

pytestmark = pytest.mark.usefixtures("one_thread")
COOP, ROADSIDE = config("coop"), config("inf")
PUBLISHED = config("coop", options=OFFICIAL)


def test_tracks_last_end_and_begin():
    """Without which the tests below would show nothing."""
    network = runtime(COOP)
    outputs = run(network, frames(6), with_message)
    ids = [set(o.tracks.track_id.tolist()) for o in outputs]
    assert ids[0] & ids[5] and ids[0] - ids[5] and ids[5] - ids[0]
    assert all(0 < len(o.instances) < len(o.tracks) < len(o.detections) for o in outputs)
    last = outputs[5].tracks
    assert last.age_frames.max() == 6 and (last.hits <= last.age_frames).all()
    assert max(o.tracks.hits.max() for o in outputs) > 1  # random boxes are seldom in view
    pairs = [len(o.associations.pair_ego_index) for o in outputs]
    assert 0 < min(pairs) < 5


@pytest.mark.parametrize("made", [COOP, ROADSIDE, PUBLISHED], ids=["ours", "roadside", "published"])
def test_no_id_is_used_twice_across_resets_gaps_and_jumps_back(made):
    network, earlier = runtime(made), set()
    for begin in (0, 40, 20, 60):  # a gap, a jump back, a reset with a gap
        if begin == 60:
            network.reset()
        now = {i for o in run(network, frames(3, begin)) for i in o.tracks.track_id.tolist()}
        assert now and not now & earlier
        earlier |= now


def test_nothing_is_kept_of_tracks_that_ended():
    network = runtime(COOP)
    run(network, frames(25), with_message)
    live = network._session.memory.live
    assert sorted(live.track_id.tolist()) == network._book._id.tolist()
    assert len(live) < COOP.num_queries < network._session.next_id - 1


@pytest.mark.parametrize("jump_s", [-0.1, -50.0, 1.5])
def test_time_going_back_or_a_gap_starts_anew(jump_s):
    network, fresh = runtime(COOP), runtime(COOP)
    run(network, frames(3))
    later = street(2)
    later = replace(later, stamp_ns=later.stamp_ns + round(jump_s * 1e9))
    got, expected = run(network, [later])[0], run(fresh, [later])[0]
    assert_tracks_equal(got.tracks, expected.tracks, ids=False)
    assert got.tracks.track_id.min() > 3
    assert len(set(got.tracks.track_id - expected.tracks.track_id)) == 1


def test_a_gap_within_the_limit_keeps_tracks():
    network = runtime(COOP)
    before = run(network, frames(2))[-1].tracks.track_id
    gap = replace(street(2), stamp_ns=street(1).stamp_ns + round(COOP.max_gap_s * 1e9))
    assert np.isin(before, run(network, [gap])[0].tracks.track_id).any()


@pytest.mark.parametrize("made", [COOP, PUBLISHED], ids=["ours", "published"])
def test_two_runs_are_equal_byte_for_byte(made):
    a, b = runtime(made, seed=3), runtime(made, seed=3)
    assert_same_outputs(run(a, frames(4), with_message), run(b, frames(4), with_message))
    assert memory_bytes(a) == memory_bytes(b)


def test_after_a_reset_all_but_the_ids_repeats():
    network = runtime(PUBLISHED, seed=3)
    first = run(network, frames(4), with_message)
    network.reset()
    for a, b in zip(first, run(network, frames(4), with_message), strict=True):
        np.testing.assert_array_equal(a.tracks.center_m, b.tracks.center_m)
        np.testing.assert_array_equal(a.tracks.age_frames, b.tracks.age_frames)


def test_the_seed_chooses_the_fresh_queries_of_the_published_network_and_nothing_in_ours():
    def scores(made, seed):
        return run(runtime(made, seed=seed), frames(4), with_message)[-1].detections.score

    assert not np.array_equal(scores(PUBLISHED, 0), scores(PUBLISHED, 1))
    assert np.array_equal(scores(COOP, 0), scores(COOP, 1))


BAD = {
    "size": {"image": image(9, 48, 27)},
    "no camera": {"camera": None},
    "bytes": {"image": b"\xff\xd8 broken"},
    "K": {"camera": replace(camera(), K=np.zeros((3, 3)))},
    "pixels": {"image": np.full((54, 96, 3), np.nan, np.float32)},
}


@pytest.mark.parametrize("made", [COOP, PUBLISHED], ids=["ours", "published"])
def test_a_rejected_frame_leaves_no_trace(made):
    network, other = runtime(made), runtime(made)
    run(network, frames(3), with_message), run(other, frames(3), with_message)
    before = memory_bytes(network)
    for changes in BAD.values():
        bad = street(3, **changes)
        with pytest.raises(FrameRejected, match="expected"):
            network.step(bad, bad.T_map_from_sensor, [sent(3)])
    with pytest.raises(FrameRejected, match="pose: expected finite numbers, found 1 that"):
        network.step(street(3), yawed(0.0, np.nan), [])
    assert memory_bytes(network) == before == memory_bytes(other)
    assert_same_outputs(run(network, frames(2, 4), with_message), run(other, frames(2, 4), with_message))


def test_a_rejected_first_frame_is_as_if_it_had_not_been():
    network = runtime(COOP)
    with pytest.raises(FrameRejected):
        network.step(street(0, image=b""), np.eye(4), [])
    assert_same_outputs(run(network, frames(2, 1)), run(runtime(COOP), frames(2, 1)))


def test_predicting_changes_nothing():
    network, other = runtime(PUBLISHED), runtime(PUBLISHED)
    assert len(network.predict(0, np.eye(4))) == 0  # not even where time begins
    a = run(network, frames(3), with_message)
    b = []
    for i, f in enumerate(frames(3)):
        other.predict(f.stamp_ns, f.T_map_from_sensor)
        b += run(other, [f], lambda _, i=i: [sent(i)])
    assert_same_outputs(a, b)
    before = memory_bytes(network)
    for dt in (0.05, 0.1, 0.4, 30.0, -1.0):
        network.predict(street(2).stamp_ns + round(dt * 1e9), yawed(1.0, 5.0))
    assert memory_bytes(network) == before


def test_predicted_tracks_move_with_their_velocity_in_the_map():
    network = runtime(COOP)
    run(network, frames(3))
    here, pose = network.predict(street(2).stamp_ns, street(2).T_map_from_sensor), yawed(0.5, 7.0, -2.0)
    ahead = network.predict(street(2).stamp_ns + 200_000_000, pose)
    assert len(here) > 2 and here.track_id.tolist() == ahead.track_id.tolist()
    assert not ahead.sources.any() and (ahead.sources_ever & ~SOURCE_EGO == 0).all()
    np.testing.assert_allclose(ahead.time_since_update_s, here.time_since_update_s + 0.2)
    moved = here.center_m + np.pad(here.velocity_mps * 0.2, ((0, 0), (0, 1)))
    T = np.linalg.inv(pose) @ street(2).T_map_from_sensor
    np.testing.assert_allclose(ahead.center_m, moved @ T[:3, :3].T + T[:3, 3], atol=1e-3)
    np.testing.assert_allclose(ahead.velocity_mps, here.velocity_mps @ T[:2, :2].T, atol=1e-4)
    turned = (ahead.heading_rad - here.heading_rad - np.arctan2(T[1, 0], T[0, 0]) + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(turned, 0.0, atol=1e-5)


@pytest.mark.parametrize(("dt_s", "there"), [(0.0, True), (1.0, True), (1.01, False), (-0.01, False)])
def test_predictions_end_with_the_gap_that_ends_the_tracks(dt_s, there):
    network = runtime(COOP)
    run(network, frames(2))
    assert COOP.max_gap_s == 1.0
    got = network.predict(street(1).stamp_ns + round(dt_s * 1e9), np.eye(4))
    assert (len(got) > 0) == there and got.stamp_ns == street(1).stamp_ns + round(dt_s * 1e9)


def test_instances_carry_the_ids_boxes_and_features_of_active_tracks():
    network = runtime(ROADSIDE)
    for output in run(network, frames(4)):
        rows = [output.tracks.track_id.tolist().index(i) for i in output.instances.instance_id]
        assert rows == sorted(rows) and len(rows) > 0
        assert rows == np.flatnonzero(output.tracks.score > ROADSIDE.score_threshold).tolist()
        for name in ("center_m", "size_m", "heading_rad", "velocity_mps", "class_id", "score", "age_frames"):
            np.testing.assert_array_equal(getattr(output.instances, name), getattr(output.tracks, name)[rows])
    live, features = network._session.memory.live, output.instances.features
    by_id = [live.track_id.tolist().index(i) for i in output.instances.instance_id]
    np.testing.assert_array_equal(features.query, live.query_feats[by_id].numpy())
    np.testing.assert_array_equal(features.embedding, live.query_embeds[by_id].numpy())
    np.testing.assert_array_equal(features.motion, live.motion_feats[by_id].numpy())
    assert features.preset == ROADSIDE.name and features.fingerprint == network.fingerprint
    assert not output.associations.messages and not len(output.associations.pair_ego_index)


def test_what_a_vehicles_network_measured_itself_is_free_of_what_it_heard_in_the_frame():
    begin, easy = street(0), config(output_threshold=0.0)
    own = runtime(easy).step(begin, begin.T_map_from_sensor, ()).own_instances()
    beside = own.center_m + np.array([0.0, 1.0, 0.0])
    there = apply(inverse(ROADSIDE_POSE) @ begin.T_map_from_sensor, beside)
    heard = sent(0, len(there))
    heard = replace(heard, instances=replace(heard.instances, center_m=there))
    output = runtime(easy, matcher="distance").step(begin, begin.T_map_from_sensor, [heard])
    told, tracks = output.own_instances(), output.tracks
    assert len(output.associations.pair_ego_index) > 0
    only_heard = set(tracks.track_id[tracks.sources & SOURCE_EGO == 0].tolist())
    assert len(told) > 0 and not only_heard & set(told.instance_id.tolist())
    rows = np.searchsorted(own.center_m[:, 0], told.center_m[:, 0] - 1e-4, sorter=np.argsort(own.center_m[:, 0]))
    np.testing.assert_allclose(told.center_m, own.center_m[np.argsort(own.center_m[:, 0])[rows]], atol=1e-4)
    fused = tracks.center_m[[tracks.track_id.tolist().index(i) for i in told.instance_id]]
    assert np.abs(fused - told.center_m).max() > 0.2, "the tracks themselves believe what was heard"
    assert told.features.fingerprint == output.instances.features.fingerprint
    assert len(told.features.query) == len(told)


def test_stamps_since_1970_keep_their_precision():
    for start in (0, START_NS + 123_456_789):
        network = runtime(COOP)
        for i in range(3):
            frame = replace(street(i), stamp_ns=start + i * STEP_NS)
            network.step(frame, frame.T_map_from_sensor, [sent(i, start_ns=start)])
        tracks = network.predict(start + 2 * STEP_NS + 1_000_000, frame.T_map_from_sensor)
        if start == 0:
            expected = tracks
    assert tracks.stamp_ns == START_NS + 123_456_789 + 201_000_000
    assert_tracks_equal(replace(tracks, stamp_ns=expected.stamp_ns), expected)


def to_dtype(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return values.to(dtype) if values.is_floating_point() else values


def test_single_precision_agrees_with_double():
    made = model(COOP)
    queries = made.assemble(None)
    pixels = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32))
    lidar2img = torch.tensor([[57.6, 0, 48, 0], [0, 57.6, 27, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]) @ torch.from_numpy(
        camera().T_camera_from_sensor.astype(np.float32)
    )
    movement = torch.zeros(1, 18)
    movement[0, [0, 3, 17]] = torch.tensor([0.8, 1.0, 2.0])
    remote, T = runtime(COOP, made=made)._remote(sent(0), 0, START_NS, np.eye(4))
    results = []
    with torch.no_grad():
        for dtype in (torch.float32, torch.float64):
            network = made.to(dtype)
            past, live = torch.full((1, COOP.bev_cells, 32), 0.3, dtype=dtype), queries.to(dtype)
            seen = network.perceive(
                pixels.to(dtype), lidar2img[None].to(dtype), movement.to(dtype), live.map(lambda v: v[None]), past
            )
            theirs = network.align([(remote.map(partial(to_dtype, dtype=dtype)), T.to(dtype))])
            done = network.cooperate(seen.queries.select(0), theirs)
            results.append((seen.bev, done.affinity, network.refine(done.queries), done.ego_index, done.remote_index))
    single, double = results
    assert double[0].dtype == double[2].boxes.dtype == torch.float64
    torch.testing.assert_close(single[0].double(), double[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(single[1].double(), double[1], atol=1e-3, rtol=0)
    assert torch.equal(single[3], double[3]) and torch.equal(single[4], double[4]) and len(double[3]) > 0
    for name in Queries.__dataclass_fields__:
        torch.testing.assert_close(
            getattr(single[2], name).double(), getattr(double[2], name).double(), atol=1e-3, rtol=0, msg=name
        )


def test_saved_and_loaded_weights_give_the_same_bits(tmp_path):
    made = AgentModel(get_preset("tiny_coop"))
    fingerprint = store.save(tmp_path / "a.safetensors", made, store.Metadata(roadside_fingerprint=b"\5" * 32))
    loaded = store.load(tmp_path / "a.safetensors", "tiny_coop")
    again = AgentModel(loaded.config)
    again.load_state_dict(loaded.state)
    assert loaded.fingerprint == fingerprint and loaded.metadata.roadside_fingerprint == b"\5" * 32

    def two_frames(network):
        return run(network, [street(i, image=image(i, 320, 180), camera=camera(320, 180)) for i in range(2)])

    assert_same_outputs(two_frames(runtime(made.config, made=made)), two_frames(runtime(again.config, made=again)))


def test_untrained_networks_of_one_seed_are_equal_and_understand_each_other():
    def network(role, seed):
        return loading.load_network(NetworkConfig(weights="untrained", device="cpu", seed=seed), role)

    vehicle, roadside, other = network("coop", 0), network("inf", 0), network("inf", 1)
    assert roadside.fingerprint == network("inf", 0).fingerprint != other.fingerprint
    assert not vehicle.trained and vehicle.about["weights"] == "untrained (seed 0)"
    frame = street(0, image=image(0, 320, 180), camera=camera(320, 180))
    told = [sent(0, instances=n.step(frame, np.eye(4), ()).instances) for n in (roadside, other)]
    assert vehicle.understands(told[0]) and not vehicle.understands(told[1])
    assert told[0].instances.features.preset == "tiny_inf"


def test_warming_up_leaves_no_trace():
    warm, cold = runtime(PUBLISHED), runtime(PUBLISHED)
    warm.warm_up()
    assert_same_outputs(run(warm, frames(3)), run(cold, frames(3)))
    assert memory_bytes(warm) == memory_bytes(cold)


def test_no_gpu_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CooptrackError) as refusal:
        loading.load_network(NetworkConfig(device="cuda"), "inf")
    text = str(refusal.value)
    assert text.startswith("device cuda: ") and "choose cpu or auto" in text and "\n" not in text
    assert loading.choose_device("auto") == loading.choose_device("cpu") == torch.device("cpu")
