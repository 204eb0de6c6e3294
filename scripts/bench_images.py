#!/usr/bin/env python3
"""Both agents' nodes with networks on 1920x1080 images: what the way through ROS costs beside the core and decoding.

Sends compressed, then raw images over DDS to a roadside unit and a vehicle with the shipped networks. Run in a
sourced environment (`make bench` does). Machines are shared and noisy: compare only within one run.
"""

from __future__ import annotations

import argparse
import os
import platform
import struct
import subprocess
import sys
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# As the launch files do: large messages through shared memory. Read when the first node is made.
os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(Path(__file__).parent.parent / "config/fastdds_local.xml"))

import rclpy
from bench_nodes import AGENTS, CORE_STAGES, NODES, OF_VEHICLE, cpu_s, poses
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from cooptrack_core.data.synthetic import renderers
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.scene import make_scene
from cooptrack_core.geometry.transforms import inverse, to_quaternion
from cooptrack_core.stage_clock import sum_ms
from cooptrack_msgs.msg import StageTimings, TrackedObjectArray
from cooptrack_ros.conversions import stamp_message, stamp_ns

WIDTH, HEIGHT, ENLARGED, PICTURES = 1920, 1080, 3, 4
TYPES = {"compressed": (CompressedImage, "image/compressed"), "raw": (Image, "image")}
OF_CORE = ("network", *CORE_STAGES)
DECODING = "network.decode image"
OUTSIDE = ("convert_in", "receive_to_start", "wait_tf", "publish")  # until the tracks are out
GOAL_MS = 5.0  # p99 outside core and decoding
LOST_AT_END_S = 1.0


@dataclass(frozen=True)
class Camera:
    """What an agent's camera sees, and how it is mounted."""

    pixels: list[Any]  # [H, W, 3] BGR
    K: Any  # [3, 3]
    T_camera_from_lidar: Any  # [4, 4]


def cameras() -> dict[str, Camera]:
    """A synthetic street as both agents see it: rendered at a third of the size, each pixel nine times."""
    size = {"width_px": WIDTH // ENLARGED, "height_px": HEIGHT // ENLARGED}
    scene = make_scene(SceneOptions(seed=3, duration_s=1.0, renderer="none", **size), 0)
    renderer, found = renderers.create(renderers.choose("auto")[0], scene), {}
    for agent, side in (("rsu", "infrastructure"), ("vehicle", "vehicle")):
        pixels = []
        for index in range(PICTURES):
            time_s, view = scene.image_time_s(side, index), scene.view(side, index)
            placements = scene.placements(time_s, without_ego=side == "vehicle") + scene.fixtures(time_s)
            seen = renderer.look(view, placements, time_s).rgb
            pixels.append(cv2.resize(seen[..., ::-1], (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))
        K = np.diag([ENLARGED, ENLARGED, 1.0]) @ view.K
        K[:2, 2] += (ENLARGED - 1) / 2  # pixels have their centres at whole numbers
        rig = scene.rig
        T = rig.T_camera_from_lidar if side == "vehicle" else rig.T_camera_from_virtuallidar
        found[agent] = Camera(pixels, K, T)
    return found


def message_bytes(transport: str, agent: str, pixels: Any) -> bytes:
    """A serialised image; its stamp lies in the bytes 4 to 12."""
    message = TYPES[transport][0]()
    message.header.frame_id = f"{agent}/camera"
    if transport == "raw":
        message.height, message.width, message.encoding, message.step = HEIGHT, WIDTH, "bgr8", 3 * WIDTH
        message.data = array("B", pixels.tobytes())
    else:
        message.format = "jpeg"
        message.data = array("B", cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return serialize_message(message)


def stamped(serialised: bytes, at_ns: int) -> bytes:
    return serialised[:4] + struct.pack("<iI", *divmod(at_ns, 10**9)) + serialised[12:]


def mounting(seen_by: dict[str, Camera]) -> TFMessage:
    """Where the cameras sit."""
    message = TFMessage()
    for agent, camera in seen_by.items():
        T = inverse(camera.T_camera_from_lidar)
        item = TransformStamped(child_frame_id=f"{agent}/camera")
        item.header.frame_id = f"{agent}/lidar"
        place, rotation = item.transform.translation, item.transform.rotation
        place.x, place.y, place.z = map(float, T[:3, 3])
        rotation.x, rotation.y, rotation.z, rotation.w = map(float, to_quaternion(T))
        message.transforms.append(item)
    return message


@dataclass
class Seen:
    """What came back of one agent."""

    timings: list[dict[str, float]] = field(default_factory=list)
    ages_ms: list[float] = field(default_factory=list)  # from the image's stamp until its tracks were sent
    tracks: int = 0
    objects: list[int] = field(default_factory=list)  # tracked in a frame
    counters: dict[str, int] = field(default_factory=dict)  # of the diagnostics
    before: dict[str, int] = field(default_factory=dict)

    def start(self) -> None:
        for values in (self.timings, self.ages_ms, self.objects):
            values.clear()
        self.tracks, self.before = 0, dict(self.counters)

    def count(self, name: str) -> int:
        return self.counters.get(name, 0) - self.before.get(name, 0)


class Bench(Node):
    """Feeds the agents and collects what they say."""

    def __init__(self, transport: str, seen_by: dict[str, Camera]) -> None:
        super().__init__("bench")
        self.seen_by = seen_by
        self.seen = {agent: Seen() for agent in seen_by}
        image_type, topic = TYPES[transport]
        self.images = {a: self.create_publisher(image_type, f"/{a}/{topic}", 5) for a in seen_by}
        self.infos = {a: self.create_publisher(CameraInfo, f"/{a}/camera_info", 5) for a in seen_by}
        self.tf = self.create_publisher(TFMessage, "/tf", 100)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.static = self.create_publisher(TFMessage, "/tf_static", latched)
        self.static.publish(mounting(seen_by))
        for agent in seen_by:
            self.create_subscription(StageTimings, f"/{agent}/debug/timings", self._timings(agent), 50)
            self.create_subscription(TrackedObjectArray, f"/{agent}/tracks", self._tracks(agent), 50)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 50)

    def _timings(self, agent: str) -> Any:
        return lambda m: self.seen[agent].timings.append(dict(zip(m.stage, m.duration_ms, strict=True)))

    def _tracks(self, agent: str) -> Any:
        def take(message: TrackedObjectArray, info: dict[str, int]) -> None:
            self.seen[agent].tracks += 1
            self.seen[agent].objects.append(len(message.objects))
            if not message.predicted_only:
                self.seen[agent].ages_ms.append((info["source_timestamp"] - stamp_ns(message.header.stamp)) / 1e6)

        return take

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            agent = status.hardware_id.strip("/")
            if status.name.endswith(": frames") and agent in self.seen:
                items = {item.key: item.value for item in status.values}
                self.seen[agent].counters = {k: int(v) for k, v in items.items() if v.isdigit()}

    def spin_until(self, due_s: float) -> None:
        while (left := due_s - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=left)

    def wait_for_agents(self) -> None:
        deadline = time.monotonic() + 120
        while not all(p.get_subscription_count() for p in (*self.images.values(), *self.infos.values())):
            if time.monotonic() > deadline:
                sys.exit("bench_images: the agents did not come up within 120 s")
            rclpy.spin_once(self, timeout_sec=0.1)

    def send(self, agent: str, serialised: bytes) -> None:
        """An image of now with its camera_info and pose."""
        at_ns = self.get_clock().now().nanoseconds
        self.tf.publish(poses(at_ns))
        info = CameraInfo(width=WIDTH, height=HEIGHT, k=self.seen_by[agent].K.ravel())
        info.header.stamp, info.header.frame_id = stamp_message(at_ns), f"{agent}/camera"
        self.infos[agent].publish(info)
        self.images[agent].publish(stamped(serialised, at_ns))


def drive(bench: Bench, serialised: dict[str, list[bytes]], count: int, hz: float) -> float:
    """Sends images at a steady rate, those of the vehicle between those of the roadside unit; returns s taken."""
    begin_s = time.monotonic()
    for index in range(count):
        for place, agent in enumerate(serialised):
            bench.spin_until(begin_s + (index + place / len(serialised)) / hz)
            bench.send(agent, serialised[agent][index % PICTURES])
    taken_s = time.monotonic() - begin_s
    bench.spin_until(time.monotonic() + LOST_AT_END_S + 1.0)  # until the last diagnostics, too
    return taken_s


def percentiles(name: str, values: Any) -> None:
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    print(f"  {name:44.44}{len(values):7d}{p50:9.2f}{p90:9.2f}{p99:9.2f}{np.max(values):9.2f}")


def judge(agent: str, rows: list[dict[str, float]], outside: Any, period_ms: float) -> None:
    """Whether the goal is met. Where the network takes longer than images come apart, frames wait for it."""
    begun = [row["total"] - row["receive_to_start"] for row in rows]
    slow = bool(np.percentile(begun, 90) > period_ms)
    values = outside - [row["receive_to_start"] for row in rows] if slow else outside
    p99 = float(np.percentile(values, 99))
    left = "the wait for the network left out, which is too slow; " if slow else ""
    print(f"  {agent}: {p99:.2f} ms p99 ({left}goal {GOAL_MS:g} ms: {'met' if p99 <= GOAL_MS else 'missed'})")


def report(
    transport: str, seen: dict[str, Seen], cores: dict[str, float], sent: int, size_bytes: int, period_ms: float
) -> None:
    """Prints the table of one transport."""
    print(f"\n{transport}: {sent} images of {WIDTH}x{HEIGHT}, {size_bytes / 1e6:.2f} MB each, to each agent")
    print(f"  {'ms':44}{'frames':>7}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}")
    for agent, found in seen.items():
        rows = [row for row in found.timings if DECODING in row]  # done in full
        if not rows:
            sys.exit(f"bench_images: {agent} processed no image; see its log")
        outside = np.array([row["total"] - sum_ms({s: row.get(s, 0.0) for s in OF_CORE}) for row in rows])
        percentiles(f"{agent} without core and decoding", outside)
        for stage in OUTSIDE:
            percentiles(f"  {stage}", [row[stage] for row in rows])
        decoding = np.array([row[DECODING] for row in rows])
        percentiles(f"{agent} decoding", decoding)
        percentiles(f"{agent} core without decoding", [row["total"] for row in rows] - outside - decoding)
        percentiles(f"{agent} age of the image when its tracks go out", found.ages_ms)
        drops = {k.removeprefix("dropped."): found.count(k) for k in found.counters if k.startswith("dropped.")}
        text = ", ".join(f"{reason} {count}" for reason, count in drops.items() if count) or "none"
        lost = sent - found.count("images_received")
        print(f"  {agent}: images lost on the way {lost}, dropped: {text}; tracks {found.tracks} of {sent - lost}")
        judge(agent, rows, outside, period_ms)
        print(f"  {agent}: {np.mean(found.objects):.0f} tracks per frame, cores used {cores[agent]:.2f}")


def bench_transport(transport: str, seen_by: dict[str, Camera], args: argparse.Namespace) -> None:
    """Starts the agents, drives them and prints what it took."""
    common = {"detector": "network", "network.device": "cpu", "network.threads": 1, "image_transport": transport}
    options = [part for name, value in common.items() for part in ("-p", f"{name}:={value}")]
    processes = {}
    for agent in seen_by:
        node = NODES[agent]
        command = [sys.executable, "-m", f"cooptrack_ros.{node}", "--ros-args", "-r", f"__ns:=/{agent}", *options]
        processes[agent] = subprocess.Popen([*command, *(OF_VEHICLE if node == "vehicle_node" else ())])
    try:
        with rclpy.init():
            bench = Bench(transport, seen_by)
            serialised = {a: [message_bytes(transport, a, p) for p in seen_by[a].pixels] for a in seen_by}
            bench.wait_for_agents()
            drive(bench, serialised, round(2 * args.hz), args.hz)
            for seen in bench.seen.values():
                seen.start()
            before = {agent: cpu_s(process.pid) for agent, process in processes.items()}
            sent = round(args.seconds * args.hz)
            wall_s = drive(bench, serialised, sent, args.hz)
            cores = {agent: (cpu_s(process.pid) - before[agent]) / wall_s for agent, process in processes.items()}
            size_bytes = max(len(pictures[0]) for pictures in serialised.values())
            report(transport, bench.seen, cores, sent, size_bytes, 1e3 / args.hz)
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()


def main() -> int:
    """Measures each transport."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--transports", nargs="+", choices=sorted(TYPES), default=["compressed", "raw"])
    parser.add_argument("--hz", type=float, default=10.0, help="images per s and agent")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement, s")
    parser.add_argument(
        "--agents", nargs="+", choices=AGENTS, default=list(AGENTS), help="one: as if it had the computer for itself"
    )
    args = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"synthetic images at {args.hz:g} Hz on {machine}, load average {os.getloadavg()[0]:.1f}")
    print("monotonic clock; from the entry of the callback that completes a frame until its tracks are published")
    seen_by = {agent: camera for agent, camera in cameras().items() if agent in args.agents}
    for transport in args.transports:
        bench_transport(transport, seen_by, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
