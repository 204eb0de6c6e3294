"""Small networks, random queries and reference weights for the tests of the network."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from reference_weights import fill
from torch import Tensor, nn

from cooptrack_core.checkpoints.official import published_name
from cooptrack_core.model import box_code
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.presets import OFFICIAL, ModelConfig, Options, get_preset
from cooptrack_core.model.queries import MOTION_NUMBERS, NO_ID, Queries

REFERENCE = Path(__file__).parents[1] / "data" / "reference"
Module = TypeVar("Module", bound=nn.Module)


def reference(name: str) -> dict[str, Tensor]:
    """Arrays of a file of reference vectors."""
    with np.load(REFERENCE / name) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def with_reference_weights(module: Module, name: str, side: str) -> Module:
    """A module of the network, `name` in it, with the weights that the reference vectors were made with."""
    state = {}
    for key, value in module.state_dict().items():
        published = published_name(f"{name}.{key}")
        assert published is not None, key
        state[key] = torch.from_numpy(fill(published, tuple(value.shape), side))
    module.load_state_dict(state)
    return module.eval()


def small_config(options: Options | None = None, **changes: Any) -> ModelConfig:
    """A cooperative network that is quick on any machine."""
    config = replace(
        get_preset("tiny_coop"), embed_dims=32, num_heads=4, reasoner_ffn=48, motion_width=16, alignment_blocks=4,
        score_threshold=0.4, output_threshold=0.3,
    )  # fmt: skip
    return replace(config, options=Options() if options is None else options, **changes)


def official_config(**changes: Any) -> ModelConfig:
    """The same with the behaviour of the published network."""
    return small_config(OFFICIAL, **changes)


def random_queries(count: int, config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> Queries:
    """Queries anywhere in the range, with 1 to H valid history slots each."""
    random = np.random.default_rng(seed)
    dims, slots = config.embed_dims, config.history_length

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(random.standard_normal((count, *shape))).to(dtype)

    valid = torch.from_numpy(random.integers(0, max(slots, 1), count))
    logits = normal(config.num_classes)
    return Queries(
        ref_pts=torch.from_numpy(random.random((count, 3))).to(dtype),
        query_embeds=normal(dims),
        query_feats=normal(dims),
        motion_feats=normal(dims),
        boxes=normal(box_code.CODE_SIZE),
        logits=logits,
        scores=logits.sigmoid().amax(-1),
        history_feats=normal(slots, dims),
        history_motion=normal(slots, dims),
        history_padding=torch.arange(slots).expand(count, slots) < slots - valid[:, None],
        track_id=torch.arange(count) + 100,
        is_track=torch.zeros(count, dtype=torch.bool),
        misses=torch.zeros(count, dtype=torch.int64),
        hits=torch.zeros(count, dtype=torch.int64),
        measured=torch.ones(count, dtype=torch.bool),
        motion=torch.zeros(count, MOTION_NUMBERS, dtype=dtype),
    )


def random_remote(
    count: int, config: ModelConfig, seed: int = 1, owner: int = 0, dtype: torch.dtype = torch.float32
) -> RemoteInstances:
    """What a roadside unit sends, near the middle of its range, in its own frame."""
    queries = random_queries(count, config, seed, dtype)
    points = 0.3 + 0.4 * queries.ref_pts
    center_m = box_code.denormalise(points, config.roadside_point_range_m)
    return RemoteInstances(
        query_feats=queries.query_feats,
        query_embeds=queries.query_embeds,
        motion_feats=queries.motion_feats,
        ref_pts=points,
        boxes=box_code.with_center(queries.boxes, center_m),
        owner=torch.full((count,), owner, dtype=torch.int64),
        row=torch.arange(count),
        object_key=torch.full((count,), NO_ID),
    )


def ego_beside(remote: Queries, offset_m: float, config: ModelConfig, seed: int = 5) -> Queries:
    """One ego query for each aligned instance, offset in x."""
    points_m = box_code.denormalise(remote.ref_pts, config.point_range_m) + torch.tensor([offset_m, 0.0, 0.0])
    ego = random_queries(len(remote), config, seed)
    return ego.with_(ref_pts=box_code.normalise(points_m, config.point_range_m))


def rotation(yaw: float, pitch: float = 0.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """[3, 3] about z, then about y."""
    cz, sz, cy, sy = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_z = np.array([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]])
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    return torch.from_numpy(about_y @ about_z).to(dtype)


def pose(yaw: float, x_m: float, y_m: float, z_m: float = 0.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """[4, 4] transform."""
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3] = rotation(yaw)
    T[:3, 3] = torch.tensor([x_m, y_m, z_m])
    return T.to(dtype)


def assert_same(got: Queries | RemoteInstances, expected: Queries | RemoteInstances, atol: float = 1e-5) -> None:
    """Every field equal within atol."""
    for item in fields(expected):
        torch.testing.assert_close(
            getattr(got, item.name),
            getattr(expected, item.name),
            atol=atol,
            rtol=atol,
            msg=lambda text, n=item.name: n + text,
        )


FORWARD = pose(0.0, -51.2, 0.0)  # the roadside unit at the rear edge of the vehicle's range: everything is kept


def aligned(count: int, config: ModelConfig, seed: int = 1, owner: int = 0) -> RemoteInstances:
    """Instances already in the vehicle's frame, with features that nothing has touched."""
    remote = random_remote(count, config, seed, owner)
    points_m = box_code.denormalise(remote.ref_pts, config.roadside_point_range_m) + FORWARD[:3, 3]
    return replace(remote, ref_pts=box_code.normalise(points_m, config.point_range_m))


def owners(*counts: int) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
