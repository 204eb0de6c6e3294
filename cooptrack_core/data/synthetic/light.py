"""Sun, sky and the noise that textures are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Light:
    """Linear colours; sun is the unit vector towards the sun in the scene."""

    sun: Float
    sun_colour: Float
    zenith: Float
    horizon: Float
    cloud: float
    fog_per_m: float
    ambient: float = 1.0  # factor on the light that comes from no direction
    glow: float = 1.0  # factor on what shines by itself


def daylight(seed: int) -> Light:
    """The weather of a seed: a clear or lightly clouded day, sun between 28 and 50 degrees high."""
    rng = np.random.default_rng([seed, 9])
    # Neither camera looks into the sun: it stands in the south-east or in the west.
    elevation = np.deg2rad(rng.uniform(40, 54))
    azimuth = np.deg2rad(rng.uniform(-65, -15) if rng.random() < 0.6 else rng.uniform(175, 205))
    c = np.cos(elevation)
    sun = np.array([c * np.cos(azimuth), c * np.sin(azimuth), np.sin(elevation)])
    warm = float(np.clip((np.deg2rad(50) - elevation) / np.deg2rad(25), 0, 1))
    colour = np.array([2.15, 2.02 - 0.10 * warm, 1.82 - 0.28 * warm])
    return Light(
        sun, colour, np.array([0.16, 0.33, 0.66]), np.array([0.66, 0.76, 0.86]), float(rng.uniform(0.2, 0.9)),
        float(rng.uniform(1 / 2000, 1 / 1200)),
    )  # fmt: skip


def noise_texture(size: int = 256) -> NDArray[np.uint8]:
    """[size, size, 4] tileable smooth noise, four independent channels with equalised histograms."""
    rng = np.random.default_rng(1234)
    f = np.fft.fftfreq(size) * size
    radius = np.maximum(np.hypot(f[:, None], f[None, :]), 1.0)
    channels = []
    for _ in range(4):
        spectrum = np.fft.fft2(rng.standard_normal((size, size))) / radius**1.05
        spectrum[0, 0] = 0
        field = np.real(np.fft.ifft2(spectrum))
        order = np.argsort(np.argsort(field.reshape(-1))).reshape(size, size)
        channels.append((order * 255 / (size * size - 1)).astype(np.uint8))
    return np.stack(channels, axis=2)


__all__ = ["Light", "daylight", "noise_texture"]
