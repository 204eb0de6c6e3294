"""Cases as processes: one after the other, or two at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cases import Case, missing_package

RUN_CASE = Path(__file__).resolve().parent / "run_case.py"
LIMIT_S = 600.0  # of one process


def measured(case: Case, work: Path, repeats: int) -> dict[str, Any]:
    """What the process of a case says; "skipped": why there is nothing."""
    if reason := missing_package(case):
        return {"skipped": reason}
    command = _command(case, work, "--repeats", str(case.frames(repeats)), "--started-ns", str(time.monotonic_ns()))
    try:
        done = subprocess.run(
            command, env=_environment(case), capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return {"skipped": f"took longer than {LIMIT_S:.0f} s"}
    return _result(done.returncode, done.stdout, done.stderr)


def together(cases: Sequence[Case], work: Path, seconds: float) -> list[dict[str, Any]]:
    """The same of several cases that run at the same time, once all are warm."""
    if reasons := [reason for reason in map(missing_package, cases) if reason]:
        return [{"skipped": reasons[0]}]
    running = [_started(case, work, seconds) for case in cases]
    first = [process.stdout.readline() for process in running if process.stdout is not None]
    if all(line.strip() == "ready" for line in first):
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    ended = [process.communicate(timeout=LIMIT_S) for process in running]
    return [
        _result(process.returncode, line + out, errors)
        for process, line, (out, errors) in zip(running, first, ended, strict=True)
    ]


def _started(case: Case, work: Path, seconds: float) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = _command(case, work, "--seconds", str(seconds))
    return subprocess.Popen(command, env=_environment(case), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _command(case: Case, work: Path, *options: str) -> list[str]:
    """A vehicle hears what the first roadside unit of its preset and device sent."""
    frames, messages = work / f"{case.agent}.npz", work / f"{case.preset}_{case.device}_messages.npz"
    named = "--case", json.dumps(case.facts()), "--frames", str(frames), "--messages", str(messages)
    return [sys.executable, str(RUN_CASE), *named, *options]


def _environment(case: Case) -> dict[str, str]:
    """As many threads for what begins before the network says how many it wants."""
    return {**os.environ, "OMP_NUM_THREADS": str(case.threads)}


def _result(status: int, stdout: str, stderr: str) -> dict[str, Any]:
    """The JSON of the last line, or the last words of a process that failed."""
    if status != 0:
        return {"skipped": f"failed: {(stderr.strip().splitlines() or [f'exit status {status}'])[-1]}"}
    result: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return result
