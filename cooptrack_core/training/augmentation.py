"""What training does to the colours of images, and squares of them that it hides (spec 7.6).

Nothing here moves a pixel: boxes and calibration stay right. All draws come from a generator on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.types import CooptrackError


@dataclass(frozen=True)
class PhotometricOptions:
    """How far colours may go; each part is applied to an image with `probability`."""

    probability: float = 0.5
    brightness: float = 32.0  # added, of 255, both ways
    contrast: tuple[float, float] = (0.5, 1.5)  # factor on all channels
    saturation: tuple[float, float] = (0.5, 1.5)  # factor on the distance from the brightest channel
    hue_deg: float = 18.0  # both ways

    def __post_init__(self) -> None:
        """Raises CooptrackError for values out of range."""
        _check("photometric.probability", self.probability, 0 <= self.probability <= 1, "0 to 1")
        for name in ("contrast", "saturation"):
            low, high = getattr(self, name)
            _check(f"photometric.{name}", (low, high), 0 <= low <= high, "two factors, the smaller one first")
        _check("photometric.brightness", self.brightness, self.brightness >= 0, "0 or more")
        _check("photometric.hue_deg", self.hue_deg, 0 <= self.hue_deg <= 180, "0 to 180")


@dataclass(frozen=True)
class GridMaskOptions:
    """How often a grid of squares is hidden from a whole batch."""

    probability: float = 0.7

    def __post_init__(self) -> None:
        """Raises CooptrackError for values out of range."""
        _check("grid_mask.probability", self.probability, 0 <= self.probability <= 1, "0 to 1")


@dataclass(frozen=True)
class Distortion:
    """What is done to each of B images; in the order of the fields, contrast at its one or its other place."""

    brightness: Tensor  # [B] added
    contrast: Tensor  # [B] factor
    contrast_first: Tensor  # [B] bool, before saturation and hue; else after them
    saturation: Tensor  # [B] factor
    hue_deg: Tensor  # [B] turned by
    channels: Tensor  # [B, 3] int64 channel of the image that each channel of the result is


def photometric(
    images: Tensor, generator: torch.Generator | None = None, options: PhotometricOptions | None = None
) -> Tensor:
    """[B, 3, h, w] BGR images of 0 to 255, each with colours of its own; as floats, not clipped to that range.

    Integers are taken, too. The images given are not changed.
    """
    drawn = draw_distortion(len(images), generator, options or PhotometricOptions())
    return distort(images, drawn)


def draw_distortion(count: int, generator: torch.Generator | None, options: PhotometricOptions) -> Distortion:
    """What happens to `count` images."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    def if_applied(value: Tensor, otherwise: float) -> Tensor:
        return torch.where(uniform(0, 1) < options.probability, value, otherwise)

    order = torch.rand(count, 3, generator=generator).argsort(-1)
    swapped = uniform(0, 1) < options.probability
    return Distortion(
        if_applied(uniform(-options.brightness, options.brightness), 0.0),
        if_applied(uniform(*options.contrast), 1.0),
        uniform(0, 1) < 0.5,
        if_applied(uniform(*options.saturation), 1.0),
        if_applied(uniform(-options.hue_deg, options.hue_deg), 0.0),
        torch.where(swapped[:, None], order, torch.arange(3)),
    )


def distort(images: Tensor, drawn: Distortion) -> Tensor:
    """[B, 3, h, w] the images, BGR of 0 to 255, with what was drawn for them."""
    images = images if images.is_floating_point() else images.float()
    # One by one: an image fits the cache of a processor, a batch does not.
    done = torch.empty_like(images)
    for row, image in enumerate(images):
        done[row] = _distort(image, drawn, row)
    return done


def _distort(image: Tensor, drawn: Distortion, row: int) -> Tensor:
    contrast, saturation, hue_deg = (float(v[row]) for v in (drawn.contrast, drawn.saturation, drawn.hue_deg))
    early, late = (contrast, 1.0) if drawn.contrast_first[row] else (1.0, contrast)
    image = image.add(float(drawn.brightness[row])).mul_(early)
    if saturation != 1.0:  # the distance from the brightest channel; hue and brightness stay
        image = torch.lerp(image.amax(0, keepdim=True), image, saturation)
    if hue_deg:
        image = turn_hue(image, hue_deg)
    return image.mul_(late)[drawn.channels[row].to(image.device)]


def turn_hue(image: Tensor, hue_deg: float) -> Tensor:
    """[3, h, w] BGR image with the hue turned by an angle, as in HSV: value and saturation stay."""
    blue, green, red = image
    value, low = image.amax(0), image.amin(0)
    chroma = value - low
    # Sextant of the colour circle, [0, 6): 0 red, 2 green, 4 blue.
    scale = torch.where(chroma > 0, chroma, 1.0).reciprocal_()
    hue = torch.where(green == value, (blue - red).mul_(scale).add_(2.0), (red - green).mul_(scale).add_(4.0))
    hue = torch.where(red == value, (green - blue).mul_(scale), hue).add_(hue_deg / 60.0)
    hue.sub_((hue / 6.0).floor_().mul_(6.0))
    shares = (
        hue.sub(4.0).abs_().neg_().add_(2.0),  # of blue
        hue.sub(2.0).abs_().neg_().add_(2.0),  # of green
        hue.sub(3.0).abs_().sub_(1.0),  # of red
    )
    return torch.stack([torch.addcmul(low, chroma, share.clamp_(0.0, 1.0)) for share in shares])


def grid_mask(
    height: int, width: int, generator: torch.Generator | None = None, options: GridMaskOptions | None = None
) -> Tensor | None:
    """[height, width] float, 0 in the hidden squares of a grid, else 1; None: nothing is hidden this time.

    Period, the same on both axes, and phases are drawn; rows and columns in stripes of half a period stay visible.
    """
    if torch.rand((), generator=generator) >= (options or GridMaskOptions()).probability or height < 3:
        return None
    period = int(torch.randint(2, height, (), generator=generator))
    stripe = min(max(int(period / 2 + 0.5), 1), period - 1)
    phase = [int(torch.randint(period, (), generator=generator)) for _ in range(2)]
    rows = (torch.arange(height) + phase[0]) % period < stripe
    columns = (torch.arange(width) + phase[1]) % period < stripe
    return (rows[:, None] | columns[None, :]).float()


def hide(images: Tensor, mask: Tensor | None) -> Tensor:
    """Images [..., h, w], normalised so that 0 is the mean colour, with a mask [h, w] of `grid_mask`."""
    return images if mask is None else images * mask.to(images)


def _check(name: str, value: object, fine: bool, wanted: str) -> None:
    if not fine:
        raise CooptrackError(f"augmentation: {name}: {value} is not possible; give {wanted}")


__all__ = [
    "Distortion", "GridMaskOptions", "PhotometricOptions", "distort", "draw_distortion", "grid_mask", "hide",
    "photometric", "turn_hue",
]  # fmt: skip
