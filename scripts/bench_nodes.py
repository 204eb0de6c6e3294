#!/usr/bin/env python3
"""Both agents' nodes under load: time from the callback to the published tracks beside the core's own, and CPU use.

Run in a sourced environment (`make bench` does). Prints one table with the machine beside it. Machines
are shared and noisy: compare only within one run.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.serialization import serialize_message
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from cooptrack_msgs.msg import AssociationArray, StageTimings
from cooptrack_ros.conversions import stamp_message

CORE_STAGES = ("perceive", "cooperate", "advance", "trust", "compose")
AGENTS = ("rsu", "vehicle")
NODES = {"rsu": "roadside_node", "vehicle": "vehicle_node"}
PARAMETERS = ("-p", "detector:=simulated", "-p", "mode:=late")  # the nodes' own time, not that of a network
OF_VEHICLE = ("-p", "trust.quarantine:=never")  # messages come again and again as no honest sender's do
TF_HZ = 50.0


def detections(agent: str, stamp_ns: int, index: int, count: int, rng: np.random.Generator) -> bytes:
    """Serialised cars on a grid, seen with noise; both sides see the same ones."""
    message = Detection3DArray()
    message.header.stamp, message.header.frame_id = stamp_message(stamp_ns), f"{agent}/lidar"
    side = int(np.ceil(np.sqrt(count)))
    for number in range(count):
        item = Detection3D(results=[ObjectHypothesisWithPose()])
        item.results[0].hypothesis.class_id, item.results[0].hypothesis.score = "car", 0.8
        box = item.bbox
        box.center.position.x = 2.0 + 6.0 * (number % side) + 0.05 * index + rng.normal(0.0, 0.2)
        box.center.position.y = -20.0 + 6.0 * (number // side) + rng.normal(0.0, 0.2)
        box.size.x, box.size.y, box.size.z = 4.4, 1.8, 1.5
        message.detections.append(item)
    return serialize_message(message)


def poses(stamp_ns: int) -> TFMessage:
    """Both sensors at the map's origin."""
    message = TFMessage()
    for agent in AGENTS:
        item = TransformStamped(child_frame_id=f"{agent}/lidar")
        item.header.frame_id, item.header.stamp = "map", stamp_message(stamp_ns)
        message.transforms.append(item)
    return message


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench(Node):
    """Feeds the agents and collects their timings."""

    def __init__(self) -> None:
        super().__init__("bench")
        self.timings: dict[str, list[dict[str, float]]] = {agent: [] for agent in AGENTS}
        self.bytes: list[int] = []
        self.frames = {a: self.create_publisher(Detection3DArray, f"/{a}/detections_in", 10) for a in AGENTS}
        self.tf = self.create_publisher(TFMessage, "/tf", 100)
        self._subscriptions_made = [
            self.create_subscription(StageTimings, f"/{agent}/debug/timings", self._taker(agent), 50)
            for agent in AGENTS
        ]
        self.create_subscription(AssociationArray, "/vehicle/associations", self._on_associations, 50)

    def _taker(self, agent: str):
        return lambda m: self.timings[agent].append(dict(zip(m.stage, m.duration_ms, strict=True)))

    def _on_associations(self, message: AssociationArray) -> None:
        self.bytes += list(message.message_bytes)

    def spin_until(self, due_s: float) -> None:
        while (left := due_s - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=left)

    def wait_for_agents(self) -> None:
        deadline = time.monotonic() + 60
        while not all(p.get_subscription_count() for p in self.frames.values()):
            if time.monotonic() > deadline:
                sys.exit("bench_nodes: the agents did not come up within 60 s")
            rclpy.spin_once(self, timeout_sec=0.1)


def drive(bench: Bench, seconds: float, objects: int, hz: float) -> float:
    """Plays frames at a steady rate, poses between them; returns the wall time in s."""
    rng = np.random.default_rng(0)
    begin_s, begin_ns = time.monotonic(), bench.get_clock().now().nanoseconds
    per_frame = round(TF_HZ / hz)
    for index in range(round(seconds * hz)):
        stamps = [begin_ns + round((index + part / per_frame) / hz * 1e9) for part in range(per_frame)]
        frames = {agent: detections(agent, stamps[0], index, objects, rng) for agent in AGENTS}
        for part, stamp_ns in enumerate(stamps):
            bench.spin_until(begin_s + (stamp_ns - begin_ns) / 1e9)
            bench.tf.publish(poses(stamp_ns))
            if part == 0:
                bench.frames["rsu"].publish(frames["rsu"])
            elif part == 1:  # the vehicle is a little later, as in real data
                bench.frames["vehicle"].publish(frames["vehicle"])
    bench.spin_until(time.monotonic() + 0.5)
    return time.monotonic() - begin_s


def report(bench: Bench, cpu_share: dict[str, float], objects: int, hz: float) -> None:
    """Prints the table."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{objects} objects per side at {hz:g} Hz on {machine}, load average {os.getloadavg()[0]:.1f}")
    print("ms per frame, monotonic clock; from the entry of the frame's callback until its tracks are published")
    print(f"{'':34}{'frames':>8}{'p50':>9}{'p99':>9}{'max':>9}")
    for agent in AGENTS:
        rows = bench.timings[agent]
        if not rows:
            sys.exit(f"bench_nodes: no timings from {agent}")
        core = np.array([sum(row.get(stage, 0.0) for stage in CORE_STAGES) for row in rows])
        total = np.array([row["total"] for row in rows])
        lines = {"without core": total - core, "core": core}
        stages = [stage for stage in rows[0] if stage not in (*CORE_STAGES, "total")]
        lines |= {stage: np.array([row[stage] for row in rows]) for stage in stages}
        for name, values in lines.items():
            p50, p99 = np.percentile(values, (50, 99))
            print(f"{f'{agent} {name}':34.34}{len(values):8d}{p50:9.2f}{p99:9.2f}{values.max():9.2f}")
    shares = ", ".join(f"{agent} {share:.2f}" for agent, share in cpu_share.items())
    print(f"cores used: {shares}, together {sum(cpu_share.values()):.2f}")
    if bench.bytes:
        print(f"message: {np.mean(bench.bytes):.0f} bytes, {np.mean(bench.bytes) * hz:.0f} bytes per s")


def main() -> int:
    """Starts the agents, drives them and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--objects", type=int, default=60, help="detections per side and frame")
    parser.add_argument("--hz", type=float, default=10.0, help="frames per s and side")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the measurement, s")
    args = parser.parse_args()
    processes = {
        agent: subprocess.Popen(
            [
                sys.executable,
                "-m",
                f"cooptrack_ros.{node}",
                "--ros-args",
                "-r",
                f"__ns:=/{agent}",
                *PARAMETERS,
                *(OF_VEHICLE if node == "vehicle_node" else ()),
            ]
        )
        for agent, node in NODES.items()
    }
    try:
        with rclpy.init():
            bench = Bench()
            bench.wait_for_agents()
            drive(bench, 2.0, args.objects, args.hz)
            for rows in bench.timings.values():
                rows.clear()
            before = {agent: cpu_s(process.pid) for agent, process in processes.items()}
            wall_s = drive(bench, args.seconds, args.objects, args.hz)
            shares = {agent: (cpu_s(process.pid) - before[agent]) / wall_s for agent, process in processes.items()}
            report(bench, shares, args.objects, args.hz)
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
