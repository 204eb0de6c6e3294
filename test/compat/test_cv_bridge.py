"""cv_bridge: pixels survive the way into a message and back."""

from __future__ import annotations

import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

BRIDGE = CvBridge()
COLOUR = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()


@pytest.mark.parametrize(("pixels", "encoding"), [(COLOUR, "bgr8"), (COLOUR, "rgb8"), (GREY, "mono8")])
def test_raw_image_round_trip(pixels: np.ndarray, encoding: str) -> None:
    message = BRIDGE.cv2_to_imgmsg(pixels, encoding, Header(frame_id="camera"))
    assert (message.height, message.width, message.encoding) == (6, 8, encoding)
    assert message.step == 8 * (1 if pixels.ndim == 2 else 3)
    assert message.header.frame_id == "camera"
    assert np.array_equal(BRIDGE.imgmsg_to_cv2(message), pixels)


def test_colours_are_converted_on_request() -> None:
    message = BRIDGE.cv2_to_imgmsg(COLOUR, "bgr8")
    assert np.array_equal(BRIDGE.imgmsg_to_cv2(message, "rgb8"), COLOUR[..., ::-1])
    assert BRIDGE.imgmsg_to_cv2(message, "mono8").shape == (6, 8)


def test_padding_at_the_end_of_rows_is_left_out() -> None:
    message = BRIDGE.cv2_to_imgmsg(GREY, "mono8")
    padded = np.zeros((6, 10), np.uint8)
    padded[:, :8] = GREY
    message.step, message.data = 10, padded.tobytes()
    assert np.array_equal(BRIDGE.imgmsg_to_cv2(message), GREY)


def test_compressed_image_round_trip() -> None:
    message = BRIDGE.cv2_to_compressed_imgmsg(COLOUR, "png")
    assert message.format == "png"
    assert np.array_equal(BRIDGE.compressed_imgmsg_to_cv2(message), COLOUR)
    assert np.array_equal(BRIDGE.compressed_imgmsg_to_cv2(message, "rgb8"), COLOUR[..., ::-1])
    smooth = np.full((32, 32, 3), (40, 120, 200), np.uint8)
    decoded = BRIDGE.compressed_imgmsg_to_cv2(BRIDGE.cv2_to_compressed_imgmsg(smooth), "bgr8")
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


def test_data_that_is_no_image_gives_none() -> None:
    message = CompressedImage(format="jpeg", data=b"not a picture")
    assert BRIDGE.compressed_imgmsg_to_cv2(message) is None


def test_encoding_that_does_not_fit_the_array_is_refused() -> None:
    with pytest.raises(CvBridgeError):
        BRIDGE.cv2_to_imgmsg(GREY, "bgr8")
