"""What a launch description can do.

DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, SetEnvironmentVariable, LogInfo, RegisterEventHandler,
TimerAction, Shutdown and ExecuteProcess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launch._not_offered import not_offered
from launch.launch_context import LaunchContext
from launch.substitutions import SomeText, describe, perform

if TYPE_CHECKING:
    from launch.event_handlers import OnProcessExit
    from launch.launch_description import LaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch.launch_service import LaunchService

__getattr__ = not_offered(__name__)


def _service(context: LaunchContext) -> LaunchService:
    if context.service is None:
        raise RuntimeError("this action needs a LaunchService")
    return context.service


class Action:
    """Base of all."""

    def visit(self, context: LaunchContext) -> Sequence[Action | LaunchDescription]:
        """Execute; the answer is executed next."""
        return self.execute(context) or []

    def execute(self, context: LaunchContext) -> Sequence[Action | LaunchDescription] | None:
        """What the action does."""
        raise NotImplementedError


class DeclareLaunchArgument(Action):
    """An argument of the launch file; its value becomes the launch configuration of the same name."""

    def __init__(
        self,
        name: str,
        *,
        default_value: SomeText | None = None,
        description: str | None = None,
        choices: Sequence[str] | None = None,
    ) -> None:
        if choices is not None and isinstance(default_value, str) and default_value not in choices:
            raise RuntimeError(f'Provided default_value "{default_value}" is not in provided choices "{choices}".')
        self.name = name
        self.default_value = default_value
        self.choices = choices
        self.description = description or "no description given"
        if choices is not None:
            self.description = f"{self.description.rstrip('.')}. Valid choices are: {list(choices)}"

    def describe_default(self) -> str | None:
        """The default as --show-args shows it."""
        return None if self.default_value is None else describe(self.default_value)

    def execute(self, context: LaunchContext) -> None:
        values = context.launch_configurations
        if self.name not in values:
            if self.default_value is None:
                raise RuntimeError(f'Required launch argument "{self.name}" was not provided.')
            values[self.name] = perform(context, self.default_value)
        if self.choices is not None and values[self.name] not in self.choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{values[self.name]}" is not valid. '
                f"Valid options are: {list(self.choices)}"
            )


class IncludeLaunchDescription(Action):
    """Another launch file, executed with these arguments; as in the original they stay set afterwards."""

    def __init__(
        self,
        launch_description_source: PythonLaunchDescriptionSource,
        *,
        launch_arguments: Iterable[tuple[str, SomeText]] | None = None,
    ) -> None:
        self.source = launch_description_source
        self.launch_arguments = list(launch_arguments or [])

    def execute(self, context: LaunchContext) -> list[LaunchDescription]:
        for name, value in self.launch_arguments:
            context.launch_configurations[name] = perform(context, value)
        return [self.source.get_launch_description(context)]


class OpaqueFunction(Action):
    """A function that decides what to do when the arguments are known."""

    def __init__(
        self,
        *,
        function: Callable[..., Sequence[Action] | None],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.args = list(args or [])
        self.kwargs = dict(kwargs or {})

    def execute(self, context: LaunchContext) -> Sequence[Action] | None:
        return self.function(context, *self.args, **self.kwargs)


class SetEnvironmentVariable(Action):
    """Sets a variable for the processes started after it."""

    def __init__(self, name: SomeText, value: SomeText) -> None:
        self.name = name
        self.value = value

    def execute(self, context: LaunchContext) -> None:
        context.environment[perform(context, self.name)] = perform(context, self.value)


class LogInfo(Action):
    """Says something."""

    def __init__(self, *, msg: SomeText) -> None:
        self.msg = msg

    def execute(self, context: LaunchContext) -> None:
        _service(context).log("INFO", "launch.user", perform(context, self.msg))


class RegisterEventHandler(Action):
    """Waits for an event from here on."""

    def __init__(self, event_handler: OnProcessExit) -> None:
        self.event_handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        _service(context).event_handlers.append(self.event_handler)


class TimerAction(Action):
    """Actions that follow after `period` seconds, unless everything shuts down before."""

    def __init__(self, *, period: float, actions: Iterable[Action]) -> None:
        self.period = float(period)
        self.actions = list(actions)

    def execute(self, context: LaunchContext) -> None:
        _service(context).after(self.period, self.actions)


class Shutdown(Action):
    """Ends every process and then the launch."""

    def __init__(self, *, reason: str = "reason not given") -> None:
        self.reason = reason

    def execute(self, context: LaunchContext) -> None:
        _service(context).begin_shutdown(self.reason)


class ExecuteProcess(Action):
    """A process; `output` is screen, log or both, where log means that nothing is shown."""

    def __init__(
        self,
        *,
        cmd: Sequence[SomeText],
        name: SomeText | None = None,
        output: SomeText = "log",
        respawn: bool = False,
        respawn_delay: float | None = None,
        sigterm_timeout: SomeText = "5",
        sigkill_timeout: SomeText = "5",
    ) -> None:
        self.cmd = list(cmd)
        self.process_name = name
        self.output = output
        self.respawn = respawn
        self.respawn_delay = respawn_delay or 0.0
        self.sigterm_timeout = sigterm_timeout
        self.sigkill_timeout = sigkill_timeout

    def command(self, context: LaunchContext) -> list[str]:
        """Command line with all text known."""
        return [perform(context, part) for part in self.cmd]

    def execute(self, context: LaunchContext) -> None:
        _service(context).start(self)
