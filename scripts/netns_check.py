#!/usr/bin/env python3
"""Roadside unit and vehicle in two network namespaces, over config/fastdds_network.xml, with loss and delay between.

The namespaces are joined by a veth pair and have a /dev/shm each, so that only UDP joins the two. Loss and delay are
made by `tc netem`; where the kernel has none, by impairment_node in the roadside's namespace, which is said. Prints
a table; exit code 1 if a frame of the vehicle has no tracks, nothing is used where nothing is lost, or a node dies,
3 in one line if the machine does not permit namespaces.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
POINTS = ((0, 0), (100, 10), (200, 30), (100, 50))  # delay ms and loss %
NOT_PERMITTED = 3
PERIOD_S = 0.1
ADDRESS = {"rsu": "10.231.0.1/24", "vehicle": "10.231.0.2/24"}
PLAIN = ("-p", "detector:=simulated", "-p", "allow_shared_topics:=true", "-p", "discovery_wait_ms:=0.0")


def sh(*words: str, inside: int | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a command, inside the namespaces of a process if one is given."""
    prefix = [] if inside is None else ["nsenter", "-t", str(inside), "-n", "-m", "--"]
    return subprocess.run([*prefix, *words], check=check, capture_output=True, text=True)


def objection() -> str:
    """Why this machine cannot run the check, in one line; empty if it can."""
    for tool in ("unshare", "nsenter", "ip", "tc"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed; apt-get install util-linux iproute2"
    done = subprocess.run([*unshared(), "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"network namespaces are not permitted here ({' '.join(done.stderr.split())})"
    return ""


def unshared() -> list[str]:
    """Command prefix for new network and mount namespaces, with a user namespace for those who are not root."""
    return ["unshare", *(["-r"] if os.geteuid() else []), "-n", "-m"]


class TwoHosts:
    """This process's namespaces are the roadside's; those of a sleeping child are the vehicle's."""

    def __init__(self) -> None:
        sh("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")
        command = "mount -t tmpfs tmpfs /dev/shm && echo ready && exec sleep 100000"
        self._sleeper = subprocess.Popen(["unshare", "-n", "-m", "sh", "-c", command], stdout=subprocess.PIPE)
        assert self._sleeper.stdout is not None
        self._sleeper.stdout.readline()
        self.vehicle = self._sleeper.pid
        sh("ip", "link", "add", "rsu0", "type", "veth", "peer", "name", "vehicle0")
        sh("ip", "link", "set", "vehicle0", "netns", str(self.vehicle))
        for name, inside in (("rsu", None), ("vehicle", self.vehicle)):
            device = f"{name}0"
            for words in (
                ("ip", "link", "set", "lo", "up"), ("ip", "addr", "add", ADDRESS[name], "dev", device),
                ("ip", "link", "set", device, "up"), ("ip", "route", "add", "224.0.0.0/4", "dev", device),
            ):  # fmt: skip
                sh(*words, inside=inside)
        self.netem = (
            sh("tc", "qdisc", "add", "dev", "rsu0", "root", "netem", "delay", "0ms", check=False).returncode == 0
        )

    def disturb(self, delay_ms: int, loss_percent: int) -> None:
        """What leaves the roadside unit is late and gets lost from now on."""
        if self.netem:
            rule = ["netem", "delay", f"{delay_ms}ms", "loss", f"{loss_percent}%"]
            sh("tc", "qdisc", "change", "dev", "rsu0", "root", *rule)

    def prefix(self, agent: str) -> list[str]:
        """Of a command that runs on the host of an agent."""
        return [] if agent == "rsu" else ["nsenter", "-t", str(self.vehicle), "-n", "-m", "--"]

    def close(self) -> None:
        """Ends the child; the namespaces go with it."""
        self._sleeper.kill()
        self._sleeper.wait()


def environment() -> dict[str, str]:
    """Of the nodes: the deployment profile, and discovery over the network."""
    profile = str(ROOT / "config" / "fastdds_network.xml")
    changes = {"FASTDDS_DEFAULT_PROFILES_FILE": profile, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    return {**os.environ, **changes, "ROS_LOG_DIR": tempfile.mkdtemp(prefix="cooptrack_netns_")}


def point(hosts: TwoHosts, delay_ms: int, loss_percent: int, duration_s: float) -> dict[str, Any]:
    """Runs all nodes for a while under one disturbance."""
    hosts.disturb(delay_ms, loss_percent)
    python, feed = [sys.executable, "-m"], [sys.executable, str(Path(__file__).resolve()), "--feed"]
    topic = "/rsu/instances"
    commands = {
        "roadside_node": ("rsu", [*python, "cooptrack_ros.roadside_node", "--ros-args", "-r", "__ns:=/rsu", *PLAIN])
    }
    with tempfile.TemporaryDirectory() as folder:
        if not hosts.netem and (delay_ms or loss_percent):
            file = Path(folder, "impairment.yaml")
            file.write_text(f"{{delay_ms: {delay_ms}, loss: {loss_percent / 100}}}")
            node = [*python, "cooptrack_ros.impairment_node", "--ros-args", "-p", f"impairment:={file}"]
            commands["impairment_node"], topic = ("rsu", node), "/rsu/instances_impaired"
        vehicle = ["-r", "__ns:=/vehicle", *PLAIN, "-p", "mode:=late", "-p", f"instance_topics:=[{topic}]"]
        commands["vehicle_node"] = ("vehicle", [*python, "cooptrack_ros.vehicle_node", "--ros-args", *vehicle])
        commands["rsu feed"] = ("rsu", [*feed, "rsu", "--duration-s", str(duration_s + 60)])
        commands["vehicle feed"] = ("vehicle", [*feed, "vehicle", "--duration-s", str(duration_s), "--topic", topic])
        running = {
            name: subprocess.Popen([*hosts.prefix(host), *words], env=environment(), text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
            for name, (host, words) in commands.items()
        }  # fmt: skip
        try:
            text, _ = running["vehicle feed"].communicate(timeout=duration_s + 90)
            died = [n for n, p in running.items() if n.endswith("_node") and p.poll() is not None]
        finally:
            for process in running.values():
                process.kill()
                process.wait()
    found = json.loads(text.splitlines()[-1])
    return {"delay_ms": delay_ms, "loss_percent": loss_percent, **found, "died": died}


def feed(agent: str, duration_s: float, topic: str) -> int:
    """Frames of one agent at 10 Hz of wall time; the vehicle's also counts what comes back and prints it as JSON.

    The vehicle's begin when the first message has come over the air.
    """
    sys.path.insert(0, str(ROOT / "test" / "ros"))
    import rclpy
    from rclpy.node import Node
    from ros_messages import detections, tf, transform
    from tf2_msgs.msg import TFMessage
    from vision_msgs.msg import Detection3DArray

    from cooptrack_msgs.msg import AssociationArray, InstanceFeatures, TrackedObjectArray
    from cooptrack_ros.qos import best_effort

    rclpy.init()
    node, counts, ages, stamps = Node(f"feed_{agent}"), Counter(), [], set()
    frames = node.create_publisher(Detection3DArray, f"/{agent}/detections_in", 10)
    poses = node.create_publisher(TFMessage, "/tf", 10)

    def on_associations(message: AssociationArray) -> None:
        counts["with_message"] += bool(message.message_sequence)
        ages.extend(message.message_age_ms)
        counts.update(f"refused {reason}" for reason in message.refused_reason)

    def on_tracks(message: TrackedObjectArray) -> None:
        stamps.add(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)

    node.create_subscription(AssociationArray, f"/{agent}/associations", on_associations, 50)
    node.create_subscription(TrackedObjectArray, f"/{agent}/tracks", on_tracks, 50)
    if topic:
        node.create_subscription(InstanceFeatures, topic, lambda _: counts.update(["heard"]), best_effort(5))
    deadline = time.monotonic() + 60
    while not (frames.get_subscription_count() and node.count_publishers(f"/{agent}/tracks") and
               (counts["heard"] or not topic)):  # fmt: skip
        rclpy.spin_once(node, timeout_sec=0.1)
        if time.monotonic() > deadline:
            print(json.dumps({"frames": 0, "problem": "no node, or nothing comes over the air, for 60 s"}))
            return 1
    pause(node, 2.0)  # until everybody here knows each other
    for found in (counts, ages):
        found.clear()
    sent = []
    began = time.monotonic()
    while time.monotonic() - began < duration_s:
        stamp_ns = time.time_ns()
        poses.publish(tf(transform("map", f"{agent}/lidar", stamp_ns)))
        seen = [(10.0, 0.0, 0.0), (40.0, 5.0, 0.0)] if agent == "rsu" else [(10.0, 0.0, 0.0)]
        frames.publish(detections(stamp_ns, seen, f"{agent}/lidar"))
        sent.append(stamp_ns)
        began += max(0.0, time.monotonic() - began - len(sent) * PERIOD_S)  # held up: no burst of what is late
        pause(node, began + len(sent) * PERIOD_S - time.monotonic())
    pause(node, 1.0)
    missed = sum(stamp_ns not in stamps for stamp_ns in sent)
    counts.pop("heard", 0)
    result = {"frames": len(sent), "missed": missed, "with_message": counts.pop("with_message", 0), "refused": counts}
    print(json.dumps({**result, "age_ms": sum(ages) / len(ages) if ages else None}))
    return 0


def pause(node: Any, seconds: float) -> None:
    """Waits while taking messages."""
    import rclpy

    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        rclpy.spin_once(node, timeout_sec=left)


def problems(rows: list[dict[str, Any]]) -> list[str]:
    """What must not be."""
    found = []
    for row in rows:
        name = f"delay {row['delay_ms']} ms, loss {row['loss_percent']} %"
        if row.get("problem"):
            found.append(f"{name}: {row['problem']}")
            continue
        if row["missed"]:
            found.append(f"{name}: {row['missed']} of {row['frames']} frames without tracks")
        if row["died"]:
            found.append(f"{name}: ended by itself: {', '.join(row['died'])}")
        if not row["loss_percent"] and row["with_message"] < 0.5 * row["frames"]:
            found.append(f"{name}: only {row['with_message']} of {row['frames']} frames used a message")
    return found


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration-s", type=float, default=10.0, help="of each point, s")
    parser.add_argument("--points", type=int, default=len(POINTS), help="how many of the points")
    parser.add_argument("--feed", choices=ADDRESS, help=argparse.SUPPRESS)
    parser.add_argument("--topic", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.feed:
        return feed(args.feed, args.duration_s, args.topic)
    if os.environ.get("COOPTRACK_NETNS") != "inside":
        if why := objection():
            print(f"netns_check: not run: {why}")
            return NOT_PERMITTED
        command = [*unshared(), sys.executable, *sys.argv]
        return subprocess.run(command, env={**os.environ, "COOPTRACK_NETNS": "inside"}, check=False).returncode
    hosts = TwoHosts()
    try:
        if not hosts.netem:
            print("netns_check: this kernel has no netem: impairment_node makes delay and loss, on the sending side")
        rows = [point(hosts, delay, loss, args.duration_s) for delay, loss in POINTS[: args.points]]
    finally:
        hosts.close()
    print(f"{'delay ms':>8}{'loss %':>8}{'frames':>8}{'no tracks':>11}{'used a message':>16}{'age ms':>8}  refused")
    for row in rows:
        age = "-" if row.get("age_ms") is None else f"{row['age_ms']:.0f}"
        refused = ", ".join(f"{n.removeprefix('refused ')} {c}" for n, c in row.get("refused", {}).items())
        print(f"{row['delay_ms']:>8}{row['loss_percent']:>8}{row['frames']:>8}{row.get('missed', '-'):>11}"
              f"{row.get('with_message', 0):>16}{age:>8}  {refused}")  # fmt: skip
    found = problems(rows)
    for line in found:
        print(f"PROBLEM: {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
