"""The same module as another kind: its parameters and parts, of a class that goes another way with them."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Kind = TypeVar("Kind", bound=nn.Module)


def retyped(module: nn.Module, kind: type[Kind]) -> Kind:
    """A module of a subclass with the parameters and parts of this one, shared; what the kind adds is not set yet."""
    made = kind.__new__(kind)
    vars(made).update(vars(module))
    return made


__all__ = ["retyped"]
