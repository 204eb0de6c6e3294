"""Text that is known when the launch file is executed: LaunchConfiguration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launch._not_offered import not_offered
from launch.launch_context import LaunchContext

__getattr__ = not_offered(__name__)


class SubstitutionFailure(Exception):
    """A substitution has no text."""


class Substitution:
    """Base of all."""

    def perform(self, context: LaunchContext) -> str:
        """The text."""
        raise NotImplementedError

    def describe(self) -> str:
        """As shown by --show-args."""
        raise NotImplementedError


SomeText = str | Path | Substitution | Sequence[str | Path | Substitution]


def perform(context: LaunchContext, value: SomeText) -> str:
    """Text of a string, a path, a substitution or a sequence of them, joined."""
    if isinstance(value, Substitution):
        return value.perform(context)
    if isinstance(value, (str, Path)):
        return str(value)
    return "".join(perform(context, part) for part in value)


def describe(value: SomeText) -> str:
    """A value as --show-args shows it."""
    if isinstance(value, Substitution):
        return value.describe()
    if isinstance(value, (str, Path)):
        return f"'{value}'"
    return " + ".join(describe(part) for part in value)


class LaunchConfiguration(Substitution):
    """Value of a launch argument."""

    def __init__(self, variable_name: str, *, default: SomeText | None = None) -> None:
        self.variable_name = variable_name
        self.default = default

    def perform(self, context: LaunchContext) -> str:
        if self.variable_name in context.launch_configurations:
            return context.launch_configurations[self.variable_name]
        if self.default is None:
            raise SubstitutionFailure(f"launch configuration '{self.variable_name}' does not exist")
        return perform(context, self.default)

    def describe(self) -> str:
        return f"LaunchConfig('{self.variable_name}')"
