"""JPEG files: a cheap look at their completeness and size without decoding, and decoding on demand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def decode_bgr(data: bytes) -> NDArray[np.uint8] | None:
    """[H, W, 3] blue green red, None if the image cannot be decoded."""
    import cv2  # heavy, and only raw images and --deep need it

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if image is None else np.asarray(image, np.uint8)


__all__ = ["decode_bgr", "jpeg_problem", "jpeg_size"]
