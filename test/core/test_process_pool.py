"""Pools of processes: pieces come back, and nothing works on when the command is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cooptrack_core.process_pool import process_pool, work_through

COMMAND = """
import os, time
from cooptrack_core.process_pool import process_pool

def work():
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    with process_pool(2, 2) as pool:
        [pool.submit(work) for _ in range(4)]
"""


def runs(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_pieces_are_worked_on_in_other_processes() -> None:
    with process_pool(2, 1) as pool:
        found = [pool.submit(os.getpid).result() for _ in range(2)]
    assert found[0] == found[1] != os.getpid()


def test_every_piece_is_worked_through_and_an_error_in_one_is_not_lost(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    work_through(os.mkdir, [(folder,) for folder in folders], "folders", "folder")
    assert all(folder.is_dir() for folder in folders)
    with pytest.raises(FileExistsError):
        work_through(os.mkdir, [(folder,) for folder in folders], "folders", "folder")


def test_after_an_interrupt_only_what_has_begun_is_finished(tmp_path: Path) -> None:
    """A command that is told to end would otherwise work through all the rest first."""

    def interrupted() -> None:
        with process_pool(5, 1) as pool:
            began = [pool.submit(os.mkdir, tmp_path / str(i)) for i in range(2)]
            slow = [pool.submit(time.sleep, 0.5) for _ in range(5)]  # a pool keeps two ready
            late = [pool.submit(os.mkdir, tmp_path / f"late{i}") for i in range(9)]
            assert all(future.result() is None for future in (*began, slow[0]))
            raise KeyboardInterrupt(len(late))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_no_worker_outlives_a_killed_command(tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    command = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    workers = [int(command.stdout.readline()) for _ in range(2)]
    assert all(runs(pid) for pid in workers)
    command.kill()
    command.wait()
    due_s = time.monotonic() + 30
    while any(runs(pid) for pid in workers) and time.monotonic() < due_s:
        time.sleep(0.1)
    assert not any(runs(pid) for pid in workers)
