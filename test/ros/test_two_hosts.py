"""Roadside unit and vehicle in two network namespaces, joined by UDP alone, with the deployment profile."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import netns_check  # noqa: E402


def test_messages_come_over_the_network_and_every_frame_has_tracks_or_the_machine_says_why_not() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "netns_check.py"), "--duration-s", "4", "--points", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=dict(os.environ), check=False)
    if done.returncode == netns_check.NOT_PERMITTED:
        line = done.stdout.strip()
        assert line.startswith("netns_check: not run: ") and "\n" not in line and netns_check.objection() in line
        warnings.warn(line, stacklevel=1)  # in pytest's summary: what could not be shown here
        return
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.split() and line.split()[0].isdigit()]
    assert [row[:2] for row in rows] == [["0", "0"], ["100", "10"]]
    assert all(row[3] == "0" for row in rows)  # no frame without tracks
    assert float(rows[1][5]) - float(rows[0][5]) > 30.0  # the delay is in the ages


def test_problems_are_named() -> None:
    good = {"delay_ms": 0, "loss_percent": 0, "frames": 50, "missed": 0, "with_message": 50, "died": []}
    assert netns_check.problems([good]) == []
    bad = [good | {"missed": 2}, good | {"died": ["vehicle_node"]}, good | {"with_message": 5}]
    found = netns_check.problems([*bad, good | {"problem": "nothing comes"}])
    assert [line.split(": ", 1)[1] for line in found] == [
        "2 of 50 frames without tracks", "ended by itself: vehicle_node", "only 5 of 50 frames used a message",
        "nothing comes",
    ]  # fmt: skip
