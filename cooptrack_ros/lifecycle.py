"""Managed nodes that bring themselves up, say in one line why they cannot, and stop quietly."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

from cooptrack_core.types import CooptrackError
from cooptrack_ros.diagnostics import ERROR, OK, WARN, DiagnosticsPublisher, Health, ThrottledLog, status
from cooptrack_ros.parameters import NodeParameters

EXIT_NOT_STARTED, EXIT_BAD_INPUT = 1, 2


def one_line(error: BaseException) -> str:
    """What went wrong and where, without a traceback."""
    if isinstance(error, CooptrackError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


class ManagedNode(LifecycleNode):
    """Base of the agent nodes; subclasses fill in configure, activate, deactivate and cleanup.

    deactivate and cleanup must bear being called on a half-built node. A transition that raises is
    logged in one line, undone and reported as FAILURE: rclpy itself would swallow the exception.
    """

    own_process = False  # whether nothing else lives in this process

    def __init__(self, name: str, *parameter_classes: type[Any], **arguments: Any) -> None:
        super().__init__(name, **arguments)
        self.health, self.log = Health(), ThrottledLog(self)
        self.parameters = NodeParameters(self, *parameter_classes)
        self.diagnostics = DiagnosticsPublisher(self, self.statuses)

    def configure(self) -> None:
        """Reads parameters, makes the agent and the publishers."""

    def activate(self) -> None:
        """Begins to take input."""

    def deactivate(self) -> None:
        """Stops taking input."""

    def cleanup(self) -> None:
        """Frees what configure made."""

    @property
    def state(self) -> str:
        """Label of the lifecycle state."""
        return str(self._state_machine.current_state[1])

    def start(self) -> bool:
        """Configures and activates if `autostart` is set; False if that failed."""
        if not self.get_parameter("autostart").value:
            return True
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        done = self._transition("configure", self.configure, super().on_configure, state, undo=self.cleanup)
        if self.own_process:
            _keep_for_good()
        return done

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("activate", self.activate, super().on_activate, state, undo=self.deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("deactivate", self.deactivate, super().on_deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("clean up", self.cleanup, super().on_cleanup, state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("shut down", self._end, super().on_shutdown, state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("recover", self._end, super().on_error, state)

    def _end(self) -> None:
        self.deactivate()
        self.cleanup()

    def _transition(
        self,
        name: str,
        action: Callable[[], None],
        inherited: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
        undo: Callable[[], None] | None = None,
    ) -> TransitionCallbackReturn:
        try:
            action()
        except Exception as error:
            self.report_error(f"cannot {name}", error)
            if undo is not None:
                try:
                    undo()
                except Exception as second:
                    self.report_error(f"cannot undo {name}", second)
            return TransitionCallbackReturn.FAILURE
        self.get_logger().debug(f"{name}: done")
        return inherited(state)

    def report_error(self, what: str, error: BaseException) -> None:
        """One log line, and the error in the diagnostics; not of what fails because the process is stopped."""
        if not self.context.ok():
            return
        text = f"{what}: {one_line(error)}"
        self.health.error(text)
        self.get_logger().error(text)

    def statuses(self) -> list[DiagnosticStatus]:
        """State of the node; subclasses add their own."""
        error = self.health.recent_error()
        level = ERROR if error else OK if self.state == "active" else WARN
        return [self.status("state", level, error or self.state, {"lifecycle_state": self.state})]

    def status(self, name: str, level: bytes, message: str, items: dict[str, object]) -> DiagnosticStatus:
        """A status of this node."""
        full_name = f"{self.get_fully_qualified_name()}: {name}"
        return status(full_name, level, message, self.get_namespace().strip("/"), items)

    def close(self) -> None:
        """Ends the node whatever its state."""
        self._end()
        self.destroy_node()


def _keep_for_good() -> None:
    """What is there by now stays: the garbage collector would look through all of it now and then, in mid-frame.

    With torch that takes longer than a frame may.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def spin(node: Node) -> None:
    """Takes the node's callbacks in this thread until the context ends."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    executor.spin()


class _Interrupt:
    """SIGINT, noted: its KeyboardInterrupt may get lost in rclpy, come late or be hidden by an error while closing."""

    def __init__(self) -> None:
        self.came = self.closing = False
        self._before = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if not self.closing:
            raise KeyboardInterrupt

    def forget(self) -> None:
        """Leaves the signal as it was."""
        signal.signal(signal.SIGINT, self._before)

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop, by SIGINT or SIGTERM."""
        return self.came or not rclpy.ok()


def run_node(make: Callable[[], Node], arguments: list[str] | None = None, work: Callable[[Any], None] = spin) -> int:
    """Makes one node, brings it up, lets it work in this thread, which is the main one, and closes it.

    Returns the exit code: 0 done, or stopped by SIGINT or SIGTERM; 1 the node could not come up; 2 bad input.
    """
    interrupt = _Interrupt()  # before rclpy's own handler, which calls it
    try:
        try:
            rclpy.init(args=arguments)
        except Exception as error:  # rclpy's own type, e.g. for a parameter file that cannot be read
            print(f"error: {one_line(error)}", file=sys.stderr)
            return EXIT_BAD_INPUT
        return _run(make, work, interrupt)
    except KeyboardInterrupt:
        return 0
    finally:
        interrupt.closing = True
        rclpy.try_shutdown()
        # What was kept for good goes, too: else the shared memory of DDS stays behind, 35 MB of it.
        gc.unfreeze()
        gc.collect()
        interrupt.forget()


def _run(make: Callable[[], Node], work: Callable[[Any], None], interrupt: _Interrupt) -> int:
    try:
        code = _bring_up(make, work)
        return 0 if interrupt.stopping else code
    except ExternalShutdownException:
        return 0
    except CooptrackError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except Exception as error:
        if interrupt.stopping:
            return 0  # interrupted somewhere inside rclpy, which then raises whatever it was about
        if os.environ.get("ROS_SECURITY_ENABLE") == "true" and type(error).__name__ == "RCLError":
            text = " ".join(str(error).split())
            print(f"error: security is on and the node cannot be made: {text}; see docs/security.md", file=sys.stderr)
            return EXIT_BAD_INPUT
        raise


def _bring_up(make: Callable[[], Node], work: Callable[[Any], None]) -> int:
    node = make()
    try:
        if isinstance(node, ManagedNode):
            node.own_process = True
            if not node.start():
                return EXIT_NOT_STARTED
        work(node)
    finally:
        getattr(node, "close", node.destroy_node)()
    return 0
