"""The recording: what came out of a run, joined with what went in, as plain dicts and JSON (docs/data.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.wire import WireError, decode
from cooptrack_core.data.bag import Bag, stamp_of
from cooptrack_core.data.bag_events import BagContext, FrameInfo, agents_of, bag_context, matrix_of_pose
from cooptrack_core.data.bag_images import BagImages
from cooptrack_core.data.files import expect_object, problem, read_json, write_file
from cooptrack_core.data.recording_check import check_recording
from cooptrack_core.data.recording_frames import (
    Row,
    association_rows,
    empty_association_rows,
    missed_rows,
    sent_row,
    timing_row,
    track_row,
    truth_fields,
    without_nan,
)
from cooptrack_core.geometry.transform_buffer import TransformError
from cooptrack_core.types import Message

Float = NDArray[np.float64]

SCHEMA = "cooptrack/recording/1"
_NEAR_NS = 200_000_000  # a roadside image further away than this from the vehicle's frame is not shown


@dataclass
class _Recorded:
    """What the recorded bag holds of one vehicle and its roadside units."""

    tracks: list[tuple[int, Any]] = field(default_factory=list)  # log time, TrackedObjectArray
    associations: dict[tuple[int, int], Any] = field(default_factory=dict)  # stamp, frame index
    timings: dict[int, list[tuple[int, Any]]] = field(default_factory=dict)  # stamp -> log time, StageTimings
    sent: list[Row] = field(default_factory=list)


def recording_from_bags(
    recorded: Path | str, source: Path | str, vehicle: str | None = None, roadside: Sequence[str] | None = None
) -> dict[str, Any]:
    """The recording of one vehicle: tracks, associations and timings of `recorded`, joined with the ground truth,
    frames, images and cameras of `source` by perception stamp.

    vehicle: its namespace, found by its associations if not given; roadside: theirs, by default every other
    agent of the source. Raises CooptrackError where a bag lacks what is needed.
    """
    vehicle = vehicle or _find_vehicle(recorded)
    with Bag(source) as bag:
        found = [agent for agent in agents_of(bag.topics, "frame_info") if agent != vehicle]
        frames_in = bag.count(f"/{vehicle}/detections_in") or bag.count(f"/{vehicle}/frame_info")
    units = list(found if roadside is None else roadside)
    context = bag_context(source, [vehicle, *units], need_tf=False)  # without poses only the cameras are missing
    taken = _read_recorded(recorded, vehicle, units)
    if not taken.tracks:
        raise problem(recorded, f"/{vehicle}/tracks", "topic is missing or empty", "record the vehicle's tracks")
    first = taken.tracks[0][1]
    frames = [_frame(log_ns, message, taken, context, vehicle, units) for log_ns, message in taken.tracks]
    T_novatel_from_lidar = context.transform(f"{vehicle}/novatel", f"{vehicle}/lidar")
    recording = {
        "schema": SCHEMA,
        "mode": str(first.mode),
        "detector": str(first.detector),
        "vehicle": vehicle,
        "roadside": units,
        "source_bag": str(source),
        "recorded_bag": str(recorded),
        "frames_in": frames_in,
        "T_novatel_from_lidar": None if T_novatel_from_lidar is None else T_novatel_from_lidar.tolist(),
        "frames": frames,
        "missed": missed_rows(context, vehicle, [frame["stamp_ns"] for frame in frames]),
        "sent": taken.sent,
        "cameras": cameras_of(context, vehicle, units),
    }
    result: dict[str, Any] = without_nan(recording)
    return result


def write_recording(recording: dict[str, Any], path: Path | str) -> None:
    """Writes a recording as JSON; CooptrackError where the file cannot be written."""
    write_file(Path(path), json.dumps(recording, allow_nan=False))


def load_recording(path: Path | str) -> dict[str, Any]:
    """A recording as written by `cooptrack from-bag`; CooptrackError for anything else."""
    source = Path(path)
    recording = expect_object(read_json(source, "give a recording of cooptrack evaluate, track or from-bag"), source)
    if recording.get("schema") != SCHEMA:
        what = f"is {recording.get('schema')!r}, not {SCHEMA!r}"
        raise problem(source, "schema", what, "write the recording again with cooptrack from-bag")
    check_recording(recording, source)
    return recording


def images(source_bag: Path | str) -> BagImages:
    """Lookup (agent, stamp_ns) -> JPEG bytes or None in the source bag of a recording."""
    return BagImages(source_bag)


def _find_vehicle(recorded: Path | str) -> str:
    with Bag(recorded) as bag:
        found = agents_of(bag.topics, "associations")
        if not found:
            what = "no /<vehicle>/associations topic in the bag"
            raise problem(recorded, "associations", what, "record the vehicle's topics or name it with --vehicle")
        if len(found) > 1:
            raise problem(recorded, "associations", f"several vehicles: {', '.join(found)}", "choose with --vehicle")
        return found[0]


def _read_recorded(path: Path | str, vehicle: str, roadside: Sequence[str]) -> _Recorded:
    taken = _Recorded()
    tracks, associations, timings = (f"/{vehicle}/{name}" for name in ("tracks", "associations", "debug/timings"))
    instances = {f"/{agent}/instances": agent for agent in roadside}
    with Bag(path) as bag:
        for item in bag.messages([tracks, associations, timings, *instances], open_topics=instances):
            message = item.message
            if item.topic == tracks:
                taken.tracks.append((item.log_time_ns, message))
            elif item.topic == associations:
                taken.associations[stamp_of(message), int(message.frame_index)] = message
            elif item.topic == timings:
                taken.timings.setdefault(stamp_of(message), []).append((item.log_time_ns, message))
            elif (sent := _decoded(message, item.size_bytes)) is not None:  # others sent what nobody could read
                taken.sent.append(sent_row(sent))
    return taken


def _decoded(message: Any, size_bytes: int) -> Message | None:
    try:
        return decode(message, size_bytes)
    except WireError:
        return None


def _frame(
    log_ns: int, message: Any, taken: _Recorded, context: BagContext, vehicle: str, roadside: Sequence[str]
) -> Row:
    stamp_ns = stamp_of(message)
    info = context.frame_infos.get(vehicle, {}).get(stamp_ns)
    association = taken.associations.get((stamp_ns, int(message.frame_index)))
    T = matrix_of_pose(message.map_from_frame) if message.pose_known else None
    linked = empty_association_rows() if association is None else association_rows(association)
    # After a loop of the bag a stamp comes again: the timings that belong are those logged nearest.
    timing = min(taken.timings.get(stamp_ns, []), key=lambda entry: abs(entry[0] - log_ns), default=None)
    return {
        "stamp_ns": stamp_ns,
        "frame_index": int(message.frame_index),
        "sequence_id": "" if info is None else info.sequence_id,
        "frame_id": "" if info is None else info.frame_id,
        "predicted_only": bool(message.predicted_only),
        "pose_known": bool(message.pose_known),
        "T_map_from_lidar": None if T is None else T.tolist(),
        "tracks": [track_row(item) for item in message.objects],
        **linked,
        **truth_fields(context.ground_truth.get(stamp_ns)),
        "images": images_of(stamp_ns, info, linked["messages"], context, vehicle, roadside),
        **poses_of(stamp_ns, context, roadside),
        "timings_ms": {} if timing is None else timing_row(timing[1]),
    }


def images_of(
    stamp_ns: int,
    info: FrameInfo | None,
    messages: Sequence[Row],
    context: BagContext,
    vehicle: str,
    roadside: Sequence[str],
) -> Row:
    """The image of the frame, and of each roadside unit that of the message used, else the nearest in time."""
    found = {} if info is None else {vehicle: info}
    for agent in roadside:
        used = next((stamp_ns - round(m["age_ms"] * 1e6) for m in messages if m["agent"] == agent), stamp_ns)
        infos = context.frame_infos.get(agent, {}).values()
        nearest = min(infos, key=lambda i: abs(i.stamp_ns - used), default=None)
        if nearest is not None and abs(nearest.stamp_ns - stamp_ns) <= _NEAR_NS:
            found[agent] = nearest
    return {
        agent: {"topic": f"/{agent}/image/compressed", "stamp_ns": item.image_stamp_ns} for agent, item in found.items()
    }


def poses_of(stamp_ns: int, context: BagContext, roadside: Sequence[str]) -> Row:
    """poses: T_map_from_lidar of the other agents that move, where it is known at that time; nothing if none does."""
    moving = {agent: context.pose(agent, f"{agent}/lidar", stamp_ns) for agent in roadside if _moves(agent, context)}
    poses = {agent: T.tolist() for agent, T in moving.items() if T is not None}
    return {"poses": poses} if poses else {}


def _moves(agent: str, context: BagContext) -> bool:
    try:
        return context.transforms.latest_common_ns("map", f"{agent}/lidar") > 0
    except TransformError:
        return True


def cameras_of(context: BagContext, vehicle: str, roadside: Sequence[str]) -> Row:
    """Camera models and mounting of the agents whose camera_info and transforms are in the bag."""
    result: Row = {}
    for agent in (vehicle, *roadside):
        camera = context.cameras.get(agent)
        T_camera_from_lidar = context.transform(f"{agent}/camera", f"{agent}/lidar")
        if camera is None or T_camera_from_lidar is None:
            continue
        row = {
            "K": camera.K.tolist(),
            "width": camera.width_px,
            "height": camera.height_px,
            "T_camera_from_lidar": T_camera_from_lidar.tolist(),
        }
        T_map_from_lidar = None if _moves(agent, context) else context.transform("map", f"{agent}/lidar")
        result[agent] = row if T_map_from_lidar is None else row | {"T_map_from_lidar": T_map_from_lidar.tolist()}
    return result


__all__ = ["SCHEMA", "cameras_of", "images", "images_of", "load_recording", "recording_from_bags", "write_recording"]
