"""Deformable attention: both implementations against sums written out in loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cooptrack_core.model.deformable_attention import deformable_attention

IMPLEMENTATIONS = ("grid_sample", "gather")
SHAPES = [(5, 7), (3, 4), (2, 2)]
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}


def by_loops(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """The definition, one sample after the other."""
    b, _, heads, dims = value.shape
    _, queries, _, levels, points, _ = locations.shape
    result = []
    for i in range(b):
        for q in range(queries):
            for head in range(heads):
                total = value.new_zeros(dims)
                start = 0
                for level in range(levels):
                    h, w = shapes[level]
                    for p in range(points):
                        x = locations[i, q, head, level, p, 0] * w - 0.5
                        y = locations[i, q, head, level, p, 1] * h - 0.5
                        low, left = int(y.detach().floor()), int(x.detach().floor())
                        for row in (low, low + 1):
                            for column in (left, left + 1):
                                if 0 <= row < h and 0 <= column < w:
                                    share = (1 - (x - column).abs()) * (1 - (y - row).abs())
                                    cell = value[i, start + row * w + column, head]
                                    total = total + weights[i, q, head, level, p] * share * cell
                    start += h * w
                result.append(total)
    return torch.stack(result).reshape(b, queries, heads * dims)


def random_inputs(
    dtype: torch.dtype, b: int = 2, queries: int = 6, shapes: list[tuple[int, int]] = SHAPES
) -> tuple[Tensor, Tensor, Tensor]:
    """Value, locations (some outside the image), weights with gradient."""
    random = torch.Generator().manual_seed(4)
    heads, dims, points = 2, 3, 4
    value = torch.randn(b, sum(h * w for h, w in shapes), heads, dims, generator=random, dtype=dtype)
    locations = torch.rand(b, queries, heads, len(shapes), points, 2, generator=random, dtype=dtype) * 1.6 - 0.3
    weights = torch.rand(b, queries, heads, len(shapes), points, generator=random, dtype=dtype)
    return value.requires_grad_(), locations.requires_grad_(), weights.requires_grad_()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shapes", [SHAPES, SHAPES[:1]])
def test_values_and_gradients_are_those_of_the_definition(
    implementation: str, dtype: torch.dtype, shapes: list[tuple[int, int]]
) -> None:
    inputs = random_inputs(dtype, shapes=shapes)
    expected = by_loops(inputs[0], shapes, *inputs[1:])
    found = deformable_attention(inputs[0], shapes, *inputs[1:], implementation)
    torch.testing.assert_close(found, expected, atol=TOLERANCE[dtype], rtol=0)
    cotangent = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    expected_gradients = torch.autograd.grad(expected, inputs, cotangent)
    for got, wanted in zip(torch.autograd.grad(found, inputs, cotangent), expected_gradients, strict=True):
        torch.testing.assert_close(got, wanted, atol=20 * TOLERANCE[dtype], rtol=0)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("place", [-0.3, 1.3, 1e6, -1e6, 1e30])
def test_outside_of_the_map_is_zero(implementation: str, place: float) -> None:
    value, locations, weights = (tensor.detach() for tensor in random_inputs(torch.float32))
    for axis in (0, 1):
        outside = locations.clamp(0.0, 1.0)
        outside[..., axis] = place
        found = deformable_attention(value, SHAPES, outside, weights, implementation)
        assert torch.equal(found, torch.zeros_like(found))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_half_of_a_value_remains_at_the_edge_of_the_map(implementation: str) -> None:
    value = torch.ones(1, 6, 1, 1)
    places = torch.tensor([[0.0, 0.5], [1.0, 0.5], [0.5, 0.0], [0.5, 1.0], [0.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    found = deformable_attention(
        value, [(2, 3)], places.reshape(1, 7, 1, 1, 1, 2), torch.ones(1, 7, 1, 1, 1), implementation
    )
    torch.testing.assert_close(found.flatten(), torch.tensor([0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 1.0]))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_centre_of_a_cell_gives_its_value(implementation: str) -> None:
    value = torch.arange(12.0).reshape(1, 12, 1, 1)
    y, x = torch.meshgrid((torch.arange(3) + 0.5) / 3, (torch.arange(4) + 0.5) / 4, indexing="ij")
    locations = torch.stack((x, y), dim=-1).reshape(1, 12, 1, 1, 1, 2)
    found = deformable_attention(value, [(3, 4)], locations, torch.ones(1, 12, 1, 1, 1), implementation)
    torch.testing.assert_close(found.flatten(), torch.arange(12.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("queries", [0, 1])
def test_none_and_one_query(implementation: str, queries: int) -> None:
    value, locations, weights = random_inputs(torch.float32)
    expected = deformable_attention(value, SHAPES, locations, weights, implementation)[:, :queries]
    found = deformable_attention(value, SHAPES, locations[:, :queries], weights[:, :queries], implementation)
    assert found.shape == (2, queries, 6)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_batch_equals_its_samples(implementation: str) -> None:
    value, locations, weights = random_inputs(torch.float32, b=3)
    together = deformable_attention(value, SHAPES, locations, weights, implementation)
    for i in range(3):
        one = slice(i, i + 1)
        alone = deformable_attention(value[one], SHAPES, locations[one], weights[one], implementation)
        torch.testing.assert_close(together[one], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_place_that_is_not_a_number_touches_no_other_query(implementation: str) -> None:
    value, locations, weights = (tensor.detach() for tensor in random_inputs(torch.float32))
    expected = deformable_attention(value, SHAPES, locations, weights, implementation)
    locations[0, 2] = math.nan
    found = deformable_attention(value, SHAPES, locations, weights, implementation)
    keep = torch.ones(2, 6, dtype=torch.bool)
    keep[0, 2] = False
    assert torch.equal(found[keep], expected[keep])


def test_auto_gives_the_same_with_and_without_gradients() -> None:
    value, locations, weights = random_inputs(torch.float32)
    with_gradient = deformable_attention(value, SHAPES, locations, weights)
    assert with_gradient.requires_grad
    with torch.no_grad():
        without = deformable_attention(value, SHAPES, locations, weights)
    torch.testing.assert_close(with_gradient, without, atol=2e-6, rtol=0)
