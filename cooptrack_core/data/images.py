"""Images: a cheap look at the completeness and size of JPEG files, decoding on demand, raw ROS images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.types import CooptrackError

# Raw encodings: number of channels, and which of them are blue, green and red.
_ENCODINGS = {
    "bgr8": (3, (0, 1, 2)), "rgb8": (3, (2, 1, 0)), "bgra8": (4, (0, 1, 2)), "rgba8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
}  # fmt: skip
_START_OF_FRAME = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def jpeg_problem(data: bytes) -> str | None:
    """What is wrong with the ends of a JPEG stream, None if both markers are there. Padding zeros may follow."""
    if not data:
        return "is empty"
    if data[:2] != b"\xff\xd8":
        return "is not a JPEG file (no SOI marker)"
    if not data[-64:].rstrip(b"\0").endswith(b"\xff\xd9"):
        return "is a truncated JPEG (no EOI marker)"
    return None


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in px from the frame header of a JPEG stream, None if there is none."""
    i = 2
    while i + 9 <= len(data):
        if data[i] != 0xFF:
            return None
        marker = data[i + 1]
        if marker == 0xFF:  # fill byte
            i += 1
            continue
        if marker in _START_OF_FRAME:
            return int.from_bytes(data[i + 7 : i + 9], "big"), int.from_bytes(data[i + 5 : i + 7], "big")
        i += 2 + int.from_bytes(data[i + 2 : i + 4], "big")
    return None


def decode_bgr(data: bytes, reduction: int = 1) -> NDArray[np.uint8] | None:
    """[H, W, 3] blue green red, None if the image cannot be decoded.

    reduction: 1, 2, 4 or 8; of a JPEG every block of so many pixels squared becomes one, and costs as much less.
    """
    import cv2  # heavy, and only raw images and --deep need it

    flags = {
        1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }  # fmt: skip
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags[reduction]) if data else None
    return None if image is None else np.asarray(image, np.uint8)


def bgr_of_raw(message: Any) -> NDArray[np.uint8]:
    """[H, W, 3] blue green red of a sensor_msgs/Image. Raises CooptrackError for what is no such image."""
    encoding, height, width, step = str(message.encoding), int(message.height), int(message.width), int(message.step)
    if encoding not in _ENCODINGS:
        raise CooptrackError(f"encoding is {encoding!r}; expected one of {', '.join(_ENCODINGS)}")
    channels, bgr = _ENCODINGS[encoding]
    data = np.asarray(message.data, np.uint8)
    if height < 1 or step < width * channels or data.size != height * step:
        what = f"{width}x{height} {encoding} with step {step} has {data.size} bytes"
        raise CooptrackError(f"{what}; expected {height * max(step, width * channels)}")
    pixels = data.reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    return np.ascontiguousarray(pixels[..., bgr])


__all__ = ["bgr_of_raw", "decode_bgr", "jpeg_problem", "jpeg_size"]
