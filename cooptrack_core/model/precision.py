"""Half-length numbers where a network does most of its arithmetic: image, grid and decoder layers.

Geometry, box codes, scores, assignment and the life of tracks stay in single precision, as do all weights: they are
lowered where they are used. Engine `torch` on a CPU that has bf16 keeps them so (fast/half.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.types import CooptrackError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86, x86, Arm


def lower(model: AgentModel, precision: str, device: torch.device) -> AgentModel:
    """The model itself, which from now on computes so. Raises CooptrackError for what the device cannot do."""
    if precision == "fp16" and device.type != "cuda":
        raise CooptrackError(f"network.precision: fp16 needs a GPU, found device {device.type}; choose bf16 or fp32")
    dtype = DTYPES[precision]
    model.backbone.pyramid = lowered(model.backbone.pyramid, dtype, device.type)  # type: ignore[method-assign]
    layers = [model.neck, *model.bev_encoder.layers, *model.decoder.layers]
    if model.config.proposals:
        layers += [model.proposals.trunk, model.proposals.second]
    for layer in layers:
        layer.forward = lowered(layer.forward, dtype, device.type)
    return model


def note(precision: str, device: torch.device) -> str:
    """What users should know of a precision on a device."""
    if precision == "bf16" and device.type == "cpu" and not cpu_has_bf16():
        return "bf16 (this CPU has no instructions for it: slower than fp32)"
    return precision


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bf16 numbers itself; False where that is not known."""
    if not cpuinfo.is_file():
        return False
    lines = (line for line in cpuinfo.read_text().splitlines() if line.startswith(("flags", "Features")))
    return any(_CPU_FLAGS & set(line.split()) for line in lines)


def lowered(function: Callable[..., Any], dtype: torch.dtype, device_type: str) -> Callable[..., Any]:
    """A function of tensors that computes so and gives single precision back."""

    def run(*given: Any) -> Any:
        with torch.autocast(device_type, dtype):
            found = function(*given)
        return found.float() if isinstance(found, Tensor) else [values.float() for values in found]

    return run
