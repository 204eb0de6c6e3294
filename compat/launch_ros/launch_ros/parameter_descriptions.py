"""Typed parameter values."""

from __future__ import annotations

from typing import Any

import yaml
from launch import LaunchContext, Substitution
from launch._not_offered import not_offered
from launch.substitutions import perform

__getattr__ = not_offered(__name__)


class ParameterValue:
    """A value, perhaps a substitution, of a type that is known."""

    def __init__(self, value: Any, *, value_type: type | None = None) -> None:
        self.value = value
        self.value_type = value_type

    def evaluate(self, context: LaunchContext) -> Any:
        """The value; ValueError if it is not of the type."""
        if self.value_type is str:
            return perform(context, self.value)
        value = evaluate(context, self.value)
        if self.value_type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.value_type is not None and type(value) is not self.value_type:
            raise ValueError(f"{value!r} is not of type {self.value_type.__name__}")
        return value


def evaluate(context: LaunchContext, value: Any) -> Any:
    """A parameter value with all substitutions performed; their text is read as YAML."""
    if isinstance(value, ParameterValue):
        return value.evaluate(context)
    if isinstance(value, Substitution):
        return yaml.safe_load(value.perform(context))
    if isinstance(value, (list, tuple)):
        return [evaluate(context, item) for item in value]
    return value
