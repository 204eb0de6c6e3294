"""A private ROS graph for these tests: own domain, in-process nodes on one executor, waiting by event."""

from __future__ import annotations

import fcntl
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts")]

from free_domain import is_free  # noqa: E402


def _claim_domain() -> tuple[int, Any]:
    """A ROS_DOMAIN_ID that no other test run on this machine uses, and the lock that says so."""
    candidates = list(range(20, 100))
    random.shuffle(candidates)
    for domain in candidates:
        lock = open(Path(tempfile.gettempdir()) / f"cooptrack_domain_{domain}.lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        if is_free(domain):
            return domain, lock
        lock.close()
    raise RuntimeError("no free ROS_DOMAIN_ID: 80 test runs at once?")


DOMAIN_ID, _LOCK = _claim_domain()
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN_ID)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.pop("ROS_LOCALHOST_ONLY", None)
# An int in a float field is otherwise sent as garbage, without a word.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="cooptrack_ros_log_"))

import rclpy  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402

WAIT_S = 60.0


class Graph:
    """In-process nodes on one executor thread, and a plain node to talk to them."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN_ID)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.changed = threading.Condition()
        self.node = Node("test", context=self.context)
        self.executor.add_node(self.node)
        self._nodes: list[Node] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ending.is_set():
            self.executor.spin_once(timeout_sec=0.5)

    def add(self, node_class: Callable[..., Node], namespace: str, parameters: dict[str, Any] | None = None) -> Any:
        """Makes a node of ours and spins it. The graph closes it."""
        overrides = [Parameter(name, value=value) for name, value in (parameters or {}).items()]
        node = node_class(context=self.context, namespace=namespace, parameter_overrides=overrides)
        self.executor.add_node(node)
        self._nodes.append(node)
        return node

    def start(self, node_class: Callable[..., Node], namespace: str, parameters: dict[str, Any] | None = None) -> Any:
        """The same, brought to active."""
        node = self.add(node_class, namespace, parameters)
        assert self.call(node.start)
        return node

    def call(self, function: Callable[[], Any]) -> Any:
        """Runs a function in the executor thread, as callbacks are."""
        task = self.executor.create_task(function)
        self.wait_for(task.done)
        return task.result()

    def collect(
        self, message_type: type[Any], topic: str, qos: QoSProfile | int = 50, matched: bool = True
    ) -> list[Any]:
        """A list that grows with every message on a topic; returns once the publisher is known."""
        found: list[Any] = []

        def on_message(message: Any) -> None:
            with self.changed:
                found.append(message)
                self.changed.notify_all()

        self.node.create_subscription(message_type, topic, on_message, qos)
        if matched:
            self.wait_for(lambda: self.node.count_publishers(topic) > 0)
        return found

    def publisher(self, message_type: type[Any], topic: str, qos: QoSProfile | int = 50, matched: bool = True) -> Any:
        """A publisher of the test node; returns once somebody subscribes."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        if matched:
            self.wait_for(lambda: publisher.get_subscription_count() > 0)
        return publisher

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = WAIT_S) -> None:
        """Waits until the condition holds: looks at every message, and now and then for what comes without one."""
        if not self.try_wait_for(condition, timeout_s):
            raise AssertionError(f"waited {timeout_s} s in vain")

    def try_wait_for(self, condition: Callable[[], Any], timeout_s: float) -> bool:
        """The same; whether it came to hold."""
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while not condition():
                if time.monotonic() > deadline:
                    return False
                self.changed.wait(0.02)
        return True

    def close(self) -> None:
        """Ends everything."""
        self._ending.set()
        self.executor.create_task(lambda: None)  # wakes it
        self._thread.join()
        self.executor.shutdown()
        for node in self._nodes:
            node.close() if hasattr(node, "close") else node.destroy_node()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def graph() -> Iterator[Graph]:
    made = Graph()
    yield made
    made.close()
