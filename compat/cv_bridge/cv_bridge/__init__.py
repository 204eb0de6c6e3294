"""Stand-in for the part of cv_bridge that cooptrack uses, for machines without the original.

Offers CvBridge with raw and compressed images in the encodings bgr8, rgb8 and mono8, and CvBridgeError. Not offered:
other encodings, and the functions cvtColor2 and cvtColorForDisplay.
"""

from cv_bridge.core import CvBridge, CvBridgeError

__all__ = ["CvBridge", "CvBridgeError"]


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"cv_bridge.{name} is not part of cooptrack's stand-in; install ROS 2 with the package cv_bridge")
