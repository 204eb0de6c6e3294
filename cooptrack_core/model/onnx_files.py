"""ONNX files of parts of the network, and their sessions in ONNX Runtime.

Written by the tracing exporter of torch: it takes seconds where the newer one takes most of a minute, and needs no
further package.
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cooptrack_core.types import CooptrackError

OPSET = 17  # the first with layer norms; every torch from 2.2 on writes it
_PROVIDERS = ["CPUExecutionProvider"]


def require(package: str, what: str) -> None:
    """CooptrackError with the command that installs a missing package; what: which needs it."""
    if importlib.util.find_spec(package) is None:
        raise CooptrackError(f"{what}: Python package {package} is missing; pip install onnx onnxruntime, or '.[onnx]'")


def write_onnx(
    graph: nn.Module, example: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str], path: Path
) -> None:
    """Writes a graph in one file with its weights. All shapes are those of the example. Raises CooptrackError."""
    options: dict[str, Any] = {"opset_version": OPSET, "input_names": list(inputs), "output_names": list(outputs)}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:  # torch 2.5 and later
        options["dynamo"] = False
    # Inference tensors cannot be traced.
    require("onnx", f"{path.name}: to write ONNX files")
    copies = tuple(value.detach().clone() for value in example)
    try:
        with quiet(), torch.inference_mode(False), torch.no_grad():
            torch.onnx.export(graph, copies, str(path), **options)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CooptrackError(
            f"{path.name}: torch {torch.__version__} cannot write it as ONNX ({reason}); choose engine torch, "
            "or --format torch-export"
        ) from error


class quiet:
    """What the tracer warns of (shapes are constants, the exporter is not the newest) is what is wanted."""

    def __enter__(self) -> None:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")
        self._logger = logging.getLogger("torch.onnx")
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *exception: Any) -> None:
        self._logger.setLevel(self._level)
        self._warnings.__exit__(*exception)


class OnnxGraph:
    """A file in ONNX Runtime on the CPU, from tensors to tensors."""

    def __init__(self, path: Path, inputs: Sequence[str], threads: int) -> None:
        """inputs: names of the tensors that it is called with. Raises CooptrackError for a file that is none."""
        require("onnxruntime", "network.engine onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Waiting threads must not take the processor from the other node of the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=_PROVIDERS)
        except Exception as error:  # its own kinds of exception have no common base of their own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CooptrackError(f"{path}: ONNX Runtime cannot load it ({reason}); delete it and try again") from error
        used = {item.name for item in self._session.get_inputs()}  # the exporter leaves out what is not
        self._inputs = [name if name in used else None for name in inputs]

    def __call__(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs, in memory of their own."""
        feeds = {
            name: value.detach().contiguous().numpy()
            for name, value in zip(self._inputs, tensors, strict=True)
            if name is not None
        }
        return tuple(torch.from_numpy(value) for value in self._session.run(None, feeds))
