"""Instance messages as a roadside node sends them, without ROS."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from cooptrack_core.cooperation import wire
from cooptrack_core.cooperation.damage import Codec
from cooptrack_core.cooperation.loopback import as_fields
from cooptrack_core.data.bag_messages import header, make, time
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.types import Message

_TYPE = "cooptrack_msgs/msg/InstanceFeatures"


def instances_message(message: Message, precision: str | None = None, kinematics: str | None = None) -> Any:
    """cooptrack_msgs/InstanceFeatures of a message. Raises ValueError for one without a pose, which nobody sends."""
    fields = as_fields(message, precision, kinematics)
    p, q = fields.pose.position, fields.pose.orientation
    position = make("geometry_msgs/msg/Point", p.x, p.y, p.z)
    orientation = make("geometry_msgs/msg/Quaternion", q.x, q.y, q.z, q.w)
    own = {
        "header": header(message.stamp_ns, message.sensor_frame),
        "pose": make("geometry_msgs/msg/Pose", position, orientation),
        "pose_stamp": time(message.stamp_ns),
    }
    plain = {name: _as_numpy(value) for name, value in vars(fields).items() if name not in own}
    return typestore().types[_TYPE](**own, **plain)


def transmit(message: Message, precision: str | None = None, kinematics: str | None = None) -> Message:
    """The message as its receiver gets it: serialised as ROS does, so that sizes and numbers are those on the air."""
    store = typestore()
    data = store.serialize_cdr(instances_message(message, precision, kinematics), _TYPE)
    return wire.decode(store.deserialize_cdr(data, _TYPE), len(data))


def cdr_codec() -> Codec:
    """Messages as ROS serialises them, each in the form in which it came."""
    store = typestore()
    return Codec(
        lambda data: store.deserialize_cdr(data, _TYPE),
        instances_message,
        lambda fields: bytes(store.serialize_cdr(fields, _TYPE)),
    )


def _as_numpy(value: Any) -> Any:
    return np.frombuffer(value, np.dtype(value.typecode)) if isinstance(value, array) else value


__all__ = ["cdr_codec", "instances_message", "transmit"]
