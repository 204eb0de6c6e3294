"""Offline runs over a rosbag2: freely, or repeating a recorded run message by message."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation import wire
from cooptrack_core.cooperation.loopback import as_fields
from cooptrack_core.data.bag import Bag, stamp_of
from cooptrack_core.data.bag_events import BagContext, BagEvent, bag_context, bag_events
from cooptrack_core.data.message_definitions import new_typestore
from cooptrack_core.data.recording import SCHEMA, cameras_of, images_of
from cooptrack_core.data.recording_frames import truth_row, without_nan
from cooptrack_core.offline import OfflineFrame, association_records, make_agents, run, track_records
from cooptrack_core.types import CooptrackError, Message

_TYPE = "cooptrack_msgs/msg/InstanceFeatures"
_NO_FRAMES = "topic is missing or empty; name the vehicle of this bag with --vehicle, or make it with cooptrack to-bag"


def track_bag(
    path: Path, config: VehicleConfig, *, vehicle: str = "vehicle", roadside: Sequence[str] = ("rsu",)
) -> dict[str, Any]:
    """Tracks a bag with both agents and gives the recording (docs/data.md). Messages arrive without delay."""
    context = bag_context(path, [vehicle, *roadside])
    agent, units = make_agents(vehicle, roadside, config, RoadsideConfig())
    sent: list[Message] = []
    events = _with_progress(bag_events(path, vehicle, roadside, context), path)
    frames = list(run(events, agent, units, transmit=_transmitter(), on_message=sent.append))
    if not frames:
        raise CooptrackError(f"{path}: /{vehicle}/detections_in: {_NO_FRAMES}")
    return _recording(path, config, context, vehicle, roadside, frames, sent)


def repeat_bag(
    path: Path, recorded: Path, config: VehicleConfig, *, vehicle: str = "vehicle", roadside: Sequence[str] = ("rsu",)
) -> dict[str, Any]:
    """Tracks a bag again as a recorded run did: the same frames, poses known or not, and the same messages.

    The result equals what the vehicle node published. Raises CooptrackError if a message that was used is
    not in the recording.
    """
    context = bag_context(path, [vehicle, *roadside])
    messages, schedule, conditions = _recorded_run(recorded, vehicle, roadside)
    agent, _ = make_agents(vehicle, (), config, RoadsideConfig())
    events = _as_recorded(_with_progress(bag_events(path, vehicle, (), context), path), conditions)
    frames = list(run(events, agent, {}, schedule=schedule))
    return _recording(path, config, context, vehicle, roadside, frames, messages)


def _recorded_run(
    recorded: Path, vehicle: str, roadside: Sequence[str]
) -> tuple[list[Message], dict[int, list[Message]], dict[int, tuple[bool, bool]]]:
    """All messages; those used by frame stamp; (predicted_only, pose_known) by frame stamp."""
    messages: dict[tuple[str, int, int], Message] = {}
    used: dict[int, Any] = {}
    conditions: dict[int, tuple[bool, bool]] = {}
    with Bag(recorded) as bag:
        topics = [f"/{vehicle}/tracks", f"/{vehicle}/associations", *(f"/{name}/instances" for name in roadside)]
        for item in bag.messages(topics, open_topics=[t for t in topics if t.endswith("/instances")]):
            if item.topic.endswith("/instances"):
                try:
                    message = wire.decode(item.message, item.size_bytes)
                except wire.WireError:  # the vehicle has refused it, too
                    continue
                messages[message.agent_id, message.session_id, message.sequence] = message
            elif item.topic.endswith("/associations"):
                used[stamp_of(item.message)] = item.message
            else:
                conditions[stamp_of(item.message)] = (item.message.predicted_only, item.message.pose_known)
    schedule: dict[int, list[Message]] = {}
    for stamp_ns, item in used.items():
        keys = zip(item.message_agent, item.message_session, item.message_sequence, strict=True)
        for agent, session, sequence in keys:
            key = (str(agent), int(session), int(sequence))
            if key not in messages:
                what = f"message {key[2]} of {key[0]} was used but not recorded"
                raise CooptrackError(f"{recorded}: {what}; record /{key[0]}/instances too")
            schedule.setdefault(stamp_ns, []).append(messages[key])
    return list(messages.values()), schedule, conditions


def _as_recorded(events: Iterable[BagEvent], conditions: dict[int, tuple[bool, bool]]) -> Iterator[BagEvent]:
    for event in events:
        if event.frame.stamp_ns not in conditions:
            continue  # the node never saw this frame
        predicted_only, pose_known = conditions[event.frame.stamp_ns]
        frame = event.frame
        if predicted_only:
            frame = replace(frame, detections=None)
        if not pose_known:
            frame = replace(frame, T_map_from_sensor=None)
        yield replace(event, frame=frame)


def _transmitter() -> Callable[[Message, str], Message]:
    """Serialises a message as ROS does and reads it back, so that sizes and numbers are those on the air."""
    store = new_typestore()
    kinds = store.types
    Header, Time = kinds["std_msgs/msg/Header"], kinds["builtin_interfaces/msg/Time"]
    Point, Quaternion = kinds["geometry_msgs/msg/Point"], kinds["geometry_msgs/msg/Quaternion"]
    Pose, PoseWithCovariance = kinds["geometry_msgs/msg/Pose"], kinds["geometry_msgs/msg/PoseWithCovariance"]

    def transmit(message: Message, precision: str) -> Message:
        fields = as_fields(message, precision)
        p, q, stamp = fields.pose.pose.position, fields.pose.pose.orientation, fields.header.stamp
        time = Time(stamp.sec, stamp.nanosec)
        covariance = np.zeros(36)
        covariance[0] = -1.0
        pose = PoseWithCovariance(Pose(Point(p.x, p.y, p.z), Quaternion(q.x, q.y, q.z, q.w)), covariance)
        plain = {name: _as_numpy(value) for name, value in vars(fields).items() if name not in ("header", "pose")}
        made = kinds[_TYPE](header=Header(time, fields.header.frame_id), pose=pose, pose_stamp=time, **plain)
        data = store.serialize_cdr(made, _TYPE)
        return wire.decode(store.deserialize_cdr(data, _TYPE), len(data))

    return transmit


def _as_numpy(value: Any) -> Any:
    return np.frombuffer(value, np.dtype(value.typecode)) if isinstance(value, array) else value


def _with_progress(events: Iterable[BagEvent], path: Path) -> Iterator[BagEvent]:
    yield from tqdm(events, desc=f"tracking {path.name}", unit="frame", disable=None, leave=False)


def _recording(
    path: Path,
    config: VehicleConfig,
    context: BagContext,
    vehicle: str,
    roadside: Sequence[str],
    frames: Sequence[OfflineFrame],
    sent: Sequence[Message],
) -> dict[str, Any]:
    T_novatel_from_lidar = context.transform(f"{vehicle}/novatel", f"{vehicle}/lidar")
    recording: dict[str, Any] = {
        "schema": SCHEMA,
        "mode": config.mode,
        "detector": config.detector,
        "vehicle": vehicle,
        "roadside": list(roadside),
        "source_bag": str(path),
        "frames_in": len(frames),
        "T_novatel_from_lidar": None if T_novatel_from_lidar is None else T_novatel_from_lidar.tolist(),
        "frames": [_frame_record(item, context, vehicle, roadside) for item in frames],
        "sent": [
            {
                "agent": message.agent_id,
                "session": message.session_id,
                "sequence": message.sequence,
                "stamp_ns": message.stamp_ns,
                "bytes": message.size_bytes,
                "instances": len(message.instances),
            }
            for message in sent
        ],
        "cameras": cameras_of(context, vehicle, roadside),
    }
    result: dict[str, Any] = without_nan(recording)
    return result


def _frame_record(item: OfflineFrame, context: BagContext, vehicle: str, roadside: Sequence[str]) -> dict[str, Any]:
    output, stamp_ns = item.output, item.frame.stamp_ns
    info = context.frame_infos.get(vehicle, {}).get(stamp_ns)
    truth = context.ground_truth.get(stamp_ns)
    associated = association_records(output)
    return {
        "stamp_ns": stamp_ns,
        "frame_index": output.frame_index,
        "sequence_id": "" if info is None else info.sequence_id,
        "frame_id": "" if info is None else info.frame_id,
        "predicted_only": output.predicted_only,
        "pose_known": output.pose_known,
        "T_map_from_lidar": output.T_map_from_sensor.tolist() if output.pose_known else None,
        "tracks": track_records(output.tracks),
        **associated,
        "has_ground_truth": truth is not None,
        "ground_truth": [] if truth is None else [truth_row(item) for item in truth.objects],
        "images": images_of(stamp_ns, info, associated["messages"], context, vehicle, roadside),
        "timings_ms": {**output.timings_ms, "total": sum(output.timings_ms.values())},
    }
