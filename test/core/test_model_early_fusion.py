"""Fusion before decoding: who enters the decoder, who goes on as a track, and what the UniV2X-style layers compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from network_cases import FORWARD, aligned, ego_beside, pose, random_queries, random_remote, small_config
from torch import Tensor

from cooptrack_core.model import box_code, early_fusion
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.early_fusion import Entry
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import NO_ID, Queries
from cooptrack_core.model.query_fusion import PoseConcatenation, QueryFusion

BOTH = pytest.mark.parametrize("fusion", ["before_decoding", "univ2x"])
TINY = {
    "image_size": (64, 96), "backbone_width": 8, "num_queries": 12, "bev_size": (4, 4), "encoder_layers": 1,
    "decoder_layers": 2, "encoder_ffn": 32, "decoder_ffn": 32,
}  # fmt: skip


def network(fusion: str, **changes: object) -> AgentModel:
    torch.manual_seed(3)
    return AgentModel(small_config(fusion=fusion, **(TINY | changes))).eval()


def tracks(remote: RemoteInstances, offset_m: float, config: ModelConfig) -> Queries:
    """A live track of the vehicle beside each instance; boxes of 4 m along every axis."""
    live = ego_beside(remote, offset_m, config)
    boxes = live.boxes.clone()
    boxes[:, [2, 3, 5]] = float(np.log(4.0))
    return live.with_(
        boxes=boxes, is_track=torch.ones(len(live), dtype=torch.bool), scores=torch.full((len(live),), 0.6)
    )


def apart(count: int, config: ModelConfig, owner: int = 0) -> RemoteInstances:
    """Instances ten metres from each other."""
    remote = aligned(count, config, owner=owner)
    points_m = torch.stack([-30.0 + 10.0 * torch.arange(count), torch.full((count,), 5.0), torch.zeros(count)], -1)
    return replace(remote, ref_pts=box_code.normalise(points_m, config.point_range_m))


@torch.no_grad()
def entered(model: AgentModel, live: Queries | None, remote: RemoteInstances) -> tuple[Entry, Queries]:
    entry = model.enter(live, remote)
    assert entry is not None
    return entry, model.assemble(live, None, entry)


@BOTH
def test_guests_replace_the_last_fresh_queries_and_the_number_stays(fusion: str) -> None:
    model = network(fusion)
    live = tracks(apart(2, model.config), 50.0, model.config)  # far from all instances
    entry, queries = entered(model, live, apart(3, model.config))
    assert len(queries) == 12 and entry.first_guest(12) == 7
    torch.testing.assert_close(queries.ref_pts[:7], model.reference_points[:7])
    torch.testing.assert_close(queries.ref_pts[7:10], apart(3, model.config).ref_pts)
    assert queries.track_id.tolist() == [NO_ID] * 10 + [100, 101]


@BOTH
def test_instance_near_a_live_track_does_not_become_a_second_one(fusion: str) -> None:
    model = network(fusion)
    remote = apart(3, model.config)
    live = tracks(remote.select(torch.tensor([1])), 1.0, model.config)
    entry, queries = entered(model, live, remote)
    done = model.cooperate(queries, remote, entry=entry)
    assert done.fused.remote_row[done.fused.remote_row >= 0].tolist() == [0, 2]
    assert done.ego_index.tolist() == [11] and done.remote_index.tolist() == [1]
    last = len(done.queries) - 1
    assert done.queries.track_id[last] == 100 and done.fused.row_of_remote[1] == last
    assert done.fused.ego_row[last] == 11
    assert done.queries.track_id[done.fused.row_of_remote[[0, 2]]].tolist() == [NO_ID, NO_ID]
    assert (done.queries.track_id >= 0).sum() == 1
    closeness = done.affinity.sigmoid()[11, 1]
    assert 0.5 < closeness < 1.0 and (done.affinity.sigmoid() > 0.01).sum() == 1


@BOTH
def test_every_row_after_the_decoder_is_the_query_that_it_says(fusion: str) -> None:
    model = network(fusion)
    remote = apart(4, model.config)
    live = tracks(remote.select(torch.tensor([2, 0])), 1.0, model.config)
    entry, queries = entered(model, live, remote)
    own = random_queries(len(queries), model.config)
    fused = model.cooperate(own, remote, entry=entry).fused
    rows = entry.rows(len(own))
    torch.testing.assert_close(fused.queries.query_feats, own.query_feats[rows])
    assert fused.ego_row[fused.ego_row >= 0].tolist() == rows[fused.ego_row >= 0].tolist()
    for instance, row in enumerate(fused.row_of_remote.tolist()):
        point = queries.ref_pts[rows[row]]  # where that query entered
        distance_m = (box_code.denormalise(point - remote.ref_pts[instance], (0, 0, 0, 102.4, 102.4, 8))).norm()
        assert distance_m < 1.5


@BOTH
def test_what_two_agents_see_joins_once(fusion: str) -> None:
    model = network(fusion)
    one, other = apart(2, model.config), apart(3, model.config, owner=1)
    both = RemoteInstances.cat([one, other])
    entry, queries = entered(model, None, both)
    fused = model.cooperate(queries, both, entry=entry).fused
    assert fused.remote_row[fused.remote_row >= 0].tolist() == [0, 1, 4]
    assert fused.row_of_remote[:2].tolist() == fused.row_of_remote[2:4].tolist()
    assert len(set(fused.row_of_remote.tolist())) == 3


@BOTH
def test_short_room_drops_instances_and_no_track(fusion: str) -> None:
    model = network(fusion)
    live = tracks(apart(6, model.config), 3000.0, model.config)
    remote = RemoteInstances.cat([random_remote(0, model.config), *(apart(9, model.config),)])
    entry, queries = entered(model, live, remote)
    assert len(queries) == 12 and len(entry.guests) == 6
    fused = model.cooperate(queries, remote, entry=entry).fused
    assert fused.row_of_remote.tolist() == [0, 1, 2, 3, 4, 5, -1, -1, -1]
    assert fused.queries.track_id[6:].tolist() == live.track_id.tolist()


@BOTH
@pytest.mark.parametrize("have_tracks", [True, False])
def test_no_instances_leave_the_frame_as_it_is(fusion: str, have_tracks: bool) -> None:
    model = network(fusion)
    live = tracks(apart(3, model.config), 0.0, model.config) if have_tracks else None
    with torch.no_grad():
        nothing = model.align([])
        entry, queries = entered(model, live, nothing)
        alone = model.assemble(live)
        done = model.cooperate(queries, nothing, entry=entry)
    for name in vars(alone):
        assert torch.equal(getattr(queries, name), getattr(alone, name)), name
        assert torch.equal(getattr(done.queries, name), getattr(alone, name)), name
    assert done.fused.ego_row.tolist() == list(range(12)) and len(done.fused.row_of_remote) == 0


def test_guests_tell_the_vehicles_own_queries_what_they_know() -> None:
    model = network("before_decoding")
    images, lidar2img = torch.zeros(1, 3, 64, 96), torch.eye(4)[None]

    @torch.no_grad()
    def own_feats(remote: RemoteInstances) -> Tensor:
        _, queries = entered(model, None, remote)
        batch = queries.map(lambda value: value[None])
        return model.perceive(images, lidar2img, torch.zeros(1, 18), batch, None).queries.query_feats[0, :9]

    remote = apart(3, model.config)
    other = replace(remote, query_feats=remote.query_feats + 1.0)
    assert (own_feats(remote) - own_feats(other)).abs().max() > 1e-4


def test_guests_before_decoding_are_placed_as_the_vehicles_own_queries_are() -> None:
    model = network("before_decoding")
    remote = apart(3, model.config)
    entry, _ = entered(model, None, remote)
    torch.testing.assert_close(entry.guests.query_embeds, model.embed(remote.ref_pts).detach())
    assert entry.guests.history_padding.all()


def test_features_and_positions_pass_one_linear_layer_with_the_rotation() -> None:
    config = small_config(fusion="univ2x")
    torch.manual_seed(0)
    module = PoseConcatenation(config)
    for layer in (module.features, module.embeddings):
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    remote, T = random_remote(6, config), pose(0.4, -45.0, 2.0)
    got, keep = module(remote, T)
    assert keep.all()
    for i in range(len(remote)):
        rotation = [float(T[row, column]) for row in range(3) for column in range(3)]
        for layer, given, aligned_to in (
            (module.features, remote.query_feats, got.query_feats),
            (module.embeddings, remote.query_embeds, got.query_embeds),
        ):
            x = torch.tensor([*given[i].tolist(), *rotation])
            torch.testing.assert_close(aligned_to[i], layer.weight @ x + layer.bias, atol=1e-4, rtol=1e-4)
    points_m = box_code.denormalise(remote.ref_pts, config.roadside_point_range_m) @ T[:3, :3].T + T[:3, 3]
    torch.testing.assert_close(box_code.denormalise(got.ref_pts, config.point_range_m), points_m, atol=1e-4, rtol=0)
    torch.testing.assert_close(got.motion_feats, remote.motion_feats)


def test_alignment_by_concatenation_starts_with_the_features_as_they_were_sent() -> None:
    config = small_config(fusion="univ2x")
    remote = random_remote(5, config)
    got, _ = PoseConcatenation(config)(remote, FORWARD)
    torch.testing.assert_close(got.query_feats, remote.query_feats)


def test_paired_tracks_gain_the_linear_image_of_their_partners_and_no_others() -> None:
    config = small_config(fusion="univ2x", num_queries=12)
    torch.manual_seed(0)
    module = QueryFusion(config)
    torch.nn.init.normal_(module.pair.weight)
    torch.nn.init.normal_(module.pair.bias)
    remote = apart(3, config)
    live = tracks(remote, 1.0, config)
    live = live.with_(scores=torch.tensor([0.06, 0.04, 0.9]))  # the second is not sure enough of itself
    entry = module(live, remote)
    assert entry.live_index.tolist() == [0, 2] and entry.remote_index.tolist() == [0, 2]
    gain = entry.live.query_feats - live.query_feats
    for row in (0, 2):
        expected = module.pair.weight @ remote.query_feats[row] + module.pair.bias
        torch.testing.assert_close(gain[row], expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(gain[1], torch.zeros_like(gain[1]))
    assert entry.guest_row.tolist() == [1] and bool(entry.stays.all())


@pytest.mark.parametrize(
    ("axis", "offset_m", "paired"), [(0, 1.7, True), (0, 2.1, False), (1, 2.9, True), (1, 3.1, False)]
)
def test_gate_is_the_size_of_the_tracks_box_along_each_axis(axis: int, offset_m: float, paired: bool) -> None:
    config = small_config(fusion="univ2x", num_queries=12)
    remote = apart(1, config)
    live = tracks(remote, 0.0, config)
    boxes = live.boxes.clone()
    boxes[:, [2, 3, 5]] = torch.tensor([2.0, 3.0, 1.0]).log()
    shift = torch.zeros(3)
    shift[axis] = offset_m
    points_m = box_code.denormalise(remote.ref_pts, config.point_range_m) + shift
    live = live.with_(boxes=boxes, ref_pts=box_code.normalise(points_m, config.point_range_m))
    assert (len(QueryFusion(config)(live, remote).live_index) == 1) == paired


def test_a_frame_that_asked_nobody_has_no_guests() -> None:
    config = small_config(fusion="before_decoding", **TINY)
    own, remote = random_queries(12, config), apart(4, config)
    fused, ego_index, remote_index, affinity = early_fusion.leave(own, early_fusion.nobody(remote, config))
    assert torch.equal(fused.queries.query_feats, own.query_feats) and fused.row_of_remote.tolist() == [-1] * 4
    assert len(ego_index) == len(remote_index) == 0 and affinity.shape == (12, 4)
