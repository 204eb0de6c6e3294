"""What vehicle and roadside report in the frames of a sequence, kept: trackers and gates run on it again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import LateFusionConfig, RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.late_fusion import align
from cooptrack_core.data.bag_events import BagEvent
from cooptrack_core.data.instance_messages import transmit
from cooptrack_core.data.recording_frames import missed_rows
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet
from cooptrack_core.geometry.boxes import wrap_angle
from cooptrack_core.geometry.transforms import apply, rotate_xy, yaw_of
from cooptrack_core.offline import NetworkMaker, make_agents, run
from cooptrack_core.offline_bag import Drive, path_of
from cooptrack_core.perception import Network, NetworkOutput
from cooptrack_core.pipeline import VehicleAgent
from cooptrack_core.progress import progress_bar
from cooptrack_core.types import Frame, Instances, Message, TrackedObjects

if TYPE_CHECKING:
    from cooptrack_core.evaluation.run import SequenceRunner

Float = NDArray[np.float64]
Objects = Instances | TrackedObjects


@dataclass(frozen=True)
class Reported:
    """One sequence: the vehicle's frames with all that its detector reports, and the messages that each can use.

    T_map_from_sensor: pose of each frame as the vehicle knows it.
    """

    sequence_id: str
    vehicle: str
    events: tuple[BagEvent, ...]
    schedule: Mapping[int, list[Message]]  # by frame stamp
    T_map_from_sensor: tuple[Float, ...]

    def tracked(self, config: VehicleConfig) -> Iterator[tuple[int, TrackedObjects]]:
        """Stamp and tracks of every frame, of a vehicle with other gates or another tracker (modes ego and late)."""
        agent = VehicleAgent(self.vehicle, replace(config, detector="simulated"))
        agent.hears_as(config.detector)
        for item in run(self.events, agent, {}, schedule=self.schedule):
            yield item.frame.stamp_ns, item.output.tracks

    def own(self, min_score: float) -> Iterator[tuple[int, Instances]]:
        """Stamp and what the vehicle's detector reports from that score on."""
        for event in self.events:
            seen = event.frame.detections
            if seen is not None:
                yield event.frame.stamp_ns, seen.select(seen.score >= min_score)

    def received(self, config: LateFusionConfig) -> Iterator[tuple[int, Instances]]:
        """Stamp and the instances of each message as sent, moved to the vehicle's frame and its time."""
        as_sent = replace(config, remote_score_scale=1.0, remote_score_offset=0.0)
        for event, T in zip(self.events, self.T_map_from_sensor, strict=True):
            stamp_ns = event.frame.stamp_ns
            for message in self.schedule.get(stamp_ns, ()):
                yield stamp_ns, align(message, stamp_ns, T, as_sent)[0]


def reported(runner: SequenceRunner, roadside: RoadsideConfig | None = None) -> list[Reported]:
    """Every sequence of a runner, with its vehicle and its roadside or another; a network runs once over each."""
    options = runner.options
    drives = {name: runner.drive(name, options.vehicle.detector) for name in runner.sequences}
    return [
        _of_drive(name, drive, options.vehicle, roadside or options.roadside, runner.networks)
        for name, drive in progress_bar(drives.items(), desc="detections for tuning", unit="sequence")
    ]


def truth(runner: SequenceRunner, detector: str | None = None) -> EvaluationSet:
    """The ground truth of the same sequences under the runner's convention; no predictions.

    detector: for whose frames; "network" reads nothing for a simulated one. None: that of the runner.
    """
    detector = detector or runner.options.vehicle.detector
    rows = [_truth_rows(runner.drive(name, detector)) for name in runner.sequences]
    return evaluation_set(rows, runner.options.convention)


def _truth_rows(drive: Drive) -> dict[str, object]:
    """A recording in which every frame with ground truth was missed."""
    T = drive.context.transform(f"{drive.vehicle}/novatel", f"{drive.vehicle}/lidar")
    return {
        "source_bag": str(path_of(drive.source)),
        "vehicle": drive.vehicle,
        "T_novatel_from_lidar": None if T is None else T.tolist(),
        "frames": [],
        "missed": missed_rows(drive.context, drive.vehicle, ()),
    }


def with_predictions(data: EvaluationSet, found: Iterable[tuple[str, Iterable[tuple[int, Objects]]]]) -> EvaluationSet:
    """The set with these objects (sequence, then stamp and objects in the lidar frame) as predictions.

    Positions in the map are those by the true poses, as in `evaluation_set`; frames that are not scored are left out.
    """
    frames = data.frames
    assert frames.T_map_from_lidar is not None, "sets of recordings have poses"
    row_of = {(int(s), int(t)): n for n, (s, t) in enumerate(zip(frames.scene, frames.timestamp_us, strict=True))}
    scene_of = {name: n for n, name in enumerate(frames.scene_names)}
    parts: list[tuple[int, Objects]] = []
    for name, items in found:
        for stamp_ns, objects in items:
            row = row_of.get((scene_of[name], stamp_ns // 1000))
            if row is not None:
                parts.append((row, _known_classes(objects, len(data.class_names))))
    parts.sort(key=lambda part: part[0])
    return replace(data, predictions=_table(parts, frames.T_map_from_lidar, frames.scene))


def _known_classes(objects: Objects, classes: int) -> Objects:
    kept = objects.class_id < classes
    if isinstance(objects, Instances):
        return objects.select(kept)
    columns = {
        name: getattr(objects, name)[kept]
        for name in ("track_id", "class_id", "score", "center_m", "size_m", "heading_rad", "velocity_mps")
    }
    return replace(objects, **columns)


def _table(parts: Sequence[tuple[int, Objects]], T_map: Float, scene: NDArray[np.int64]) -> BoxTable:
    if not parts:
        return BoxTable.empty()
    frame = np.repeat([row for row, _ in parts], [len(objects.score) for _, objects in parts]).astype(np.int64)
    ids = np.concatenate([_identity(objects) for _, objects in parts])
    _, track = np.unique(np.stack([scene[frame], ids], axis=1), axis=0, return_inverse=True)
    return BoxTable(
        frame,
        np.concatenate([objects.class_id for _, objects in parts]),
        track.reshape(-1).astype(np.int64),
        np.concatenate([apply(T_map[row], objects.center_m) for row, objects in parts]),
        np.concatenate([objects.size_m for _, objects in parts]),
        np.concatenate([wrap_angle(objects.heading_rad + yaw_of(T_map[row])) for row, objects in parts]),
        np.concatenate([rotate_xy(T_map[row], objects.velocity_mps) for row, objects in parts]),
        np.concatenate([objects.score for _, objects in parts]),
    )


def _identity(objects: Objects) -> NDArray[np.int64]:
    return objects.instance_id if isinstance(objects, Instances) else objects.track_id


def _of_drive(
    name: str, drive: Drive, vehicle: VehicleConfig, roadside: RoadsideConfig, networks: NetworkMaker
) -> Reported:
    """Runs both sides once in mode late, with whatever score, and keeps what they report."""
    config = replace(vehicle, mode="late", min_score=0.0)
    agent, units = make_agents(drive.vehicle, drive.units(roadside.detector), config, roadside, networks)
    heard = None
    if agent.network is not None:
        heard = _Overheard(agent.network)
        agent.network = cast("Network", heard)
    sent: dict[tuple[str, int, int], Message] = {}
    events: list[BagEvent] = []
    schedule: dict[int, list[Message]] = {}
    poses: list[Float] = []
    latest: dict[str, BagEvent] = {}

    def passing() -> Iterator[BagEvent]:
        for event in drive.events():
            latest[event.agent_id] = event
            yield event

    def keep(message: Message) -> None:
        sent[message.agent_id, message.session_id, message.sequence] = message

    for item in run(passing(), agent, units, transmit=transmit, on_message=keep):
        frame, output = item.frame, item.output
        seen = frame.detections if heard is None else heard.detections.get(frame.stamp_ns)
        lean = Frame(frame.stamp_ns, frame.T_map_from_sensor, seen)  # without its image
        events.append(replace(latest[drive.vehicle], frame=lean))
        uses = output.associations.messages
        schedule[frame.stamp_ns] = [sent[use.agent_id, use.session_id, use.sequence] for use in uses]
        poses.append(output.T_map_from_sensor)
    return Reported(name, drive.vehicle, tuple(events), schedule, tuple(poses))


class _Overheard:
    """A network that does what it always does; its detections are kept by frame stamp."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.detections: dict[int, Instances] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def step(self, frame: Frame, T_map_from_sensor: Float, messages: Sequence[Message]) -> NetworkOutput:
        output = self._network.step(frame, T_map_from_sensor, messages)
        self.detections[frame.stamp_ns] = replace(output.detections, features=None)
        return output


__all__ = ["Reported", "reported", "truth", "with_predictions"]
