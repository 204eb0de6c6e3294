"""Second implementation of the bird's-eye-view grid of the published network, written from its specification alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from reference_network import (
    HEAD,
    HEADS,
    Params,
    bev_size,
    count,
    feed_forward,
    layer_norm,
    linear,
    metres,
    relu_mlp,
    sample_heads,
)
from torch import Tensor


def turned_memory(prev_bev: Tensor, size: tuple[int, int], degrees: float) -> Tensor:
    """The previous map [HW, C] turned about pixel (100, 100), nearest neighbour."""
    rows, columns = size
    cx, cy = 100 - columns / 2, 100 - rows / 2
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    result = torch.zeros_like(prev_bev)
    for row in range(rows):
        for column in range(columns):
            x, y = column + 0.5 - columns / 2 - cx, row + 0.5 - rows / 2 - cy
            source_x = c * x - s * y + cx + columns / 2 - 0.5
            source_y = s * x + c * y + cy + rows / 2 - 0.5
            i, j = round(source_y), round(source_x)
            if 0 <= i < rows and 0 <= j < columns:
                result[row * columns + column] = prev_bev[i * columns + j]
    return result


def bev_shift(can_bus: np.ndarray, size: tuple[int, int], point_range: tuple[float, ...]) -> Tensor:
    """(x, y) in shares of the map."""
    rows, columns = size
    cell_x, cell_y = (point_range[3] - point_range[0]) / columns, (point_range[4] - point_range[1]) / rows
    distance = math.hypot(can_bus[0], can_bus[1])
    beta = math.degrees(can_bus[16]) - math.degrees(math.atan2(can_bus[1], can_bus[0]))
    y = distance * math.cos(math.radians(beta)) / cell_y / rows
    x = distance * math.sin(math.radians(beta)) / cell_x / columns
    return torch.tensor((x, y), dtype=torch.get_default_dtype())


@dataclass
class View:
    """What an agent sees in a frame: image features [C, h, w], can_bus with differences, projection, image size."""

    feats: Tensor
    can_bus: np.ndarray
    lidar2img: np.ndarray
    image_size: tuple[int, int]
    point_range: tuple[float, ...]


def bev_start(p: Params, can_bus: np.ndarray) -> Tensor:
    """Q0 [HW, C]"""
    x = torch.tensor(can_bus, dtype=torch.get_default_dtype())
    x = layer_norm(p, f"{HEAD}.can_bus_mlp.norm", relu_mlp(p, f"{HEAD}.can_bus_mlp", x).relu())
    return p["pts_bbox_head.bev_embedding.weight"] + x


def encode_bev(
    p: Params, view: View, prev_bev: Tensor | None, first_half: Tensor | None = None, seen: Tensor | None = None
) -> Tensor:
    """The map [HW, C]. first_half, seen: what a batch puts in the place of the own previous map and visible cells."""
    rows, columns = size = bev_size(p)
    name = "pts_bbox_head.positional_encoding"
    position = torch.cat(
        (
            p[f"{name}.col_embed.weight"][None].expand(rows, -1, -1),
            p[f"{name}.row_embed.weight"][:, None].expand(-1, columns, -1),
        ),
        dim=-1,
    ).reshape(rows * columns, -1)
    start = bev_start(p, view.can_bus)
    memory = None if prev_bev is None else (turned_memory(prev_bev, size, float(view.can_bus[17])), start)
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    centres = torch.stack((x, y), dim=-1).reshape(-1, 2)
    shifted = centres + bev_shift(view.can_bus, size, view.point_range)
    anchors, valid = project_pillars(centres, view)
    visible = valid.any(dim=1) if seen is None else seen
    h, w = view.feats.shape[1:]
    tokens = view.feats.flatten(1).T + p[f"{HEAD}.cams_embeds"][0] + p[f"{HEAD}.level_embeds"][0]
    q = start
    for i in range(count(p, f"{HEAD}.encoder.layers.{{}}.norms.0.weight")):
        layer = f"{HEAD}.encoder.layers.{i}"
        values = (q, q) if memory is None else memory
        half = values[0] if first_half is None else first_half
        q = layer_norm(p, f"{layer}.norms.0", q + temporal_attention(p, layer, q + position, half, values, shifted))
        looked = torch.zeros_like(q)
        looked[visible] = image_attention(p, layer, q[visible], tokens, (h, w), anchors[visible])
        q = layer_norm(p, f"{layer}.norms.1", q + linear(p, f"{layer}.attentions.1.output_proj", looked))
        q = layer_norm(p, f"{layer}.norms.2", feed_forward(p, layer, q))
    return q


def temporal_attention(
    p: Params, layer: str, placed: Tensor, half: Tensor, values: tuple[Tensor, Tensor], points: Tensor
) -> Tensor:
    rows, columns = bev_size(p)
    name, cells = f"{layer}.attentions.0", len(placed)
    query = torch.cat((half, placed), dim=-1)
    offsets = linear(p, f"{name}.sampling_offsets", query).view(cells, HEADS, 2, 4, 2)
    weights = linear(p, f"{name}.attention_weights", query).view(cells, HEADS, 2, 4).softmax(-1)
    outputs = []
    for queue in (0, 1):
        value = linear(p, f"{name}.value_proj", values[queue])
        locations = points[:, None, None] + offsets[:, :, queue] / torch.tensor((columns, rows))
        outputs.append(sample_heads(value, (rows, columns), locations, weights[:, :, queue]))
    return linear(p, f"{name}.output_proj", (outputs[0] + outputs[1]) / 2)


def project_pillars(centres: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """Anchors in the image [HW, 4, 2] in 0..1 and whether they are in it [HW, 4]."""
    height, width = view.image_size
    matrix = torch.tensor(view.lidar2img, dtype=torch.get_default_dtype())
    points, valid = [], []
    for z in np.linspace(0.5, 7.5, 4) / 8:
        anchor = torch.cat((centres, torch.full((len(centres), 1), float(z))), dim=1)
        anchor = torch.cat((metres(anchor, view.point_range), torch.ones(len(centres), 1)), dim=1)
        camera = anchor @ matrix.T
        uv = camera[:, :2] / camera[:, 2:3].clamp(min=1e-5) / torch.tensor((width, height))
        points.append(uv)
        valid.append((camera[:, 2] > 1e-5) & (uv > 0).all(dim=1) & (uv < 1).all(dim=1))
    return torch.stack(points, dim=1), torch.stack(valid, dim=1)


def image_attention(p: Params, layer: str, q: Tensor, tokens: Tensor, size: tuple[int, int], anchors: Tensor) -> Tensor:
    name, (h, w) = f"{layer}.attentions.1.deformable_attention", size
    offsets = linear(p, f"{name}.sampling_offsets", q).view(len(q), HEADS, 8, 2) / torch.tensor((w, h))
    weights = linear(p, f"{name}.attention_weights", q).view(len(q), HEADS, 8).softmax(-1)
    locations = torch.stack([offsets[:, :, i] + anchors[:, None, i % 4] for i in range(8)], dim=2)
    return sample_heads(linear(p, f"{name}.value_proj", tokens), size, locations, weights)
