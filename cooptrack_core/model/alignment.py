"""Cross-agent alignment: instances of another agent in the vehicle's frame and feature space (paper CAA, spec 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.mlp import normed_mlp
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries


@dataclass(frozen=True)
class RemoteInstances:
    """I instances that other agents sent (spec 1.4)."""

    query_feats: Tensor  # [I, C]
    query_embeds: Tensor  # [I, C]
    motion_feats: Tensor  # [I, C]
    ref_pts: Tensor  # [I, 3] normalised: in the sender's point range, after alignment in the vehicle's
    boxes: Tensor  # [I, 10] codes, in the lidar frame of the same agent
    owner: Tensor  # [I] int64, which message
    row: Tensor  # [I] int64, row in it
    object_key: Tensor  # [I] int64 the object among those of all senders (model/partners.py), NO_ID: not known

    def __len__(self) -> int:
        return len(self.owner)

    def map(self, function: Callable[[Tensor], Tensor]) -> RemoteInstances:
        """The function applied to every field."""
        return RemoteInstances(**{item.name: function(getattr(self, item.name)) for item in fields(self)})

    def select(self, index: Any) -> RemoteInstances:
        """Rows by an integer, boolean or slice index."""
        return self.map(lambda value: value[index])

    def to(self, device: torch.device) -> RemoteInstances:
        """Every field on a device."""
        return self.map(lambda value: value.to(device))

    @staticmethod
    def cat(parts: Sequence[RemoteInstances]) -> RemoteInstances:
        """Rows of all parts, of which there is at least one."""
        columns = {
            item.name: torch.cat([getattr(part, item.name) for part in parts]) for item in fields(RemoteInstances)
        }
        return RemoteInstances(**columns)

    @staticmethod
    def empty(dims: int, *, like: Tensor) -> RemoteInstances:
        """No instances, with the device and dtype of `like`."""
        feats, indices = like.new_zeros(0, dims), torch.zeros(0, dtype=torch.int64, device=like.device)
        points, boxes = like.new_zeros(0, 3), like.new_zeros(0, box_code.CODE_SIZE)
        return RemoteInstances(feats, feats, feats, points, boxes, indices, indices, indices)


def as_queries(remote: RemoteInstances, config: ModelConfig) -> Queries:
    """[I] aligned instances as queries without id and score; the newest history slot holds their features (spec 1.6).

    That slot carries no gradient, as no history does.
    """
    blank = Queries.empty(
        len(remote),
        dims=config.embed_dims,
        classes=config.num_classes,
        history=config.history_length,
        like=remote.query_feats,
    )
    feats, motion, padding = blank.history_feats.clone(), blank.history_motion.clone(), blank.history_padding.clone()
    if config.history_length > 0:
        feats[:, -1], motion[:, -1], padding[:, -1] = remote.query_feats.detach(), remote.motion_feats.detach(), False
    return blank.with_(
        ref_pts=remote.ref_pts,
        query_embeds=remote.query_embeds,
        query_feats=remote.query_feats,
        motion_feats=remote.motion_feats,
        boxes=remote.boxes,
        history_feats=feats,
        history_motion=motion,
        history_padding=padding,
    )


def nearest_rotation(matrix: Tensor) -> Tensor:
    """[3, 3] matrix -> the rotation nearest to it (polar projection), computed in float64."""
    u, _, vh = torch.linalg.svd(matrix.double())
    last = torch.ones(3, dtype=torch.float64, device=matrix.device)
    last[2] = torch.linalg.det(u @ vh).sign()  # -1: the projection is a reflection
    return ((u * last) @ vh).to(matrix.dtype)


@dataclass(frozen=True)
class Moved:
    """What the pose says for itself."""

    remote: RemoteInstances  # [I'] those within range, points and boxes in the vehicle's frame, features as sent
    keep: Tensor  # [I] bool
    R: Tensor  # [3, 3] of the pose
    t: Tensor  # [3] m


def move(remote: RemoteInstances, T_vehicle_from_infra: Tensor, config: ModelConfig, keep_all: bool = False) -> Moved:
    """[I] instances of one sender by T_vehicle_from_infra [4, 4] (m); x and y (not z) decide what is in range.

    keep_all: `keep` says what is in range, but the others stay: their number must not depend on the data.
    """
    R, t = T_vehicle_from_infra[:3, :3], T_vehicle_from_infra[:3, 3]
    if config.options.orthonormalise_extrinsics:
        R = nearest_rotation(R)
    R, t = R.to(remote.ref_pts), t.to(remote.ref_pts)
    points_m = box_code.denormalise(remote.ref_pts, config.roadside_point_range_m) @ R.T + t
    point_range = points_m.new_tensor(config.point_range_m)
    keep = ((points_m[:, :2] >= point_range[:2]) & (points_m[:, :2] <= point_range[3:5])).all(-1)
    if not keep_all:
        remote, points_m = remote.select(keep), points_m[keep]
    boxes = box_code.encode(box_code.rotate_translate(box_code.decode(remote.boxes), R, t))
    ref_pts = box_code.normalise(points_m, config.point_range_m)
    return Moved(replace(remote, ref_pts=ref_pts, boxes=boxes), keep, R, t)


def _learned_streams(config: ModelConfig) -> dict[str, str]:
    """Fields of RemoteInstances that are aligned by learned layers, and the name of their layers.

    Before decoding, and by option, positions and motion follow from the aligned box as those of all queries do.
    """
    streams = {"query_feats": "feature"}
    if config.fusion == "graph" and not config.options.explicit_alignment:
        streams["query_embeds"] = "embedding"
        if config.motion_features:
            streams["motion_feats"] = "motion"
    return streams if config.latent_alignment else {}


class CrossAgentAlignment(nn.Module):
    """The pose moves points and boxes exactly, and features through a rotation and a shift that it is mapped to."""

    fixed_shapes = False  # True: what is out of range stays, and is marked (model/fixed_cooperation.py)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, self.streams = config, _learned_streams(config)
        if not self.streams:
            return
        dims, blocks = config.embed_dims, config.alignment_blocks
        self.rotation_mlp = normed_mlp((6, dims, dims, dims * dims // blocks))
        self.translation_mlp = normed_mlp((3, dims, dims, dims))
        for name in self.streams.values():
            self.add_module(f"{name}_in", normed_mlp((dims, dims)))
            self.add_module(f"{name}_out", normed_mlp((dims, dims)))
            if config.options.residual_fusion:
                self.register_parameter(f"{name}_gate", nn.Parameter(torch.zeros(dims)))
        self._start_near_identity()

    def _start_near_identity(self) -> None:
        """Every pose first maps to about the identity and no shift; the network learns what differs."""
        blocks = self.config.alignment_blocks
        size = self.config.embed_dims // blocks
        for mlp, bias in (
            (self.rotation_mlp, torch.eye(size).repeat(blocks, 1, 1).flatten()),
            (self.translation_mlp, torch.zeros(self.config.embed_dims)),
        ):
            norm = mlp[-2]
            assert isinstance(norm, nn.LayerNorm)
            nn.init.constant_(norm.weight, 0.1)
            with torch.no_grad():
                norm.bias.copy_(bias)

    def forward(self, remote: RemoteInstances, T_vehicle_from_infra: Tensor) -> tuple[RemoteInstances, Tensor]:
        """[I] instances of one sender and T_vehicle_from_infra [4, 4] (m) -> those within range [I'], keep [I] bool."""
        moved = move(remote, T_vehicle_from_infra, self.config, self.fixed_shapes)
        if not self.streams:
            return moved.remote, moved.keep
        rotation, shift = self.latent_pose(moved.R, moved.t)  # [blocks, s, s], [C]
        features = {}
        for field, name in self.streams.items():
            x: Tensor = getattr(moved.remote, field)
            inner, outer = self.get_submodule(f"{name}_in"), self.get_submodule(f"{name}_out")
            features[field] = _transform(x, rotation, shift, inner, outer)
            if self.config.options.residual_fusion:
                features[field] = x + self.get_parameter(f"{name}_gate") * features[field]
        return replace(moved.remote, **features), moved.keep

    def latent_pose(self, R: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """R [3, 3], t [3] (m) -> blocks of the latent rotation [blocks, C / blocks, C / blocks] and shift [C]."""
        six = R[:, :2].reshape(6)  # the first two columns, row by row
        blocks, size = self.config.alignment_blocks, self.config.embed_dims // self.config.alignment_blocks
        return self.rotation_mlp(six).view(blocks, size, size), self.translation_mlp(t)


def _transform(x: Tensor, rotation: Tensor, shift: Tensor, inner: nn.Module, outer: nn.Module) -> Tensor:
    """[I, C] features turned block by block, shifted, added to themselves, between two projections."""
    blocks = inner(x).unflatten(-1, rotation.shape[:2])  # [I, blocks, s]
    turned = torch.einsum("bij,nbj->nbi", rotation, blocks).flatten(-2)  # [I, C]
    return outer(turned + shift + x)
