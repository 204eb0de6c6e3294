"""First queries from the image: what the dense head means in metres, and whose place its peaks take."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.model.proposals import ROAD_Z_M, DenseBoxes, View
from cooptrack_core.training.dense_losses import BevHead, image_targets, proposal_losses
from cooptrack_core.training.ground_truth import GroundTruth

CONFIG = replace(
    get_preset("tiny_inf"), backbone_width=16, embed_dims=32, num_heads=4, encoder_layers=1, decoder_layers=1,
    alignment_blocks=4, motion_width=8, bev_size=(8, 8), head_dims=16,
)  # fmt: skip
SHAPE = (48, 80)


def camera(height_m: float, pitch_rad: float, focal_px: float) -> Tensor:
    """[4, 4] lidar2img of a camera above the road that looks down."""
    c, s = math.cos(pitch_rad), math.sin(pitch_rad)
    axes = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]) @ torch.tensor([[c, 0, -s], [0, 1.0, 0], [s, 0, c]])
    T = torch.eye(4)
    T[:3, :3] = axes
    T[:3, 3] = -axes @ torch.tensor([0.3, -0.1, height_m + ROAD_Z_M])
    K = torch.eye(4)
    K[:3, :3] = torch.tensor([[focal_px, 0, 160], [0, 1.05 * focal_px, 90], [0, 0, 1.0]])
    return K @ T


CAMERAS = [camera(6.8, 0.15, 364.0), camera(1.7, 0.01, 660.0)]
TRUTH = GroundTruth(
    torch.tensor([[30.0, 2, -1.8, 1.8, 4.4, 1.5, 0.3, 1, 0], [60, -8, -1.7, 0.6, 1.7, 1.7, 2.0, math.nan, 1]]),
    torch.tensor([0, 1]),
    torch.tensor([4, 9]),
)


def saying(truth: GroundTruth, lidar2img: Tensor) -> tuple[DenseBoxes, Tensor]:
    """A dense output that is right at the cells that count, and how many of these there are."""
    targets, seen, codes = image_targets(truth, lidar2img, SHAPE, CONFIG)
    view = View(lidar2img[None], SHAPE, CONFIG.image_size)
    boxes, pixels = torch.zeros(1, *SHAPE, 10), view.pixels[None].clone()
    depth, drop = torch.ones(1, *SHAPE), torch.ones(1, *SHAPE)
    cells = targets.weight > 0
    boxes[0, cells], pixels[0, cells] = codes[targets.owner[cells]].nan_to_num(), seen[targets.owner[cells], :2]
    depth[0, cells], drop[0, cells] = seen[targets.owner[cells], 2], seen[targets.owner[cells], 3]
    heat = torch.where(targets.heat >= 1.0, 12.0, -12.0)[None]
    return DenseBoxes(heat, boxes, pixels, depth, drop, torch.zeros(1, 16, *SHAPE)), cells.sum()


@pytest.mark.parametrize("lidar2img", CAMERAS)
@pytest.mark.parametrize("told_by", [30.0, -30.0], ids=["road", "size"])
def test_the_right_pixels_and_size_mean_the_right_box(lidar2img: Tensor, told_by: float) -> None:
    """The distance follows without a residual from where the box stands on the road, or from how tall it looks."""
    truth = replace(TRUTH, boxes=TRUTH.boxes.clone())
    truth.boxes[:, 2] = ROAD_Z_M
    _, seen, codes = image_targets(truth, lidar2img, SHAPE, CONFIG)
    view = View(lidar2img[None], SHAPE, CONFIG.image_size)
    values = torch.zeros(1, *SHAPE, 13)
    places = []
    for (u, v, _, drop), code in zip(seen, codes, strict=True):
        column, row = int((u + 0.5) // 4), int((v + 0.5) // 4)
        ray = view.rays(torch.stack((u, v))[None, None, None])
        azimuth = torch.atan2(ray[..., 1], ray[..., 0]).squeeze()
        observed = box_code.decode(code)[6] + azimuth
        values[0, row, column, :2] = (torch.stack((u, v)) - view.pixels[row, column]) / 4
        values[0, row, column, 3] = told_by
        values[0, row, column, 4] = (drop / 4).log() - 1.0
        values[0, row, column, 5:8] = code[[2, 3, 5]] - torch.tensor((0.6, 1.4, 0.5))
        values[0, row, column, 8:10] = torch.stack((observed.sin(), observed.cos()))
        values[0, row, column, 10:12] = code[8:].nan_to_num()
        places.append((row, column, code.nan_to_num()))
    boxes, *_ = view.boxes(values)
    for row, column, code in places:
        torch.testing.assert_close(boxes[0, row, column], code, atol=2e-3, rtol=1e-4)


def test_the_road_alone_puts_wheels_where_they_are() -> None:
    """Without any learned residual a point of the road is found at its own distance."""
    lidar2img = CAMERAS[0]
    point = torch.tensor([42.0, -6.0, ROAD_Z_M, 1.0])
    found = lidar2img @ point
    view = View(lidar2img[None], SHAPE, CONFIG.image_size)
    pixel = (found[:2] / found[2])[None, None, None]
    assert view.road_depth(view.rays(pixel)).item() == pytest.approx(found[2].item(), rel=1e-4)


@pytest.mark.parametrize("lidar2img", CAMERAS)
def test_a_right_output_costs_nothing_and_a_wrong_one_something(lidar2img: Tensor) -> None:
    dense, cells = saying(TRUTH, lidar2img)
    losses = proposal_losses(dense, [TRUTH], lidar2img[None], CONFIG)
    assert cells >= 2
    assert all(value.item() < 1e-3 for value in losses.values()), losses
    wrong = replace(dense, depth_m=dense.depth_m * 1.1)
    assert proposal_losses(wrong, [TRUTH], lidar2img[None], CONFIG)["image_depth"].item() == pytest.approx(
        4 * math.log(1.1), rel=1e-3
    )


def test_streets_without_road_users_teach_that_there_are_none() -> None:
    dense, _ = saying(TRUTH, CAMERAS[0])
    losses = proposal_losses(dense, [GroundTruth.empty()], CAMERAS[0][None], CONFIG)
    assert losses["image_heat"].item() > 1.0
    assert all(math.isfinite(value.item()) for value in losses.values())
    assert losses["image_box"].item() == 0.0
    bev = torch.randn(1, 64, 32)
    assert all(math.isfinite(v.item()) for v in BevHead(CONFIG).losses(bev, [GroundTruth.empty()]).values())


def test_what_the_camera_does_not_see_is_not_asked_for() -> None:
    behind = TRUTH.boxes.clone()
    behind[0, 0] = -30.0
    seen = torch.tensor([True, False])
    targets, _, codes = image_targets(GroundTruth(behind, TRUTH.labels, TRUTH.ids, seen), CAMERAS[0], SHAPE, CONFIG)
    assert len(codes) == 0
    assert targets.heat.max() == 0


def test_the_nearer_of_two_in_a_cell_owns_it() -> None:
    near = TRUTH.boxes[:1].clone()
    far = near.clone()
    T = CAMERAS[1]
    centre = box_code.gravity_center(near)[0]
    eye = -torch.linalg.inv(T[:3, :3]) @ T[:3, 3]
    far[0, :3] += 0.5 * (centre - eye)
    both = GroundTruth(torch.cat((near, far)), torch.tensor([0, 0]), torch.tensor([1, 2]))
    targets, seen, _ = image_targets(both, T, SHAPE, CONFIG)
    owners = targets.owner[targets.weight > 0]
    assert (seen[owners, 2] == seen[:, 2].min()).any()
    cell = ((seen[-1, :2] + 0.5) / 4).long()
    assert seen[targets.owner[cell[1], cell[0]], 2] == seen[:, 2].min()


def network(config: ModelConfig = CONFIG) -> AgentModel:
    torch.manual_seed(0)
    return AgentModel(config).eval()


def perceive(model: AgentModel, live: int) -> tuple[Tensor, Tensor]:
    """Reference points that enter the decoder, without and with proposals, for a frame with so many live tracks."""
    fresh = model.fresh_queries()
    tracks = fresh.select(slice(0, live)).with_(
        boxes=torch.ones(live, 10), ref_pts=torch.full((live, 3), 0.25), is_track=torch.ones(live, dtype=torch.bool)
    )
    queries = model.assemble(tracks if live else None)
    batch = queries.map(lambda value: value[None])
    pyramid = model.backbone.pyramid(torch.randn(1, 3, 192, 320, generator=torch.Generator().manual_seed(1)))
    maps = model.neck(pyramid[-model.backbone.levels :])
    dense = model.proposals.dense(maps[0], pyramid[0], CAMERAS[0][None])
    return queries.ref_pts, model.with_proposals(batch, model.proposals(dense)).ref_pts[0]


@torch.no_grad()
def test_proposals_take_the_first_fresh_queries_and_no_track() -> None:
    model = network()
    before, after = perceive(model, live=20)
    changed = (before != after).any(-1)
    assert changed[: CONFIG.proposals].all()
    assert not changed[CONFIG.proposals :].any()
    before, after = perceive(model, live=100)  # more than the fresh ones have room for
    assert (before != after).any(-1).tolist() == [True] * 28 + [False] * 100


@torch.no_grad()
def test_proposals_lie_within_the_point_range() -> None:
    _, after = perceive(network(), live=0)
    first = after[: CONFIG.proposals]
    assert ((first > 0) & (first < 1)).all()


def test_networks_without_proposals_have_no_dense_head() -> None:
    model = AgentModel(replace(CONFIG, proposals=0))
    assert not any(name.startswith("proposals") for name in model.state_dict())


@torch.no_grad()
def test_boxes_of_an_untaught_decoder_are_those_that_queries_came_with() -> None:
    """With residual boxes; the published network forgets all but the centre."""
    model = network()
    for branch in model.decoder.box_branches:
        branch[-1].weight.zero_()
    model.heads.box_head[-1].weight.zero_()
    code = TRUTH.codes().nan_to_num()
    points = box_code.normalise(box_code.center(code), CONFIG.point_range_m)
    feats = torch.randn(2, CONFIG.embed_dims)
    queries = model.fresh_queries(torch.tensor([0, 1])).with_(boxes=code, ref_pts=points, query_feats=feats)
    bev = torch.randn(1, CONFIG.bev_cells, CONFIG.embed_dims)
    out = model.decoder(bev, feats[None], feats[None], points[None], True, code[None])
    torch.testing.assert_close(out.boxes[-1, 0], code, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(model.refine(queries).boxes, code, atol=1e-3, rtol=1e-4)
    absolute = model.decoder(bev, feats[None], feats[None], points[None])
    torch.testing.assert_close(absolute.boxes[-1, 0, :, [0, 1, 4]], code[:, [0, 1, 4]], atol=1e-3, rtol=1e-4)
    assert not absolute.boxes[-1, 0, :, [2, 3, 5, 6, 7, 8, 9]].any()
