"""A drive made by hand whose messages tests disturb: cars that the vehicle, the roadside unit or both see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scenarios import STEP_NS, cars, frame, yawed
from simulated import UNIT

from cooptrack_core.config import VehicleConfig
from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.data.recording_frames import track_row
from cooptrack_core.data.track_messages import published
from cooptrack_core.offline import association_records, make_agents, run
from cooptrack_core.types import Frame

FRAMES = 60
VEHICLE_KNOWN_NS, ROADSIDE_KNOWN_NS = 60_000_000, 20_000_000  # from a frame's stamp until the agent has it
T_MAP_FROM_ROADSIDE = yawed(np.pi / 2, 40.0, -20.0)


@dataclass(frozen=True)
class Event:
    """A frame of an agent in the recording."""

    agent_id: str
    log_time_ns: int
    frame: Frame


def drive(frames: int = FRAMES) -> list[Event]:
    """A vehicle driving at 5 m/s towards cars; one is seen by both, one by each alone; noise of 0.1 m."""
    events = []
    rng = np.random.default_rng(5)
    for i in range(frames):
        T_vehicle = yawed(0.0, 0.5 * i, 0.0)
        in_map = {"both": (45.0, 0.0), "vehicle": (20.0 + 0.8 * i, 4.0), "roadside": (42.0, -6.0 + 0.3 * i)}
        for agent, T, known_ns in (
            ("rsu", T_MAP_FROM_ROADSIDE, ROADSIDE_KNOWN_NS), ("vehicle", T_vehicle, VEHICLE_KNOWN_NS),
        ):  # fmt: skip
            own = "roadside" if agent == "rsu" else "vehicle"
            seen = [np.linalg.inv(T) @ (*in_map[name], 0.0, 1.0) for name in ("both", own)]
            places = [point[:2] + 0.1 * rng.standard_normal(2) for point in seen]
            made = frame(i, cars(*places), T)
            events.append(Event(agent, made.stamp_ns + known_ns, made))
    return events


def tracked(events: list[Event], mode: str = "late", channel: Channel | None = None) -> list[dict]:
    """Every frame of a run as it stands in a recording, with the stamp."""
    vehicle, units = make_agents("vehicle", ("rsu",), VehicleConfig(mode=mode, detector="simulated"), UNIT)
    frames = run(events, vehicle, units, channel=channel)
    rows = []
    for item in frames:
        tracks = [track_row(track) for track in published(item.output, "vehicle", mode, "simulated").objects]
        row = {"stamp_ns": item.frame.stamp_ns, "T_map_from_lidar": item.output.T_map_from_sensor.tolist()}
        rows.append({**row, "tracks": tracks, **association_records(item.output)})
    return rows


def disturbed(key: str = "0001", frames: int = FRAMES, **disturbance) -> list[dict]:
    """The same drive with disturbed messages."""
    return tracked(drive(frames), channel=Channel(Disturbance(**disturbance), key))


def ages_ms(frames: list[dict]) -> list[float]:
    """Of the messages used."""
    return [use["age_ms"] for frame in frames for use in frame["messages"]]


def refusals(frames: list[dict]) -> dict[str, int]:
    """How many messages were refused, by reason."""
    reasons = [item["reason"] for frame in frames for item in frame["refused"]]
    return {reason: reasons.count(reason) for reason in reasons}


__all__ = ["FRAMES", "STEP_NS", "T_MAP_FROM_ROADSIDE", "Event", "ages_ms", "disturbed", "drive", "refusals", "tracked"]
