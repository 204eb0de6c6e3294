"""A run as the recorder writes it, made offline, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.bag_events import BagEvent, Source, bag_context, bag_events
from cooptrack_core.data.bag_messages import make
from cooptrack_core.data.bag_writer import BagWriter
from cooptrack_core.data.image_events import image_events
from cooptrack_core.data.instance_messages import instances_message, transmit
from cooptrack_core.data.track_messages import tracks_message
from cooptrack_core.offline import NetworkMaker, make_agents
from cooptrack_core.pipeline import VehicleOutput


def record(
    source: Source,
    path: Path,
    config: VehicleConfig,
    networks: NetworkMaker,
    *,
    change: Callable[[BagEvent, int], BagEvent] = lambda event, _: event,
    heard: Callable[[int], bool] = lambda sequence: True,
    index_from: int = 1,
    kept: tuple[str, ...] = ("tracks", "associations", "instances"),
    **sending: Any,
) -> list[VehicleOutput]:
    """Runs both agents as the nodes do and records them.

    change(event, n): what becomes of the n-th frame of an agent; heard: which messages reach the vehicle;
    index_from: the first frame that is recorded; sending: of the roadside unit's configuration.
    """
    context = bag_context(source, ["vehicle", "rsu"])
    vehicle, units = make_agents(
        "vehicle",
        ["rsu"],
        config,
        RoadsideConfig(detector=config.detector, network=config.network, **sending),
        networks,
    )
    read = image_events if config.detector == "network" else bag_events
    outputs: list[VehicleOutput] = []
    count = {"vehicle": 0, "rsu": 0}
    with BagWriter(path) as bag:
        for event in read(source, context=context):
            count[event.agent_id] += 1
            event = change(event, count[event.agent_id])
            log_ns = event.log_time_ns + 2_000_000
            if event.agent_id == "rsu":
                sent = units["rsu"].step(event.frame).message
                if sent is not None:
                    if "instances" in kept:
                        bag.write("/rsu/instances", log_ns, instances_message(sent))
                    if heard(sent.sequence):
                        vehicle.receive(transmit(sent), event.log_time_ns)
                continue
            output = vehicle.step(event.frame)
            outputs.append(output)
            if output.frame_index < index_from:
                continue
            if "tracks" in kept:
                tracks = tracks_message(output, "vehicle/lidar", "vehicle", config.mode, config.detector)
                bag.write("/vehicle/tracks", log_ns, tracks)
            if "associations" in kept:
                bag.write("/vehicle/associations", log_ns + 1, associations(output, config.mode))
    return outputs


def associations(output: VehicleOutput, mode: str) -> Any:
    """cooptrack_msgs/AssociationArray without the refusals."""
    a, used = output.associations, output.associations.messages
    head = messages.header(output.tracks.stamp_ns, "vehicle/lidar")
    u64, u32, f32 = np.uint64, np.uint32, np.float32
    links = [
        np.asarray(values, dtype).ravel()
        for values, dtype in (
            (a.pair_ego_index, u32), (a.pair_message_index, u32), (a.pair_instance_index, u32),
            (a.pair_affinity, f32), (a.pair_track_id, u64), (a.pair_ego_center_m, f32), (a.pair_remote_center_m, f32),
            (a.unmatched_ego_index, u32), (a.unmatched_ego_track_id, u64), (a.unmatched_ego_center_m, f32),
            (a.unmatched_remote_message_index, u32), (a.unmatched_remote_instance_index, u32),
            (a.unmatched_remote_track_id, u64), (a.unmatched_remote_center_m, f32),
        )
    ]  # fmt: skip
    return make(
        "cooptrack_msgs/msg/AssociationArray", head, "vehicle", mode, output.frame_index, output.ego_lost,
        [use.agent_id for use in used], np.array([use.session_id for use in used], u64),
        np.array([use.sequence for use in used], u64), np.array([use.age_ms for use in used], f32),
        np.array([use.size_bytes for use in used], u32), [], np.zeros(0, u64), [], *links,
        [key[0] for key in output.admitted], np.array([key[1] for key in output.admitted], u64),
        np.array([key[2] for key in output.admitted], u64),
    )  # fmt: skip


def lost(event: BagEvent) -> BagEvent:
    """The event of a frame that load has cost."""
    return replace(event, frame=replace(event.frame, detections=None, image=None, camera=None))


def without_pose(event: BagEvent) -> BagEvent:
    """The event of a frame whose pose did not come in time."""
    return replace(event, frame=replace(event.frame, T_map_from_sensor=None))
