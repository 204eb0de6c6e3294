"""Our nodes as processes, and small bags for them to play."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from ros_messages import CAR_M, at

from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.bag_writer import LATCHED_QOS, TF_QOS, BagWriter
from cooptrack_core.types import Instances

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 60.0
LAUNCH_LIMIT_S = 240  # far above the few seconds it takes: only a hung launch reaches it


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs cooperative.launch.py to its end."""
    command = ["ros2", "launch", "cooptrack_ros", "cooperative.launch.py", "exit_when_done:=true", *arguments]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        output, errors = process.communicate(timeout=LAUNCH_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # else its nodes would live on and disturb the tests that follow
        output, errors = process.communicate(timeout=WAIT_S)
        raise AssertionError(f"the launch did not end by itself: {output}{errors}") from None
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


class Process:
    """One node; its lines of output as they come."""

    def __init__(self, node: str, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-u", "-m", f"cooptrack_ros.{node}", "--ros-args", *arguments]
        self._popen = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._popen.pid

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.lines.append(line.rstrip())
            self._queue.put(line.rstrip())
        self._queue.put(None)

    def wait_for_line(self, text: str) -> str:
        """The next line that contains a text."""
        deadline = time.monotonic() + WAIT_S
        while (line := self._queue.get(timeout=max(0.01, deadline - time.monotonic()))) is not None:
            if text in line:
                return line
        raise AssertionError(f"{text!r} not in {self.lines}")

    def wait(self) -> int:
        """Exit code."""
        code = self._popen.wait(WAIT_S)
        self._thread.join()
        return code

    def stop(self, number: int = signal.SIGINT) -> int:
        """Sends a signal; the exit code."""
        self._popen.send_signal(number)
        return self.wait()

    def end(self) -> None:
        """Kills what is still there."""
        if self._popen.poll() is None:
            self._popen.kill()
        self.wait()

    @property
    def problems(self) -> list[str]:
        """Lines that are no information."""
        return [line for line in self.lines if line and "[INFO]" not in line and "messages on" not in line]


def parameters(**values: Any) -> list[str]:
    """Command-line arguments for parameters; the tests' defaults are short waits."""

    def yaml(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return "[" + ", ".join(f'"{v}"' for v in value) + "]" if isinstance(value, (list, tuple)) else str(value)

    return [word for name, value in values.items() for word in ("-p", f"{name}:={yaml(value)}")]


def cars(*centers: tuple[float, float, float]) -> Instances:
    """Detected cars."""
    n = len(centers)
    center = np.asarray(centers, np.float64).reshape(-1, 3)
    return Instances.create(center, np.tile(CAR_M, (n, 1)), np.zeros(n), np.zeros(n, np.int64), np.full(n, 0.9))


def write_bag(path: Path, frames: int = 5, with_tf: bool = True) -> Path:
    """A car seen by both sides and one seen by the roadside only; both sensors stand at the map's origin."""
    rest = np.eye(4)
    with BagWriter(path) as bag:
        bag.topic("/tf_static", "tf2_msgs/msg/TFMessage", LATCHED_QOS)
        if with_tf:
            fixed = messages.tf_message([messages.transform("map", "rsu/lidar", 0, rest)])
            bag.write("/tf_static", at(0) - 10_000_000, fixed, LATCHED_QOS)
        for index in range(frames):
            if with_tf:
                pose = messages.tf_message([messages.transform("map", "vehicle/lidar", at(index), rest)])
                bag.write("/tf", at(index) + 1_000_000, pose, TF_QOS)
            seen = {"rsu": cars((10, 0, 0), (40, 5, 0)), "vehicle": cars((10, 0, 0))}
            for later, (agent, instances) in enumerate(seen.items()):
                array = messages.detection_array(at(index), f"{agent}/lidar", instances)
                bag.write(f"/{agent}/detections_in", at(index) + 2_000_000 + later * 1_000_000, array)
    return path
