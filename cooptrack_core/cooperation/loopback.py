"""A message as its receiver gets it, without a network: same numbers as over ROS."""

from __future__ import annotations

from types import SimpleNamespace

from cooptrack_core.cooperation import wire
from cooptrack_core.geometry.transforms import to_quaternion
from cooptrack_core.types import Message


def as_fields(message: Message, precision: str | None = None, kinematics: str | None = None) -> SimpleNamespace:
    """An object with the attributes of cooptrack_msgs/InstanceFeatures.

    precision, kinematics: other than the message has. Raises ValueError for a message without a pose, which no
    roadside unit sends.
    """
    if message.T_map_from_sensor is None:
        raise ValueError("a message without a pose is never sent")
    x, y, z, w = (float(value) for value in to_quaternion(message.T_map_from_sensor))
    px, py, pz = (float(value) for value in message.T_map_from_sensor[:3, 3])
    pose = SimpleNamespace(position=SimpleNamespace(x=px, y=py, z=pz), orientation=SimpleNamespace(x=x, y=y, z=z, w=w))
    stamp = SimpleNamespace(sec=message.stamp_ns // 10**9, nanosec=message.stamp_ns % 10**9)
    return SimpleNamespace(
        **wire.encode(message, precision, kinematics),
        header=SimpleNamespace(stamp=stamp, frame_id=message.sensor_frame),
        pose=pose,
    )


def over_the_air(message: Message, precision: str | None = None, kinematics: str | None = None) -> Message:
    """The message after encoding and decoding."""
    return wire.decode(as_fields(message, precision, kinematics), message.size_bytes)
