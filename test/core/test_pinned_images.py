"""Images on their way to a GPU: one pinned buffer for each shape, not overwritten while it is read (no GPU needed)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cooptrack_core.model.runtime import PinnedImages

CPU = torch.device("cpu")


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The pinned buffers, in the order in which they were asked for."""
    made: list[Tensor] = []

    def pin(values: Tensor) -> Tensor:
        made.append(values.clone())
        return made[-1]

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    return made


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch, pinned: list[Tensor]) -> list[tuple[int, float]]:
    """(copies under way, first number of the newest buffer) whenever the processor has waited for them."""
    found: list[tuple[int, float]] = []

    class Event:
        recorded = 0

        def record(self) -> None:
            self.recorded += 1

        def synchronize(self) -> None:
            found.append((self.recorded, pinned[-1].flatten()[0].item()))
            self.recorded = 0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    return found


def image(value: float, *shape: int) -> Tensor:
    return torch.full(shape or (3, 4, 6), value)


def test_every_image_arrives_and_stays_when_the_next_one_comes(pinned: list[Tensor], waits: object) -> None:
    upload = PinnedImages()
    arrived = [upload(image(float(i)), CPU) for i in range(4)]
    assert [torch.equal(values, image(float(i))) for i, values in enumerate(arrived)] == [True] * 4


def test_one_buffer_for_each_shape_is_asked_for(pinned: list[Tensor], waits: object) -> None:
    upload = PinnedImages()
    for i in range(6):
        upload(image(float(i)) if i % 2 else image(float(i), 3, 8, 8), CPU)
    assert [tuple(values.shape) for values in pinned] == [(3, 8, 8), (3, 4, 6)]


def test_a_buffer_is_overwritten_only_when_its_copy_has_arrived(
    pinned: list[Tensor], waits: list[tuple[int, float]]
) -> None:
    upload = PinnedImages()
    for value in (1.0, 2.0, 3.0):
        upload(image(value), CPU)
    assert [copies for copies, _ in waits] == [0, 1, 1]
    assert [first for _, first in waits[1:]] == [1.0, 2.0]  # the last image still stands there


def test_it_serves_with_and_without_inference_mode(pinned: list[Tensor], waits: object) -> None:
    upload = PinnedImages()
    with torch.inference_mode():
        upload(image(1.0), CPU)
    assert upload(image(2.0), CPU).sum() == 2.0 * 72
