"""What a launch file gives back."""

from __future__ import annotations

from collections.abc import Iterable

from launch.actions import Action, DeclareLaunchArgument
from launch.launch_context import LaunchContext


class LaunchDescription:
    """Actions, executed in order."""

    def __init__(self, initial_entities: Iterable[Action] | None = None) -> None:
        self.entities = list(initial_entities or [])

    def add_action(self, action: Action) -> None:
        """Append an action."""
        self.entities.append(action)

    def get_launch_arguments(self) -> list[DeclareLaunchArgument]:
        """The arguments declared here; those of included files are not among them."""
        return [entity for entity in self.entities if isinstance(entity, DeclareLaunchArgument)]

    def visit(self, context: LaunchContext) -> list[Action]:
        """What to execute."""
        return self.entities
