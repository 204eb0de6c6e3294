"""What several commands check and say in the same words."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from cooptrack_core.types import CooptrackError


def check_positive(option: str, value: int | None) -> None:
    """CooptrackError for a number below 1; None: the option was not given."""
    if value is not None and value < 1:
        raise CooptrackError(f"{option}: {value} is not a positive number; give 1 or more")


def refuse_others(
    args: argparse.Namespace,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    meaningful: Collection[str],
    why: str,
) -> None:
    """CooptrackError for an option of a command that is not at its default and not among those that mean something.

    add_arguments: what makes the options of the command, which can be called without any; why: completes "--x: has no
    meaning ...".
    """
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for name, default in vars(parser.parse_args([])).items():
        if name not in meaningful and getattr(args, name) != default:
            option = "DATASET" if name == "dataset" else "--" + name.replace("_", "-")
            raise CooptrackError(f"{args.command}: {option}: has no meaning {why}")


def warn(args: argparse.Namespace, warnings: Iterable[str]) -> None:
    """Prints each beside the results, under the name of the command."""
    for text in warnings:
        print(f"cooptrack {args.command}: warning: {text}", file=sys.stderr)


def print_files(paths: Iterable[Path]) -> None:
    """Says what was written, as seen from here."""
    print("\nfiles: " + "  ".join(os.path.relpath(path) for path in paths))


__all__ = ["check_positive", "print_files", "refuse_others", "warn"]
