#!/usr/bin/env python3
"""Both agents' nodes under load, without a network: ROS in and out beside the core, memory, start-up, CPU use.

A frame lasts from the entry of its callback until its tracks are published. Run in a sourced environment (`make bench`
does). Machines are shared and noisy: compare only within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from bench.cases import Case
from bench.machine import gpu_name, machine_line
from bench.nodes import AGENTS, AgentProcess, add_node, running
from bench.tables import HEADS, NetworkTable
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.serialization import serialize_message
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from cooptrack_msgs.msg import AssociationArray, StageTimings, TrackedObjectArray
from cooptrack_ros.conversions import stamp_message

PARAMETERS = {"detector": "simulated", "mode": "late"}  # the nodes' own time, not that of a network
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


class Bench(Node):
    """Feeds the agents and collects their timings."""

    def __init__(self, processes: dict[str, AgentProcess]) -> None:
        super().__init__("bench")
        self.timings: dict[str, list[dict[str, float]]] = {agent: [] for agent in AGENTS}
        self.bytes: list[int] = []
        self.frames = {a: self.create_publisher(Detection3DArray, f"/{a}/detections_in", 10) for a in AGENTS}
        self.tf = self.create_publisher(TFMessage, "/tf", 100)
        self._subscriptions_made = [
            self.create_subscription(StageTimings, f"/{agent}/debug/timings", self._taker(agent), 50)
            for agent in AGENTS
        ]
        self._until_first_track = [
            self.create_subscription(
                TrackedObjectArray, f"/{agent}/tracks", lambda m, found=process: found.saw(len(m.objects)), 10
            )
            for agent, process in processes.items()
        ]
        self.create_subscription(AssociationArray, "/vehicle/associations", self._on_associations, 50)

    def _taker(self, agent: str):
        return lambda m: self.timings[agent].append(dict(zip(m.stage, m.duration_ms, strict=True)))

    def _on_associations(self, message: AssociationArray) -> None:
        self.bytes += list(message.message_bytes)

    def start(self) -> None:
        """Forgets the warm-up; tracks are not looked at any more, which would take time of its own."""
        for rows in self.timings.values():
            rows.clear()
        self.bytes.clear()
        for subscription in self._until_first_track:
            self.destroy_subscription(subscription)
        self._until_first_track.clear()

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


def report(
    table: NetworkTable, bench: Bench, processes: dict[str, AgentProcess], cores: dict[str, float], hz: float
) -> None:
    """The rows of both nodes."""
    for agent, process in processes.items():
        if not bench.timings[agent]:
            sys.exit(f"bench_nodes: no timings from {agent}")
        mode = PARAMETERS["mode"] if agent == "vehicle" else ""
        case = Case("simulated", f"{agent} node", mode, "", "fp32", "cpu", 1)
        add_node(table, case, bench.timings[agent], process, cores[agent])
    shares = ", ".join(f"{agent} {share:.2f}" for agent, share in cores.items())
    table.note("simulated", "both nodes", "", "cores used", f"{shares}, together {sum(cores.values()):.2f}", **cores)
    if bench.bytes:
        size = float(np.mean(bench.bytes))
        text = f"{size:.0f} bytes, {size * hz:.0f} bytes per s"
        table.note("simulated", "rsu node", "", "message", text, message_bytes=size)


def main() -> int:
    """Starts the agents, drives them and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--objects", type=int, default=60, help="detections per side and frame")
    parser.add_argument("--hz", type=float, default=10.0, help="frames per s and side")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the measurement, s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows")
    args = parser.parse_args()
    machine, table = machine_line(gpu_name()), NetworkTable()
    print(f"\nnodes without network; {args.objects} objects a side at {args.hz:g} Hz; load {os.getloadavg()[0]:.1f}")
    print(machine, *HEADS, sep="\n", flush=True)
    with running(AGENTS, PARAMETERS) as processes, rclpy.init():
        bench = Bench(processes)
        bench.wait_for_agents()
        drive(bench, 2.0, args.objects, args.hz)
        bench.start()
        before = {agent: process.cpu_s() for agent, process in processes.items()}
        wall_s = drive(bench, args.seconds, args.objects, args.hz)
        cores = {agent: (process.cpu_s() - before[agent]) / wall_s for agent, process in processes.items()}
        report(table, bench, processes, cores, args.hz)
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": machine, "rows": table.rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
