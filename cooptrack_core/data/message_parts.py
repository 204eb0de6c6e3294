"""What an instance message consists of: its header with the pose, and the numbers of each instance."""

from __future__ import annotations

from array import array
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from cooptrack_core.cooperation import wire
from cooptrack_core.data.instance_messages import instances_message
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.types import Features, Instances, Message


def message_parts(message: Message) -> dict[str, int]:
    """Columns for the row of a sent message.

    header_bytes: encoded size of the same message without instances (stamp, names, pose, fingerprint,
    lengths of the arrays). header_numbers, header_text: the numbers and the characters and raw bytes in it.
    instance_numbers: numbers that each instance has, learned features included; 0 for a message without instances.
    """
    features = message.instances.features
    preset = "" if features is None else features.preset
    form = message.precision, message.kinematics
    size, numbers, text = _header(message.agent_id, message.map_frame, message.sensor_frame, preset, *form)
    own = _instance_numbers(message)
    return {"header_bytes": size, "header_numbers": numbers, "header_text": text, "instance_numbers": own}


def _instance_numbers(message: Message) -> int:
    count, features = len(message.instances), message.instances.features
    if not count:
        return 0
    columns = wire.encode(replace(message, held_id=message.held_id[:0]), "none", "fp32")
    beside = ("pose_covariance", "point_range_m")
    numbers = sum(len(v) for name, v in columns.items() if isinstance(v, array) and name not in beside) // count
    if features is not None:
        streams = [features.query, features.embedding, features.motion]
        numbers += sum(int(values.shape[1]) for values in streams if values is not None)
        numbers += 0 if features.codes is None else int(np.prod(features.codes.shape[1:]))
    return numbers


@lru_cache(maxsize=64)
def _header(
    agent_id: str, map_frame: str, sensor_frame: str, preset: str, precision: str, kinematics: str
) -> tuple[int, int, int]:
    """(bytes, numbers, characters): only the names and the form change from sender to sender."""
    none = np.zeros((0, 1), np.float32)
    features = None
    if precision != "none":
        codes = np.zeros((0, 1, 0), np.uint8) if precision == "rvq" else None
        features = Features(none, None, None, preset, bytes(32), codes, bytes(8 if precision == "rvq" else 0), 1)
    instances = replace(Instances.empty(), features=features)
    message = Message(agent_id, 0, 0, 0, sensor_frame, np.eye(4), instances, map_frame=map_frame)
    encoded = instances_message(message, precision, kinematics)
    size = len(typestore().serialize_cdr(encoded, "cooptrack_msgs/msg/InstanceFeatures"))
    return size, *_contents(encoded)


def _contents(value: Any) -> tuple[int, int]:
    """(numbers, characters and raw bytes) of a ROS message."""
    if is_dataclass(value):
        names = [item.name for item in fields(value) if not item.name.isupper()]  # without constants
        parts = [_contents(getattr(value, name)) for name in names if not name.startswith("__")]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)
    if isinstance(value, str):
        return 0, len(value)
    if isinstance(value, np.ndarray):
        return (0, value.size) if value.dtype == np.uint8 else (value.size, 0)
    return 1, 0


__all__ = ["message_parts"]
