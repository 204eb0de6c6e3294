"""One child process: its output with its name in front, its end as an event, its stop by rising signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

_output_lock = threading.Lock()
OUTPUT_AFTER_EXIT_S = 1.0  # a grandchild may keep the pipe open for ever


def say(line: str) -> None:
    """Print one line whole, whatever other threads print."""
    with _output_lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


@dataclass(frozen=True)
class StopPlan:
    """Which signal follows after how many seconds without an end."""

    steps: tuple[tuple[signal.Signals, float], ...]

    @staticmethod
    def rising(sigterm_after_s: float, sigkill_after_s: float) -> StopPlan:
        """SIGINT, then SIGTERM, then SIGKILL."""
        return StopPlan(
            ((signal.SIGINT, sigterm_after_s), (signal.SIGTERM, sigkill_after_s), (signal.SIGKILL, float("inf")))
        )


class ChildProcess:
    """A running process in a session of its own, so that a terminal's ctrl-c reaches it only through the launch."""

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        *,
        show: bool,
        on_exit: Callable[[ChildProcess], None],
    ) -> None:
        self.name = name
        self.command = command
        self.returncode: int | None = None
        self._on_exit = on_exit
        self._popen = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if show else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if show else subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        self._reader: threading.Thread | None = None
        if self._popen.stdout is not None:
            self._reader = threading.Thread(target=self._read, args=(self._popen.stdout,), daemon=True)
            self._reader.start()
        threading.Thread(target=self._wait, daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            say(f"[{self.name}] {line.decode(errors='replace').rstrip()}")

    def _wait(self) -> None:
        returncode = self._popen.wait()
        if self._reader is not None:
            self._reader.join(OUTPUT_AFTER_EXIT_S)
        self.returncode = returncode
        self._on_exit(self)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process still lives."""
        self._popen.send_signal(number)
