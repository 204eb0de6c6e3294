#!/usr/bin/env python3
"""Both agents' nodes with networks on 1920x1080 images: frames per second, stages, ROS in and out, memory, start-up.

Sends compressed, then raw images over DDS to a roadside unit and a vehicle with the shipped networks; a frame lasts
from the entry of the callback that completes it until its tracks are published. Run in a sourced environment
(`make bench` does). Machines are shared and noisy: compare only within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
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
from bench.cases import Case
from bench.machine import gpu_name, machine_line
from bench.nodes import AGENTS, DECODING, GOAL_MS, AgentProcess, add_node, judged_ms, running, verdict
from bench.tables import HEADS, NetworkTable
from bench_nodes import poses
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from cooptrack_core.config import ENGINES
from cooptrack_core.data.synthetic import renderers
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.scene import make_scene
from cooptrack_core.geometry.transforms import inverse, to_quaternion
from cooptrack_msgs.msg import StageTimings, TrackedObjectArray
from cooptrack_ros.conversions import stamp_message, stamp_ns

WIDTH, HEIGHT, ENLARGED, PICTURES = 1920, 1080, 3, 4
TYPES = {"compressed": (CompressedImage, "image/compressed"), "raw": (Image, "image")}
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

    def __init__(self, transport: str, seen_by: dict[str, Camera], processes: dict[str, AgentProcess]) -> None:
        super().__init__("bench")
        self.seen_by, self.processes = seen_by, processes
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
            self.processes[agent].saw(len(message.objects))
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


def report(
    table: NetworkTable, case: Case, found: Seen, process: AgentProcess, sent: int, hz: float, cores: float
) -> None:
    """The rows of one agent: stages, frames per second, the ROS path."""
    frames = [frame for frame in found.timings if DECODING in frame]  # done in full
    if not frames:
        sys.exit(f"bench_images: {case.agent} processed no image; see its log")
    add_node(table, case, frames, process, cores)
    names = (case.preset, f"{case.agent} {case.mode}", f"{case.engine} {case.threads} thr")
    counts = {k.removeprefix("dropped."): found.count(k) for k in found.counters if k.startswith("dropped.")}
    drops = {reason: count for reason, count in counts.items() if count}
    lost, rate, dropped = sent - found.count("images_received"), len(frames) / sent * hz, sum(drops.values())
    reasons = f" ({', '.join(f'{reason} {count}' for reason, count in drops.items())})" if drops else ""
    text = f"{rate:.1f} done in full, {dropped} of {sent} dropped{reasons}, {lost} lost on the way; {verdict(rate, hz)}"
    facts = {"frames_per_s": rate, "sent": sent, "dropped": drops, "lost": lost, "tracks_out": found.tracks}
    table.note(*names, "frames per s", text, **facts, goal=verdict(rate, hz))
    p99_ms, left_out = judged_ms(frames, 1e3 / hz)
    met = "met" if p99_ms <= GOAL_MS else "missed"
    text = f"{p99_ms:.2f} ms p99{left_out}; goal {GOAL_MS:g}: {met}"
    table.note(*names, "ROS path", text, p99_ms=p99_ms, goal=met)
    ages = [float(value) for value in np.percentile(found.ages_ms, (50, 90, 99))]
    text = "".join(f"{age:9.2f}" for age in ages) + f"  until its tracks go out; {np.mean(found.objects):.0f} tracks"
    table.note(*names, "age of the image", text, p50_ms=ages[0], p90_ms=ages[1], p99_ms=ages[2])


def measure(
    table: NetworkTable, transport: str, engine: str, seen_by: dict[str, Camera], args: argparse.Namespace
) -> None:
    """Starts the agents, drives them and adds what it took."""
    parameters = {
        "detector": "network", "network.device": "cpu", "network.threads": 1, "network.engine": engine,
        "image_transport": transport,
    }  # fmt: skip
    with running(tuple(seen_by), parameters) as processes, rclpy.init():
        bench = Bench(transport, seen_by, processes)
        serialised = {a: [message_bytes(transport, a, p) for p in seen_by[a].pixels] for a in seen_by}
        bench.wait_for_agents()
        drive(bench, serialised, round(2 * args.hz), args.hz)
        for seen in bench.seen.values():
            seen.start()
        before = {agent: process.cpu_s() for agent, process in processes.items()}
        sent = round(args.seconds * args.hz)
        wall_s = drive(bench, serialised, sent, args.hz)
        for agent, process in processes.items():
            case = Case("tiny", f"{agent} node", transport, engine, "fp32", "cpu", 1)
            cores = (process.cpu_s() - before[agent]) / wall_s
            report(table, case, bench.seen[agent], process, sent, args.hz, cores)


def main() -> int:
    """Measures each transport with each engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--transports", nargs="+", choices=sorted(TYPES), default=["compressed", "raw"])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["eager", "torch"])
    parser.add_argument("--hz", type=float, default=10.0, help="images per s and agent")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement, s")
    parser.add_argument(
        "--agents", nargs="+", choices=AGENTS, default=list(AGENTS), help="one: as if it had the computer for itself"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows")
    args = parser.parse_args()
    machine, table = machine_line(gpu_name()), NetworkTable()
    print(f"\nnodes; images of {WIDTH}x{HEIGHT} at {args.hz:g} Hz, synthetic; load {os.getloadavg()[0]:.1f}")
    print(machine, *HEADS, sep="\n", flush=True)
    seen_by = {agent: camera for agent, camera in cameras().items() if agent in args.agents}
    for transport in args.transports:
        for engine in sorted(args.engines, key=lambda engine: engine != "eager"):
            measure(table, transport, engine, seen_by, args)
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": machine, "rows": table.rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
