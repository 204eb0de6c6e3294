"""Inputs for the network's graphs: a blank frame to trace them with, and what a short drive gives, to check them.

The drive is synthetic: pictures of blurred noise before a camera that moves and turns. It takes every path: a first
frame, tracks that live on, queries with and without a past.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from cooptrack_core.geometry.transforms import make_transform
from cooptrack_core.model.agent_model import AgentModel, Perception
from cooptrack_core.model.fixed_shapes import Tensors, frame_tensors, perception_tensors
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.retyped import retyped
from cooptrack_core.model.session import NetworkInput, Session

_STEP_S = 0.1
_TRACKS = 5  # of random frames: so many queries are tracks


@dataclass(frozen=True)
class Example:
    """Inputs of a graph and what the plain network makes of them."""

    inputs: Tensors
    expected: Tensors


def camera_ahead(model: AgentModel) -> Tensor:
    """[4, 4] lidar2img of a camera that looks along x from 2 m above the sensor frame."""
    height, width = model.config.image_size
    return torch.tensor(
        [[width / 2, -0.8 * width, 0, 0], [height / 2, 0, -0.8 * width, 1.6 * width], [1.0, 0, 0, 0], [0, 0, 0, 1.0]]
    )


def blank_frame(model: AgentModel) -> Tensors:
    """A frame of zeros with fresh queries, as frame_inputs() has it."""
    config = model.config
    height, width = config.image_size
    fresh = model.assemble(None).map(lambda value: value.detach()[None])
    grid = torch.zeros(1, config.bev_cells, config.embed_dims)
    image, movement = torch.zeros(1, 3, height, width), torch.zeros(1, 18)
    return frame_tensors(config, image, camera_ahead(model)[None], movement, fresh, grid)


class _Recorder(AgentModel):
    """The plain network, and its frames one after the other."""

    frames: list[Example]
    seen: list[Queries]

    @staticmethod
    def of(model: AgentModel) -> _Recorder:
        made = retyped(model, _Recorder)
        made.frames, made.seen = [], []
        return made

    def perceive(
        self,
        images: Tensor,
        lidar2img: Tensor,
        can_bus: Tensor,
        queries: Queries,
        prev_bev: Tensor | None,
        *,
        all_layers: bool = True,
        bev_known: Tensor | None = None,
    ) -> Perception:
        """As AgentModel.perceive; notes what came in and what goes out."""
        seen = super().perceive(
            images, lidar2img, can_bus, queries, prev_bev, all_layers=all_layers, bev_known=bev_known
        )
        inputs = frame_tensors(self.config, images, lidar2img, can_bus, queries, prev_bev, bev_known)
        self.frames.append(Example(inputs, perception_tensors(seen, self.config)))
        self.seen.append(seen.queries.select(0))
        return seen


def picture(height: int, width: int, seed: int) -> Tensor:
    """[3, h, w] blurred noise of about the contrast of a normalised photograph."""
    random = np.random.default_rng(seed)
    small = random.standard_normal((height // 8, width // 8, 3)).astype(np.float32)
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    fine = 0.2 * random.standard_normal((height, width, 3)).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray((smooth + fine).transpose(2, 0, 1)))


def drive(model: AgentModel, count: int, seed: int = 0) -> tuple[list[Example], list[Queries]]:
    """The frames of a vehicle alone that drives and turns, and their queries [N] after history reasoning."""
    recorder = _Recorder.of(model)
    session = Session(recorder, seed)
    height, width = model.config.image_size
    for i in range(count):
        yaw = 0.02 * i
        rotation = [[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]]
        pose = make_transform(rotation, (1.0 * i, 0.1 * i, 0.0))
        session.step(NetworkInput(picture(height, width, seed + i), camera_ahead(model), pose, _STEP_S * i))
    return recorder.frames, recorder.seen


@torch.inference_mode()
def random_frame(model: AgentModel, seed: int = 0) -> Example:
    """A frame of random numbers everywhere."""
    config, generator = model.config, torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    fresh, count = model.assemble(None), config.num_queries
    history, dims = config.history_length, config.embed_dims
    queries = fresh.with_(
        ref_pts=torch.rand(count, 3, generator=generator),
        query_feats=normal(count, dims),
        boxes=torch.where(torch.arange(count)[:, None] >= count - _TRACKS, normal(count, 10), fresh.boxes),
        history_feats=normal(count, history, dims),
        history_motion=normal(count, history, dims),
        history_padding=torch.rand(count, history, generator=generator) < 0.5,
        is_track=torch.arange(count) >= count - _TRACKS,
    )
    recorder = _Recorder.of(model)
    height, width = config.image_size
    grid = normal(1, config.bev_cells, dims)
    batch = queries.map(lambda value: value[None])
    image, lidar2img = normal(1, 3, height, width), camera_ahead(model)[None]
    recorder.perceive(image, lidar2img, 0.1 * normal(1, 18), batch, grid, all_layers=False)
    return recorder.frames[0]
