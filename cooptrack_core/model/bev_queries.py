"""Queries of the bird's-eye-view grid and the previous grid moved to the present pose (spec 2.3, BEVFormer 3.2).

Cells are row-major: rows along y, columns along x of the agent's lidar frame, cell (0, 0) at the lower corner.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cooptrack_core.model.autocast import full_precision
from cooptrack_core.model.constants import constant
from cooptrack_core.model.presets import ModelConfig

# The published network turns about this point of a map that it takes for 200 x 200 cells (spec 2.3).
_OFFICIAL_CENTRE = (100.0, 100.0)


class BevQueries(nn.Module):
    """Learned content and position of every cell, plus what the movement of the agent says to all cells."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        rows, columns = config.bev_size
        self.embedding = nn.Parameter(torch.randn(config.bev_cells, dims))
        self.row = nn.Parameter(torch.rand(rows, dims // 2))
        self.column = nn.Parameter(torch.rand(columns, dims // 2))
        self.can_bus_mlp = nn.Sequential(
            nn.Linear(18, dims // 2), nn.ReLU(), nn.Linear(dims // 2, dims), nn.ReLU(), nn.LayerNorm(dims)
        )
        for layer in (self.can_bus_mlp[0], self.can_bus_mlp[2]):
            nn.init.xavier_uniform_(layer.get_parameter("weight"))
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, can_bus: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 18] movement -> queries [B, HW, C], positions [HW, C]."""
        rows, columns = len(self.row), len(self.column)
        position = torch.cat(
            (
                self.column[None].expand(rows, -1, -1),  # [rows, columns, C / 2]
                self.row[:, None].expand(-1, columns, -1),
            ),
            dim=-1,
        )
        queries = self.embedding + self.can_bus_mlp(can_bus)[:, None]  # [HW, C] + [B, 1, C]
        return queries, position.flatten(0, 1)


def shift(can_bus: Tensor, config: ModelConfig) -> Tensor:
    """[B, 18] movement -> [B, 2] how far the agent has moved (x, y), as shares of the width of the grid.

    By option along the axes of the lidar (x forward, y left); officially as if y were forward and x right.
    """
    x0, y0, _, x1, y1, _ = config.point_range_m
    dx, dy, yaw = can_bus[:, 0], can_bus[:, 1], can_bus[:, 16]  # [B] metres on the map, rad
    forward = dx * yaw.cos() + dy * yaw.sin()
    right = dx * yaw.sin() - dy * yaw.cos()
    if config.options.shift_along_lidar_axes:
        return torch.stack((forward / (x1 - x0), -right / (y1 - y0)), dim=-1)
    return torch.stack((right / (x1 - x0), forward / (y1 - y0)), dim=-1)


def rotate(prev_bev: Tensor, degrees: Tensor, config: ModelConfig) -> Tensor:
    """[B, HW, C] cells of the previous frame, turned with the agent by [B] degrees; zero where nothing is known.

    Nearest neighbour. The centre is the agent itself, which officially is taken to be outside the grid.
    """
    rows, columns = config.bev_size
    x0, y0, _, x1, y1, _ = config.point_range_m
    centre = _OFFICIAL_CENTRE
    if config.options.rotate_about_bev_centre:
        centre = (-x0 / (x1 - x0) * columns, -y0 / (y1 - y0) * rows)
    source, inside = rotation_source(degrees, (rows, columns), centre, prev_bev.dtype)
    if len(prev_bev) == 1:  # the same, faster
        turned = prev_bev[0].index_select(0, source[0])[None]
    else:
        turned = prev_bev.gather(1, source[..., None].expand(-1, -1, prev_bev.shape[-1]))
    return turned * inside[..., None]


def rotation_source(
    degrees: Tensor, size: tuple[int, int], centre: tuple[float, float], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Where each cell of a turned grid comes from: ([B, HW] index, [B, HW] bool whether it lies in the grid).

    degrees [B], positive from +y to +x; size: rows, columns; centre: x, y in cells from the corner of the grid.
    """
    rows, columns = size
    cx, cy = centre[0] - 0.5 * columns, centre[1] - 0.5 * rows  # from the middle of the grid
    angle = degrees.double() * (math.pi / 180.0)
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack((cos, sin, -sin, cos, cx - cos * cx + sin * cy, cy - sin * cx - cos * cy), dim=-1).reshape(
        -1, 3, 2
    )  # rows: factor of x, factor of y, constant; columns: x, y
    # In the order of operations of an image rotation, so that ties between two cells are broken alike.
    half = constant((0.5 * columns, 0.5 * rows), matrix).to(dtype)
    x = torch.arange(columns, device=degrees.device, dtype=dtype) - 0.5 * (columns - 1)
    y = torch.arange(rows, device=degrees.device, dtype=dtype) - 0.5 * (rows - 1)
    ones = torch.ones(rows, columns, device=degrees.device, dtype=dtype)
    cells = torch.stack((x.expand(rows, columns), y[:, None].expand(rows, columns), ones), dim=-1).reshape(-1, 3)
    with full_precision(degrees.device):
        source = cells @ (matrix.to(dtype) / half)  # [B, HW, 2] in -1..1
    index = (((source + 1.0) * (2.0 * half) - 1.0) / 2.0).round()
    column, row = index[..., 0], index[..., 1]
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    flat = row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)
    return flat.long(), inside
