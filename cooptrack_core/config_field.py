"""The field of a configuration with what its users need to know; config.py has the configurations."""

from __future__ import annotations

from dataclasses import field
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


__all__ = ["parameter"]
