"""Colours change and squares disappear; no pixel moves."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from cooptrack_core.training.augmentation import (
    Distortion,
    GridMaskOptions,
    PhotometricOptions,
    distort,
    draw_distortion,
    grid_mask,
    hide,
    photometric,
    turn_hue,
)
from cooptrack_core.types import CooptrackError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 12, 20, generator=seeded(99)) * 255


def nothing(count: int) -> Distortion:
    return draw_distortion(count, seeded(), PhotometricOptions(probability=0.0))


def opencv_hsv(image: Tensor, turn_deg: float, saturation: float) -> np.ndarray:
    hsv = cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_BGR2HSV)
    hsv[..., 0] = (hsv[..., 0] + turn_deg) % 360
    hsv[..., 1] *= saturation
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR).transpose(2, 0, 1)


def test_without_distortion_images_stay_as_they_are() -> None:
    images = some_images()
    assert torch.equal(photometric(images, seeded(), PhotometricOptions(probability=0.0)), images)


def test_images_that_were_given_are_not_changed() -> None:
    images = some_images(8)
    before = images.clone()
    assert not torch.equal(photometric(images, seeded(3)), before)
    assert torch.equal(images, before)


@pytest.mark.parametrize("turn_deg", [-18.0, -5.5, 7.0, 18.0, 150.0])
def test_hue_turns_as_in_the_hsv_of_opencv(turn_deg: float) -> None:
    image = some_images(1)[0]
    assert np.allclose(turn_hue(image, turn_deg).numpy(), opencv_hsv(image, turn_deg, 1.0), atol=2e-3)


def test_hue_of_grey_is_grey() -> None:
    grey = torch.full((3, 2, 2), 80.0)
    assert torch.equal(turn_hue(grey, 10.0), grey)


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.9])
def test_saturation_scales_as_in_the_hsv_of_opencv(factor: float) -> None:
    images = some_images(1)
    done = distort(images, replace(nothing(1), saturation=torch.tensor([factor])))
    assert np.allclose(done[0].numpy(), opencv_hsv(images[0], 0.0, factor), atol=2e-3)


def test_contrast_comes_before_or_after_the_colours() -> None:
    images = some_images(2)
    drawn = replace(
        nothing(2), brightness=torch.tensor([10.0, -20.0]), contrast=torch.tensor([1.5, 0.5]),
        contrast_first=torch.tensor([True, False]), hue_deg=torch.tensor([12.0, -9.0]),
        channels=torch.tensor([[2, 0, 1], [0, 2, 1]]),
    )  # fmt: skip
    done = distort(images, drawn)
    assert torch.allclose(done[0], turn_hue((images[0] + 10.0) * 1.5, 12.0)[[2, 0, 1]])
    assert torch.allclose(done[1], (turn_hue(images[1] - 20.0, -9.0) * 0.5)[[0, 2, 1]])


def test_draws_keep_their_ranges_and_are_applied_to_half_of_the_images() -> None:
    drawn = draw_distortion(4000, seeded(), PhotometricOptions())
    for values, neutral, low, high in (
        (drawn.brightness, 0.0, -32.0, 32.0), (drawn.contrast, 1.0, 0.5, 1.5),
        (drawn.saturation, 1.0, 0.5, 1.5), (drawn.hue_deg, 0.0, -18.0, 18.0),
    ):  # fmt: skip
        applied = values[values != neutral]
        assert low <= float(applied.min()) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < float(applied.max()) <= high
        assert abs(len(applied) / 4000 - 0.5) < 0.04
    assert abs(float(drawn.contrast_first.float().mean()) - 0.5) < 0.04
    orders, counts = torch.unique(drawn.channels, dim=0, return_counts=True)
    assert len(orders) == 6 and torch.equal(drawn.channels.sort(-1).values, torch.arange(3).expand(4000, 3))
    assert torch.allclose(counts / 4000, torch.tensor([0.5 + 0.5 / 6] + [0.5 / 6] * 5), atol=0.03)


def test_same_seed_gives_same_colours_and_each_image_its_own() -> None:
    images = some_images(1).expand(6, -1, -1, -1)
    first = photometric(images, seeded(5))
    assert torch.equal(first, photometric(images, seeded(5)))
    assert not torch.equal(first, photometric(images, seeded(6)))
    assert len(torch.unique(first, dim=0)) > 3


def test_a_pixel_depends_on_itself_alone() -> None:
    images = some_images(4)
    mirrored = photometric(images.flip(-1), seeded(8)).flip(-1)
    assert torch.allclose(mirrored, photometric(images, seeded(8)))


def test_integers_are_taken_and_values_are_not_clipped() -> None:
    images = some_images(64).to(torch.uint8)
    done = photometric(images, seeded())
    assert done.dtype == torch.float32
    assert float(done.max()) > 255.0 and float(done.min()) < 0.0
    assert torch.equal(done, photometric(images.float(), seeded()))


def test_no_images_give_none() -> None:
    assert photometric(torch.zeros(0, 3, 4, 5), seeded()).shape == (0, 3, 4, 5)


def test_grid_hides_squares_between_stripes_that_stay() -> None:
    found = [grid_mask(24, 40, seeded(seed), GridMaskOptions(probability=1.0)) for seed in range(80)]
    for mask in found:
        assert mask is not None and mask.shape == (24, 40)
        rows, columns = (mask == 1).all(1), (mask == 1).all(0)  # in stripes
        if bool((mask == 0).any()):
            assert torch.equal(mask == 1, rows[:, None] | columns[None, :])
    hidden = torch.tensor([float((mask == 0).float().mean()) for mask in found if mask is not None])
    assert 0.15 < float(hidden.mean()) < 0.3  # about half of the rows times half of the columns
    assert len(torch.unique(torch.stack([mask for mask in found if mask is not None]), dim=0)) > 60


def test_stripes_are_as_wide_as_half_the_period() -> None:
    periods = set()
    for seed in range(200):
        mask = grid_mask(60, 60, seeded(seed), GridMaskOptions(probability=1.0))
        assert mask is not None
        visible = (mask == 1).all(1).int().tolist()
        changes = [row for row in range(1, 60) if visible[row] != visible[row - 1]]
        lengths = {True: set(), False: set()}
        for start, end in pairwise(changes):
            lengths[bool(visible[start])].add(end - start)
        if lengths[True] and lengths[False]:
            (kept,), (hidden,) = lengths[True], lengths[False]
            assert kept == max(1, int((kept + hidden) / 2 + 0.5))
            periods.add(kept + hidden)
    assert min(periods) == 2 and max(periods) > 30


def test_grid_is_used_as_often_as_asked_and_the_same_for_the_same_seed() -> None:
    generator = seeded(1)
    used = [grid_mask(10, 10, generator) is not None for _ in range(2000)]
    assert abs(sum(used) / 2000 - 0.7) < 0.04
    first, second = (grid_mask(10, 14, seeded(4), GridMaskOptions(1.0)) for _ in range(2))
    assert first is not None and second is not None and torch.equal(first, second)


def test_one_mask_hides_the_same_of_every_image_and_channel() -> None:
    images = some_images(3) + 1.0
    mask = grid_mask(12, 20, seeded(2), GridMaskOptions(1.0))
    assert mask is not None and bool((mask == 0).any())
    done = hide(images, mask)
    assert torch.equal(done == 0, (mask == 0).expand_as(done))
    assert torch.equal(done[done != 0], images[mask.bool().expand_as(images)])
    assert hide(images, None) is images


@pytest.mark.parametrize(
    "options", [{"probability": 1.2}, {"contrast": (1.5, 0.5)}, {"saturation": (-1.0, 1.0)}, {"hue_deg": -1.0}]
)
def test_impossible_options_are_one_line_that_names_them(options: dict[str, object]) -> None:
    with pytest.raises(CooptrackError, match=f"photometric.{next(iter(options))}") as error:
        PhotometricOptions(**options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
