"""What a frame frees serves the next: pages that the system has to bring (minor faults), counted in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cooptrack_core.model.allocator import keep_memory

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not keep_memory(), reason="the C library is not glibc")
COUNT = """
import resource
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
"""
BLOCKS = """
import sys
import numpy as np
from cooptrack_core.model.allocator import keep_memory
if sys.argv[1] == "kept":
    assert keep_memory()
def block():  # above 32 MiB, from where glibc never keeps anything by itself
    np.empty(48 << 20, np.uint8).fill(1)
block()
before = faults()
for _ in range(5):
    block()
print(faults() - before)
"""
FRAMES = """
from small_runtime import street
from test_engines import message
from cooptrack_core.config import NetworkConfig
from cooptrack_core.model.loading import load_network
network = load_network(NetworkConfig(device="cpu", engine="torch"), "coop")
for i in range(16):
    if i == 8:
        before = faults()
    network.step(street(i), street(i).T_map_from_sensor, [message(network, i)])
print(faults() - before)
"""


def faults_of(program: str, *arguments: str) -> int:
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "test", ROOT / "test" / "core")))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment["PYTHONPATH"] = os.pathsep.join((paths, environment.get("PYTHONPATH", "")))
    command = [sys.executable, "-c", COUNT + program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=900)
    return int(done.stdout.split()[-1])


def test_large_blocks_are_kept_and_would_not_be() -> None:
    kept, given_back = faults_of(BLOCKS, "kept"), faults_of(BLOCKS, "given back")
    assert kept < 100  # where pages are of 2 MiB, five blocks take 120 of them
    assert given_back >= 5 * 48 // 2 and kept < given_back


def test_warm_frames_of_the_shipped_network_need_no_new_memory() -> None:
    """Eight frames: at most 400 pages, 1.6 MB (3 pages when this was written); one frame works with some 30 MB."""
    assert faults_of(FRAMES) < 400
