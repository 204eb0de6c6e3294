"""`network.engine: onnxruntime`: the frame up to history reasoning runs in ONNX Runtime, the rest stays in torch.

The file is made at first use and kept under $XDG_CACHE_HOME/cooptrack (~/.cache/cooptrack).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from cooptrack_core import __version__
from cooptrack_core.checkpoints.store import fingerprint_of
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.backbone import prepare_for_inference
from cooptrack_core.model.example_frames import blank_frame
from cooptrack_core.model.fast.network import faster
from cooptrack_core.model.fixed_shapes import FixedShapeNetwork, FrameGraph, frame_inputs, frame_outputs
from cooptrack_core.model.onnx_files import OPSET, OnnxGraph, require, write_onnx
from cooptrack_core.types import CooptrackError

_FILE = "perception.onnx"


def onnx_network(model: AgentModel, device: torch.device) -> FixedShapeNetwork:
    """The network with its frame in ONNX Runtime, on as many threads as torch has now. Raises CooptrackError."""
    if device.type != "cpu":
        raise CooptrackError(f"network.engine: onnxruntime runs on the CPU, not on {device.type}; choose device cpu")
    require("onnxruntime", "network.engine onnxruntime")
    prepared = prepare_for_inference(model)
    with _frame_file(model, prepared) as path:
        frame = OnnxGraph(path, frame_inputs(model.config), torch.get_num_threads())
    return FixedShapeNetwork.of(faster(model), frame)


def cache_folder(model: AgentModel) -> Path:
    """Where the file of a network lies: by its weights, and by all else that it depends on."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    fingerprint = fingerprint_of(model.config, model.state_dict()).hex()
    return Path(base) / "cooptrack" / f"{fingerprint[:16]}-{_version(model)}"


def _version(model: AgentModel) -> str:
    """Of this package, its network's sources, torch and the file format, and of what is no part of the weights."""
    digest = hashlib.sha256(f"{__version__} {torch.__version__} {OPSET}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    if model.config.proposals:
        digest.update(b"peaks" if model.track_hints.needs_peaks else b"")
    return f"{__version__}-{digest.hexdigest()[:12]}"


@contextlib.contextmanager
def _frame_file(model: AgentModel, prepared: AgentModel) -> Iterator[Path]:
    """The file from the cache, made if it is not there; where nothing can be kept, for this time only."""
    kept = cache_folder(model) / _FILE
    if kept.is_file():
        yield kept
        return
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Two processes at once make it twice; each puts a whole file in place.
        with tempfile.TemporaryDirectory(prefix=".part-", dir=kept.parent) as folder:
            made = _write(prepared, Path(folder) / _FILE)
            made.replace(kept)
    except OSError:  # a home that cannot be written to, or a full disk
        with tempfile.TemporaryDirectory(prefix="cooptrack-") as folder:
            yield _write(prepared, Path(folder) / _FILE)
        return
    yield kept


def _write(prepared: AgentModel, path: Path) -> Path:
    config = prepared.config
    write_onnx(FrameGraph(prepared), blank_frame(prepared), frame_inputs(config), frame_outputs(config), path)
    return path
