"""Runs a launch description: starts its processes, watches them, and ends them together."""

from __future__ import annotations

import heapq
import itertools
import queue
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from launch._process import ChildProcess, StopPlan, say
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.substitutions import perform

if TYPE_CHECKING:
    from launch.actions import Action, ExecuteProcess
    from launch.event_handlers import OnProcessExit
    from launch.launch_description import LaunchDescription

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class LaunchService:
    """One launch. Everything happens in the thread of run(); other threads and signals only put work in its queue."""

    def __init__(self, *, argv: Iterable[str] | None = None, debug: bool = False) -> None:
        self.context = LaunchContext(argv=argv, service=self)
        self.event_handlers: list[OnProcessExit] = []
        self.debug = debug
        self._entities: list[Action | LaunchDescription] = []
        self._running: dict[ChildProcess, ExecuteProcess] = {}
        self._numbers = itertools.count(1)
        self._names: dict[ExecuteProcess, str] = {}
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._shutting_down = False
        self._returncode = 0

    def log(self, level: str, name: str, text: str) -> None:
        """Print one line as the original does."""
        say(f"[{level}] [{name}]: {text}")

    def include_launch_description(self, launch_description: LaunchDescription) -> None:
        """Execute this when run() begins."""
        self._entities.append(launch_description)

    def run(self) -> int:
        """Execute, and return when no process is left: 0, or 1 if the launch description could not be executed."""
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            self._guarded(lambda: self._visit(self._entities))
            while self._running or (self._timers and not self._shutting_down):
                self._step()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._returncode

    def start(self, action: ExecuteProcess) -> None:
        """Start the process of `action`; not while shutting down."""
        if self._shutting_down:
            return
        command = action.command(self.context)
        if action not in self._names:
            label = command[0].rpartition("/")[2] if action.process_name is None else action.process_name
            self._names[action] = f"{perform(self.context, label)}-{next(self._numbers)}"
        process = ChildProcess(
            self._names[action],
            command,
            dict(self.context.environment),
            show=perform(self.context, action.output) != "log",
            on_exit=lambda child: self._work.put(lambda: self._exited(child)),
        )
        self._running[process] = action
        self.log("INFO", process.name, f"process started with pid [{process.pid}]")

    def after(self, period_s: float, actions: Sequence[Action]) -> None:
        """Execute `actions` later, unless everything shuts down before."""
        self._at(period_s, lambda: None if self._shutting_down else self._visit(actions))

    def begin_shutdown(self, reason: str) -> None:
        """Ask every process to end; those that do not are asked more firmly."""
        if self._shutting_down:
            return
        self._shutting_down = True
        self.log("INFO", "launch", f"shutting down: {reason}")
        for process, action in self._running.items():
            terms = float(perform(self.context, action.sigterm_timeout))
            kills = float(perform(self.context, action.sigkill_timeout))
            self._stop(process, StopPlan.rising(terms, kills).steps)

    def _stop(self, process: ChildProcess, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        if process not in self._running or not steps:
            return
        (number, patience_s), later = steps[0], steps[1:]
        self.log("INFO", process.name, f"sending signal '{number.name}' to process[{process.name}]")
        process.send(number)
        if later:
            self._at(patience_s, lambda: self._escalate(process, patience_s, number, later))

    def _escalate(
        self,
        process: ChildProcess,
        waited_s: float,
        ignored: signal.Signals,
        steps: Sequence[tuple[signal.Signals, float]],
    ) -> None:
        if process in self._running:
            self.log(
                "ERROR",
                process.name,
                f"process[{process.name}] failed to terminate '{waited_s:g}' seconds after receiving "
                f"'{ignored.name}', escalating to '{steps[0][0].name}'",
            )
            self._stop(process, steps)

    def _exited(self, process: ChildProcess) -> None:
        action = self._running.pop(process)
        code = process.returncode
        assert code is not None
        if code == 0 or (self._shutting_down and code in (-signal.SIGINT, -signal.SIGTERM)):
            self.log("INFO", process.name, f"process has finished cleanly [pid {process.pid}]")
        else:
            command = " ".join(process.command)
            self.log("ERROR", process.name, f"process has died [pid {process.pid}, exit code {code}, cmd '{command}'].")
        event = ProcessExited(action, process.name, process.pid, code)
        for handler in tuple(self.event_handlers):
            self._visit(handler.handle(event, self.context))
        if action.respawn and not self._shutting_down:
            self._at(action.respawn_delay, lambda: self.start(action))

    def _visit(self, entities: Sequence[Action | LaunchDescription]) -> None:
        for entity in entities:
            self._visit(entity.visit(self.context))

    def _at(self, delay_s: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._timer_numbers), work))

    def _step(self) -> None:
        """Wait for work or the next timer and do it."""
        timeout_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        try:
            work = self._work.get(timeout=timeout_s)
        except queue.Empty:
            work = heapq.heappop(self._timers)[2]
        self._guarded(work)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # whatever a launch file does wrong must not leave processes behind
            if self.debug:
                raise
            self.log("ERROR", "launch", f"Caught exception in launch: {error}")
            self._returncode = 1
            self.begin_shutdown("exception in launch")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self._work.put(lambda: self._interrupted(name))

    def _interrupted(self, name: str) -> None:
        text = "user interrupted with ctrl-c (SIGINT)" if name == "SIGINT" else f"received {name}"
        if self._shutting_down:
            self.log("WARNING", "launch", f"{text} again, ignoring...")
            return
        self.log("WARNING", "launch", text)
        self.begin_shutdown(name)
