"""Fields of configurations: a value with what a user needs to know about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with what a user needs to know about it."""
    metadata = {"description": description, "minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ParameterSpec:
    """One leaf of a configuration: dotted name, default, description and what is allowed."""

    name: str
    default: Any
    description: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None


__all__ = ["ParameterSpec", "parameter"]
