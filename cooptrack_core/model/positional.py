"""Sine encodings of points and of time, and the inverse of the logistic function (spec Notation, 1.5, 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cooptrack_core.model.constants import constant

EPSILON = 1e-5


def inverse_sigmoid(x: Tensor) -> Tensor:
    """log(x / (1 - x)) of x clamped to 0..1, finite at both ends. Any shape."""
    x = x.clamp(0.0, 1.0)
    return torch.log(x.clamp(min=EPSILON) / (1.0 - x).clamp(min=EPSILON))


def sine_encoding(coordinates: Tensor, features: int) -> Tensor:
    """[...] normalised coordinates -> [..., features]: sine at even, cosine at odd features, periods 1 to 10000."""
    periods = constant(tuple(10000.0 ** (2.0 * i / features) for i in range((features + 1) // 2)), coordinates)
    angle = 2.0 * math.pi * coordinates[..., None] / periods  # [..., features / 2]
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)[..., :features]


def pe3d(ref_pts: Tensor, dims: int) -> Tensor:
    """[..., 3] normalised points -> [..., 3 * dims / 2], the coordinates in the order y, x, z."""
    yxz = torch.cat((ref_pts[..., 1:2], ref_pts[..., 0:1], ref_pts[..., 2:]), dim=-1)
    return sine_encoding(yxz, dims // 2).flatten(-2)  # [..., 3, dims / 2] -> [..., 3 * dims / 2]


def time_encoding(history_length: int, dims: int, device: torch.device | None = None) -> Tensor:
    """[H, dims] encoding of the history slots, oldest (0) to newest (1)."""
    return sine_encoding(torch.arange(history_length, device=device) / max(history_length - 1, 1), dims)
