"""Offline runs over a rosbag2 or a dataset sequence: freely, or repeating a recorded run message by message."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.attack import Attack, Attacker
from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.data.bag_events import BagContext, BagEvent, Source, bag_context, bag_events, matrix_of_pose
from cooptrack_core.data.image_events import image_events
from cooptrack_core.data.instance_messages import cdr_codec, transmit
from cooptrack_core.data.recorded_run import RecordedRun, read_run
from cooptrack_core.data.recording import SCHEMA, cameras_of, images_of
from cooptrack_core.data.recording_frames import missed_rows, sent_row, track_row, truth_fields, without_nan
from cooptrack_core.data.track_messages import published
from cooptrack_core.networks import network_of
from cooptrack_core.offline import NetworkMaker, OfflineFrame, association_records, make_agents, run
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent
from cooptrack_core.progress import progress_bar
from cooptrack_core.stage_clock import sum_ms
from cooptrack_core.types import ClockOffset, CooptrackError, Message

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
    drive = drive_of(source, config.detector, vehicle=vehicle, roadside=roadside)
    return track_drive(drive, config, roadside_config=roadside_config, networks=networks)


@dataclass(frozen=True)
class Drive:
    """The frames of a vehicle and its units in a bag or a sequence, and what a recording joins to them.

    `kept` (all frames in memory) lets a drive be tracked again and again; without it the frames are read each time.
    alone: the units do not run, nothing of what they see is read.
    """

    source: Source
    context: BagContext
    detector: str
    vehicle: str
    roadside: tuple[str, ...]
    kept: tuple[BagEvent, ...] | None = None
    alone: bool = False

    def channel(self, disturbance: Disturbance) -> Channel | None:
        """What becomes of messages on this drive, None if nothing does. Its key is the dataset's sequence id."""
        if disturbance.is_none:
            return None
        infos = self.context.frame_infos
        stamps = [stamp_ns for unit in self.roadside for stamp_ns in infos.get(unit, {})]
        span_ns = (min(stamps), max(stamps)) if stamps else None
        return Channel(disturbance, self._key, span_ns, cdr_codec())

    @property
    def _key(self) -> str:
        """The dataset's sequence ids."""
        infos = self.context.frame_infos.values()
        return " ".join(sorted({info.sequence_id for agent in infos for info in agent.values()}))

    def attacker(self, attack: Attack) -> Attacker | None:
        """Who attacks on this drive, None if nobody does. Its key is that of the channel."""
        return Attacker(attack, self._key) if attack.name else None

    def units(self, detector: str) -> tuple[str, ...]:
        """The units to run; of a network only those with a camera: none is made for one that is not there."""
        if self.alone:
            return ()
        return tuple(name for name in self.roadside if detector != "network" or name in self.context.cameras)

    def events(self) -> Iterable[BagEvent]:
        """The frames in the order of the recording."""
        if self.kept is not None:
            return self.kept
        return _events(self.source, self.detector, self.vehicle, () if self.alone else self.roadside, self.context)


def drive_of(
    source: Source, detector: str, *, vehicle: str = "vehicle", roadside: Sequence[str] = ("rsu",), keep: bool = False,
    alone: bool = False,
) -> Drive:  # fmt: skip
    """Reads the context of a bag or a dataset sequence, with keep also the frames; alone: those of the vehicle only."""
    context = bag_context(source, [vehicle, *roadside])
    drive = Drive(source, context, detector, vehicle, tuple(roadside), alone=alone)
    return replace(drive, kept=tuple(drive.events())) if keep else drive


def track_drive(
    drive: Drive,
    config: VehicleConfig,
    *,
    roadside_config: RoadsideConfig | None = None,
    networks: NetworkMaker = network_of,
    channel: Channel | None = None,
    attacker: Attacker | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """track_bag of a drive; channel: what becomes of messages on the way, None: they arrive at once, unchanged.

    attacker: who changes them before that.
    """
    unit_config = roadside_config or RoadsideConfig(detector=config.detector, network=config.network)
    source, context, vehicle = drive.source, drive.context, drive.vehicle
    agent, units = make_agents(vehicle, drive.units(unit_config.detector), config, unit_config, networks)
    sent: list[Message] = []
    events = _with_progress(drive.events(), source) if progress else drive.events()
    hear, complain = sent.append, _Complaints()
    frames = list(
        run(
            events, agent, units, transmit=transmit, channel=channel, attacker=attacker, on_message=hear,
            on_problem=complain,
        )
    )  # fmt: skip
    if not frames:
        raise CooptrackError(f"{path_of(source)}: /{vehicle}/detections_in: {_NO_FRAMES}")
    recording = _recording(source, config, context, vehicle, drive.roadside, frames, sent)
    if channel is not None:
        recording["channel"] = {"disturbance": channel.disturbance.describe(), **channel.counts}
    if clocks := _clocks(frames[-1].output.clock_offsets):
        recording["clock_offsets"] = clocks
    if attacker is not None:
        recording["attack"] = {"attack": attacker.attack.describe(), "began_ns": attacker.began_ns, **attacker.counts}
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


def _clocks(offsets: Mapping[str, ClockOffset]) -> dict[str, Any]:
    """Estimates by agent, in ms; those that are not known are left out."""
    known = {agent: found for agent, found in offsets.items() if math.isfinite(found.offset_ms)}
    return {
        agent: {
            "offset_ms": round(found.offset_ms, 1), "std_ms": round(found.std_ms, 1), "pairs": found.count,
            "objects": found.objects,
        }
        for agent, found in sorted(known.items())
    }  # fmt: skip


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
    yield from progress_bar(events, desc=f"tracking {path_of(source).name}", unit="frame")


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
        "frames": [_frame_record(item, config, context, vehicle, roadside) for item in frames],
        "missed": missed_rows(context, vehicle, [item.frame.stamp_ns for item in frames]),
        "sent": [sent_row(message) for message in sent],
        "cameras": cameras_of(context, vehicle, roadside),
    }
    result: dict[str, Any] = without_nan(recording)
    return result


def _frame_record(
    item: OfflineFrame, config: VehicleConfig, context: BagContext, vehicle: str, roadside: Sequence[str]
) -> dict[str, Any]:
    output, stamp_ns = item.output, item.frame.stamp_ns
    info = context.frame_infos.get(vehicle, {}).get(stamp_ns)
    message = published(output, vehicle, config.mode, config.detector)
    T = matrix_of_pose(message.map_from_frame) if output.pose_known else None
    associated = association_records(output)
    return {
        "stamp_ns": stamp_ns,
        "frame_index": output.frame_index,
        "sequence_id": "" if info is None else info.sequence_id,
        "frame_id": "" if info is None else info.frame_id,
        "predicted_only": output.predicted_only,
        "pose_known": output.pose_known,
        "T_map_from_lidar": None if T is None else T.tolist(),
        "tracks": [track_row(item) for item in message.objects],
        **associated,
        **truth_fields(context.ground_truth.get(stamp_ns)),
        "images": images_of(stamp_ns, info, associated["messages"], context, vehicle, roadside),
        "timings_ms": {**output.timings_ms, "total": sum_ms(output.timings_ms)},
    }
