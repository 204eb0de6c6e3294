"""The 10-number box code of the network; no other file knows its layout (spec 2.6, design section 3).

Code: cx, cy, log w, log l, cz, log h, sin psi, cos psi, vx, vy. Decoded box: x, y, z, w, l, h, psi, vx, vy.
Metres in the agent's lidar frame, z of the bottom face, width before length, psi grows clockwise:
psi = -heading - pi/2. Public boxes (REP-103): gravity centre, length width height, heading counter-clockwise from +x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.model.constants import constant
from cooptrack_core.model.positional import inverse_sigmoid

CODE_SIZE = 10
CENTER = (0, 1, 4)  # entries of the code that hold the centre of the bottom face
MATCHED_ENTRIES = 8  # the matching cost of training leaves the velocity out (spec 7.3)
# Order of the corners of the unit box (spec 2.6); the 3D box spans -0.5..0.5 in x and y, 0..1 in z.
_CORNERS = ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0))
_UNIT_CORNERS = tuple((x - 0.5, y - 0.5, float(z)) for x, y, z in _CORNERS)

Float = NDArray[np.float64]


def decode(code: Tensor) -> Tensor:
    """[..., 10] code -> [..., 9] box."""
    cx, cy, w, log_l, cz, h, sin, cos, vx, vy = code.unbind(-1)
    # atan2(0, 0) is 0 as well, but its gradient is not a number.
    cos = torch.where((sin == 0) & (cos == 0), torch.ones_like(cos), cos)
    return torch.stack((cx, cy, cz, w.exp(), log_l.exp(), h.exp(), torch.atan2(sin, cos), vx, vy), dim=-1)


def encode(boxes: Tensor) -> Tensor:
    """[..., 9] box -> [..., 10] code."""
    x, y, z, w, length, h, psi, vx, vy = boxes.unbind(-1)
    return torch.stack((x, y, w.log(), length.log(), z, h.log(), psi.sin(), psi.cos(), vx, vy), dim=-1)


def center(code: Tensor) -> Tensor:
    """[..., 10] code -> [..., 3] bottom centre, m."""
    return torch.cat((code[..., 0:2], code[..., 4:5]), dim=-1)  # of CENTER; faster than an index


def with_center(code: Tensor, center_m: Tensor) -> Tensor:
    """[..., 10] code with another bottom centre [..., 3], m."""
    x, y, z = center_m[..., 0:1], center_m[..., 1:2], center_m[..., 2:3]
    return torch.cat((x, y, code[..., 2:4], z, code[..., 5:]), dim=-1)


def velocity(code: Tensor) -> Tensor:
    """[..., 10] code -> [..., 2] velocity, m/s."""
    return code[..., 8:10]


def normalise(points_m: Tensor, point_range_m: Sequence[float]) -> Tensor:
    """[..., 3] metres -> the same points as shares of the point range (0..1 inside)."""
    low, extent = _low_and_extent(points_m, point_range_m)
    return (points_m - low) / extent


def denormalise(ref_pts: Tensor, point_range_m: Sequence[float]) -> Tensor:
    """[..., 3] shares of the point range -> metres."""
    low, extent = _low_and_extent(ref_pts, point_range_m)
    return ref_pts * extent + low


def refine(
    deltas: Tensor, ref_pts: Tensor, point_range_m: Sequence[float], base: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What a box head means: [..., 10] its output, [..., 3] reference points -> ([..., 10] code, [..., 3] points).

    The centre is an offset of the reference point before the logistic function; the rest is absolute (spec 2.5, 3.2.4),
    or what is added to a code [..., 10] that the head starts from.
    """
    if base is not None:
        deltas = deltas + with_center(base, torch.zeros_like(base[..., :3]))
    points = (center(deltas) + inverse_sigmoid(ref_pts)).sigmoid()
    return with_center(deltas, denormalise(points, point_range_m)), points


def gravity_center(boxes: Tensor) -> Tensor:
    """[..., 7+] box -> [..., 3] centre of its volume, m."""
    x, y, z, h = boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 5]
    return torch.stack((x, y, z + 0.5 * h), dim=-1)


def corners(boxes: Tensor) -> Tensor:
    """[..., 7+] box -> [..., 8, 3] corners, m."""
    local = constant(_UNIT_CORNERS, boxes) * boxes[..., None, 3:6]  # [..., 8, 3]
    cos, sin = boxes[..., 6:7].cos(), boxes[..., 6:7].sin()  # [..., 1]
    x = local[..., 0] * cos + local[..., 1] * sin
    y = local[..., 1] * cos - local[..., 0] * sin
    return torch.stack((x, y, local[..., 2]), dim=-1) + boxes[..., None, :3]


def rotate_translate(boxes: Tensor, R: Tensor, t: Tensor) -> Tensor:
    """[..., 9] boxes of frame b in frame a: R [3, 3], t [3] of T_a_from_b; velocity and heading turn with R."""
    moved = boxes[..., :3] @ R.T + t
    psi = boxes[..., 6:7] + torch.atan2(R[0, 1], R[0, 0])
    return torch.cat((moved, boxes[..., 3:6], psi, boxes[..., 7:9] @ R[:2, :2].T), dim=-1)


def nearest_bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """[n, 7+], [m, 7+] boxes -> [n, m] overlap of their footprints, each turned to the nearer axis (spec 7.3)."""
    a_low, a_high = _nearest_footprint(a)
    b_low, b_high = _nearest_footprint(b)
    sides = torch.minimum(a_high[:, None], b_high) - torch.maximum(a_low[:, None], b_low)  # [n, m, 2]
    overlap = sides.clamp(min=0.0).prod(-1)
    union = (a_high - a_low).prod(-1)[:, None] + (b_high - b_low).prod(-1) - overlap
    return overlap / union.clamp(min=1e-6)


def _nearest_footprint(boxes: Tensor) -> tuple[Tensor, Tensor]:
    psi = boxes[..., 6:7]
    turned = (psi - torch.floor(psi / math.pi + 0.5) * math.pi).abs() > math.pi / 4
    half = 0.5 * torch.where(turned, boxes[..., [4, 3]], boxes[..., 3:5])
    return boxes[..., :2] - half, boxes[..., :2] + half


@dataclass(frozen=True)
class Output:
    """M boxes that a frame reports, best first."""

    index: Tensor  # [M] int64 row of the query
    boxes: Tensor  # [M, 9] decoded
    scores: Tensor  # [M]
    labels: Tensor  # [M] int64 class


def select_output(
    code: Tensor, logits: Tensor, scores: Tensor, output_range_m: Sequence[float], max_outputs: int
) -> Output:
    """The best of N codes [N, 10] with class logits [N, K] and scores [N]: spec 2.6.

    At most max_outputs by score, of these the ones whose bottom centre lies in the output range, bounds included.
    """
    index = selected(code, scores, output_range_m, max_outputs)
    return Output(index, decode(code[index]), scores[index], logits[index].argmax(-1))


def selected(code: Tensor, scores: Tensor, output_range_m: Sequence[float], max_outputs: int) -> Tensor:
    """[M] int64 rows of what select_output takes."""
    index = scores.argsort(descending=True, stable=True)[:max_outputs]
    places = center(code).index_select(0, index)
    low, high = constant(tuple(output_range_m[:3]), places), constant(tuple(output_range_m[3:]), places)
    return index[((places >= low) & (places <= high)).all(-1)]


@dataclass(frozen=True)
class PublicBoxes:
    """N boxes in the public convention."""

    center_m: Float  # [N, 3] gravity centre
    size_m: Float  # [N, 3] length, width, height
    heading_rad: Float  # [N] counter-clockwise from +x, in [-pi, pi)
    velocity_mps: Float  # [N, 2]


def to_public(code: NDArray[np.floating]) -> PublicBoxes:
    """[N, 10] code -> public boxes of the same frame."""
    code = np.asarray(code, np.float64).reshape(-1, CODE_SIZE)
    size = np.exp(code[:, [3, 2, 5]])
    center_m = code[:, list(CENTER)]
    center_m[:, 2] += 0.5 * size[:, 2]
    heading = -np.arctan2(code[:, 6], code[:, 7]) - 0.5 * np.pi
    return PublicBoxes(center_m, size, (heading + np.pi) % (2.0 * np.pi) - np.pi, code[:, 8:10].copy())


def from_public(boxes: PublicBoxes) -> Float:
    """Public boxes -> [N, 10] code of the same frame."""
    psi = -boxes.heading_rad - 0.5 * np.pi
    w, length, h = boxes.size_m[:, 1], boxes.size_m[:, 0], boxes.size_m[:, 2]
    x, y, z = boxes.center_m[:, 0], boxes.center_m[:, 1], boxes.center_m[:, 2] - 0.5 * h
    vx, vy = boxes.velocity_mps[:, 0], boxes.velocity_mps[:, 1]
    columns = (x, y, np.log(w), np.log(length), z, np.log(h), np.sin(psi), np.cos(psi), vx, vy)
    return np.stack(columns, axis=-1)


def _low_and_extent(like: Tensor, point_range_m: Sequence[float]) -> tuple[Tensor, Tensor]:
    low = constant(tuple(point_range_m[:3]), like)
    return low, constant(tuple(b - a for a, b in zip(point_range_m[:3], point_range_m[3:], strict=True)), like)
