"""Fusion, completion and all of cooperation in a row: rows and what they hold, empty inputs, several agents."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from network_cases import (
    FORWARD,
    aligned,
    assert_same,
    ego_beside,
    official_config,
    pose,
    random_queries,
    random_remote,
    small_config,
)
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.aggregation import Aggregation, common_shift
from cooptrack_core.model.alignment import CrossAgentAlignment, RemoteInstances, as_queries
from cooptrack_core.model.association import GraphAssociation, match_by_affinity, match_by_distance
from cooptrack_core.model.completion import Fused
from cooptrack_core.model.presets import ModelConfig, Options
from cooptrack_core.model.queries import NO_ID, Queries


def index(*rows: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64)


def fuse(config: ModelConfig, ego: Queries, remote: RemoteInstances, ego_index: Tensor, remote_index: Tensor) -> Fused:
    torch.manual_seed(2)
    module = Aggregation(config).eval()
    with torch.no_grad():
        return module.fuse(ego, as_queries(remote, config), remote.owner, ego_index, remote_index)


def cooperate(config: ModelConfig, ego: Queries, remote: RemoteInstances, T: Tensor = FORWARD) -> Queries:
    """Everything in a row, as in a frame."""
    torch.manual_seed(4)
    alignment, association = CrossAgentAlignment(config).eval(), GraphAssociation(config).eval()
    aggregation = Aggregation(config).eval()
    with torch.no_grad():
        here, _ = alignment(remote, T)
        theirs = as_queries(here, config)
        matches = match_by_affinity(association(ego, theirs), ego, theirs, here.owner, config)
        return aggregation.cross_domain(aggregation.fuse(ego, theirs, here.owner, *matches).queries)


def test_rows_are_matched_then_joined_then_best_by_score() -> None:
    config = official_config()
    ego, remote = random_queries(9, config), aligned(4, config)
    fused = fuse(config, ego, remote, index(2, 5), index(3, 1))
    assert fused.ego_row[:4].tolist() == [2, 5, -1, -1]
    assert fused.remote_row.tolist() == [-1, -1, 0, 2, -1, -1, -1, -1, -1]
    assert fused.row_of_remote.tolist() == [2, 1, 3, 0]
    rest = [row for row in ego.scores.argsort(descending=True).tolist() if row not in (2, 5)]
    assert fused.ego_row[4:].tolist() == rest[:5]
    queries = fused.queries
    assert len(queries) == 9
    torch.testing.assert_close(queries.ref_pts[0], (ego.ref_pts[2] + remote.ref_pts[3]) / 2)
    assert queries.track_id[:5].tolist() == [102, 105, NO_ID, NO_ID, 100 + rest[0]]
    torch.testing.assert_close(queries.scores[:2], ego.scores[[2, 5]])
    torch.testing.assert_close(queries.history_feats[:2], ego.history_feats[[2, 5]])
    torch.testing.assert_close(queries.query_feats[2:4], remote.query_feats[[0, 2]])
    assert_same(queries.select(slice(4, 9)), ego.select(torch.tensor(rest[:5])), atol=0)


def test_matched_features_come_from_the_fusion_layers() -> None:
    config = official_config()
    ego, remote = random_queries(6, config), aligned(2, config)
    torch.manual_seed(2)
    module = Aggregation(config)
    fused = fuse(config, ego, remote, index(4), index(1)).queries
    expected = module.fuse_motion(torch.cat((ego.motion_feats[4], remote.motion_feats[1])))
    torch.testing.assert_close(fused.motion_feats[0], expected)
    expected = module.fuse_embeddings(torch.cat((ego.query_embeds[4], remote.query_embeds[1])))
    torch.testing.assert_close(fused.query_embeds[0], expected)


def test_empty_message_keeps_ego_tracks_in_order_of_score_and_crosses_domains() -> None:
    for config in (official_config(), small_config()):
        ego = random_queries(7, config)
        ego = ego.with_(scores=torch.tensor([0.5, 0.9, 0.5, 0.1, 0.9, 0.2, 0.3]))
        fused = fuse(config, ego, RemoteInstances.empty(config.embed_dims, like=ego.scores), index(), index())
        order = [1, 4, 0, 2, 6, 5, 3]
        assert fused.ego_row.tolist() == order
        assert_same(fused.queries, ego.select(torch.tensor(order)), atol=0)
        crossed = cooperate(config, ego, RemoteInstances.empty(config.embed_dims, like=ego.scores))
        assert crossed.track_id.tolist() == [100 + row for row in order]
        changed = (crossed.query_feats - fused.queries.query_feats).abs().max()
        assert changed == 0.0 if config.options.residual_fusion else changed > 0.01  # what is added starts at nothing


@pytest.mark.parametrize("official", [True, False])
@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (0, 4), (1, 0), (1, 1), (1, 4), (3, 5), (6, 0)])
def test_any_number_of_queries_and_instances(official: bool, ours: int, theirs: int) -> None:
    config = official_config() if official else small_config()
    result = cooperate(config, random_queries(ours, config), random_remote(theirs, config))
    assert len(result) == ours
    assert result.query_feats.shape == (ours, config.embed_dims)
    assert torch.isfinite(result.query_feats).all() and torch.isfinite(result.ref_pts).all()


def test_out_of_range_message_is_an_empty_one() -> None:
    config = small_config()
    ego = random_queries(6, config)
    far = cooperate(config, ego, random_remote(4, config), pose(0.0, 500.0, 0.0))
    assert_same(far, cooperate(config, ego, RemoteInstances.empty(config.embed_dims, like=ego.scores)), atol=0)


@pytest.mark.parametrize("official", [True, False])
def test_order_of_instances_does_not_change_the_result(official: bool) -> None:
    options = Options(affinity_threshold=0.09, distance_gate_m=25.0)
    config = official_config() if official else small_config(options)
    ego, remote = random_queries(40, config), random_remote(10, config)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    a, b = cooperate(config, ego, remote), cooperate(config, ego, remote.select(order))
    assert set(a.track_id.tolist()) == set(b.track_id.tolist())
    key_a, key_b = a.ref_pts[:, 0].argsort(), b.ref_pts[:, 0].argsort()
    assert_same(b.select(key_b), a.select(key_a))


def test_live_tracks_are_kept_unless_official() -> None:
    for config, kept in ((small_config(), [4, 0, 5]), (official_config(), [2, 3])):
        ego = random_queries(6, config)
        ego = ego.with_(
            scores=torch.tensor([0.04, 0.3, 0.9, 0.8, 0.05, 0.01]), is_track=torch.tensor([1, 0, 0, 0, 1, 1]).bool()
        )
        remote = aligned(3, config)
        fused = fuse(config, ego, remote, index(1), index(0))
        assert fused.ego_row[0] == 1
        assert fused.remote_row[1:3].tolist() == [1, 2]
        assert fused.ego_row[3:].tolist() == (kept if len(kept) == 3 else [2, 3, 4])


def test_instances_without_room_are_left_out_before_live_tracks_are() -> None:
    config = small_config()
    ego = random_queries(4, config)
    ego = ego.with_(is_track=torch.tensor([True, True, False, False]))
    remote = aligned(5, config)
    fused = fuse(config, ego, remote, index(), index())
    assert fused.remote_row.tolist() == [0, 1, -1, -1]
    assert fused.row_of_remote.tolist() == [0, 1, -1, -1, -1]
    assert sorted(fused.ego_row.tolist()) == [-1, -1, 0, 1]


def test_partners_of_one_query_are_fused_one_by_one_and_averaged() -> None:
    config = small_config()
    ego = random_queries(5, config)
    remote = RemoteInstances.cat([aligned(2, config, 1, 0), aligned(2, config, 2, 1)])
    together = fuse(config, ego, remote, index(3, 3), index(1, 2))
    alone = [fuse(config, ego, remote, index(3), index(row)).queries.select(0) for row in (1, 2)]
    got = together.queries.select(0)
    torch.testing.assert_close(got.query_feats, (alone[0].query_feats + alone[1].query_feats) / 2)
    torch.testing.assert_close(got.ref_pts, (alone[0].ref_pts + alone[1].ref_pts) / 2)
    assert got.track_id == 103
    assert together.row_of_remote[[1, 2]].tolist() == [0, 0]
    assert len(together.queries) == 5


def test_object_that_two_agents_see_joins_once() -> None:
    config = small_config()
    first = aligned(3, config)
    shifted_m = box_code.denormalise(first.ref_pts, config.point_range_m) + torch.tensor([0.0, 1.5, 0.0])
    second = replace(first, ref_pts=box_code.normalise(shifted_m, config.point_range_m), owner=first.owner + 1)
    beside = replace(first, owner=first.owner * 0 + 1)
    ego = random_queries(12, config)
    none = index()
    once = fuse(config, ego, RemoteInstances.cat([first, second]), none, none)
    assert once.remote_row[:4].tolist() == [0, 1, 2, -1]
    assert once.row_of_remote.tolist() == [0, 1, 2, 0, 1, 2]
    # One agent tells its own instances apart, however close they are.
    same_agent = RemoteInstances.cat([first, replace(second, owner=first.owner)])
    assert fuse(config, ego, same_agent, none, none).row_of_remote.tolist() == [0, 1, 2, 3, 4, 5]
    twice = RemoteInstances.cat([first.select(slice(0, 1)), beside.select(slice(0, 1)), second.select(slice(0, 1))])
    assert fuse(config, ego, twice, none, none).row_of_remote.tolist() == [0, 0, 1]


def moved_m(remote: RemoteInstances, config: ModelConfig, y_m: float, owner: int) -> RemoteInstances:
    """The same instances as another agent sees them, that far beside."""
    points_m = box_code.denormalise(remote.ref_pts, config.point_range_m) + torch.tensor([0.0, y_m, 0.0])
    ref_pts = box_code.normalise(points_m, config.point_range_m)
    return replace(remote, ref_pts=ref_pts, owner=torch.full_like(remote.owner, owner))


def test_what_another_agent_has_brought_to_an_own_query_does_not_join_beside_it() -> None:
    config = small_config()
    first = aligned(3, config)
    both = RemoteInstances.cat([first, moved_m(first, config, 1.5, 1)])
    ego = random_queries(12, config)
    fused = fuse(config, ego, both, index(7), index(0))  # only the first agent's instance is paired
    assert fused.ego_row[0] == 7 and fused.remote_row[:4].tolist() == [-1, 1, 2, -1]
    assert fused.row_of_remote.tolist() == [0, 1, 2, 0, 1, 2]
    # The same the other way round: the order of agents does not matter for that.
    fused = fuse(config, ego, both, index(7), index(3))
    assert fused.row_of_remote.tolist() == [0, 1, 2, 0, 1, 2]
    # An agent that tells two objects apart has two, however close they are to what somebody else paired.
    one = first.select(slice(0, 1))
    pair = RemoteInstances.cat([one, moved_m(one, config, 0.5, 1), moved_m(one, config, 1.0, 1)])
    fused = fuse(config, ego, pair, index(7), index(0))
    assert fused.row_of_remote.tolist() == [0, 0, 1]


def test_long_objects_are_one_at_a_larger_distance_and_four_agents_make_one() -> None:
    config = small_config()
    for length_m, y_m, rows in ((0.6, 2.5, 2), (4.5, 2.5, 1), (12.0, 3.4, 1), (12.0, 3.6, 2)):
        one = aligned(1, config)
        one.boxes[:, 3] = torch.log(torch.tensor(length_m))
        both = RemoteInstances.cat([one, moved_m(one, config, y_m, 1)])
        fused = fuse(config, random_queries(9, config), both, index(), index())
        assert len(set(fused.row_of_remote.tolist())) == rows, (length_m, y_m)
    seen = [moved_m(aligned(2, config), config, 0.8 * k, k) for k in range(4)]
    fused = fuse(config, random_queries(9, config), RemoteInstances.cat(seen), index(), index())
    assert fused.row_of_remote.tolist() == [0, 1] * 4 and (fused.remote_row >= 0).sum() == 2


def test_gradients_are_finite_and_reach_every_part() -> None:
    config = small_config()
    torch.manual_seed(0)
    alignment, association, aggregation = CrossAgentAlignment(config), GraphAssociation(config), Aggregation(config)
    with torch.no_grad():  # off the zeros with which training starts
        for parameter in (*alignment.parameters(), *aggregation.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))
    remote = random_remote(5, config)
    here, _ = alignment(remote, FORWARD)
    theirs = as_queries(here, config)
    ego = Queries.cat([ego_beside(theirs.detach(), 1.0, config), random_queries(10, config)])
    feats = ego.query_feats.requires_grad_()
    ego = ego.with_(query_feats=feats)
    logits = association(ego, theirs)
    matched = match_by_distance(ego, theirs, here.owner, config)
    assert len(matched[0]) == 5
    done = aggregation.cross_domain(aggregation.fuse(ego, theirs, here.owner, *matched).queries)
    loss = logits.square().mean() + done.query_feats.square().mean() + done.motion_feats.square().mean()
    loss = loss + done.ref_pts.square().mean()
    loss.backward()
    assert feats.grad is not None and torch.isfinite(feats.grad).all()
    for module in (alignment, association, aggregation):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    assert alignment.rotation_mlp[0].weight.grad.abs().sum() > 0
    assert not theirs.history_feats.requires_grad and not theirs.history_motion.requires_grad


def test_single_precision_agrees_with_double() -> None:
    config = official_config()
    torch.manual_seed(0)
    alignment, association = CrossAgentAlignment(config).eval(), GraphAssociation(config).eval()
    ego, remote = random_queries(20, config, dtype=torch.float64), random_remote(6, config, dtype=torch.float64)
    with torch.no_grad():
        single, _ = alignment(remote.map(lambda x: x.float() if x.is_floating_point() else x), FORWARD)
        logits = association(ego.to(torch.float32), as_queries(single, config))
        double, _ = alignment.double()(remote, FORWARD.double())
        expected = association.double()(ego, as_queries(double, config))
    assert double.query_feats.dtype == torch.float64
    torch.testing.assert_close(single.query_feats.double(), double.query_feats, atol=1e-4, rtol=0)
    torch.testing.assert_close(logits.double(), expected, atol=1e-4, rtol=0)


def test_an_untaught_pair_has_the_box_between_both_and_the_partners_sense_of_front() -> None:
    config = small_config()
    ego, remote = random_queries(6, config), aligned(2, config)
    facing = ego.boxes[4, 6:8] / ego.boxes[4, 6:8].norm()
    remote.boxes[1, 6:8] = -facing  # the same line, the other way
    fused = fuse(config, ego, remote, index(4), index(1))
    got, ours, theirs = fused.queries.boxes[0], ego.boxes[4], remote.boxes[1]
    for entries in ([2, 3, 5], [8, 9]):
        torch.testing.assert_close(got[entries], (ours[entries] + theirs[entries]) / 2)
    torch.testing.assert_close(got[6:8], (-ours[6:8] - facing) / 2)
    torch.testing.assert_close(fused.queries.ref_pts[0], (ego.ref_pts[4] + remote.ref_pts[1]) / 2)
    assert torch.equal(fused.queries.boxes[1], remote.boxes[0]), "who joins keeps its own"


def test_what_a_message_puts_off_all_tracks_alike_is_told_from_the_tracks_alone() -> None:
    way_m = torch.tensor([[1.0, 2.0], [1.2, 2.2], [9.0, -9.0], [0.8, 1.8], [1.1, 2.1], [5.0, 5.0]])
    tracks = torch.tensor([True, True, True, True, True, False])
    message = torch.tensor([0, 0, 0, 0, 0, 0])
    assert common_shift(way_m, tracks, message)[0].tolist() == pytest.approx([1.1, 2.0]), "one outlier moves nothing"
    assert (common_shift(way_m, tracks, message) == common_shift(way_m, tracks, message)[:1]).all(), "all rows alike"
    two = torch.tensor([0, 0, 1, 0, 0, 1])
    found = common_shift(way_m, tracks, two)
    assert found[0].tolist() == pytest.approx([1.0, 2.0]) and not found[two == 1].any(), "one track tells nothing"


def test_who_is_ahead_of_its_prediction_gets_faster() -> None:
    config = small_config()
    ego, remote = random_queries(6, config), aligned(1, config)
    away = box_code.denormalise(remote.ref_pts[0], config.point_range_m) - torch.tensor([2.0, 0.0, 0.0])
    ref_pts, boxes = ego.ref_pts.clone(), ego.boxes.clone()
    ref_pts[3], boxes[3, 8:] = box_code.normalise(away, config.point_range_m), remote.boxes[0, 8:]
    speeds = []
    for is_track in (False, True):
        ours = ego.with_(ref_pts=ref_pts, boxes=boxes, is_track=torch.full((6,), is_track))
        speeds.append(fuse(config, ours, remote, index(3), index(0)).queries.boxes[0, 8:] - boxes[3, 8:])
    assert speeds[0].abs().max() < 1e-5, "what is new has no prediction"
    assert speeds[1][0] == pytest.approx(2.0, abs=1e-3) and speeds[1][1].abs() < 1e-3, "untaught: 1 per second"
