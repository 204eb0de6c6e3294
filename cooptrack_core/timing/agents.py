"""Whole frames of both agents as the nodes run them: image and messages in, tracks and a message out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

from cooptrack_core.config import NetworkConfig, RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.loopback import as_fields
from cooptrack_core.networks import network_of
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent
from cooptrack_core.stage_clock import collect_stages
from cooptrack_core.types import Frame, Refusal

ROADSIDE, VEHICLE = "rsu", "vehicle"
# Marks of the agents that are no stages of their network: name in VehicleOutput.timings_ms, name in tables.
_OF_AGENT = {"cooperate": "late fusion", "advance": "tracker", "trust": "trust"}


@dataclass(frozen=True)
class Sent:
    """A message as it is on the air: fields of cooptrack_msgs/InstanceFeatures."""

    fields: SimpleNamespace
    size_bytes: int


@dataclass(frozen=True)
class Timed:
    """One frame: how long it took, ms, and what came out."""

    whole_ms: float
    stages_ms: Mapping[str, float]  # empty unless they were asked for
    tracks: int
    sent: Sent | None = None
    used_instances: int = 0  # pairs and instances of others that became tracks
    problem: str = ""


def roadside_agent(network: NetworkConfig) -> RoadsideAgent:
    """A roadside unit with a network, warm. Raises CooptrackError for one that cannot run here."""
    config = RoadsideConfig(network=network)
    return RoadsideAgent(ROADSIDE, config, 1, f"{ROADSIDE}/lidar", network=network_of(config))


def vehicle_agent(network: NetworkConfig, mode: str) -> VehicleAgent:
    """A vehicle with a network, warm. Raises CooptrackError for one that cannot run here."""
    config = VehicleConfig(mode=mode, network=network)
    return VehicleAgent(VEHICLE, config, network=network_of(config))


class Stopwatch:
    """Takes the time of frames; with stages, or without, as synchronizing costs time on a GPU."""

    def __init__(self, *, stages: bool = True, synchronize: Callable[[], object] | None = None) -> None:
        self._stages, self._synchronize = stages, synchronize

    def roadside(self, agent: RoadsideAgent, frame: Frame) -> Timed:
        """A frame up to the encoded message."""

        def work() -> Timed:
            done = agent.step(frame)
            message = done.message
            sent = None if message is None else Sent(as_fields(message), message.size_bytes)
            return Timed(0.0, done.timings_ms, len(done.tracks), sent, problem=done.problem)

        return self._timed(work)

    def vehicle(self, agent: VehicleAgent, frame: Frame, messages: Sequence[Sent]) -> Timed:
        """A frame with the messages that came since the last one, which are decoded in it."""

        def work() -> Timed:
            answers = [agent.receive_fields(m.fields, m.size_bytes, frame.stamp_ns) for m in messages]
            done = agent.step(frame)
            a = done.associations
            used = len(a.pair_affinity) + len(a.unmatched_remote_instance_index)
            refused = ", ".join(answer.reason for answer in answers if isinstance(answer, Refusal))
            return Timed(0.0, done.timings_ms, len(done.tracks), None, used, done.problem or refused)

        return self._timed(work)

    def _timed(self, work: Callable[[], Timed]) -> Timed:
        """What `work` says of a frame, whose stages are the marks of its agent, with the times that it took."""
        start_ns = time.perf_counter_ns()
        if not self._stages:
            return replace(work(), whole_ms=self._since_ms(start_ns), stages_ms={})
        with collect_stages(self._synchronize) as stages_ms:
            done = work()
            whole_ms = self._since_ms(start_ns)
        of_agent = {name: done.stages_ms[mark] for mark, name in _OF_AGENT.items() if mark in done.stages_ms}
        return replace(done, whole_ms=whole_ms, stages_ms={**stages_ms, **of_agent})

    def _since_ms(self, start_ns: int) -> float:
        if self._synchronize is not None:
            self._synchronize()
        return (time.perf_counter_ns() - start_ns) / 1e6


__all__ = ["ROADSIDE", "VEHICLE", "Sent", "Stopwatch", "Timed", "roadside_agent", "vehicle_agent"]
