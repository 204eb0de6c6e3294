"""What a network costs: parameters, multiply-adds of a frame, bytes on the air."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cooptrack_core.config import RoadsideConfig
from cooptrack_core.cooperation import wire
from cooptrack_core.model import box_code
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.linear import has_onednn
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.types import Features, Instances, Message

FLOPS_PER_MULTIPLY_ADD = 2
# Lidar axes to camera axes: x right, y down, z ahead.
_CAMERA_AXES = ((0.0, -1.0, 0.0, 0.0), (0.0, 0.0, -1.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Sizes:
    """Numbers that a network holds; buffers as far as they are stored with it."""

    parameters: dict[str, int]  # by module, those of the network itself first
    total: int
    trainable: int
    buffers: int


def sizes(config: ModelConfig) -> Sizes:
    """Counted on a model without memory."""
    with torch.device("meta"):
        model = AgentModel(config)
    own = {name: value.numel() for name, value in model.named_parameters(recurse=False)}
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    parameters = list(model.parameters())
    total = sum(p.numel() for p in parameters)
    return Sizes(
        parameters=own | parts,
        total=total,
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        buffers=sum(value.numel() for value in model.state_dict().values()) - total,
    )


def instance_bytes(config: ModelConfig, precision: str) -> int:
    """Bytes that one more instance adds to a message; precision as in RoadsideConfig.feature_precision."""
    return message_bytes(config, precision, 2) - message_bytes(config, precision, 1)


def message_bytes(config: ModelConfig, precision: str, count: int) -> int:
    """Bytes of all arrays of a message of `count` instances; stamps, pose and names are not among them.

    Of the streams that are needed; rvq with the usual number of codes, and compact kinematics.
    """
    stream = np.zeros((count, config.embed_dims), np.float32)
    whole = Features(stream, stream, stream, config.name)
    left_out = [n for n in ("embedding", "motion") if config.needed_streams and n not in config.needed_streams]
    features = whole.without(left_out)
    if precision == "rvq":
        codes = np.zeros((count, 2 if config.needs_motion else 1, RoadsideConfig().feature_codes), np.uint8)
        features = replace(whole, query=stream[:, :0], codes=codes, codebook=bytes(8), channels=config.embed_dims)
    instances = Instances.create(
        np.zeros((count, 3)), np.ones((count, 3)), np.zeros(count), np.zeros(count, np.int64), np.zeros(count),
        velocity_mps=np.zeros((count, 2)), features=features,
    )  # fmt: skip
    kinematics = "compact" if precision == "rvq" else "fp32"
    fields = wire.encode(Message("rsu", 1, 1, 0, "rsu/lidar", np.eye(4), instances), precision, kinematics)
    return sum(len(value) * value.itemsize for value in fields.values() if hasattr(value, "itemsize"))


def _linear_flops(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Of a linear layer by oneDNN, which the counter does not know: shapes [..., inner] and [outer, inner]."""
    return FLOPS_PER_MULTIPLY_ADD * math.prod(x) * weight[0]


class MultiplyAddCounter:
    """Counts those of matrix products and convolutions within a `with`, at inference."""

    def __init__(self) -> None:
        mapping = {torch.ops.mkldnn._linear_pointwise: _linear_flops} if has_onednn() else {}
        self._counter = FlopCounterMode(display=False, custom_mapping=mapping)
        self._contexts = contextlib.ExitStack()

    @property
    def total(self) -> int:
        """Counted so far."""
        return int(self._counter.get_total_flops()) // FLOPS_PER_MULTIPLY_ADD

    def __enter__(self) -> MultiplyAddCounter:
        # It does not know fused attention.
        self._contexts.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        for context in (torch.no_grad(), sdpa_kernel(SDPBackend.MATH), self._counter):
            self._contexts.enter_context(context)
        return self

    def __exit__(self, *_: object) -> None:
        self._contexts.close()


def multiply_adds(model: AgentModel, remote_instances: int = 0) -> int:
    """Multiply-adds of matrix products and convolutions in one frame that has a predecessor and no live tracks.

    The camera looks ahead from the lidar's origin over 53 degrees, and all remote instances are in range. What
    deformable attention samples, norms and activations are not counted.
    """
    config = model.config
    generator = torch.Generator().manual_seed(0)
    height, width = config.image_size
    image = torch.zeros(1, 3, height, width)
    can_bus, memory = torch.zeros(1, 18), torch.zeros(1, config.bev_cells, config.embed_dims)
    if config.cooperative and config.fusion == "graph":
        model.association.prepare()  # no part of a frame
    with MultiplyAddCounter() as counter:
        fresh = model.assemble(None).map(lambda value: value[None])
        queries = model.perceive(image, _camera(width, height), can_bus, fresh, memory).queries.select(0)
        if config.cooperative:
            aligned = model.align([_message(config, remote_instances, generator)] if remote_instances else [])
            queries = model.cooperate(queries, aligned).queries
        model.refine(queries)
    return counter.total


def untrained(config: ModelConfig) -> AgentModel:
    """A network with random weights that is not to be trained."""
    torch.manual_seed(0)
    return AgentModel(config).eval().requires_grad_(False)


def _camera(width: int, height: int) -> Tensor:
    """[1, 4, 4] from lidar to pixels."""
    K = torch.eye(4)
    K[0, 0] = K[1, 1] = width
    K[0, 2], K[1, 2] = width / 2, height / 2
    return (K @ torch.tensor(_CAMERA_AXES))[None]


def _message(config: ModelConfig, count: int, generator: torch.Generator) -> tuple[RemoteInstances, Tensor]:
    """Instances spread over the roadside unit's range, which the pose moves onto the vehicle's."""
    feats = torch.zeros(count, config.embed_dims)
    rows = torch.arange(count)
    boxes = torch.zeros(count, box_code.CODE_SIZE)
    boxes[:, 7] = 1.0  # cosine of the heading
    ref_pts = 0.1 + 0.8 * torch.rand(count, 3, generator=generator)
    pose = torch.eye(4)
    pose[:2, 3] = torch.tensor(config.point_range_m[:2]) - torch.tensor(config.roadside_point_range_m[:2])
    return RemoteInstances(feats, feats, feats, ref_pts, boxes, torch.zeros_like(rows), rows, rows), pose
