"""The box code: numbers of the published network, round trips, and the public convention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.geometry.boxes import corners as public_corners
from cooptrack_core.geometry.boxes import wrap_angle
from cooptrack_core.model import box_code
from cooptrack_core.model.positional import inverse_sigmoid, pe3d, time_encoding
from cooptrack_core.model.presets import VEHICLE_OUTPUT_RANGE_M, VEHICLE_POINT_RANGE_M

REFERENCE = Path(__file__).parents[1] / "data" / "reference"

metres = st.floats(-100.0, 100.0)
sizes = st.floats(0.1, 30.0)
angles = st.floats(-3.1, 3.1)
speeds = st.floats(-40.0, 40.0)
public_box = st.tuples(metres, metres, metres, sizes, sizes, sizes, angles, speeds, speeds)


@pytest.fixture(scope="module")
def helpers() -> dict[str, torch.Tensor]:
    with np.load(REFERENCE / "helpers.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files if file[name].ndim}


def close(got: torch.Tensor, expected: torch.Tensor, atol: float = 1e-6) -> None:
    torch.testing.assert_close(got, expected, atol=atol, rtol=0)


def public(row: tuple[float, ...]) -> box_code.PublicBoxes:
    values = np.array([row])
    return box_code.PublicBoxes(values[:, :3], values[:, 3:6], values[:, 6], values[:, 7:9])


def test_decoding_equals_the_published_network(helpers: dict[str, torch.Tensor]) -> None:
    decoded = box_code.decode(helpers["box_code"])
    close(decoded, helpers["box_decoded"])
    close(box_code.encode(decoded), helpers["box_renorm"])
    close(box_code.corners(decoded), helpers["box_corners"])
    close(box_code.gravity_center(decoded), helpers["box_gravity"])


def test_rotation_and_translation_equal_the_published_network(helpers: dict[str, torch.Tensor]) -> None:
    moved = box_code.rotate_translate(helpers["box_decoded"], helpers["box_rot_R"], torch.tensor([3.0, -7.0, 0.5]))
    close(moved, helpers["box_rotated"], 1e-5)


def test_nearest_bev_iou_equals_the_published_network(helpers: dict[str, torch.Tensor]) -> None:
    close(box_code.nearest_bev_iou(helpers["iou_a"], helpers["iou_b"]), helpers["iou_nearest"])


def test_encodings_equal_the_published_network(helpers: dict[str, torch.Tensor]) -> None:
    close(pe3d(helpers["pos"], 256), helpers["pos2posemb3d"])
    close(time_encoding(4, 256), helpers["time_pe_2x4"][0])


def test_output_coder_equals_the_published_network() -> None:
    with np.load(REFERENCE / "bbox_coder.npz") as file:
        given = {name: torch.from_numpy(file[name]) for name in file.files if file[name].ndim}
        count = int(file["max_num"])
    output = box_code.select_output(given["boxes"], given["logits"], given["scores"], VEHICLE_OUTPUT_RANGE_M, count)
    assert output.index.tolist() == given["out/bbox_index"].tolist()
    assert output.labels.tolist() == given["out/labels"].tolist()
    close(output.boxes, given["out/bboxes"])
    close(output.scores, given["out/scores"])


def test_output_leaves_out_boxes_beyond_the_range_and_keeps_those_on_its_border() -> None:
    code = torch.zeros(4, 10)
    code[:, 0] = torch.tensor([61.2, 61.3, 0.0, -61.2])
    code[2, 4] = 10.5
    output = box_code.select_output(code, torch.eye(4), torch.tensor([0.1, 0.9, 0.8, 0.7]), VEHICLE_OUTPUT_RANGE_M, 4)
    assert output.index.tolist() == [3, 0]


def test_output_of_no_queries_is_empty() -> None:
    output = box_code.select_output(torch.zeros(0, 10), torch.zeros(0, 3), torch.zeros(0), VEHICLE_OUTPUT_RANGE_M, 300)
    assert output.boxes.shape == (0, 9)
    assert output.labels.shape == (0,)


@settings(max_examples=60)
@given(public_box)
def test_public_boxes_survive_the_code(row: tuple[float, ...]) -> None:
    boxes = public(row)
    back = box_code.to_public(box_code.from_public(boxes))
    np.testing.assert_allclose(back.center_m, boxes.center_m, atol=1e-9)
    np.testing.assert_allclose(back.size_m, boxes.size_m, rtol=1e-9)
    np.testing.assert_allclose(wrap_angle(back.heading_rad - boxes.heading_rad), 0.0, atol=1e-9)
    np.testing.assert_array_equal(back.velocity_mps, boxes.velocity_mps)


@settings(max_examples=60)
@given(public_box)
def test_code_and_decoded_box_are_one(row: tuple[float, ...]) -> None:
    code = torch.from_numpy(box_code.from_public(public(row)))
    torch.testing.assert_close(box_code.encode(box_code.decode(code)), code, atol=1e-9, rtol=0)


@settings(max_examples=60)
@given(public_box)
def test_public_and_decoded_box_fill_the_same_space(row: tuple[float, ...]) -> None:
    boxes = public(row)
    ours = box_code.corners(box_code.decode(torch.from_numpy(box_code.from_public(boxes))))[0].numpy()
    theirs = public_corners(boxes.center_m, boxes.size_m, boxes.heading_rad)[0]
    distance = np.linalg.norm(ours[:, None] - theirs[None], axis=-1)
    np.testing.assert_allclose(distance.min(axis=1), 0.0, atol=1e-8)
    np.testing.assert_allclose(distance.min(axis=0), 0.0, atol=1e-8)


def test_public_box_has_gravity_centre_length_first_and_heading_counter_clockwise() -> None:
    # Bottom at z = 1, 2 m wide, 5 m long, 3 m high, psi = -120 degrees: heading 30 degrees.
    psi = np.deg2rad(-120.0)
    code = np.array([[10.0, -4.0, np.log(2.0), np.log(5.0), 1.0, np.log(3.0), np.sin(psi), np.cos(psi), 6.0, -7.0]])
    boxes = box_code.to_public(code)
    np.testing.assert_allclose(boxes.center_m, [[10.0, -4.0, 2.5]])
    np.testing.assert_allclose(boxes.size_m, [[5.0, 2.0, 3.0]])
    np.testing.assert_allclose(np.rad2deg(boxes.heading_rad), [30.0])
    np.testing.assert_allclose(boxes.velocity_mps, [[6.0, -7.0]])


def test_no_public_boxes_are_possible() -> None:
    boxes = box_code.to_public(np.zeros((0, 10)))
    assert boxes.center_m.shape == (0, 3)
    assert box_code.from_public(boxes).shape == (0, 10)


@settings(max_examples=40)
@given(public_box, angles, metres, metres)
def test_moving_a_box_turns_heading_and_velocity_alike(
    row: tuple[float, ...], yaw: float, x_m: float, y_m: float
) -> None:
    boxes = public(row)
    cos, sin = np.cos(yaw), np.sin(yaw)
    R = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    t = torch.tensor([x_m, y_m, 0.5], dtype=torch.float64)
    decoded = box_code.decode(torch.from_numpy(box_code.from_public(boxes)))
    moved = box_code.to_public(box_code.encode(box_code.rotate_translate(decoded, R, t)).numpy())
    np.testing.assert_allclose(moved.center_m[0], R.numpy() @ boxes.center_m[0] + t.numpy(), atol=1e-9)
    np.testing.assert_allclose(wrap_angle(moved.heading_rad - boxes.heading_rad - yaw), 0.0, atol=1e-9)
    np.testing.assert_allclose(moved.velocity_mps[0], R.numpy()[:2, :2] @ boxes.velocity_mps[0], atol=1e-9)


def test_iou_turns_a_box_to_the_nearer_axis() -> None:
    lying = torch.tensor([[0.0, 0.0, 0.0, 2.0, 4.0, 1.5, 0.2]])
    standing = torch.tensor([[0.0, 0.0, 0.0, 2.0, 4.0, 1.5, np.pi / 2 - 0.2]])
    assert box_code.nearest_bev_iou(lying, lying).item() == 1.0
    assert box_code.nearest_bev_iou(lying, standing).item() == pytest.approx(4.0 / 12.0)
    assert box_code.nearest_bev_iou(lying, standing + torch.tensor([10.0, 0, 0, 0, 0, 0, 0])).item() == 0.0
    assert box_code.nearest_bev_iou(lying, standing[:0]).shape == (1, 0)


@settings(max_examples=40)
@given(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3))
def test_normalising_undoes_denormalising(share: list[float]) -> None:
    points = torch.tensor([share], dtype=torch.float64)
    metric = box_code.denormalise(points, VEHICLE_POINT_RANGE_M)
    assert (metric.abs() <= 51.2).all()
    torch.testing.assert_close(box_code.normalise(metric, VEHICLE_POINT_RANGE_M), points)


def test_refinement_without_offset_keeps_the_reference_point() -> None:
    points = torch.tensor([[0.25, 0.5, 0.75], [0.0, 1.0, -3.0]])
    code, refined = box_code.refine(torch.zeros(2, 10), points, VEHICLE_POINT_RANGE_M)
    close(refined, points.clamp(0, 1), 2e-5)
    close(box_code.center(code), box_code.denormalise(refined, VEHICLE_POINT_RANGE_M))
    close(code[:, [2, 3, 5, 6, 7, 8, 9]], torch.zeros(2, 7))


def test_inverse_sigmoid_is_finite_at_both_ends() -> None:
    values = inverse_sigmoid(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]))
    close(values, torch.tensor([-11.51293, -11.51293, 0.0, 11.51293, 11.51293]), 1e-3)


def test_gradient_of_a_box_without_direction_is_finite() -> None:
    code = torch.zeros(1, 10, requires_grad=True)
    box_code.corners(box_code.decode(code)).sum().backward()
    assert code.grad is not None
    assert torch.isfinite(code.grad).all()
