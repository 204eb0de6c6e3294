"""A decoded message as the instances that the network aligns (spec 1.4, 1.6)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.cooperation.latency import propagate, reported_motion
from cooptrack_core.geometry.transforms import apply
from cooptrack_core.model import box_code
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.partners import object_key
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.types import Instances, Message

Float = NDArray[np.float64]


def remote_instances(
    message: Message,
    owner: int,
    dt_s: float,
    T_vehicle_from_infra: Float,
    config: ModelConfig,
    embed: Callable[[Tensor], Tensor],
    sender: int = 0,
) -> RemoteInstances:
    """The instances of a message in the sender's frame, moved on by dt_s where the options say so.

    owner: row of the message among those of the frame. sender: number of its agent and session, the same in all
    frames. embed: the vehicle's own query embedding, used where the message brings none; missing motion features
    are zero, of networks that make their own. Reports of the own vehicle are
    left out.
    """
    features = message.instances.features
    if not len(message.instances):
        return RemoteInstances.empty(config.embed_dims, like=torch.zeros(0))
    assert features is not None, "only messages that are understood come here"
    instances = message.instances
    if config.options.kinematic_compensation:
        instances = propagate(instances, dt_s, message.motion or reported_motion(instances, 0.0))
    keep = np.flatnonzero(~_is_own_vehicle(apply(T_vehicle_from_infra, instances.center_m), config))
    code = _code(instances.select(keep))
    ref_pts = box_code.normalise(box_code.center(code), config.roadside_point_range_m)
    embeds, motion = features.embedding, features.motion
    return RemoteInstances(
        query_feats=_stream(features.query, keep),
        query_embeds=embed(ref_pts) if embeds is None else _stream(embeds, keep),
        motion_feats=torch.zeros(len(keep), config.embed_dims) if motion is None else _stream(motion, keep),
        ref_pts=ref_pts,
        boxes=code,
        owner=torch.full((len(keep),), owner, dtype=torch.int64),
        row=torch.from_numpy(keep.astype(np.int64)),
        object_key=object_key(sender, torch.from_numpy(instances.instance_id[keep])),
    )


def _stream(values: NDArray[np.floating], rows: NDArray[np.intp]) -> Tensor:
    """[I, C] in single precision, whatever the precision on the air was."""
    return torch.from_numpy(values[rows].astype(np.float32))


def _code(instances: Instances) -> Tensor:
    """[I, 10]"""
    velocity_mps = np.nan_to_num(instances.velocity_mps)
    public = box_code.PublicBoxes(instances.center_m, instances.size_m, instances.heading_rad, velocity_mps)
    return torch.from_numpy(box_code.from_public(public).astype(np.float32))


def _is_own_vehicle(aligned_m: Float, config: ModelConfig) -> NDArray[np.bool_]:
    length_m, width_m = config.options.own_vehicle_m
    inside = (np.abs(aligned_m[:, 0]) < length_m / 2) & (np.abs(aligned_m[:, 1]) < width_m / 2)
    return np.asarray(inside, np.bool_)
