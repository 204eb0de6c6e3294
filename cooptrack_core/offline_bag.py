"""Offline runs over a rosbag2 or a dataset sequence: freely, or repeating a recorded run message by message."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.data.bag_events import BagContext, BagEvent, Source, bag_context, bag_events
from cooptrack_core.data.image_events import image_events
from cooptrack_core.data.instance_messages import transmit
from cooptrack_core.data.recorded_run import RecordedRun, read_run
from cooptrack_core.data.recording import SCHEMA, cameras_of, images_of
from cooptrack_core.data.recording_frames import truth_row, without_nan
from cooptrack_core.networks import network_of
from cooptrack_core.offline import NetworkMaker, OfflineFrame, association_records, make_agents, run, track_records
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent
from cooptrack_core.types import CooptrackError, Message

_NO_FRAMES = "topic is missing or empty; name the vehicle of this bag with --vehicle, or make it with cooptrack to-bag"


def track_bag(
    source: Source,
    config: VehicleConfig,
    *,
    vehicle: str = "vehicle",
    roadside: Sequence[str] = ("rsu",),
    roadside_config: RoadsideConfig | None = None,
    networks: NetworkMaker = network_of,
) -> dict[str, Any]:
    """Tracks a bag or a dataset sequence with both agents and gives the recording (docs/data.md).

    Messages arrive without delay. Units have the detector of the vehicle unless roadside_config says otherwise.
    """
    unit_config = roadside_config or RoadsideConfig(detector=config.detector, network=config.network)
    agents = [vehicle, *roadside]
    context = bag_context(source, agents)
    events = _events(source, config.detector, vehicle, roadside, context)
    present = _present(roadside, context) if unit_config.detector == "network" else roadside
    agent, units = make_agents(vehicle, present, config, unit_config, networks)
    sent: list[Message] = []
    complain = _Complaints()
    shown = _with_progress(events, source)
    frames = list(run(shown, agent, units, transmit=transmit, on_message=sent.append, on_problem=complain))
    if not frames:
        raise CooptrackError(f"{path_of(source)}: /{vehicle}/detections_in: {_NO_FRAMES}")
    recording = _recording(source, config, context, vehicle, roadside, frames, sent)
    return recording | networks_used(agent, units)


def repeat_bag(
    source: Source,
    recorded: Path,
    config: VehicleConfig | None = None,
    *,
    vehicle: str = "vehicle",
    roadside: Sequence[str] = ("rsu",),
    networks: NetworkMaker = network_of,
) -> dict[str, Any]:
    """Tracks a bag or a dataset sequence again as a recorded run did: its frames, poses and messages.

    config: None for mode and detector of the run. The result equals what the vehicle node published; how many
    frames do so byte for byte is in `repeated`. Raises CooptrackError if a message that was used is not in
    the recording.
    """
    then = read_run(recorded, vehicle, roadside)
    config = config or VehicleConfig(mode=then.mode, detector=then.detector)
    return repeat_run(source, then, config, vehicle=vehicle, roadside=roadside, networks=networks)


def repeat_run(
    source: Source,
    then: RecordedRun,
    config: VehicleConfig,
    *,
    vehicle: str = "vehicle",
    roadside: Sequence[str] = ("rsu",),
    networks: NetworkMaker = network_of,
) -> dict[str, Any]:
    """repeat_bag of a run that has been read."""
    context = bag_context(source, [vehicle, *roadside])
    agent, _ = make_agents(vehicle, (), config, RoadsideConfig(), networks)
    events = then.as_recorded(_events(source, config.detector, vehicle, (), context))
    frames = []
    for item in run(_with_progress(events, source), agent, {}, schedule=then.schedule, on_problem=_Complaints()):
        then.compare(item.frame.stamp_ns, item.output)
        frames.append(item)
    recording = _recording(source, config, context, vehicle, roadside, frames, then.messages)
    repeated = {
        "frames": len(then.tracks), "equal": then.equal, "first_frame_index": then.first_frame_index
    }  # fmt: skip
    return recording | networks_used(agent, {}) | {"repeated": repeated}


def networks_used(vehicle: VehicleAgent, units: Mapping[str, RoadsideAgent]) -> dict[str, Any]:
    """`weights` of the vehicle and `networks` (preset, fingerprint, whether trained, by agent) for a recording."""
    found = {}
    agents = {vehicle.agent_id: vehicle.network} | {name: unit.network for name, unit in units.items()}
    for name, network in agents.items():
        if network is not None:
            fingerprint = network.fingerprint.hex()
            found[name] = {"preset": network.preset, "trained": network.trained, "fingerprint": fingerprint}
    return {"weights": vehicle.config.network.weights, "networks": found} if found else {}


def path_of(source: Source) -> Path:
    """Where a source lies."""
    return Path(source) if isinstance(source, (str, Path)) else source.path


def _events(
    source: Source, detector: str, vehicle: str, roadside: Sequence[str], context: BagContext
) -> Iterator[BagEvent]:
    """The frames of the agents: made by detections, or by images for a network."""
    make = image_events if detector == "network" else bag_events
    return make(source, vehicle, roadside, context)


def _present(roadside: Sequence[str], context: BagContext) -> list[str]:
    """The units with a camera: no network is made for one that is not there."""
    return [name for name in roadside if name in context.cameras]


class _Complaints:
    """Says what went wrong, each reason once for an agent."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def __call__(self, agent_id: str, problem: str) -> None:
        kind = agent_id, re.sub(r"[-+.\d]+(e[-+]?\d+)?", "#", problem)
        if kind not in self._said:
            self._said.add(kind)
            tqdm.write(f"{agent_id}: {problem}", file=sys.stderr)


def _with_progress(events: Iterable[BagEvent], source: Source) -> Iterator[BagEvent]:
    yield from tqdm(events, desc=f"tracking {path_of(source).name}", unit="frame", disable=None, leave=False)


def _recording(
    source: Source,
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
        "source_bag": str(path_of(source)),
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
