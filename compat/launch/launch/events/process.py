"""What can happen: the end of a process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launch.actions import ExecuteProcess


@dataclass(frozen=True)
class ProcessExited:
    """A process has ended; a negative return code is the signal that ended it."""

    action: ExecuteProcess
    process_name: str
    pid: int
    returncode: int
