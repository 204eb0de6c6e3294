"""From a kept frame to the network's input and its ground truth, changed in ways that keep the geometry exact.

Zooming and shifting the image is another camera; mirroring it is another street, on which everything is mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.session import NetworkInput
from cooptrack_core.training.augmentation import GridMaskOptions, PhotometricOptions, grid_mask, hide, photometric
from cooptrack_core.training.frames import Clip
from cooptrack_core.training.ground_truth import GroundTruth

Float = NDArray[np.float64]
_MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])  # of y


@dataclass(frozen=True)
class ViewOptions:
    """How the view of a group of frames is changed."""

    mirror_probability: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)  # from, to
    shift: float = 0.0  # of the image, as a share of its size, either way


@dataclass(frozen=True)
class View:
    """One frame as the network is shown it."""

    pixels: NDArray[np.uint8]  # [h, w, 3] BGR, h as the network takes it
    rows: int  # of the image; what is below is padding
    lidar2img: Float  # [4, 4]
    T_map_from_sensor: Float
    stamp_s: float
    truth: GroundTruth


def view_of(clip: Clip, frame: int, config: ModelConfig, options: ViewOptions, seed: int) -> View:
    """A frame; the seed decides the change, the same for all frames of a group."""
    rng = np.random.default_rng(seed)
    mirror = rng.random() < options.mirror_probability
    zoom, shift = rng.uniform(*options.zoom), rng.uniform(-options.shift, options.shift, 2)
    image, truth = clip.images[frame], clip.truths[frame]
    lidar2img, T_map = clip.lidar2img[frame], clip.T_map_from_sensor[frame]
    rows, columns = config.image_size
    A = np.eye(3)
    if zoom != 1.0 or shift.any():
        middle = np.array([0.5 * (columns - 1), 0.5 * (image.shape[0] - 1)])
        A[:2, :2] *= zoom
        A[:2, 2] = middle - zoom * middle + shift * (columns, image.shape[0])
    if mirror:
        A = np.array([[-1.0, 0.0, columns - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ A
        lidar2img, T_map, truth = lidar2img @ _MIRROR, _MIRROR @ T_map @ _MIRROR, mirrored(truth)
    if not np.array_equal(A, np.eye(3)):
        image = cv2.warpAffine(np.ascontiguousarray(image), A[:2], (columns, image.shape[0]), flags=cv2.INTER_LINEAR)
        whole = np.eye(4)
        whole[:3, :3] = A
        lidar2img = whole @ lidar2img
    pixels = np.zeros((rows, columns, 3), np.uint8)
    pixels[: image.shape[0]] = image
    return View(pixels, image.shape[0], lidar2img, T_map, float(clip.stamp_s[frame]), truth)


def mirrored(truth: GroundTruth) -> GroundTruth:
    """Left and right exchanged: y and vy change sign, and so does the heading."""
    boxes = truth.boxes.clone()
    boxes[:, 1] *= -1.0
    boxes[:, 8] *= -1.0
    # heading = -psi - pi / 2 becomes -heading.
    boxes[:, 6] = torch.remainder(-boxes[:, 6], 2 * torch.pi) - torch.pi
    return replace(truth, boxes=boxes)


def image_batch(
    views: Sequence[View],
    config: ModelConfig,
    photo: PhotometricOptions | None = None,
    masks: GridMaskOptions | None = None,
) -> Tensor:
    """[B, 3, h, w] as the network takes it: normalised RGB, zero where it is padded or hidden.

    photo, masks: changes of colours and hidden squares, drawn from torch's global generator; None: none.
    """
    bgr = torch.from_numpy(np.stack([view.pixels for view in views])).permute(0, 3, 1, 2).float()
    rgb = (bgr if photo is None else photometric(bgr, None, photo)).flip(1)
    mean, std = (rgb.new_tensor(values)[:, None, None] for values in (config.image_mean, config.image_std))
    images = (rgb - mean) / std
    for image, view in zip(images, views, strict=True):
        image[:, view.rows :] = 0.0
    images = images if masks is None else hide(images, grid_mask(*config.image_size, None, masks))
    return images.contiguous(memory_format=torch.channels_last)


def channels_last(model: nn.Module) -> None:
    """Lays the weights of convolutions as `image_batch` lays images: a third faster on CPUs, the same values."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def network_input(view: View, image: Tensor) -> NetworkInput:
    """image [3, h, w], normalised."""
    return NetworkInput(image, torch.from_numpy(view.lidar2img).float(), view.T_map_from_sensor, view.stamp_s)


__all__ = ["View", "ViewOptions", "channels_last", "image_batch", "mirrored", "network_input", "view_of"]
