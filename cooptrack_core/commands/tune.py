"""`cooptrack tune`: scores calibrated, gates and tracker searched, on the train split, as a parameter file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cooptrack_core.commands.common import check_positive, warn
from cooptrack_core.commands.run_options import add_run_options, run_options, warn_if_untrained
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.evaluation.tuning import Tuned

HELP = "tune the object-level tracker on a train split: calibrated scores, gates and tracker, as a parameter file"
TRIALS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("dataset", type=Path, help="with cooperative labels")
    parser.add_argument(
        "--mode", choices=("late", "ego"), default="late",
        help="what is tuned: late fusion, or the tracker of a vehicle alone (on boxes, not a network's own tracks)",
    )  # fmt: skip
    parser.add_argument("--trials", type=int, default=TRIALS, metavar="N", help="parameter sets that are tried")
    parser.add_argument("--output", "-o", type=Path, default=Path("tuned.yaml"), metavar="FILE", help="parameter file")
    parser.add_argument("--overwrite", action="store_true", help="replace that file")
    parser.add_argument(
        "--allow-held-out", action="store_true",
        help="also on --sequence of a split that is kept for scoring; then score others (compare warns of shared ones)",
    )  # fmt: skip
    add_run_options(parser, split="train")


def run(args: argparse.Namespace) -> int:
    """Tunes, prints what it brought, writes the file."""
    from cooptrack_core.data.files import write_file
    from cooptrack_core.evaluation.run import SequenceRunner
    from cooptrack_core.evaluation.tuning_data import KEPT_FOR_SCORING, Tuner, check_apart, held_out

    if args.output.exists() and not args.overwrite:
        raise CooptrackError(
            f"{args.output}: output: exists already; choose another -o, or replace it with --overwrite"
        )
    check_positive("--trials", args.trials)
    options = run_options(args, "late")
    warn_if_untrained(options)
    runner = SequenceRunner(options)
    by_file = options.split == "train" and not options.sequences
    remedy = "tune on the train split, --split train"
    if args.allow_held_out and options.sequences:
        kept = held_out(runner)
        warning = f"{len(kept)} of the sequences {KEPT_FOR_SCORING}: score others with these parameters" if kept else ""
    else:
        warning = check_apart(
            runner.sequences, held_out(runner), by_split_file=by_file, remedy=remedy, are=KEPT_FOR_SCORING
        )  # fmt: skip
    if warning:
        warn(args, [warning])
    found, content = Tuner(runner).tuned(args.mode, args.trials, args.seed, args.command_line)
    warn(args, runner.warnings)
    write_file(args.output, content)
    print_tuned(found, content)
    print(f"parameters: {args.output}")
    return 0


def print_tuned(found: Tuned, content: str) -> None:
    """The comment of the parameter file (content), and what was changed."""
    for line in content.splitlines():
        if line.startswith("# "):
            print(line[2:])
    width = max(map(len, found.values), default=0)
    for name, value in found.values.items():
        print(f"  {name:{width}}  {value:g}")


__all__ = ["add_arguments", "print_tuned", "run"]
