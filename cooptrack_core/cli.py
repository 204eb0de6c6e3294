"""The `cooptrack` command: one subcommand per module of `cooptrack_core.commands`."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Sequence

from cooptrack_core import __version__
from cooptrack_core.evaluation.packages import package_of, remedy_for
from cooptrack_core.types import CooptrackError

COMMANDS = (
    "synthesize", "validate", "to-bag", "from-bag", "track", "report", "demo", "convert-checkpoint", "model-info",
    "overfit", "train", "fit-codebook", "fit-flow", "export", "evaluate", "tune", "compare", "robustness", "rate-curve",
    "figures", "profile",
)  # fmt: skip


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults that say something: not those of switches, nor that there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def build_parser() -> argparse.ArgumentParser:
    """Parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="cooptrack", description="Cooperative 3D tracking: datasets, bags, offline runs and reports."
    )
    parser.add_argument("--version", action="version", version=f"cooptrack {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"cooptrack_core.commands.{name.replace('-', '_')}")
        subparser = subparsers.add_parser(
            name, help=module.HELP, description=module.HELP, formatter_class=_HelpFormatter
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 success, 1 the checked thing has defects, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(arguments)
    args.command_line = shlex.join(["cooptrack", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        return int(args.run(args))
    except CooptrackError as error:
        print(f"cooptrack {args.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"cooptrack {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except ModuleNotFoundError as error:
        package = package_of(error.name)
        if package == "cooptrack_core":  # a fault of ours, nothing to install
            raise
        what = f"Python package {package} is missing; {remedy_for(package)}"
        print(f"cooptrack {args.command}: error: {what}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename2 or error.filename
        if where is None:  # of no file that the user named
            raise
        what = f"{where}: file: {error.strerror}; check the path, its permissions and the free space"
        print(f"cooptrack {args.command}: error: {what}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
