"""The linear layer that inference uses gives what functional.linear gives."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cooptrack_core.model import linear as module
from cooptrack_core.model.linear import Linear, linear


@pytest.mark.parametrize("shape", [(), (1,), (7,), (0,), (2, 5), (3, 1, 4), (0, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inference_equals_the_usual_way(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(*shape, 24, dtype=dtype), torch.randn(9, 24, dtype=dtype)
    b = torch.randn(9, dtype=dtype) if bias else None
    with torch.inference_mode():
        result = linear(x, weight, b)
    torch.testing.assert_close(result, functional.linear(x, weight, b), atol=1e-5, rtol=1e-5)


def test_views_need_not_be_contiguous() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(6, 5, 16).transpose(0, 1)[..., ::2], torch.randn(12, 8)[3:6], torch.randn(9)[::3]
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias), functional.linear(x, weight, bias), atol=1e-5, rtol=1e-5)


def test_input_stays_as_it_is() -> None:
    x, layer = torch.randn(4, 8), Linear(8, 8)
    before = x.clone()
    with torch.no_grad():
        layer(x).zero_()
    assert torch.equal(x, before)


def test_gradients_flow() -> None:
    x, layer = torch.randn(4, 8, requires_grad=True), Linear(8, 3)
    layer(x).sum().backward()
    assert x.grad is not None and layer.weight.grad is not None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(4, 8))


def test_torch_without_onednn_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_onednn", lambda: False)
    x, layer = torch.randn(4, 8), Linear(8, 3)
    with torch.no_grad():
        assert torch.equal(layer(x), functional.linear(x, layer.weight, layer.bias))


def test_parameters_are_named_as_in_torch() -> None:
    assert list(Linear(3, 2).state_dict()) == list(torch.nn.Linear(3, 2).state_dict())
