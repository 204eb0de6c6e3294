"""Denoising queries: what they start from, what they teach, and that nothing else of a step notices them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from cooptrack_core.model import box_code
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import get_preset
from cooptrack_core.training.denoising import FAR_M, NEAR_M, Denoising, disturbed
from cooptrack_core.training.ground_truth import GroundTruth

CONFIG = replace(
    get_preset("tiny_inf"), backbone_width=16, embed_dims=32, num_heads=4, encoder_layers=1, decoder_layers=2,
    motion_width=8, bev_size=(8, 8), head_dims=16,
)  # fmt: skip
TRUTH = GroundTruth(
    torch.tensor([[30.0, 2, -1.8, 1.8, 4.4, 1.5, 0.3, 1, 0], [60, -8, -1.7, 0.6, 1.7, 1.7, 2.0, math.nan, 1]]),
    torch.tensor([0, 1]),
    torch.tensor([4, 9]),
)


@pytest.mark.parametrize("reach", [NEAR_M, FAR_M], ids=["right", "wrong"])
def test_boxes_are_moved_as_far_as_they_should_be_and_turned_a_little(reach: tuple[float, float]) -> None:
    torch.manual_seed(0)
    code = TRUTH.codes().repeat(200, 1)
    found = disturbed(code, reach)
    distance = (box_code.center(found) - box_code.center(code)).norm(dim=-1)
    assert reach[0] - 1e-4 <= distance.min() and distance.max() <= reach[1] + 1e-4
    assert distance.max() - distance.min() > 0.8 * (reach[1] - reach[0])
    turn = box_code.decode(found)[:, 6] - box_code.decode(code)[:, 6]
    assert 0.2 < turn.abs().max() <= 0.3 + 1e-5
    assert (found[:, 8:] == 0).all()


def test_the_decoder_and_the_grid_learn_from_them() -> None:
    torch.manual_seed(1)
    model, denoising = AgentModel(CONFIG), Denoising(CONFIG)
    bev = torch.randn(2, 64, 32, requires_grad=True)
    losses = denoising.losses(model, bev, [TRUTH, GroundTruth.empty()])
    assert set(losses) == {"denoise_cls", "denoise_box"}
    torch.stack(list(losses.values())).sum().backward()
    assert bev.grad is not None and bev.grad[0].abs().sum() > 0
    assert bev.grad[1].abs().sum() == 0, "a street without road users has no such queries"
    for name, parameter in [*model.decoder.named_parameters(), *denoising.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_streets_without_road_users_cost_nothing() -> None:
    losses = Denoising(CONFIG).losses(AgentModel(CONFIG), torch.randn(1, 64, 32), [GroundTruth.empty()])
    assert all(value.item() == 0.0 for value in losses.values())


def test_a_decoder_that_moves_every_query_to_its_object_has_no_box_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model, denoising = AgentModel(CONFIG), Denoising(CONFIG)
    layers, codes = CONFIG.decoder_layers, TRUTH.codes().nan_to_num()

    def right(bev: torch.Tensor, feats: torch.Tensor, *_: object) -> object:
        assert feats.shape == (1, 4, 32)
        boxes = torch.cat((codes, codes + 5.0))[None].expand(layers, 1, -1, -1)
        logits = torch.full((layers, 1, 4, 3), -12.0)
        logits[:, 0, 0, 0] = logits[:, 0, 1, 1] = 12.0
        return type("Found", (), {"logits": logits, "boxes": boxes})

    monkeypatch.setattr(model.decoder, "forward", right)
    losses = denoising.losses(model, torch.zeros(1, 64, 32), [TRUTH])
    assert all(value.item() == pytest.approx(0.0, abs=1e-4) for value in losses.values())
