"""The agents' nodes as processes, and what they say of their frames as rows of the table of networks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench.cases import Case
from bench.machine import peak_memory_mb
from bench.tables import NetworkTable

from cooptrack_core.stage_clock import sum_ms
from cooptrack_core.timing.agents import Timed
from cooptrack_core.timing.table import REST, WHOLE, rows_of

NODES = {"rsu": "roadside_node", "vehicle": "vehicle_node"}
AGENTS = tuple(NODES)
PARAMETERS_OF_VEHICLE = {"trust.quarantine": "never"}  # messages come again and again as no honest sender's do
NETWORK = "network"
DECODING = f"{NETWORK}.decode image"
CORE_STAGES = (NETWORK, "perceive", "cooperate", "advance", "trust", "compose")
ROS_IN = ("convert_in", "receive_to_start", "wait_tf")  # from the callback until the frame may begin
ROS_OUT = "publish"  # until the tracks are out
WITHOUT_CORE = "without core"
GOAL_MS = 5.0  # p99 outside core and decoding
GOAL_HZ, LOST_SHARE = 10.0, 0.01  # frames done in full; so many of them may be missing


@dataclass
class AgentProcess:
    """A node in a process of its own."""

    process: subprocess.Popen[bytes]
    started_ns: int  # monotonic
    first_track_ns: int = 0

    def saw(self, objects: int) -> None:
        """Tracks of a frame came."""
        if objects and not self.first_track_ns:
            self.first_track_ns = time.monotonic_ns()

    @property
    def start_s(self) -> float | None:
        """From the start of the process to its first track, as the bench hears of it."""
        return (self.first_track_ns - self.started_ns) / 1e9 if self.first_track_ns else None

    @property
    def peak_mb(self) -> float:
        """Largest memory so far."""
        return peak_memory_mb(self.process.pid)

    def cpu_s(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(agents: Sequence[str], parameters: Mapping[str, object]) -> Iterator[dict[str, AgentProcess]]:
    """Nodes of these agents, as long as it lasts."""
    made: dict[str, AgentProcess] = {}
    try:
        for agent in agents:
            given = dict(parameters) | (PARAMETERS_OF_VEHICLE if agent == "vehicle" else {})
            options = [part for name, value in given.items() for part in ("-p", f"{name}:={value}")]
            command = [sys.executable, "-m", f"cooptrack_ros.{NODES[agent]}", "--ros-args", "-r", f"__ns:=/{agent}"]
            made[agent] = AgentProcess(subprocess.Popen([*command, *options]), time.monotonic_ns())
        yield made
    finally:
        for item in made.values():
            item.process.terminate()
            item.process.wait()


def without_core_ms(frame: Mapping[str, float]) -> float:
    """What a frame took beside core and image decoding, from its callback until its tracks were out."""
    return frame["total"] - sum_ms({stage: frame.get(stage, 0.0) for stage in CORE_STAGES})


def node_rows(frames: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Rows as of a network from debug/timings of frames: whole, ROS in, stages of the core, ROS out, the rest.

    These shares add up. After them: what ROS in consists of, what comes after the tracks, the core without image
    decoding, and all but the core and decoding.
    """
    timed = [Timed(frame["total"], _stages_ms(frame), 0) for frame in frames]
    rows = {row.what: row for row in rows_of(timed)}
    stages = dict.fromkeys(stage for frame in timed for stage in frame.stages_ms if stage != "ROS out")
    found = [asdict(rows[what]) for what in (WHOLE, *stages, "ROS out", REST)]
    parts = {f"in: {stage}": [frame[stage] for frame in frames] for stage in ROS_IN}
    parts |= {"after: the rest": [frame["publish_rest"] for frame in frames]}
    outside = [without_core_ms(frame) for frame in frames]
    core = [frame["total"] - ms - frame.get(DECODING, 0.0) for frame, ms in zip(frames, outside, strict=True)]
    parts |= {"core": core, WITHOUT_CORE: outside}
    total = sum(frame["total"] for frame in frames)
    return [*found, *(_row(what, values, total) for what, values in parts.items())]


def judged_ms(frames: list[dict[str, float]], period_ms: float) -> tuple[float, str]:
    """p99 of what a frame takes without core and decoding, and what of it is left out.

    Where the network takes longer than images come apart, frames wait for it: that wait is not of the ROS path.
    """
    begun = [frame["total"] - frame["receive_to_start"] for frame in frames]
    slow = bool(np.percentile(begun, 90) > period_ms)
    outside = [without_core_ms(frame) - (frame["receive_to_start"] if slow else 0.0) for frame in frames]
    return float(np.percentile(outside, 99)), " without the wait for the network, which is too slow" if slow else ""


def verdict(done_hz: float, sent_hz: float) -> str:
    """Whether an agent keeps up."""
    if sent_hz < GOAL_HZ:
        return f"goal {GOAL_HZ:g} not judged: images come at {sent_hz:g} Hz"
    return f"goal {GOAL_HZ:g}: {'met' if done_hz >= (1 - LOST_SHARE) * GOAL_HZ else 'missed'}"


def add_node(
    table: NetworkTable, case: Case, frames: Sequence[Mapping[str, float]], process: AgentProcess, cores: float
) -> None:
    """The rows of a node that still runs. cores: how many of them it used."""
    facts = {"peak_mb": process.peak_mb, "device_mb": None, "start_s": process.start_s, "cores": cores}
    table.add(case, {"rows": node_rows(frames), "frames": len(frames), **facts})


def _stages_ms(frame: Mapping[str, float]) -> dict[str, float]:
    """Stages that do not lie within each other; of a network those it consists of."""
    parts = {name.removeprefix(f"{NETWORK}."): ms for name, ms in frame.items() if name.startswith(f"{NETWORK}.")}
    if parts:
        parts["network, the rest"] = frame[NETWORK] - sum(parts.values())
    core = {name: frame[name] for name in CORE_STAGES if name in frame and not (parts and name == NETWORK)}
    return {"ROS in": sum(frame[stage] for stage in ROS_IN), **parts, **core, "ROS out": frame[ROS_OUT]}


def _row(what: str, values_ms: Sequence[float], total_ms: float) -> dict[str, Any]:
    p50, p90, p99 = (float(value) for value in np.percentile(values_ms, (50, 90, 99)))
    return {"what": what, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "share": sum(values_ms) / total_ms}
