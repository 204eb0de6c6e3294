"""How a network computes: the plain modules, the same prepared for speed, or ONNX Runtime.

Every engine gives the numbers of `eager` to the tolerance that docs/performance.md states; tests hold them to it.
"""

from __future__ import annotations

import copy

import torch

from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.allocator import keep_memory
from cooptrack_core.model.backbone import prepare_for_inference
from cooptrack_core.model.cuda_graph import recorded_network
from cooptrack_core.model.deformable_layer import DeformableLayer
from cooptrack_core.model.fast.half import can_halve, halve
from cooptrack_core.model.fast.network import faster
from cooptrack_core.model.precision import lower
from cooptrack_core.types import CooptrackError


def engine_of(model: AgentModel, engine: str, precision: str, device: torch.device) -> AgentModel:
    """A network that is ready to run on a device; the model itself stays as it is. Raises CooptrackError."""
    if device.type == "cuda" and precision == "fp32":
        torch.backends.cudnn.allow_tf32 = False  # cuDNN would convolve numbers shortened to 10 bits
    if engine == "torch" and device.type == "cuda":
        return recorded_network(model, device, precision)
    if engine == "onnxruntime":
        from cooptrack_core.model.onnx_engine import onnx_network  # which needs checkpoints, and they the model

        if precision != "fp32":
            raise CooptrackError(f"network.precision: {precision} is not for engine onnxruntime; choose fp32 or torch")
        return onnx_network(model, device)
    if engine == "eager":
        made = plain(model).to(device)
    elif precision == "fp32":
        keep_memory()
        return faster(model)
    elif precision == "bf16" and can_halve():
        keep_memory()
        return halve(faster(model))
    else:
        made = prepare_for_inference(model).to(device)
    return made if precision == "fp32" else lower(made, precision, device)


def plain(model: AgentModel) -> AgentModel:
    """The modules as they are trained, without anything that is there for speed. What the other engines are held to."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if hasattr(module, "short_cuts"):
            module.short_cuts = False  # type: ignore[assignment]
        if isinstance(module, DeformableLayer):
            module.implementation = "grid_sample"
    return model
