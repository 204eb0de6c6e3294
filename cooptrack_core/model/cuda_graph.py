"""The frame on a GPU: recorded once as a CUDA graph and played again, instead of thousands of launches by the CPU.

A graph knows addresses, not tensors: inputs are copied to where it was recorded, and what it leaves there is copied
before the next frame overwrites it. No GPU was at hand: times on one are unmeasured, and the recording itself is
tested with a stand-in on the CPU (test/core/test_fixed_shapes.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.backbone import prepare_for_inference
from cooptrack_core.model.fixed_shapes import FixedShapeNetwork, FrameGraph, Tensors
from cooptrack_core.model.precision import lower

Record = Callable[[Callable[[], Tensors]], tuple[Callable[[], object], Tensors]]
_WARM_UPS = 3  # libraries choose their kernels and take their memory in the first runs


def record_cuda_graph(function: Callable[[], Tensors]) -> tuple[Callable[[], object], Tensors]:
    """Records a function of tensors that stay where they are: (plays it again, its outputs, where they will be)."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what the first runs set up must not be recorded
        for _ in range(_WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on using the GPU.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = function()
    return graph.replay, outputs


class Replayed:
    """A function of tensors that is recorded at its first call; every call gives tensors of its own."""

    def __init__(self, function: Callable[..., Tensors], record: Record = record_cuda_graph) -> None:
        """record: as record_cuda_graph; tests bring one that needs no GPU."""
        self._function, self._record = function, record
        self._replay: Callable[[], object] | None = None
        self._inputs: Tensors = ()
        self._outputs: Tensors = ()

    @torch.inference_mode()
    def __call__(self, inputs: Tensors) -> Tensors:
        """Shapes, dtypes and device are those of the first call."""
        if self._replay is None:
            self._inputs = tuple(value.clone() for value in inputs)
            self._replay, self._outputs = self._record(lambda: self._function(*self._inputs))
        for place, value in zip(self._inputs, inputs, strict=True):
            place.copy_(value, non_blocking=True)
        self._replay()
        return tuple(value.clone() for value in self._outputs)


def recorded_network(
    model: AgentModel, device: torch.device, precision: str = "fp32", record: Record = record_cuda_graph
) -> FixedShapeNetwork:
    """The network on a GPU with its frame as a CUDA graph; nothing runs before the first frame."""
    prepared = prepare_for_inference(model).to(device)
    frame = FrameGraph(prepared).to(device)
    if precision != "fp32":
        lower(frame.model, precision, device)
    return FixedShapeNetwork.of(prepared, Replayed(frame, record))
