"""The offline twin of the nodes: the same agents stepped over recorded frames, with the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.attack import Attacker
from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.networks import network_of
from cooptrack_core.perception import Network
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent, VehicleOutput
from cooptrack_core.types import Frame, Message, Refusal

# Makes the network that an agent of a configuration needs, None if it needs none.
NetworkMaker = Callable[[RoadsideConfig | VehicleConfig], Network | None]
# What went wrong in a frame: agent and text.
Complaint = Callable[[str, str], None]
# The messages that each frame used, by frame stamp.
Schedule = Mapping[int, list[Message]]


class FrameEvent(Protocol):
    """A frame that an agent got at a certain time of the recording."""

    @property
    def agent_id(self) -> str: ...

    @property
    def log_time_ns(self) -> int: ...

    @property
    def frame(self) -> Frame: ...


@dataclass(frozen=True)
class OfflineFrame:
    """One vehicle frame of an offline run."""

    frame: Frame
    output: VehicleOutput


def run(
    events: Iterable[FrameEvent],
    vehicle: VehicleAgent,
    roadside: Mapping[str, RoadsideAgent],
    *,
    schedule: Schedule | None = None,
    transmit: Callable[[Message], Message] = over_the_air,
    channel: Channel | None = None,
    attacker: Attacker | None = None,
    on_message: Callable[[Message], None] | None = None,
    on_problem: Complaint | None = None,
) -> Iterator[OfflineFrame]:
    """Steps the agents through the events in the order of the recording.

    Messages go through `transmit` and arrive at once, at the log time of their frame, or when
    and how the channel brings them; on_message gets each as it was sent. An attacker changes them before that.
    With a schedule (from the associations and messages of a recorded run) each frame uses exactly the
    messages it used then, and the roadside agents are not stepped. Events of other agents are skipped.
    A frame that a network rejects is a lost one; on_problem hears why.
    """

    def complain(agent_id: str, problem: str) -> None:
        if on_problem is not None:
            on_problem(agent_id, problem)

    if channel is not None and channel.needs_span:
        events = list(events)
        channel.expect(event.frame.stamp_ns for event in events if event.agent_id in roadside)
    T_map_from_vehicle = None
    for event in events:
        if event.agent_id == vehicle.agent_id:
            T_map_from_vehicle = event.frame.T_map_from_sensor
            if channel is not None:
                for arrived, arrival_ns in channel.due(event.log_time_ns, event.frame.stamp_ns):
                    _receive(vehicle, arrived, arrival_ns)
            used = None if schedule is None else schedule.get(event.frame.stamp_ns, [])
            output = vehicle.step(event.frame, used)
            if output.problem:
                complain(vehicle.agent_id, f"{output.problem}; such frames are only predicted")
            for sender, reason in output.unused_features.items():
                complain(vehicle.agent_id, f"features of {sender} are not used, only their objects: {reason}")
            yield OfflineFrame(event.frame, output)
        elif event.agent_id in roadside and schedule is None:
            agent = roadside[event.agent_id]
            done = agent.step(event.frame)
            if done.problem:
                complain(event.agent_id, f"{done.problem}; such frames are only predicted")
            sent = done.message
            if sent is not None:
                received = transmit(sent)
                for item in [received] if attacker is None else attacker.send(received, T_map_from_vehicle):
                    if channel is None:
                        vehicle.receive(item, event.log_time_ns)
                    else:
                        channel.send(item, event.log_time_ns)
                if on_message is not None:
                    on_message(received)


def _receive(vehicle: VehicleAgent, arrived: Message | Refusal, arrival_ns: int) -> None:
    """Hands over a message, or the news that one could not be read, as vehicle_node does."""
    if isinstance(arrived, Refusal):
        vehicle.refuse(arrived.agent_id, arrived.sequence, arrived.reason)
    else:
        vehicle.receive(arrived, arrival_ns)


def make_agents(
    vehicle_id: str,
    roadside_ids: Iterable[str],
    vehicle: VehicleConfig,
    roadside: RoadsideConfig,
    networks: NetworkMaker = network_of,
) -> tuple[VehicleAgent, dict[str, RoadsideAgent]]:
    """A vehicle and its roadside units, ready to run; each with a network of its own if its detector is one."""
    units = {
        name: RoadsideAgent(
            name, roadside, session_id=index, sensor_frame=f"{name}/lidar", network=networks(roadside)
        )
        for index, name in enumerate(roadside_ids, start=1)
    }  # fmt: skip
    return VehicleAgent(vehicle_id, vehicle, network=networks(vehicle)), units


def association_records(output: VehicleOutput) -> dict[str, Any]:
    """The associations, messages and refusals of a frame as in the recording JSON.

    Affinities, ages and positions in the single precision of the message that carries them.
    """
    a = output.associations
    agents = [use.agent_id for use in a.messages]
    return {
        "associations": {
            "pairs": [
                {
                    "agent": agents[a.pair_message_index[i]],
                    "ego_index": int(a.pair_ego_index[i]),
                    "instance_index": int(a.pair_instance_index[i]),
                    "affinity": _single(a.pair_affinity[i]),
                    "track_id": int(a.pair_track_id[i]),
                    "ego_center_m": _single(a.pair_ego_center_m[i]),
                    "remote_center_m": _single(a.pair_remote_center_m[i]),
                }
                for i in range(len(a.pair_affinity))
            ],
            "unmatched_ego": [
                {"index": int(index), "track_id": int(track), "center_m": _single(center)}
                for index, track, center in zip(
                    a.unmatched_ego_index, a.unmatched_ego_track_id, a.unmatched_ego_center_m, strict=True
                )
            ],
            "unmatched_remote": [
                {
                    "agent": agents[a.unmatched_remote_message_index[i]],
                    "instance_index": int(a.unmatched_remote_instance_index[i]),
                    "track_id": int(a.unmatched_remote_track_id[i]),
                    "center_m": _single(a.unmatched_remote_center_m[i]),
                }
                for i in range(len(a.unmatched_remote_instance_index))
            ],
        },
        "messages": [
            {
                "agent": use.agent_id,
                "session": use.session_id,
                "sequence": use.sequence,
                "age_ms": _single(use.age_ms),
                "bytes": use.size_bytes,
            }
            for use in a.messages
        ],
        "refused": [{"agent": r.agent_id, "sequence": r.sequence, "reason": r.reason} for r in output.refusals],
    }


def _single(value: Any) -> Any:
    """A number or a list of numbers after a trip through float32."""
    return np.float32(value).astype(np.float64).tolist()
