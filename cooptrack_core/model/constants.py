"""Numbers of the code as tensors, made once for each device: an upload in every frame would wait for the device, and
cannot be recorded in a CUDA graph."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from cooptrack_core.model.deformable_attention import is_traced


def constant(values: tuple[Any, ...], like: Tensor) -> Tensor:
    """Nested tuples of numbers with dtype and device of `like`. Nobody may change the result in place."""
    return like.new_tensor(values) if is_traced() else _made(values, like.dtype, like.device)


@lru_cache(maxsize=256)
def _made(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # training may use them, too
        return torch.tensor(values, dtype=dtype, device=device)
