"""Options that disturb the messages between agents, one per field of Disturbance."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cooptrack_core.cooperation.disturbance import Disturbance


def add_disturbance_options(parser: argparse.ArgumentParser) -> None:
    """--delay-ms, --jitter-ms, --loss, --burst and the others; --disturbance-seed."""
    from cooptrack_core.cooperation.disturbance import Disturbance, option_of

    group = parser.add_argument_group("disturbed messages", "simulated on messages between agents; all 0: none")
    for item in fields(Disturbance):
        kind = type(item.default)
        group.add_argument(
            option_of(item.name), dest=_destination(item.name), type=kind, default=item.default,
            metavar="N" if kind is int else "X", help=item.metadata["description"].replace("%", "%%"),
        )  # fmt: skip


def disturbance_of(args: argparse.Namespace) -> Disturbance:
    """What the options ask for; a seed alone is NO_DISTURBANCE.

    Raises CooptrackError naming the option, its value and what is allowed.
    """
    from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE, Disturbance

    found = Disturbance(**{item.name: getattr(args, _destination(item.name)) for item in fields(Disturbance)})
    return NO_DISTURBANCE if found.is_none else found


def _destination(name: str) -> str:
    return "disturbance_seed" if name == "seed" else name


__all__ = ["add_disturbance_options", "disturbance_of"]
