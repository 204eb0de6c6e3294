"""Synthetic weights of the published network: every value follows from the parameter's published name alone.

The reference vectors (test/data/reference/README.md) were made with these weights, so they need not be stored.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CLASS_BIAS = {"inf": (-4.2, -7.6, -3.2), "veh": (-2.6, -6.05, -1.74), "coop": (-5.9, -9.95, -2.4)}
CODE_WEIGHTS = (1, 1, 1, 1, 1, 1, 1, 1, 0.2, 0.2)
HALF_SIZE = frozenset(
    {
        "query_feat_embedding.weight",
        "pts_bbox_head.bev_embedding.weight",
        "pts_bbox_head.positional_encoding.row_embed.weight",
        "pts_bbox_head.positional_encoding.col_embed.weight",
        "pts_bbox_head.transformer.level_embeds",
        "pts_bbox_head.transformer.cams_embeds",
    }
)


def fill(name: str, shape: Sequence[int], side: str) -> NDArray[np.generic]:
    """Value of the parameter or buffer with this published name; side (inf, veh, coop) sets one class bias."""
    random = np.random.RandomState(zlib.crc32(name.encode("ascii")))
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "code_weights":
        return np.array(CODE_WEIGHTS, np.float32)
    if leaf == "running_var":
        return (random.rand(*shape) + 0.5).astype(np.float32)
    if name == "reference_points.weight":
        return (0.96 * random.rand(*shape) + 0.02).astype(np.float32)
    if name == "STReasoner.track_cls.6.bias":
        return np.array(CLASS_BIAS[side], np.float32)
    return _scaled(name, leaf, random.standard_normal(shape)).astype(np.float32)


def _scaled(name: str, leaf: str, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal values brought to the size that this parameter has."""
    if leaf == "running_mean":
        return 0.1 * normal
    if name.endswith("sampling_offsets.bias"):
        return 2.0 * normal
    if leaf in ("bias", "in_proj_bias"):
        value = 0.05 * normal
    elif normal.ndim == 1:
        value = 1.0 + 0.1 * normal
    elif name in HALF_SIZE:
        value = 0.5 * normal
    else:
        value = normal / np.sqrt(np.prod(normal.shape[1:]))
    if name.endswith(("out_proj.weight", "output_proj.weight", "ffns.0.layers.1.weight")):
        value = 0.3 * value
    if name in ("query_feat_embedding.weight", "STReasoner.track_cls.6.weight"):
        value = 4.0 * value
    if name.startswith("img_backbone.") and name.endswith("bn3.weight"):
        value = 0.3 * value
    if name == "STReasoner.ffn.3.bias" or _last_class_bias(name):
        value = value - 1.0
    return value


def _last_class_bias(name: str) -> bool:
    return name.startswith("pts_bbox_head.cls_branches.") and name.endswith(".6.bias")
