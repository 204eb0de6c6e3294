"""Stand-in for the part of tf2_ros that cooptrack uses, for machines without the original.

Offers Buffer (set, look up, wait, clear), TransformListener, TransformBroadcaster, StaticTransformBroadcaster and the
exceptions, with the signatures of the original. Not offered: actions and services (BufferServer, BufferClient),
futures (wait_for_transform_async), lookups through a fixed frame (the *_full methods), registration of data types.
"""

from tf2_ros.buffer import Buffer
from tf2_ros.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TimeoutException,
    TransformException,
)
from tf2_ros.static_transform_broadcaster import StaticTransformBroadcaster
from tf2_ros.transform_broadcaster import TransformBroadcaster
from tf2_ros.transform_listener import TransformListener

__all__ = [
    "Buffer",
    "ConnectivityException",
    "ExtrapolationException",
    "InvalidArgumentException",
    "LookupException",
    "StaticTransformBroadcaster",
    "TimeoutException",
    "TransformBroadcaster",
    "TransformException",
    "TransformListener",
]


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"tf2_ros.{name} is not part of cooptrack's stand-in; install ROS 2 with the package tf2_ros_py")
