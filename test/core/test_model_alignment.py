"""Cross-agent alignment: numbers of the published network, poses, frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from network_cases import (
    aligned,
    assert_same,
    official_config,
    pose,
    random_remote,
    reference,
    rotation,
    small_config,
    with_reference_weights,
)

from cooptrack_core.model import box_code
from cooptrack_core.model.alignment import CrossAgentAlignment, RemoteInstances, as_queries, nearest_rotation
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.queries import NO_ID


def test_alignment_equals_the_published_network() -> None:
    given = reference("latent_transformation.npz")
    module = with_reference_weights(CrossAgentAlignment(get_preset("official_r50_coop")), "alignment", "coop")
    T = torch.linalg.inv(given["veh2inf_rt"].T.double()).float()
    torch.testing.assert_close(T, given["inf2veh"], atol=1e-4, rtol=0)
    names = {
        "query_feats": "query_feats",
        "query_embeds": "query_embeds",
        "motion_feats": "cache_motion_feats",
        "ref_pts": "ref_pts",
        "boxes": "pred_boxes",
    }
    rows = torch.arange(len(given["keep_mask"]))
    columns = {ours: given[f"in/{name}"] for ours, name in names.items()}
    remote = RemoteInstances(**columns, owner=rows * 0, row=rows, object_key=rows)
    with torch.no_grad():
        result, keep = module(remote, T)
        blocks, shift = module.latent_pose(T[:3, :3], T[:3, 3])
    assert torch.equal(keep, given["keep_mask"])
    assert torch.equal(result.row, rows[keep])
    torch.testing.assert_close(torch.block_diag(*blocks), given["rot_mat"], atol=1e-4, rtol=0)
    torch.testing.assert_close(shift, given["trans_para"][0], atol=1e-4, rtol=0)
    for ours, name in names.items():
        torch.testing.assert_close(getattr(result, ours), given[f"out/{name}"], atol=1e-4, rtol=0)


def test_alignment_drops_what_is_beside_the_range_but_not_above_it() -> None:
    config = small_config()
    remote = random_remote(4, config)
    points_m = torch.tensor([[51.2, 0.0, 0.0], [0.0, -51.3, 0.0], [0.0, 0.0, 30.0], [60.0, 0.0, 0.0]])
    remote = replace(remote, ref_pts=box_code.normalise(points_m, config.roadside_point_range_m))
    result, keep = CrossAgentAlignment(config)(remote, torch.eye(4))
    assert keep.tolist() == [True, False, True, False]
    torch.testing.assert_close(
        box_code.denormalise(result.ref_pts, config.point_range_m), points_m[keep], atol=1e-4, rtol=0
    )
    assert result.row.tolist() == [0, 2]


def test_alignment_does_not_depend_on_the_frame_a_sender_chose() -> None:
    config = small_config()
    module = CrossAgentAlignment(config).double().eval()
    remote = random_remote(8, config, dtype=torch.float64)
    T = pose(0.7, -40.0, 12.0, 0.5, torch.float64)
    S = pose(-1.1, 9.0, 4.0, -1.0, torch.float64)
    points_m = box_code.denormalise(remote.ref_pts, config.roadside_point_range_m)
    moved_m = points_m @ S[:3, :3].T + S[:3, 3]
    boxes = box_code.encode(box_code.rotate_translate(box_code.decode(remote.boxes), S[:3, :3], S[:3, 3]))
    other = replace(remote, ref_pts=box_code.normalise(moved_m, config.roadside_point_range_m), boxes=boxes)
    a, keep_a = module(remote, T)
    b, keep_b = module(other, T @ torch.linalg.inv(S))
    assert torch.equal(keep_a, keep_b) and keep_a.any()
    torch.testing.assert_close(b.ref_pts, a.ref_pts)
    torch.testing.assert_close(b.boxes, a.boxes)


def test_alignment_is_where_the_map_is_not() -> None:
    config = small_config()
    module = CrossAgentAlignment(config).double().eval()
    remote = random_remote(8, config, dtype=torch.float64)
    vehicle, roadside = pose(0.3, 20.0, 5.0, 0.0, torch.float64), pose(2.0, 50.0, -3.0, 4.0, torch.float64)
    shift = pose(-0.8, 300.0, -700.0, 20.0, torch.float64)
    a, _ = module(remote, torch.linalg.inv(vehicle) @ roadside)
    b, _ = module(remote, torch.linalg.inv(shift @ vehicle) @ shift @ roadside)
    assert len(a) > 0
    assert_same(b, a, atol=1e-9)


def test_stored_rotation_is_made_orthonormal_unless_official() -> None:
    skewed = rotation(0.4, 0.05)
    skewed[0] *= 1.05
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3], T[0, 3] = skewed, -51.2
    exact = T.clone()
    exact[:3, :3] = nearest_rotation(skewed)
    remote = random_remote(6, small_config(), dtype=torch.float64)
    for config, same in ((small_config(), True), (official_config(), False)):
        torch.manual_seed(0)
        module = CrossAgentAlignment(config).double()
        a, b = module(remote, T)[0], module(remote, exact)[0]
        assert len(a) == len(b) > 0
        assert torch.allclose(a.ref_pts, b.ref_pts, atol=1e-12) is same
        assert torch.allclose(a.query_feats, b.query_feats, atol=1e-12) is same


def test_nearest_rotation_is_a_rotation_and_keeps_one() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    for matrix in (
        rotation(2.0, 0.3),
        rotation(0.1) * 1.3,
        rotation(1.0) + 0.05,
        torch.diag(torch.tensor([1.0, 1, -1])),
    ):
        R = nearest_rotation(matrix.double())
        torch.testing.assert_close(R @ R.T, eye, atol=1e-12, rtol=0)
        assert torch.linalg.det(R).item() == pytest.approx(1.0)
    torch.testing.assert_close(nearest_rotation(rotation(2.0, 0.3)), rotation(2.0, 0.3), atol=1e-12, rtol=0)
    torch.testing.assert_close(nearest_rotation(rotation(0.1) * 1.3), rotation(0.1), atol=1e-12, rtol=0)


def test_alignment_starts_near_the_identity() -> None:
    config = small_config()
    blocks, shift = CrossAgentAlignment(config).latent_pose(rotation(1.0).float(), torch.tensor([30.0, -5.0, 1.0]))
    assert (blocks.diagonal(dim1=1, dim2=2).mean() - 1.0).abs() < 0.1
    assert (torch.block_diag(*blocks) - torch.eye(config.embed_dims)).mean().abs() < 0.05
    assert shift.abs().max() < 0.5


def test_instances_as_queries_have_one_valid_slot_and_no_id() -> None:
    config = small_config()
    remote = aligned(3, config)
    queries = as_queries(remote, config)
    assert queries.history_padding.tolist() == [[True, True, True, False]] * 3
    torch.testing.assert_close(queries.history_feats[:, -1], remote.query_feats)
    torch.testing.assert_close(queries.history_motion[:, -1], remote.motion_feats)
    assert queries.track_id.tolist() == [NO_ID] * 3
    assert not queries.is_track.any() and queries.scores.eq(0).all()
