"""Light and weather of a sequence, and what its cameras make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.light import Light

Float = NDArray[np.float64]

# Each block of ten sequences has this mix, in an order of its own.
MIX = ("clear", "clear", "clear", "low sun", "cloudy", "overcast", "overcast", "rain", "fog", "dusk")
NIGHT_EVERY = 2  # of the dusk sequences, every second is at night


@dataclass(frozen=True)
class Weather:
    """kind: its name; noise in grey levels, rain streaks per image, gain of each channel, contrast."""

    kind: str
    light: Light
    noise: float
    blur_px: float
    streaks: int
    gain: tuple[float, float, float]
    contrast: float


def kind_of(number: int) -> str:
    """Weather kind of a sequence."""
    block, place = divmod(number, len(MIX))
    kind = MIX[int(np.random.default_rng([21, block]).permutation(len(MIX))[place])]
    return "night" if kind == "dusk" and block % NIGHT_EVERY else kind


def weather_of(number: int) -> Weather:
    """Weather of a sequence of the benchmark."""
    kind, rng = kind_of(number), np.random.default_rng([22, number])
    elevation = {"clear": (28, 62), "low sun": (9, 20), "cloudy": (30, 60)}.get(kind, (55, 75))
    e, a = np.deg2rad(rng.uniform(*elevation)), float(rng.uniform(-np.pi, np.pi))
    sun = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    blue, pale = np.array([0.16, 0.33, 0.66]), np.array([0.66, 0.76, 0.86])
    grey = np.array([0.62, 0.65, 0.68])
    day = np.array([2.15, 2.02, 1.82])
    haze = float(1 / rng.uniform(900, 2200))
    # sun colour, zenith, horizon, clouds, fog, ambient, glow
    looks: dict[str, tuple[Float, Float, Float, float, float, float, float]] = {
        "clear": (day, blue, pale, float(rng.uniform(0.1, 0.6)), haze, 1.0, 1.0),
        "low sun": (day * [1.0, 0.80, 0.55], blue * 0.8, np.array([0.86, 0.70, 0.54]), 0.5, haze, 0.8, 1.1),
        "cloudy": (day * 0.55, blue * 0.6 + grey * 0.35, grey * 1.05, 1.2, haze, 1.1, 1.0),
        "overcast": (day * 0.12, grey * 0.95, grey * 1.10, 1.4, haze, 1.25, 1.0),
        "rain": (day * 0.05, grey * 0.62, grey * 0.72, 1.4, float(1 / rng.uniform(250, 600)), 0.85, 1.4),
        "fog": (day * 0.08, grey * 1.0, grey * 1.15, 1.4, float(1 / rng.uniform(150, 350)), 1.1, 1.2),
        "dusk": (day * [0.10, 0.08, 0.08], blue * 0.42, np.array([0.42, 0.34, 0.36]), 0.5, haze, 0.42, 1.8),
        "night": (day * 0.02, blue * 0.10, np.array([0.13, 0.12, 0.13]), 0.3, haze, 0.16, 2.6),
    }
    colour, zenith, horizon, cloud, fog, ambient, glow = looks[kind]
    bright = float(rng.uniform(0.85, 1.15))
    light = Light(
        sun, np.asarray(colour * bright), np.asarray(zenith * bright), np.asarray(horizon * bright), cloud, fog,
        ambient * bright, glow,
    )  # fmt: skip
    dark = {"night": 4.5, "dusk": 2.5, "rain": 1.5}.get(kind, 0.0)
    tint = rng.normal(0, 0.03, 3)
    gain = (1.0 + float(tint[0]), 1.0 + float(tint[1]) * 0.5, 1.0 + float(tint[2]))
    blur_px = 0.5 if kind in ("rain", "fog") else float(rng.uniform(0, 0.35))
    return Weather(
        kind, light, float(rng.uniform(0.5, 2.0)) + dark, blur_px,
        int(rng.integers(150, 400)) if kind == "rain" else 0, gain, float(rng.uniform(0.9, 1.1)),
    )  # fmt: skip


def develop(rgb: NDArray[np.uint8], weather: Weather, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """The picture [H, W, 3] as the camera delivers it: streaks of rain, blur, gain, contrast, noise."""
    rng = np.random.default_rng(seed)
    height, width = rgb.shape[:2]
    picture: NDArray[Any] = rgb.astype(np.float32)
    scale = width / 320
    if weather.streaks:
        drops = np.zeros((height, width), np.float32)
        drops[rng.integers(0, height, weather.streaks), rng.integers(0, width, weather.streaks)] = rng.uniform(
            20, 120, weather.streaks
        )
        length = max(3, round(9 * scale))
        kernel = np.zeros((length, length), np.float32)
        cv2.line(kernel, (length // 2 + 1, 0), (length // 2 - 1, length - 1), 1.0)
        picture += cv2.filter2D(drops, -1, kernel / kernel.sum() * 2.2)[..., None]
    if weather.blur_px * scale > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), weather.blur_px * scale)
    mean = float(picture.mean())
    picture = (mean + weather.contrast * (picture - mean)) * np.array(weather.gain, np.float32)
    picture += rng.standard_normal(picture.shape, np.float32) * weather.noise
    return np.asarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))


__all__ = ["MIX", "Weather", "develop", "kind_of", "weather_of"]
