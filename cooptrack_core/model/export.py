"""A network's graphs as files for other runtimes, each checked against the plain network when it is written."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cooptrack_core import __version__
from cooptrack_core.model import fixed_cooperation as cooperation
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.backbone import prepare_for_inference
from cooptrack_core.model.engine import plain
from cooptrack_core.model.example_cooperation import alignments, associations, fusions, heads
from cooptrack_core.model.example_frames import Example, drive, random_frame
from cooptrack_core.model.fixed_shapes import FrameGraph, frame_inputs, frame_outputs
from cooptrack_core.model.onnx_files import OPSET, OnnxGraph, quiet, require, write_onnx
from cooptrack_core.types import CooptrackError

SCHEMA = "cooptrack/export/1"
FORMATS = ("onnx", "torch-export")
SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}
TOLERANCE = 1e-3
_DRIVE_FRAMES = 4
_TIED = 1e-5  # between scores of peaks
_WITHOUT_ORDER = ("bev", "peak_scores")  # outputs that do not depend on the order of peaks

Loaded = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Part:
    """One graph of a network."""

    name: str
    graph: nn.Module
    names: cooperation.Names
    examples: list[Example]  # the first is random


@dataclass(frozen=True)
class Written:
    """A file that gives what the plain network gives."""

    path: Path
    largest_difference: float
    where: str  # the output with it


def parts_of(model: AgentModel, max_instances: int) -> list[Part]:
    """The graphs of a network with examples; max_instances: rows of messages and pairs, and of their padding."""
    prepared = prepare_for_inference(model)
    config, exact = model.config, plain(model)
    frames, seen = drive(exact, _DRIVE_FRAMES)
    names = cooperation.Names(frame_inputs(config), frame_outputs(config))
    parts = [
        Part("perception", FrameGraph(prepared), names, [random_frame(exact), *frames]),
        Part("heads", cooperation.HeadsGraph(prepared), cooperation.HEADS, heads(exact, seen)),
    ]
    if config.cooperative and config.fusion == "graph":
        given = exact, seen, max_instances
        parts += [
            Part("alignment", cooperation.AlignmentGraph(prepared), cooperation.ALIGNMENT, alignments(*given)),
            Part("association", cooperation.AssociationGraph(prepared), cooperation.ASSOCIATION, associations(*given)),
            Part("fusion", cooperation.FusionGraph(prepared), cooperation.FUSION, fusions(*given)),
        ]
    return parts


def write(part: Part, folder: Path, file_format: str) -> Written:
    """Writes a part, loads it again and compares it with the plain network. Raises CooptrackError."""
    path = folder / f"{part.name}{SUFFIXES[file_format]}"
    example = part.examples[0].inputs
    if file_format == "onnx":
        require("onnxruntime", "cooptrack export")
        write_onnx(part.graph, example, part.names.inputs, part.names.outputs, path)
        loaded: Loaded = OnnxGraph(path, part.names.inputs, torch.get_num_threads())
    else:
        loaded = _write_exported(part.graph, example, path)
    return compare(path, loaded, part)


def compare(path: Path, loaded: Loaded, part: Part, tolerance: float = TOLERANCE) -> Written:
    """The largest difference over all examples. Raises CooptrackError if it is above the tolerance."""
    worst, where = 0.0, part.names.outputs[0]
    for example in part.examples:
        tied = has_tied_peaks(part, example)
        for name, got, expected in zip(part.names.outputs, loaded(example.inputs), example.expected, strict=True):
            if tied and name not in _WITHOUT_ORDER:
                continue
            difference = float((got.double() - expected.double()).abs().max()) if expected.numel() else 0.0
            if not difference <= worst:  # what is not a number is worse than all
                worst, where = difference, name
    if not worst <= tolerance:
        raise CooptrackError(
            f"{path.name}: {where}: expected the plain network's values to {tolerance:g}, found a difference of "
            f"{worst:.3g}; it is not kept: choose another --format, or other versions of torch and onnxruntime"
        )
    return Written(path, worst, where)


def has_tied_peaks(part: Part, example: Example) -> bool:
    """Whether rounding decides about the order of two peaks of the image, and so about the rows of all that follows.

    So it always is with an untrained head; with a trained one now and then.
    """
    if "peak_scores" not in part.names.outputs:
        return False
    scores = example.expected[part.names.outputs.index("peak_scores")]
    return bool((scores[:, :-1] - scores[:, 1:]).min() < _TIED)


def _write_exported(graph: nn.Module, example: Sequence[Tensor], path: Path) -> Loaded:
    copies = tuple(value.detach().clone() for value in example)
    with quiet(), torch.inference_mode(False), torch.no_grad():
        torch.export.save(torch.export.export(graph, copies, strict=False), str(path))
        module = torch.export.load(str(path)).module()

    def run(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.inference_mode(False), torch.no_grad():
            return module(*(value.detach().clone() for value in tensors))

    return run


def description(
    parts: Sequence[Part], written: Sequence[Written], model: AgentModel, fingerprint: bytes, source: str,
    file_format: str, max_instances: int,
) -> str:  # fmt: skip
    """The JSON beside the files: whose weights, which versions, and every input and output with its shape."""
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "preset": model.config.name,
        "fingerprint": fingerprint.hex(),
        "weights": source,
        "format": file_format,
        "opset": OPSET if file_format == "onnx" else None,
        "max_instances": max_instances if model.config.cooperative else None,
        "versions": {"cooptrack": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
        "files": [_file_facts(part, file) for part, file in zip(parts, written, strict=True)],
    }
    return json.dumps(facts, indent=1) + "\n"


def _file_facts(part: Part, file: Written) -> dict[str, Any]:
    example = part.examples[0]
    return {
        "file": file.path.name,
        "largest_difference": file.largest_difference,
        "inputs": [_tensor_facts(*item) for item in zip(part.names.inputs, example.inputs, strict=True)],
        "outputs": [_tensor_facts(*item) for item in zip(part.names.outputs, example.expected, strict=True)],
    }


def _tensor_facts(name: str, value: Tensor) -> dict[str, Any]:
    return {"name": name, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
