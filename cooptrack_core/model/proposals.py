"""First queries from the image: road users that a dense head sees, put on the road by the calibration.

A centre heatmap with boxes as in CenterNet (Zhou et al., 2019) at a quarter of the image's size. The distance of an
object is told from three sides: where its lower edge meets the road, how tall it looks, and what the features say. Its
best peaks become queries of the decoder; networks trained from scratch then refine instead of searching (the
published network searches from learned points alone, spec 1.5).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.autocast import full_precision
from cooptrack_core.model.constants import constant
from cooptrack_core.model.linear import Linear
from cooptrack_core.model.mlp import set_prior
from cooptrack_core.model.presets import ModelConfig

ROAD_Z_M = -1.8  # of the road in the lidar frames of V2X-Seq, to about 0.2 m (spec v2x-seq-spd.md 2.1)
DEPTH_RANGE_M = (2.0, 160.0)
HEAT_PRIOR = 0.02
_GEOMETRY = 4  # numbers that tell the head how its camera looks at a cell
_OUTPUTS = 13  # du, dv, depth residual, depth mixture, log drop, log w, log l, log h, sin, cos, vx, vy, z
_MEAN_LOG_DROP = 1.0  # of the bottom below the centre, cells


@dataclass(frozen=True)
class DenseBoxes:
    """What the head says in each of h x w cells of its map; B samples."""

    heat: Tensor  # [B, K, h, w] logits
    boxes: Tensor  # [B, h, w, 10] codes in the lidar frame, m
    pixels: Tensor  # [B, h, w, 2] where the gravity centre of the box is seen, pixels of the network's image
    depth_m: Tensor  # [B, h, w] of the gravity centre along the optical axis
    drop: Tensor  # [B, h, w] by how much the bottom centre is seen below the gravity centre, pixels
    feats: Tensor  # [B, head_dims, h, w]


@dataclass(frozen=True)
class Proposals:
    """The P best peaks of each sample."""

    ref_pts: Tensor  # [B, P, 3] normalised bottom centres
    boxes: Tensor  # [B, P, 10] codes, m
    feats: Tensor  # [B, P, C]
    scores: Tensor  # [B, P] of the best class
    classes: Tensor  # [B, P, K] scores
    free: Tensor  # [B, P] bool, no track's; of those alone new tracks are made


class ImageProposals(nn.Module):
    """Dense head, peaks, and their queries."""

    def __init__(self, config: ModelConfig, finest_channels: int) -> None:
        super().__init__()
        self.config = config
        dims = config.head_dims
        self.finest = nn.Conv2d(finest_channels, dims, 1)
        self.coarser = nn.Conv2d(config.embed_dims, dims, 1, bias=False)
        self.trunk = nn.Conv2d(dims + _GEOMETRY, dims, 3, padding=1)
        self.norm = nn.GroupNorm(max(1, dims // 16), dims)
        self.second = nn.Conv2d(dims, dims, 3, padding=1)
        self.heat = nn.Conv2d(dims, config.num_classes, 1)
        self.values = nn.Conv2d(dims, _OUTPUTS, 1)
        told = dims + box_code.CODE_SIZE + config.num_classes
        self.query = nn.Sequential(Linear(told, config.embed_dims), nn.LayerNorm(config.embed_dims))
        set_prior_of_map(self.heat)
        nn.init.normal_(self.values.weight, std=0.01)
        nn.init.zeros_(self.values.get_parameter("bias"))

    def look(self, maps: Tensor, finest: Tensor, lidar2img: Tensor) -> tuple[DenseBoxes | None, Proposals]:
        """What dense() and forward() say; the dense output may be left out where nothing learns from it."""
        dense = self.dense(maps, finest, lidar2img)
        return dense, self(dense)

    def dense(self, maps: Tensor, finest: Tensor, lidar2img: Tensor) -> DenseBoxes:
        """maps [B, C, ..], the finest of the neck; finest [B, .., h, w] of the backbone; lidar2img [B, 4, 4]."""
        dtype = torch.promote_types(maps.dtype, torch.float32)  # of geometry
        view = View(lidar2img.to(maps.device, dtype), finest.shape[-2:], self.config.image_size)
        geometry = view.description()  # [B, 4, h, w]
        coarser = F.interpolate(self.coarser(maps), size=finest.shape[-2:], mode="nearest")
        x = F.relu(self.finest(finest) + coarser)  # [B, head_dims, h, w]
        x = F.relu(self.norm(self.trunk(torch.cat((x, geometry), dim=1))))
        x = F.relu(self.second(x))
        boxes, pixels, depth_m, drop = view.boxes(self.values(x).permute(0, 2, 3, 1).to(dtype))
        return DenseBoxes(self.heat(x), boxes, pixels, depth_m, drop, x)

    def forward(self, dense: DenseBoxes) -> Proposals:
        """The best peaks of a dense output as queries; without gradient into the boxes."""
        scores = dense.heat.detach().sigmoid()  # [B, K, h, w]
        best = scores.amax(1, keepdim=True)  # [B, 1, h, w]
        peak = best == F.max_pool2d(best, 3, stride=1, padding=1)
        ref_pts = box_code.normalise(box_code.center(dense.boxes.detach()), self.config.point_range_m)  # [B, h, w, 3]
        within = ((ref_pts[..., :2] > 0.0) & (ref_pts[..., :2] < 1.0)).all(-1)  # [B, h, w]
        count = min(self.config.proposals, self.config.num_queries, within[0].numel())
        chosen = (best * peak * within[:, None]).flatten(1).topk(count, dim=1)  # [B, P]
        index = chosen.indices
        code = _at(dense.boxes.detach().flatten(1, 2), index)  # [B, P, 10]
        ref_pts = _at(ref_pts.flatten(1, 2), index).clamp(0.001, 0.999)
        classes = _at(scores.flatten(2).transpose(1, 2), index)
        feats = _at(dense.feats.flatten(2).transpose(1, 2), index)
        told = torch.cat((feats, scaled(code, ref_pts), classes), dim=-1)
        return Proposals(
            ref_pts, code, self.query(told), chosen.values, classes, torch.ones_like(chosen.values, dtype=torch.bool)
        )


class View:
    """How a camera looks at the cells of a map."""

    def __init__(self, lidar2img: Tensor, size: tuple[int, int] | torch.Size, image_size: tuple[int, int]) -> None:
        self.stride = image_size[0] / size[0]
        self.M = lidar2img[:, :3, :3]  # [B, 3, 3]
        self.offset = lidar2img[:, :3, 3]  # [B, 3]
        inverse = _inverse(self.M.double())
        self.M_inverse = inverse.to(lidar2img)
        self.centre = -(inverse @ self.offset.double()[..., None])[..., 0].to(lidar2img)  # [B, 3] optical centre
        cells = (torch.arange(count, device=lidar2img.device) for count in size)
        v, u = torch.meshgrid(*cells, indexing="ij")
        # Pixels have their centres at whole numbers.
        self.pixels = (torch.stack((u, v), dim=-1).to(lidar2img) + 0.5) * self.stride - 0.5  # [h, w, 2]

    def at(self, cells: Tensor) -> View:
        """The same for n of the cells [n], as if they were a map of one row."""
        some = copy.copy(self)
        some.pixels = self.pixels.flatten(0, 1)[cells][None]  # [1, n, 2]
        return some

    def rays(self, pixels: Tensor) -> Tensor:
        """[B, h, w, 2] pixels -> [B, h, w, 3] direction in the lidar frame with depth 1."""
        ones = torch.ones_like(pixels[..., :1])
        with full_precision(pixels.device):
            return torch.einsum("bij,bhwj->bhwi", self.M_inverse, torch.cat((pixels, ones), dim=-1))

    def road_depth(self, rays: Tensor) -> Tensor:
        """[B, h, w] depth at which rays [B, h, w, 3] meet the road; the far limit for those that do not."""
        below = (ROAD_Z_M - self.centre[:, 2])[:, None, None]  # [B, 1, 1], negative
        slope = rays[..., 2]
        depth = below / slope.clamp(max=-1e-4)
        return depth.clamp(*DEPTH_RANGE_M)

    @property
    def focal_px(self) -> Tensor:
        """[B] vertical focal length."""
        return self.M[:, 1].norm(dim=-1).clamp(min=1.0) * self._horizontal_share()

    def _horizontal_share(self) -> Tensor:
        """The second row of the projection holds f * y axis + c * z axis; the first part is wanted."""
        row, depth_axis = self.M[:, 1], self.M[:, 2]
        along = (row * depth_axis).sum(-1, keepdim=True) / depth_axis.square().sum(-1, keepdim=True)
        return (row - along * depth_axis).norm(dim=-1) / row.norm(dim=-1).clamp(min=1e-6)

    def description(self) -> Tensor:
        """[B, 4, h, w] log depth of the road, slope of the ray, log height of the camera, log focal length."""
        rays = self.rays(self.pixels[None].expand(len(self.M), -1, -1, -1))
        shape = rays.shape[:3]
        road = self.road_depth(rays).log() - 3.0
        height = (self.centre[:, 2] - ROAD_Z_M).clamp(min=0.5).log()
        focal = self.focal_px.log() - 6.0
        columns = (road, rays[..., 2] * 3.0, *(x[:, None, None].expand(shape) for x in (height, focal)))
        return torch.stack(columns, dim=1)

    def by_road(self, pixels: Tensor, drop: Tensor, height_m: Tensor) -> Tensor:
        """Depth of gravity centres at pixels [B, h, w, 2] of boxes that stand on the road `drop` pixels below.

        The camera has no roll, or little.
        """
        bottom = self.road_depth(self.rays(torch.stack((pixels[..., 0], pixels[..., 1] + drop), dim=-1)))
        return (bottom + 0.5 * height_m * self.M[:, 2, 2, None, None]).clamp(*DEPTH_RANGE_M)

    def by_size(self, pixels: Tensor, drop: Tensor, height_m: Tensor) -> Tensor:
        """Depth of gravity centres of boxes so high, whose bottom is seen `drop` pixels below."""
        row, axis = self.M[:, 1, 2, None, None], self.M[:, 2, 2, None, None]  # what a step upwards does to v and depth
        return (0.5 * height_m * (axis * (pixels[..., 1] + drop) - row) / drop).clamp(*DEPTH_RANGE_M)

    def boxes(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, h, w, 13] outputs -> codes [B, h, w, 10], pixels [B, h, w, 2], depth and drop [B, h, w]."""
        du_dv, residual, mixture = values[..., :2], values[..., 2], values[..., 3]
        pixels = self.pixels + du_dv * self.stride  # [B, h, w, 2]
        rays = self.rays(pixels)
        size = values[..., 5:8] + constant((0.6, 1.4, 0.5), values)  # log w, l, h of something like a car
        drop = (values[..., 4] + _MEAN_LOG_DROP).clamp(-4.0, 4.0).exp() * self.stride
        height_m = size[..., 2].clamp(-1.0, 1.8).exp()
        # Pixels and sizes learn from what they are: near the horizon a distance depends on them far too much.
        shown = pixels.detach(), drop.detach(), height_m.detach()
        by_road, by_size = self.by_road(*shown).log(), self.by_size(*shown).log()
        share = mixture.sigmoid()
        low, high = (math.log(depth_m) for depth_m in DEPTH_RANGE_M)
        depth = (share * by_road + (1.0 - share) * by_size + residual).clamp(low, high).exp()
        centre = self.centre[:, None, None] + rays * depth[..., None]  # [B, h, w, 3] gravity centre
        psi = self._turned(values[..., 8:10], rays)
        bottom = (centre[..., 2] - 0.5 * height_m).detach() + values[..., 12]
        code = torch.cat(
            (centre[..., :2], size[..., :2], bottom[..., None], size[..., 2:], psi, values[..., 10:12]), dim=-1
        )
        return code, pixels, depth, drop

    @staticmethod
    def _turned(observed: Tensor, rays: Tensor) -> Tensor:
        """sin and cos of psi [.., 2] from those of the angle at which the object is seen: looks depend on it."""
        direction = F.normalize(rays[..., :2].detach(), dim=-1)  # cos, sin of the azimuth of the ray
        sin, cos = observed.unbind(-1)
        # psi grows clockwise, the azimuth counter-clockwise: psi = observed - azimuth.
        return torch.stack(
            (sin * direction[..., 0] - cos * direction[..., 1], cos * direction[..., 0] + sin * direction[..., 1]),
            dim=-1,
        )


def _inverse(M: Tensor) -> Tensor:
    """[B, 3, 3] by cofactors: torch.linalg.inv can neither be exported nor recorded in a CUDA graph."""
    x, y, z = M.unbind(1)  # rows, [B, 3] each
    columns = torch.stack((y.cross(z, -1), z.cross(x, -1), x.cross(y, -1)), dim=-1)
    return columns / (x * columns[..., 0]).sum(-1)[:, None, None]


def set_prior_of_map(layer: nn.Conv2d) -> None:
    """A 1x1 convolution that starts at the share of cells with an object."""
    nn.init.normal_(layer.weight, std=0.01)
    bias = nn.Linear(1, layer.out_channels)
    set_prior(bias, HEAT_PRIOR)
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.copy_(bias.bias)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """[B, S, c] at [B, P] -> [B, P, c]"""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def scaled(code: Tensor, ref_pts: Tensor) -> Tensor:
    """[.., 10] codes with the centre as in ref_pts [.., 3] and velocities of about one."""
    rest = torch.cat((code[..., 2:4], code[..., 5:8], code[..., 8:10] * 0.1), dim=-1)
    return torch.cat((ref_pts, rest), dim=-1)


__all__ = ["DenseBoxes", "ImageProposals", "Proposals", "View", "scaled"]
