"""Tensors of a few numbers that every frame needs, made once for each device and dtype."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


def constant(values: tuple[Any, ...], like: Tensor) -> Tensor:
    """The numbers, or tuples of them, as a tensor with dtype and device of `like`; nobody may change it."""
    if torch.compiler.is_compiling():  # there, tensors are of no lasting use
        return like.new_tensor(values)
    return _made(values, like.dtype, like.device)


@lru_cache(maxsize=256)
def _made(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # training may use it, too
        return torch.tensor(values, dtype=dtype, device=device)
