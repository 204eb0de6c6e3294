"""What the peaks of the image tell the tracks: who belongs together, how far a track moves, who is claimed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.proposals import Proposals
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.track_hints import TrackHints, claims

CONFIG = replace(get_preset("tiny_veh"), embed_dims=32)


def code(*centres: tuple[float, float]) -> Tensor:
    """[n, 10] cars that look along x."""
    boxes = torch.tensor([[x, y, -1.8, 1.8, 4.4, 1.5, -1.57, 3.0, 1.0] for x, y in centres])
    return box_code.encode(boxes)


def tracks(*centres: tuple[float, float]) -> Queries:
    """[1, n + 1] tracks and one fresh query."""
    blank = Queries.empty(len(centres) + 1, dims=32, classes=3, history=4, like=torch.zeros(1))
    boxes = torch.cat((code(*centres), torch.zeros(1, 10))) if centres else torch.zeros(1, 10)
    ref_pts = box_code.normalise(box_code.center(boxes), CONFIG.point_range_m)
    is_track = torch.tensor([True] * len(centres) + [False])
    return blank.with_(boxes=boxes, ref_pts=ref_pts, is_track=is_track).map(lambda value: value[None])


def peaks(*centres: tuple[float, float], score: float = 0.8) -> Proposals:
    boxes = code(*centres)[None]
    ref_pts = box_code.normalise(box_code.center(boxes), CONFIG.point_range_m)
    n = len(centres)
    return Proposals(
        ref_pts,
        boxes,
        torch.zeros(1, n, 32),
        torch.full((1, n), score),
        torch.full((1, n, 3), score),
        torch.ones(1, n, dtype=torch.bool),
    )


def test_a_track_and_a_peak_that_are_each_others_nearest_belong_together() -> None:
    found = claims(tracks((20.0, 0.0), (22.0, 0.0), (40.0, 5.0)), peaks((41.0, 5.0), (21.8, 0.0), (10.0, -9.0)))
    assert found.paired.tolist() == [[False, True, True, False]]
    assert found.peak[0, 1:3].tolist() == [1, 0]
    assert found.claimed.tolist() == [[True, True, False]]


@pytest.mark.parametrize("found", [peaks((20.0, 9.0)), peaks((20.0, 0.5), score=0.05)], ids=["far", "unlikely"])
def test_what_is_far_or_unlikely_is_not_claimed(found: Proposals) -> None:
    assert not claims(tracks((20.0, 0.0)), found).paired.any()


def test_a_fresh_query_claims_nothing() -> None:
    assert not claims(tracks(), peaks((0.5, 0.0))).paired.any()


@torch.no_grad()
def test_a_claimed_peak_moves_its_track_across_the_ray_more_than_along_it() -> None:
    hints = TrackHints(CONFIG)
    given = tracks((20.0, 0.0), (0.0, 30.0))
    moved, told = hints(given, peaks((22.0, 1.0), (15.0, 15.0)))
    step = box_code.center(moved.boxes - given.boxes)[0]
    assert 0.5 < step[0, 0] < 1.0  # of 2 m along
    assert 0.6 < step[0, 1] < 0.9  # of 1 m across
    assert (step[1:] == 0).all(), "nobody else moves"
    expected = box_code.normalise(box_code.center(moved.boxes[:, :2]), CONFIG.point_range_m)
    torch.testing.assert_close(moved.ref_pts[:, :2], expected)
    assert torch.equal(moved.boxes[..., 8:], given.boxes[..., 8:]), "one image shows no velocity"
    assert torch.equal(told.feats, torch.zeros_like(told.feats)), "untaught"


@torch.no_grad()
def test_a_peak_that_looks_the_other_way_does_not_turn_its_track_round() -> None:
    found = peaks((20.0, 0.0))
    found.boxes[..., 6:8] *= -1.0
    given = tracks((20.0, 0.0))
    moved, _ = TrackHints(CONFIG)(given, found)
    torch.testing.assert_close(moved.boxes[0, 0, 6:8], given.boxes[0, 0, 6:8])


def test_gains_and_features_learn() -> None:
    hints = TrackHints(CONFIG)
    moved, told = hints(tracks((20.0, 0.0)), peaks((21.0, 0.5)))
    (moved.boxes.square().sum() + moved.query_feats.sum() + told.feats.sum()).backward()
    for name, parameter in hints.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if name != "gains.0.weight":
            assert parameter.grad.abs().sum() > 0, name


def test_networks_without_proposals_have_no_hints() -> None:
    model = AgentModel(replace(get_preset("tiny_veh"), proposals=0))
    assert not any("hints" in name for name in model.state_dict())


@torch.no_grad()
@pytest.mark.parametrize(("min_peak_score", "measured"), [(0.1, [True, False, False]), (0.0, [True, True, True])])
def test_where_peaks_are_needed_tracks_without_one_are_not_measured(
    min_peak_score: float, measured: list[bool]
) -> None:
    hints = TrackHints(replace(CONFIG, min_peak_score=min_peak_score))
    told, found = hints(tracks((20.0, 0.0), (0.0, 30.0)), peaks((20.5, 0.0), (40.0, 9.0)))
    assert told.measured[0].tolist() == measured
    assert found.free[0].tolist() == ([False, True] if min_peak_score else [True, True])


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["graph", "before_decoding"])
def test_a_track_that_the_image_does_not_show_stays_where_it_was_predicted(fusion: str) -> None:
    """The decoder knows only what the camera shows; before decoding it also hears what others say."""
    torch.manual_seed(0)
    model = AgentModel(replace(get_preset("tiny_veh"), fusion=fusion)).eval()
    blank = model.fresh_queries()
    centres = [(20.0, 0.0), (0.0, 30.0), (-10.0, -20.0)]
    boxes = code(*centres)
    ref_pts = box_code.normalise(box_code.center(boxes), model.config.point_range_m)
    live = blank.select(slice(0, 3)).with_(
        boxes=boxes, ref_pts=ref_pts, is_track=torch.ones(3, dtype=torch.bool), track_id=torch.tensor([1, 2, 3])
    )
    queries = model.assemble(live).map(lambda value: value[None])
    width, height = model.config.image_size[::-1]
    ahead = torch.tensor([[width / 2, -width, 0, 0], [height / 2, 0, -width, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    model.track_hints.min_score = 2.0  # no peak is good enough
    seen = model.perceive(torch.rand(1, 3, height, width), ahead[None], torch.zeros(1, 18), queries, None).decoded
    stayed = torch.equal(seen.boxes[0, -3:], boxes) and torch.equal(seen.ref_pts[0, -3:], ref_pts)
    assert stayed == (fusion == "graph")
    assert not torch.equal(seen.ref_pts[0, 64:-3], queries.ref_pts[0, 64:-3]), "others are decoded"
