"""Linear layers that at inference on a CPU run in oneDNN, where they are large or their weights are of lower precision.

`functional.linear` calls the BLAS that torch was built with, which on some AMD processors (MKL) takes twice as long.
For few rows what a call of oneDNN costs beside its arithmetic is more than that. Training, other devices and dtypes,
tracing and export go the usual way.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

LOWER = torch.bfloat16  # of weights that model/fast/half.py has changed; inputs and outputs stay in single precision
_FEW = 2**23  # multiplications


@cache
def has_onednn() -> bool:
    """Whether this torch offers oneDNN's linear layer; it is not part of the public interface."""
    try:
        one = torch.ones(1, 1)
        return bool(torch.ops.mkldnn._linear_pointwise(one, one, one[0], "none", [], "").item() == 2.0)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """functional.linear: x [..., inner], weight [outer, inner], bias [outer] -> [..., outer], of the dtype of x."""
    if weight.dtype == LOWER and x.dtype == torch.float32:
        return fused_linear(x.to(LOWER), weight, bias).float()
    usual = (
        x.numel() * weight.shape[0] < _FEW  # first: most are
        or torch.is_grad_enabled()
        or x.dtype != torch.float32
        or x.device.type != "cpu"
        or not weight.is_contiguous()
        or not (bias is None or bias.is_contiguous())  # oneDNN would overlook the stride
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or not has_onednn()
    )
    if usual:
        return functional.linear(x, weight, bias)
    return fused_linear(x, weight, bias)


def fused_linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """linear() by oneDNN, with an activation of its own ("relu"); all of one dtype."""
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, activation, [], "")


class Linear(nn.Linear):
    """nn.Linear by linear()."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., inner] -> [..., outer]."""
        return linear(input, self.weight, self.bias)
