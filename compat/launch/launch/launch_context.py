"""What holds while a launch description is executed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launch.launch_service import LaunchService
    from launch.substitutions import Substitution


class LaunchContext:
    """Launch configurations (argument values) and the environment of the processes to come."""

    def __init__(self, *, argv: Iterable[str] | None = None, service: LaunchService | None = None) -> None:
        self.argv = list(argv or [])
        self.launch_configurations: dict[str, str] = {}
        self.environment: dict[str, str] = dict(os.environ)
        self.service = service

    def perform_substitution(self, substitution: Substitution) -> str:
        """Text of a substitution."""
        return substitution.perform(self)
