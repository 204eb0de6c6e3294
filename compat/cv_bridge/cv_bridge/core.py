"""Conversion between image messages and the arrays of OpenCV."""

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

CHANNELS = {"mono8": 1, "bgr8": 3, "rgb8": 3}
CONVERSIONS = {
    ("bgr8", "rgb8"): cv2.COLOR_BGR2RGB,
    ("rgb8", "bgr8"): cv2.COLOR_RGB2BGR,
    ("bgr8", "mono8"): cv2.COLOR_BGR2GRAY,
    ("rgb8", "mono8"): cv2.COLOR_RGB2GRAY,
    ("mono8", "bgr8"): cv2.COLOR_GRAY2BGR,
    ("mono8", "rgb8"): cv2.COLOR_GRAY2RGB,
}
Pixels = NDArray[np.uint8]


class CvBridgeError(TypeError):
    """An image cannot be converted."""


def _check_encoding(encoding: str) -> None:
    if encoding not in CHANNELS:
        known = ", ".join(sorted(CHANNELS))
        raise CvBridgeError(
            f"encoding {encoding!r} is not offered by cooptrack's stand-in ({known}); install cv_bridge"
        )


def _convert(image: Pixels, encoding: str, desired: str) -> Pixels:
    if desired in ("passthrough", encoding):
        return image
    _check_encoding(desired)
    return cv2.cvtColor(image, CONVERSIONS[encoding, desired])


def _bytes(data: Pixels) -> array.array[int]:
    """Copy as array.array: rclpy takes that without looking at every byte."""
    values: array.array[int] = array.array("B")
    values.frombytes(data.tobytes())
    return values


class CvBridge:
    """Converts both ways; images are uint8 arrays of shape [H, W] (mono8) or [H, W, 3]."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> Pixels:
        """Pixels of a raw image; a view of the message's data where nothing has to be converted."""
        _check_encoding(img_msg.encoding)
        channels = CHANNELS[img_msg.encoding]
        height, width, step = img_msg.height, img_msg.width, img_msg.step
        data = np.frombuffer(img_msg.data, np.uint8)
        if step < width * channels or data.size < height * step:
            raise CvBridgeError(f"image of {height} x {width} {img_msg.encoding}, step {step}: {data.size} bytes")
        rows = data[: height * step].reshape(height, step)[:, : width * channels]
        return _convert(rows if channels == 1 else rows.reshape(height, width, 3), img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(self, cvim: Pixels, encoding: str = "passthrough", header: Header | None = None) -> Image:
        """Raw image message of `cvim`; `passthrough` means mono8 for [H, W] and bgr8 for [H, W, 3]."""
        channels = 1 if cvim.ndim == 2 else cvim.shape[2]
        if cvim.dtype != np.uint8 or channels not in (1, 3):
            raise CvBridgeError(f"array of type {cvim.dtype} and shape {cvim.shape} is not offered; install cv_bridge")
        if encoding == "passthrough":
            encoding = "mono8" if channels == 1 else "bgr8"
        _check_encoding(encoding)
        if CHANNELS[encoding] != channels:
            raise CvBridgeError(f"encoding {encoding} does not fit {channels} channels")
        message = Image(height=cvim.shape[0], width=cvim.shape[1], encoding=encoding, step=cvim.shape[1] * channels)
        message.is_bigendian = int(sys.byteorder == "big")
        if header is not None:
            message.header = header
        message.data = _bytes(cvim)
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = "passthrough"
    ) -> Pixels | None:
        """Decoded pixels; data that is no image gives None with `passthrough` (as in the original), else an error."""
        data = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if desired_encoding == "passthrough":
            return image
        if image is None:
            raise CvBridgeError(f"compressed image of {data.size} bytes ({cmprs_img_msg.format!r}) cannot be decoded")
        return _convert(image, "mono8" if image.ndim == 2 else "bgr8", desired_encoding)

    def cv2_to_compressed_imgmsg(self, cvim: Pixels, dst_format: str = "jpg") -> CompressedImage:
        """Compressed message of `cvim` (mono8 or bgr8)."""
        if dst_format not in ("jpg", "jpeg", "png"):
            raise CvBridgeError(f"format {dst_format!r} is not offered by cooptrack's stand-in; use jpg, jpeg or png")
        done, data = cv2.imencode(f".{dst_format}", cvim)
        if not done:
            raise CvBridgeError(f"array of type {cvim.dtype} and shape {cvim.shape} cannot be encoded as {dst_format}")
        message = CompressedImage(format=dst_format)
        message.data = _bytes(data)
        return message
