"""The grid of the previous frame in the present one, and the grid in the image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_network import OFFICIAL_SMALL, SMALL, camera, close
from torch import Tensor

from cooptrack_core.model.bev_queries import rotate, rotation_source, shift
from cooptrack_core.model.pillars import pillar_anchors, project
from cooptrack_core.model.presets import ModelConfig, get_preset

REFERENCE = Path(__file__).parents[1] / "data" / "reference"


def test_rotation_is_that_of_the_published_network() -> None:
    with np.load(REFERENCE / "helpers.npz") as file:
        data = {name: file[name] for name in ("rot_in", "rot_deg", "rot_center", "rot_out")}
    centre = (float(data["rot_center"][0]), float(data["rot_center"][1]))
    source, inside = rotation_source(torch.tensor([float(data["rot_deg"])]), (10, 10), centre, torch.float32)
    found = torch.from_numpy(data["rot_in"]).flatten(1)[:, source[0]] * inside
    assert torch.equal(found.reshape(6, 10, 10), torch.from_numpy(data["rot_out"]))
    assert 0 < int(inside.sum()) < 100


def square(side: int) -> ModelConfig:
    return replace(SMALL, bev_size=(side, side))


def test_a_quarter_turn_to_the_left_moves_what_was_ahead_to_the_right() -> None:
    config = square(5)
    ahead, right = torch.zeros(1, 25, 1), torch.zeros(1, 25, 1)
    ahead[0, 2 * 5 + 4] = 1.0  # y = 0, x > 0
    right[0, 0 * 5 + 2] = 1.0  # y < 0, x = 0
    assert torch.equal(rotate(ahead, torch.tensor([90.0]), config), right)
    assert torch.equal(rotate(right, torch.tensor([-90.0]), config), ahead)


def test_without_a_turn_the_memory_stays() -> None:
    for config in (SMALL, OFFICIAL_SMALL, get_preset("official_r50_inf"), get_preset("r50_inf")):
        prev_bev = torch.randn(2, config.bev_cells, 3, generator=torch.Generator().manual_seed(0))
        assert torch.equal(rotate(prev_bev, torch.zeros(2), config), prev_bev)


def test_each_sample_turns_by_its_own_angle() -> None:
    prev_bev = torch.randn(3, SMALL.bev_cells, 4)
    degrees = torch.tensor([0.0, 20.0, -75.0])
    together = rotate(prev_bev, degrees, SMALL)
    for i in range(3):
        assert torch.equal(together[i : i + 1], rotate(prev_bev[i : i + 1], degrees[i : i + 1], SMALL))


def moved(dx: float, dy: float, yaw: float) -> Tensor:
    can_bus = torch.zeros(1, 18)
    can_bus[0, 0], can_bus[0, 1], can_bus[0, 16] = dx, dy, yaw
    return can_bus


def test_the_published_shift_takes_y_for_forward() -> None:
    forward = shift(moved(3.0 * np.cos(0.4), 3.0 * np.sin(0.4), 0.4), OFFICIAL_SMALL)
    close(forward, torch.tensor([[0.0, 3.0 / 102.4]]), 1e-7)
    to_the_right = shift(moved(3.0 * np.sin(0.4), -3.0 * np.cos(0.4), 0.4), OFFICIAL_SMALL)
    close(to_the_right, torch.tensor([[3.0 / 102.4, 0.0]]), 1e-7)


@pytest.mark.parametrize(("yaw_before", "yaw_now"), [(0.0, 0.0), (0.4, 0.4), (2.9, 3.1), (-1.0, -1.3)])
def test_turn_and_shift_find_a_standing_object_in_the_memory(yaw_before: float, yaw_now: float) -> None:
    """Seen from the present pose, an object is found where it was in the previous frame."""
    config = square(64)
    cell_m = 102.4 / 64
    step = np.array([4.0, -2.5])
    landmark = np.array([18.0, 9.0])  # on the map; the agent was at its origin

    def cell(point: np.ndarray, yaw: float) -> np.ndarray:
        c, s = np.cos(yaw), np.sin(yaw)
        return (np.array([[c, s], [-s, c]]) @ point + 51.2) / cell_m

    prev_bev = torch.zeros(1, config.bev_cells, 1)
    column, row = np.floor(cell(landmark, yaw_before)).astype(int)
    prev_bev[0, row * 64 + column] = 1.0
    can_bus = moved(step[0], step[1], yaw_now)
    turned = rotate(prev_bev, torch.tensor([np.rad2deg(yaw_now - yaw_before)]), config)
    row, column = divmod(int(turned.flatten().argmax()), 64)
    looked_up = cell(landmark - step, yaw_now) + shift(can_bus, config)[0].numpy() * 64
    assert float(turned.max()) == 1.0
    assert np.abs(looked_up - (column + 0.5, row + 0.5)).max() < 1.3  # two roundings to whole cells


def test_anchors_cover_the_range_and_project_into_the_image() -> None:
    config = get_preset("official_r50_inf")
    anchors = pillar_anchors(config)
    assert anchors.shape == (2500, 4, 3)
    close(anchors[0, :, 2], torch.tensor([-4.5, -4.5 + 7 / 3, -4.5 + 14 / 3, 2.5]), 1e-6)
    close(anchors[51, 0, :2], torch.tensor([1.5 * 2.048, -51.2 + 1.5 * 2.048]), 1e-5)
    points = torch.tensor([[[10.0, 0.0, 1.5], [10.0, 2.0, 0.5], [-10.0, 0.0, 1.5], [10.0, 9.0, 1.5]]])
    uv, seen = project(points, camera(config)[None], config.image_size)
    close(uv[0, 0, :2], torch.tensor([[0.5, 0.5], [0.5 - 0.6 * 0.2, 0.5 + 0.6 * 0.1 * 960 / 544]]), 1e-6)
    assert seen[0, 0].tolist() == [True, True, False, False]
