"""Association: affinity by the plain and the fast path, matching under both sets of options."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from network_cases import (
    aligned,
    ego_beside,
    official_config,
    owners,
    random_queries,
    small_config,
)
from torch import Tensor

from cooptrack_core.model import association, box_code
from cooptrack_core.model.alignment import RemoteInstances, as_queries
from cooptrack_core.model.association import (
    UNSCORED,
    GraphAssociation,
    distances_m,
    match_by_affinity,
    match_by_distance,
)
from cooptrack_core.model.presets import Options


def pairs(ego_index: Tensor, remote_index: Tensor) -> list[tuple[int, int]]:
    return list(zip(ego_index.tolist(), remote_index.tolist(), strict=True))


@pytest.mark.parametrize("official", [True, False])
@pytest.mark.parametrize("dims", [32, 256])
def test_fast_affinity_equals_plain_affinity(official: bool, dims: int) -> None:
    gate = Options(distance_gate_m=20.0)
    config = official_config(embed_dims=dims) if official else small_config(gate, embed_dims=dims)
    torch.manual_seed(0)
    module = GraphAssociation(config).eval()
    ego, theirs = random_queries(90, config), as_queries(aligned(30, config), config)
    with torch.no_grad():
        plain, fast = module.plain(ego, theirs), module(ego, theirs)
    scored = fast != UNSCORED
    torch.testing.assert_close(fast[scored], plain[scored], atol=1e-4, rtol=0)
    a, b = (box_code.denormalise(side.ref_pts, config.point_range_m) for side in (ego, theirs))
    near = torch.cdist(a, b) <= (math.inf if official else 20.0)
    assert torch.equal(scored, near) and near.any()


def test_fast_affinity_follows_weights_that_change() -> None:
    config = small_config(Options(distance_gate_m=20.0))
    module, other = GraphAssociation(config).eval(), GraphAssociation(config).eval()
    ego, theirs = random_queries(30, config), as_queries(aligned(10, config), config)

    def differ() -> float:
        with torch.inference_mode():
            plain, fast = module.plain(ego, theirs), module(ego, theirs)
        return float((plain - fast)[fast != UNSCORED].abs().max())

    assert differ() < 1e-4
    module.load_state_dict(other.state_dict())
    assert differ() < 1e-4
    with torch.no_grad():
        module.wq.mul_(-2.0)
        module.edge[2].weight.add_(0.1)
    assert differ() < 1e-4
    copied = copy.deepcopy(module)
    with torch.no_grad():
        copied.we.zero_()
        module.wk.zero_()
    assert differ() < 1e-4
    module = copied
    assert differ() < 1e-4


def test_distances_are_those_in_space() -> None:
    config = small_config()
    ego, theirs = random_queries(20, config), as_queries(aligned(7, config), config)
    a, b = (box_code.denormalise(side.ref_pts, config.point_range_m) for side in (ego, theirs))
    torch.testing.assert_close(distances_m(ego, theirs, config), (a[:, None] - b).norm(dim=-1))
    assert distances_m(ego, theirs.select(torch.zeros(0, dtype=torch.int64)), config).shape == (20, 0)


@pytest.mark.parametrize("count", [0, 3])
def test_instances_beyond_the_gate_of_all_queries_are_not_scored(count: int) -> None:
    config = small_config(Options(distance_gate_m=1e-6))
    module = GraphAssociation(config).eval()
    theirs = as_queries(aligned(count, config), config)
    with torch.inference_mode():
        logits = module(random_queries(5, config), theirs)
    assert logits.shape == (5, count) and (logits == UNSCORED).all()


def test_affinity_has_the_stated_form() -> None:
    config = official_config()
    module = GraphAssociation(config).double().eval()
    ego = random_queries(3, config, dtype=torch.float64)
    theirs = random_queries(2, config, seed=8, dtype=torch.float64)
    with torch.no_grad():
        n_v = module.ego_node(torch.cat((ego.query_feats[1], ego.motion_feats[1])))
        n_i = module.remote_node(torch.cat((theirs.query_feats[0], theirs.motion_feats[0])))
        similarity = (n_v @ module.wq) @ (n_i @ module.wk)
        edge = module.edge(ego.ref_pts[1] - theirs.ref_pts[0])
        expected = module.affinity(similarity + edge @ module.we)[0]
        for logits in (module(ego, theirs), module.plain(ego, theirs)):
            torch.testing.assert_close(logits[1, 0], expected)


def test_official_options_give_every_instance_a_partner() -> None:
    config = official_config()
    ego, theirs = random_queries(8, config), as_queries(aligned(5, config), config)
    logits = torch.full((8, 5), -20.0)
    logits[6, 2] = 3.0
    ego_index, remote_index = match_by_affinity(logits, ego, theirs, owners(5), config)
    assert sorted(remote_index.tolist()) == [0, 1, 2, 3, 4]
    assert ego_index.tolist() == sorted(set(ego_index.tolist()))
    assert (6, 2) in pairs(ego_index, remote_index)


def test_pairs_below_the_threshold_or_beyond_the_gate_stay_apart() -> None:
    config = small_config(Options(affinity_threshold=0.5, distance_gate_m=5.0))
    theirs = as_queries(aligned(4, config), config)
    ego = ego_beside(theirs, 2.0, config)
    far = ego_beside(theirs, 6.0, config)
    points = torch.where(torch.tensor([[False], [False], [True], [False]]), far.ref_pts, ego.ref_pts)
    ego = ego.with_(ref_pts=points)
    logits = torch.full((4, 4), -9.0)
    logits.diagonal().copy_(torch.tensor([4.0, -0.1, 4.0, 0.1]))
    matched = match_by_affinity(logits, ego, theirs, owners(4), config)
    assert pairs(*matched) == [(0, 0), (3, 3)]


def test_matching_by_distance_takes_the_nearest_within_its_limit() -> None:
    config = small_config()
    theirs = as_queries(aligned(3, config), config)
    near = ego_beside(theirs, 1.0, config)
    matched = match_by_distance(near, theirs, owners(3), config)
    assert pairs(*matched) == [(0, 0), (1, 1), (2, 2)]
    assert pairs(*match_by_distance(near, theirs, owners(3), config, limit_m=0.9)) == []
    assert pairs(*match_by_distance(ego_beside(theirs, 3.6, config), theirs, owners(3), config)) == []


def test_query_takes_at_most_one_instance_of_each_agent() -> None:
    config = small_config()
    first = aligned(2, config)
    both = RemoteInstances.cat([first, replace(first, owner=first.owner + 1)])
    theirs = as_queries(both, config)
    ego = ego_beside(as_queries(first, config), 0.5, config)
    logits = torch.tensor([[3.0, -9.0, 2.0, -9.0], [4.0, 3.0, -9.0, 2.0]])
    matched = match_by_affinity(
        logits, ego, theirs, both.owner, replace(config, options=Options(distance_gate_m=200.0))
    )
    assert pairs(*matched) == [(0, 0), (0, 2), (1, 1), (1, 3)]
    assert pairs(*match_by_distance(ego, theirs, both.owner, config)) == [(0, 0), (0, 2), (1, 1), (1, 3)]


def test_affinity_that_is_not_a_number_matches_nothing() -> None:
    config = official_config()
    ego, theirs = random_queries(3, config), as_queries(aligned(2, config), config)
    matched = match_by_affinity(torch.full((3, 2), math.nan), ego, theirs, owners(2), config)
    assert pairs(*matched) == []


def test_training_scores_every_pair() -> None:
    config = small_config()
    module = GraphAssociation(config).train()
    logits = module(random_queries(30, config), as_queries(aligned(6, config), config))
    assert (logits > UNSCORED).all()
    assert logits.requires_grad


@pytest.mark.parametrize("products", [0, 10**9])
def test_products_of_near_pairs_are_those_of_all(products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether few pairs are near or most."""
    monkeypatch.setattr(association, "_PRODUCTS", products)
    monkeypatch.setattr(association, "PAIRS_AT_ONCE", 7)
    config = small_config(Options(distance_gate_m=60.0))
    module = GraphAssociation(config).eval()
    ego, theirs = random_queries(20, config), as_queries(aligned(9, config), config)
    with torch.inference_mode():
        found, plain = module(ego, theirs), module.plain(ego, theirs)
    scored = found != UNSCORED
    assert 7 < int(scored.sum()) < scored.numel()
    torch.testing.assert_close(found[scored], plain[scored], rtol=1e-4, atol=1e-5)
