"""test/parity.py on files of every kind about cooperation, made by the second implementation with a small network."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import parity
import parity_frames
import parity_training
import pytest
import reference_files
import reference_model
import torch

from cooptrack_core.model import presets

SMALL = {
    "backbone": "resnet18",
    "backbone_width": 8,
    "bev_size": (8, 8),
    "encoder_layers": 1,
    "encoder_ffn": 32,
    "num_queries": 60,
    "decoder_layers": 1,
    "decoder_ffn": 32,
    "reasoner_ffn": 32,
}


def small_preset(name: str) -> presets.ModelConfig:
    return replace(presets.get_preset(name), **SMALL)


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """The checker's networks without their size; its caches are left as they were found: empty or full."""
    patch = pytest.MonkeyPatch()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    patch.setattr(reference_model, "get_preset", small_preset)
    patch.setattr(parity_training, "get_preset", small_preset)
    for cached in (reference_model.reference_model, parity_frames.frames, reference_files.features):
        cached.cache_clear()
    yield
    for cached in (reference_model.reference_model, parity_frames.frames, reference_files.features):
        cached.cache_clear()
    patch.undo()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=[0, 1], ids=["first spelling", "second spelling"])
def folder(request, tmp_path_factory, small_networks):
    made = tmp_path_factory.mktemp("vectors")
    reference_files.write_reasoner(made, request.param)
    messages = reference_files.write_frames(made, 2, request.param)
    reference_files.write_training(made, messages, parity_training.training_model("coop"), request.param)
    return made


def test_every_kind_is_recognised_compared_and_agrees(folder, capsys):
    assert parity.main([str(folder)]) == 0
    out = capsys.readouterr().out
    kinds = ["full_inf_frame1.npz", "full_coop_frame1.npz"]
    kinds += [f"st_reasoner_coop_{kind}.npz" for kind in ("eval", "empty", "train")]
    kinds += [f"train_coop_{kind}.json" for kind in ("b1", "b2", "seq2")]
    lines = [line for line in out.splitlines() if line.endswith(" ok")]
    assert all(sum(line.startswith(kind) for line in lines) >= 10 for kind in kinds)
    assert "not a tensor that this checker knows" not in out


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("st_reasoner_coop_eval.npz", "affinity_logits"),
        ("st_reasoner_coop_empty.npz", "out/cache_logits"),
        ("st_reasoner_coop_train.npz", "out/cache_bboxes"),
        ("st_reasoner_coop_train.npz", "gradients"),
        ("full_inf_frame1.npz", "dec_in_ref_pts"),
        ("full_coop_frame1.npz", "live_scores"),
        ("train_coop_b1.json", "losses"),
        ("train_coop_b1.json", "grad_norms"),
    ],
)
def test_a_wrong_value_is_a_miss(name, array, tmp_path, folder, capsys):
    for path in folder.iterdir():
        if path.name.startswith(name.split(".")[0]) or path.name == "full_inf_frame0.npz":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    spoil(tmp_path / name, array)
    assert parity.main([str(tmp_path), "--only", name.replace(".", r"\.")]) == 1
    assert f"MISS {name}" in capsys.readouterr().err


def spoil(path, array):
    """One number changed by a hundredth or more."""
    if path.suffix == ".json" or array == "gradients":
        path = path if path.suffix == ".json" else path.with_name(path.name.replace(".npz", "_gradnorms.json"))
        content = json.loads(path.read_text())
        values = content.get(array, content.get("grad_norms", content))
        key = next(key for key in values if array == "losses" or "spatial_transformer" in key or "track_cls" in key)
        values[key] = values[key] * 1.1 + 0.05
        path.write_text(json.dumps(content))
        return
    with np.load(path) as file:
        arrays = dict(file)
    arrays[array].reshape(-1)[0] += 0.05
    np.savez(path, **arrays)
