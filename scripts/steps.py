"""Long steps: a log file each, one line of progress, and on failure the last lines and what to do."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TAIL_LINES = 25
TICK_S = 10.0


class StepFailed(Exception):
    """A step has failed; the message says how and what to do."""


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log that are not empty."""
    lines = path.read_text(errors="replace").replace("\r", "\n").splitlines()
    return [line.rstrip() for line in lines if line.strip()][-count:]


def _report(started: float, log: Path, done: threading.Event) -> None:
    """Say now and then that the step is still running."""
    while not done.wait(TICK_S):
        telling = [line.strip() for line in last_lines(log, 20) if not line.startswith("WARNING")]
        print(f"      {time.monotonic() - started:3.0f} s  {telling[-1][:90] if telling else ''}", flush=True)


def run(title: str, command: Sequence[str], log: Path, *, remedy: str, environment: Mapping[str, str]) -> None:
    """Run one command with its output in `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"  - {title} (log: {log})", flush=True)
    started = time.monotonic()
    done = threading.Event()
    with log.open("wb") as output:
        reporter = threading.Thread(target=_report, args=(started, log, done), daemon=True)
        reporter.start()
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
            ).returncode
        finally:
            done.set()
    reporter.join()
    if code != 0:
        sys.stderr.write("\n".join(last_lines(log, TAIL_LINES)) + "\n")
        raise StepFailed(f"{title}: failed with exit code {code}; whole log: {log}\n  {remedy}")
    print(f"      done in {time.monotonic() - started:.0f} s", flush=True)
