"""`cooptrack rate-curve`: bytes on the air against what they are worth, for messages of every kind."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooptrack_core.commands.common import print_files, warn
from cooptrack_core.commands.disturbance_options import add_disturbance_options, disturbance_of
from cooptrack_core.commands.run_options import add_run_options, run_options, warn_if_untrained
from cooptrack_core.config import LEARNED_MODES, MODES
from cooptrack_core.evaluation.packages import require_packages
from cooptrack_core.types import CooptrackError

HELP = "bytes per second against tracking and detection: precisions, redundancy and budgets of the messages"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("dataset", type=Path, help="run the agents over a split of this dataset")
    parser.add_argument(
        "--mode", choices=[m for m in MODES if m != "ego"], help="default: learned, with detector simulated late"
    )
    add_run_options(parser)
    group = parser.add_argument_group("points")
    group.add_argument(
        "--points", metavar="NAME,NAME", help="these of the usual points, for example fp16,rvq4-held; without it all; "
        "fp32, which all are compared with, is always run",
    )  # fmt: skip
    group.add_argument(
        "--point", action="append", default=[], metavar="NAME=PARAMETER=VALUE,...",
        help="a point of your own, parameters of the roadside node (docs/nodes.md); without --points only these",
    )  # fmt: skip
    add_disturbance_options(parser)
    out = parser.add_argument_group("output")
    out.add_argument("--out", "-o", type=Path, default=Path("rate_curve"), metavar="DIR", help="folder; resumed")
    out.add_argument("--overwrite", action="store_true", help="begin anew, whatever that folder holds")
    out.add_argument("--bootstrap-seed", type=int, default=0, metavar="N", help="of the resamples of the intervals")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing, prints the table, writes JSON, CSV and the picture."""
    require_packages()
    from dataclasses import replace

    from cooptrack_core.evaluation.rate_curve import RatePlan, run_rate_curve
    from cooptrack_core.evaluation.rate_points import chosen_points
    from cooptrack_core.evaluation.rate_report import print_table, write_csv, write_figure
    from cooptrack_core.evaluation.remembered import RememberedRoadside
    from cooptrack_core.evaluation.run import SequenceRunner
    from cooptrack_core.report import save_json

    options = run_options(args, args.mode)
    mode = options.vehicle.mode
    if mode == "ego":
        raise CooptrackError("mode ego: uses no messages; choose another --mode")
    options = replace(options, disturbance=disturbance_of(args))
    points = chosen_points(args.points, args.point, objects=mode not in LEARNED_MODES)
    warn_if_untrained(options)
    runner = SequenceRunner(options, RememberedRoadside())
    plan = RatePlan(options, tuple(points))
    result = run_rate_curve(plan, args.out, overwrite=args.overwrite, runner=runner, seed=args.bootstrap_seed)
    warn(args, runner.warnings)
    result["run"] |= {"params": None if args.params is None else str(args.params), "command": args.command_line}
    files = [args.out / f"rate_curve.{kind}" for kind in ("json", "csv", "svg", "png")]
    save_json(result, files[0])
    write_csv(result, files[1])
    write_figure(result, files[2:])
    print_table(result)
    print_files(files)
    return 0
