"""What to do when something happens: OnProcessExit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from launch._not_offered import not_offered
from launch.actions import Action, ExecuteProcess
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext

__getattr__ = not_offered(__name__)

SomeActions = Action | Iterable[Action] | None


class OnProcessExit:
    """Actions (or a function of event and context that gives them) for the end of a process."""

    def __init__(
        self,
        *,
        target_action: ExecuteProcess | None = None,
        on_exit: SomeActions | Callable[[ProcessExited, LaunchContext], SomeActions],
    ) -> None:
        self.target_action = target_action
        self.on_exit = on_exit

    def handle(self, event: ProcessExited, context: LaunchContext) -> list[Action]:
        """Actions for `event`, none if it is about another process."""
        if self.target_action is not None and event.action is not self.target_action:
            return []
        actions = self.on_exit(event, context) if callable(self.on_exit) else self.on_exit
        if actions is None:
            return []
        return [actions] if isinstance(actions, Action) else list(actions)
