"""The launched system as `make soak` sees it: its processes, their memory, and what it publishes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from visualization_msgs.msg import MarkerArray

from cooptrack_msgs.msg import AssociationArray, TrackedObjectArray
from cooptrack_ros.conversions import stamp_ns

AGENTS = {"roadside_node": "/rsu", "vehicle_node": "/vehicle"}
NODES = (*AGENTS, "marker_node", "replay_node")
_AGES_KEPT = 2000
_ASKED, _ANSWER_S = 6, 10.0  # configuring a network takes seconds
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Monitor(Node):
    """Counts what comes out, and how old tracks are when they do, on the clock of the replay."""

    def __init__(self) -> None:
        super().__init__("soak_monitor", parameter_overrides=[Parameter("use_sim_time", value=True)])
        self.counts: Counter[str] = Counter()
        self.ages_ms: deque[float] = deque(maxlen=_AGES_KEPT)
        self.wrong: list[str] = []
        self._last_index = 0
        many = QoSProfile(depth=50)
        self.create_subscription(TrackedObjectArray, "/vehicle/tracks", self._on_tracks, many)
        self.create_subscription(AssociationArray, "/vehicle/associations", self._on_associations, many)
        self.create_subscription(TrackedObjectArray, "/rsu/tracks", lambda _: self._count("roadside"), many)
        self.create_subscription(MarkerArray, "/vehicle/markers", lambda _: self._count("markers"), many)

    def _count(self, name: str) -> None:
        self.counts[name] += 1

    def _on_tracks(self, message: TrackedObjectArray) -> None:
        self._count("tracks")
        self.counts["vehicle starts"] += message.frame_index < self._last_index  # time that jumps back does not
        self._last_index = message.frame_index
        self.counts["predicted_only"] += bool(message.predicted_only)
        age_ms = (self.get_clock().now().nanoseconds - stamp_ns(message.header.stamp)) / 1e6
        if 0.0 <= age_ms < 10_000.0:  # else the bag has just begun anew
            self.ages_ms.append(age_ms)
        for item in message.objects:
            p = item.pose.pose.position
            if not all(abs(value) < 1e6 for value in (p.x, p.y, p.z)):  # NaN fails too
                self.wrong.append(f"track {item.track_id} at {p.x}, {p.y}, {p.z}")

    def _on_associations(self, message: AssociationArray) -> None:
        self.counts["messages_used"] += len(message.message_sequence)

    def take_ages_ms(self) -> list[float]:
        """Those since the last call."""
        found = []
        while self.ages_ms:
            found.append(self.ages_ms.popleft())
        return found


class System:
    """cooperative.launch.py in a process group of its own, and a monitor."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log.open("wb")
        command = ["ros2", "launch", "cooptrack_ros", "cooperative.launch.py", *arguments]
        self._launch = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True)
        rclpy.init()
        self.monitor = Monitor()
        self._changes = self._clients(ChangeState, "change_state")
        self._states = self._clients(GetState, "get_state")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.monitor)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._ending = False
        self._thread.start()

    def _clients(self, kind: type, service: str) -> dict[str, Any]:
        return {n: self.monitor.create_client(kind, f"{space}/{n}/{service}") for n, space in AGENTS.items()}

    def _spin(self) -> None:
        while not self._ending:
            self._executor.spin_once(timeout_sec=0.2)

    @property
    def running(self) -> bool:
        """Whether the launch is still there."""
        return self._launch.poll() is None

    def pids(self) -> dict[str, int]:
        """Of the nodes that run, by name."""
        found: dict[str, int] = {}
        for pid in descendants(self._launch.pid):
            with contextlib.suppress(OSError):  # gone in the meantime
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
                found |= {name: pid for name in NODES if any(Path(word).name == name for word in words[:3])}
        return found

    def wait_for_more(self, name: str, more: int = 5, limit_s: float = 60.0) -> float:
        """Seconds until so many more messages of a kind have come. Raises TimeoutError."""
        began, before = time.monotonic(), self.monitor.counts[name]
        while self.monitor.counts[name] < before + more:
            if time.monotonic() - began > limit_s:
                raise TimeoutError(f"no {name} for {limit_s:g} s")
            time.sleep(0.05)
        return time.monotonic() - began

    def wait_until(self, condition: Callable[[], Any], what: str, limit_s: float = 60.0) -> None:
        """Raises TimeoutError naming what did not come."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {limit_s:g} s")
            time.sleep(0.05)

    def change_state(self, node: str, transition: int) -> bool:
        """Asks an agent for a transition; whether it agreed. An answer that got lost counts as no."""
        wanted = ChangeState.Request(transition=Transition(id=transition))
        return bool(self._answer(self._changes[node], wanted).success)

    def state(self, node: str) -> str:
        """Label of its lifecycle state."""
        return str(self._answer(self._states[node], GetState.Request()).current_state.label)

    def _answer(self, client: Any, request: Any) -> Any:
        # For 20 s a killed node looks like the service, and its successor misses what comes before it is discovered.
        for _ in range(_ASKED):
            self.wait_until(client.service_is_ready, client.srv_name)
            done = client.call_async(request)
            with contextlib.suppress(TimeoutError):
                self.wait_until(done.done, client.srv_name, _ANSWER_S)
                return done.result()
            client.remove_pending_request(done)
        raise TimeoutError(f"{client.srv_name}: asked {_ASKED} times, no answer within {_ANSWER_S:g} s")

    def close(self) -> None:
        """Ends everything, politely first."""
        self._ending = True
        self._thread.join()
        left = descendants(self._launch.pid)
        self.monitor.destroy_node()
        rclpy.try_shutdown()
        if self.running:
            self._launch.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._launch.wait(20)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._launch.kill()
        self._launch.wait()
        self._log.close()


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that these have."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {pid})


def memory_mb(pid: int) -> float:
    """Resident memory of a process; NaN if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
    except OSError:
        return float("nan")


def descriptors(pid: int) -> float:
    """Open file descriptors of a process; NaN if it is gone."""
    try:
        return float(len(os.listdir(f"/proc/{pid}/fd")))
    except OSError:
        return float("nan")
