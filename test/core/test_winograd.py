"""Winograd's convolutions give the direct sum, alone and in the network of full size that they are made for."""

from __future__ import annotations

import pytest
import torch
from full_size import assert_same_queries, official_frames
from torch import Tensor, nn
from torch.nn import functional

from cooptrack_core.model.fast.convolutions import FastConv2d, has_fused_convolution
from cooptrack_core.model.fast.winograd import Winograd, pays

# Of the largest number of a result. It was 1e-5 when this was written, some eight times that of the direct sum.
TOLERANCE = 3e-5
fused = pytest.mark.skipif(not has_fused_convolution(), reason="this torch has no fused convolutions")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the images that Winograd's convolutions get."""
    found: list[tuple[int, ...]] = []
    call = Winograd.__call__

    def noted(self: Winograd, x: Tensor) -> Tensor:
        found.append(tuple(x.shape))
        return call(self, x)

    monkeypatch.setattr(Winograd, "__call__", noted)
    return found


def random(*shape: int) -> Tensor:
    """Channels last."""
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return made.to(memory_format=torch.channels_last)


def assert_direct_sum(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape and found.is_contiguous(memory_format=torch.channels_last)
    atol = TOLERANCE * float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected, atol=atol, rtol=0)


@pytest.mark.parametrize(
    ("channels", "filters", "height", "width"),
    [
        (1, 2, 1, 1),
        (3, 5, 7, 9),
        (64, 64, 24, 40),
        (96, 64, 13, 18),
        (64, 128, 41, 12),
        (128, 128, 68, 120),  # in several parts
        (512, 512, 17, 30),
    ],
)
def test_any_size_gives_the_direct_sum(channels: int, filters: int, height: int, width: int) -> None:
    x, weight = random(1, channels, height, width), random(filters, channels, 3, 3)
    expected = functional.conv2d(x.double(), weight.double(), padding=1)
    assert_direct_sum(Winograd(weight)(x), expected)


def layer(bias: bool) -> FastConv2d:
    torch.manual_seed(0)
    return FastConv2d(64, 96, 3, padding=1, bias=bias).to(memory_format=torch.channels_last)


def direct(conv: nn.Conv2d, x: Tensor) -> Tensor:
    bias = None if conv.bias is None else conv.bias.double()
    return functional.conv2d(x.double(), conv.weight.double(), bias, padding=1)


@fused
@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_bias_relu_and_shortcut_follow_it(bias: bool, runs: list[tuple[int, ...]]) -> None:
    conv, x, shortcut = layer(bias), random(1, 64, 22, 39), random(1, 96, 22, 39)
    expected = direct(conv, x)
    assert_direct_sum(conv(x), expected)
    assert_direct_sum(conv.convolved(x, "relu"), expected.relu())
    assert_direct_sum(conv.add_to(shortcut.clone(memory_format=torch.preserve_format), x), (expected + shortcut).relu())
    assert runs == [(1, 64, 22, 39)] * 3


@fused
@torch.inference_mode()
def test_batches_and_small_maps_are_summed_directly(runs: list[tuple[int, ...]]) -> None:
    conv = layer(bias=True)
    for x in (random(2, 64, 22, 39), random(1, 64, 8, 11)):
        assert_direct_sum(conv(x), direct(conv, x))
    assert runs == [] and not pays(64, 96, 8, 11) and not pays(32, 96, 22, 39)


@fused
def test_the_official_network_in_full_size_gives_the_frames_of_the_plain_modules(runs: list[tuple[int, ...]]) -> None:
    for expected, found in official_frames(torch.device("cpu")):
        assert_same_queries(found, expected, 1e-3)
        assert expected.advanced.live.any()
        assert len(runs) == 11 and (1, 128, 68, 120) in runs and (1, 512, 17, 30) in runs
        runs.clear()
