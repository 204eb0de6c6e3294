"""Backbones and feature pyramid."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_network import SMALL, close
from torch import nn

from cooptrack_core.model.backbone import build_backbone, prepare_for_inference
from cooptrack_core.model.neck import FeaturePyramid
from cooptrack_core.model.presets import get_preset


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("backbone", "count", "channels"),
    [
        ("resnet18", 11_176_512, (64, 128, 256, 512)),
        ("resnet50", 23_508_032, (256, 512, 1024, 2048)),
        ("resnet101", 42_500_160, (256, 512, 1024, 2048)),
        ("convnext_s", 49_453_152, (96, 192, 384, 768)),
    ],
)
def test_backbones_have_the_sizes_of_their_papers(backbone: str, count: int, channels: tuple[int, ...]) -> None:
    config = replace(get_preset("r50_veh"), backbone=backbone, feature_levels=4)
    with torch.device("meta"):
        model = build_backbone(config)
        maps = model(torch.empty(2, 3, 64, 96))
    assert parameters(model) == count
    assert model.channels == channels
    assert [tuple(x.shape) for x in maps] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


def test_parameter_names_are_those_of_torchvision() -> None:
    with torch.device("meta"):
        resnet = build_backbone(get_preset("r50_veh")).state_dict()
        convnext = build_backbone(get_preset("convnext_s_veh")).state_dict()
    assert len(resnet) == 318
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.downsample.1.num_batches_tracked"} <= set(resnet)
    assert tuple(resnet["layer4.2.conv3.weight"].shape) == (2048, 512, 1, 1)
    assert tuple(convnext["features.5.26.block.3.weight"].shape) == (1536, 384)
    assert tuple(convnext["features.7.2.layer_scale"].shape) == (768, 1, 1)
    assert tuple(convnext["features.6.1.weight"].shape) == (768, 384, 2, 2)
    assert {
        "features.0.0.bias",
        "features.0.1.weight",
        "features.1.0.block.0.bias",
        "features.1.0.block.2.bias",
    } <= set(convnext)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_coarsest_levels_are_used(levels: int) -> None:
    config = replace(SMALL, backbone_stages=3, feature_levels=levels)
    maps = build_backbone(config)(torch.zeros(1, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in maps] == [(8, 16, 24), (16, 8, 12), (32, 4, 6)][-levels:]


def test_frozen_batch_norm_stays_as_it_is_in_training() -> None:
    model = build_backbone(replace(SMALL, backbone_norm="frozen_batch_norm"))
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.train()(torch.randn(2, 3, 64, 96))
    assert len(before) == 60
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_trained_batch_norm_learns_the_statistics() -> None:
    model = build_backbone(replace(SMALL, backbone_norm="batch_norm"))
    model.train()(torch.randn(2, 3, 64, 96))
    assert int(model.get_buffer("bn1.num_batches_tracked")) == 1
    assert float(model.get_buffer("bn1.running_mean").abs().max()) > 0.0


def test_group_norm_needs_neither_batch_nor_statistics() -> None:
    model = build_backbone(SMALL)
    assert not list(model.buffers())
    images = torch.randn(2, 3, 64, 96)
    close(model.train()(images)[-1], torch.cat([model.eval()(image[None])[-1] for image in images]), 1e-4)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "convnext_s"])
def test_prepared_networks_give_the_same_maps(backbone: str) -> None:
    torch.manual_seed(0)
    config = replace(SMALL, backbone=backbone, backbone_norm="frozen_batch_norm", backbone_stages=2)
    model = build_backbone(config).eval()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        images = torch.randn(1, 3, 64, 96)
        expected = model(images)
        names = set(model.state_dict())
        found = prepare_for_inference(model)(images)
    for got, wanted in zip(found, expected, strict=True):
        close(got, wanted, 1e-4)
    assert set(model.state_dict()) == names


def test_the_pyramid_adds_coarse_maps_to_finer_ones() -> None:
    neck = FeaturePyramid((2, 3), 4)
    with torch.no_grad():
        for module in (*neck.lateral, *neck.output):
            nn.init.zeros_(module.get_parameter("weight"))
        neck.lateral[0].get_parameter("weight")[0, 1] = 1.0
        neck.lateral[1].get_parameter("weight")[0, 2] = 1.0
        for output in neck.output:
            output.get_parameter("weight")[0, 0, 1, 1] = 1.0
        fine, coarse = torch.randn(1, 2, 5, 6), torch.randn(1, 3, 3, 3)
        found = neck([fine, coarse])
    assert torch.equal(found[1][0, 0], coarse[0, 2])
    rows, columns = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 2, 2])
    assert torch.equal(found[0][0, 0], fine[0, 1] + coarse[0, 2][rows][:, columns])
