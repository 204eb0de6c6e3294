"""The network learns: a small one, both agents and their cooperation, on three frames of a synthetic scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cooptrack_core.checkpoints import store
from cooptrack_core.cli import main
from cooptrack_core.commands import overfit as command
from cooptrack_core.data.synthetic import generate, renderers
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.training.overfit import Overfit, OverfitOptions, overfit
from cooptrack_core.training.sequence import LabelledFrame, labelled_frames

SMALL = {
    "image_size": (96, 160), "backbone_width": 16, "embed_dims": 64, "num_heads": 4, "num_queries": 60, "proposals": 30,
    "bev_size": (20, 20), "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn": 128, "decoder_ffn": 128,
    "reasoner_ffn": 128, "alignment_blocks": 8,
}  # fmt: skip


def small(role: str) -> ModelConfig:
    return replace(get_preset(f"tiny_{role}"), **SMALL)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledFrame]:
    """Three frames of each agent."""
    root = tmp_path_factory.mktemp("overfit") / "scene"
    renderer, _ = renderers.choose("auto")
    options = SceneOptions(duration_s=0.4, width_px=320, height_px=180, renderer=renderer, point_clouds="none")
    generate.generate(root, options, 1)
    dataset = Dataset(root)
    found = labelled_frames(dataset, dataset.sequences[0])[:6]
    assert [frame.event.agent_id for frame in found] == ["rsu", "vehicle"] * 3
    return found


@pytest.fixture(scope="module")
def fitted(frames: list[LabelledFrame]) -> Overfit:
    torch.set_num_threads(1)
    options = OverfitOptions(steps=240, slots=2, learning_rate=2e-3)
    return overfit(frames, small("inf"), small("coop"), options)


def test_losses_fall_a_lot(fitted: Overfit) -> None:
    for fit in (fitted.roadside, fitted.vehicle):
        assert np.mean(fit.losses[-10:]) < 0.3 * fit.losses[0]


def test_roadside_unit_finds_what_it_sees(fitted: Overfit) -> None:
    assert fitted.together_before.roadside.recall < 0.2
    assert fitted.together.roadside.objects > 40
    assert fitted.together.roadside.recall >= 0.9


def test_vehicle_alone_finds_what_it_sees(fitted: Overfit) -> None:
    assert fitted.alone.seen.recall >= 0.9
    assert fitted.alone.hidden.recall < 0.3


def test_vehicle_finds_with_the_roadside_what_is_hidden_from_it(fitted: Overfit) -> None:
    assert fitted.together_before.vehicle.recall < 0.2
    assert fitted.together.vehicle.recall >= 0.9
    assert fitted.together.hidden.objects > 20
    assert fitted.together.hidden.recall >= 0.9


def test_velocity_of_the_ground_truth_is_the_movement_to_the_next_frame(frames: list[LabelledFrame]) -> None:
    for agent in ("rsu", "vehicle"):
        first, second, *_ = (frame for frame in frames if frame.event.agent_id == agent)
        dt_s = (second.event.frame.stamp_ns - first.event.frame.stamp_ns) / 1e9
        T = [frame.event.frame.T_map_from_sensor for frame in (first, second)]
        moved = 0
        for row, object_id in enumerate(first.truth.ids.tolist()):
            for later in torch.nonzero(second.truth.ids == object_id).flatten().tolist():
                here = first.truth.boxes[row].double().numpy()
                there = second.truth.boxes[later].double().numpy()
                in_map = T[0] @ [*(here[:2] + here[7:9] * dt_s), here[2], 1.0]
                assert np.allclose(in_map[:2], (T[1] @ [*there[:3], 1.0])[:2], atol=0.02)
                moved += float(np.hypot(*here[7:9])) > 1.0
        assert moved > 0


def test_same_seed_fits_the_same(frames: list[LabelledFrame]) -> None:
    torch.set_num_threads(1)
    options = OverfitOptions(steps=2, slots=1)
    runs = [overfit(frames[:4], small("inf"), small("coop"), options) for _ in range(2)]
    assert runs[0].roadside.losses == runs[1].roadside.losses
    assert runs[0].vehicle.losses == runs[1].vehicle.losses


def test_command_says_what_it_missed_and_keeps_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, frames: list[LabelledFrame]
) -> None:
    monkeypatch.setattr(command, "_make_scene", lambda root, seed: None)
    monkeypatch.setattr("cooptrack_core.data.v2x_seq.Dataset", lambda root: type("", (), {"sequences": ("0001",)}))
    monkeypatch.setattr("cooptrack_core.training.sequence.labelled_frames", lambda dataset, sequence: frames[:2])
    assert main(["overfit", "--steps", "1", "--seed", "3", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "recall 0.9 at 2 m: missed" in said and "training seed 3" in said
    roadside = store.load(tmp_path / "tiny_inf.safetensors", "tiny_inf")
    vehicle = store.load(tmp_path / "tiny_coop.safetensors", "tiny_coop")
    assert vehicle.metadata.roadside_fingerprint == roadside.fingerprint


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--seed", "-1"]])
def test_impossible_options_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["overfit", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
