"""`cooptrack robustness`: AMOTA and mAP against every disturbance of messages, by mode, and of the vehicle alone."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cooptrack_core.commands.common import check_positive, print_files, warn
from cooptrack_core.commands.run_options import add_run_options, run_options, warn_if_untrained
from cooptrack_core.config import MODES
from cooptrack_core.evaluation.packages import require_packages
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.evaluation.robustness import Plan

HELP = "curves of tracking and detection against delay, loss, noise and other disturbances of the messages"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("dataset", type=Path, help="run the agents over a split of this dataset")
    parser.add_argument(
        "--modes", metavar="A,B", help=f"separated by commas, of {', '.join(MODES)}; ego is added; default: late, "
        "with detector network also learned",
    )  # fmt: skip
    add_run_options(parser)
    group = parser.add_argument_group("disturbances")
    group.add_argument("--only", metavar="NAME,NAME", help="these disturbances, for example delay,loss; without it all")
    group.add_argument(
        "--grid", nargs="+", default=[], action="extend", metavar="NAME=V,V,...",
        help="values of a disturbance instead of the usual ones; without --only just these are run",
    )  # fmt: skip
    group.add_argument("--repeats", type=int, default=1, metavar="N", help="seeds per random point: mean and extremes")
    group.add_argument("--disturbance-seed", type=int, default=0, metavar="N", help="the first of them")
    group.add_argument(
        "--noise-correlation-s", type=float, default=0.0, metavar="X",
        help="time constant with which position and yaw noise change; 0: fresh in every message, s",
    )  # fmt: skip
    matrix = parser.add_argument_group(
        "matrix", "never worse than ego: impairments together, invariants at every point"
    )
    matrix.add_argument("--matrix", action="store_true", help="run the matrix instead of the curves")
    matrix.add_argument("--reduced", action="store_true", help="with --matrix: about a quarter of the points")
    matrix.add_argument(
        "--tolerance", type=float, default=0.02, metavar="X", help="AMOTA that a point may lie below the vehicle alone"
    )  # fmt: skip
    out = parser.add_argument_group("output")
    out.add_argument("--out", "-o", type=Path, default=Path("robustness"), metavar="DIR", help="folder; resumed")
    out.add_argument("--overwrite", action="store_true", help="begin anew, whatever that folder holds")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing, prints the tables, writes JSON, CSV, pictures and the page."""
    require_packages()
    from cooptrack_core.evaluation.robustness import run_robustness
    from cooptrack_core.evaluation.robustness_page import write_figures, write_html
    from cooptrack_core.evaluation.robustness_tables import print_tables, write_csv
    from cooptrack_core.evaluation.run import SequenceRunner
    from cooptrack_core.report import save_json

    plan = _plan(args)
    if args.matrix:
        return _run_matrix(args, plan)
    warn_if_untrained(plan.options)
    runner = SequenceRunner(plan.options)
    result = run_robustness(plan, args.out, overwrite=args.overwrite, runner=runner)
    warn(args, runner.warnings)
    params = None if args.params is None else str(args.params)
    result["run"] |= {"params": params, "command": args.command_line}
    files = [args.out / f"robustness.{kind}" for kind in ("json", "csv", "html")]
    save_json(result, files[0])
    write_csv(result, files[1])
    figures, pictures = write_figures(result, args.out)
    write_html(result, figures, files[2])
    print_tables(result)
    print_files([*files, *pictures])
    return 0


def _run_matrix(args: argparse.Namespace, curves: Plan) -> int:
    """Runs what is missing of the matrix; exit code 1 if an invariant is violated."""
    from cooptrack_core.evaluation.matrix_report import print_matrix, write_csv, write_figures
    from cooptrack_core.evaluation.robustness_matrix import MatrixPlan, all_violations, run_matrix
    from cooptrack_core.evaluation.run import SequenceRunner
    from cooptrack_core.report import save_json

    if args.only is not None or args.grid:
        raise CooptrackError("--matrix: has points of its own; leave out --only and --grid")
    warn_if_untrained(curves.options)
    runner = SequenceRunner(curves.options)
    plan = MatrixPlan(curves.options, curves.cooperative, args.tolerance, args.disturbance_seed, args.reduced)
    result = run_matrix(plan, args.out, overwrite=args.overwrite, runner=runner)
    warn(args, runner.warnings)
    result["run"] |= {"params": None if args.params is None else str(args.params), "command": args.command_line}
    files = [args.out / f"matrix.{kind}" for kind in ("json", "csv")]
    save_json(result, files[0])
    write_csv(result, files[1])
    pictures = write_figures(result, args.out)
    print_matrix(result)
    print_files([*files, *pictures])
    return 1 if all_violations(result) else 0


def _plan(args: argparse.Namespace) -> Plan:
    from cooptrack_core.cooperation.disturbance import Disturbance
    from cooptrack_core.evaluation.disturbance_sweeps import chosen
    from cooptrack_core.evaluation.robustness import Plan

    options = run_options(args)
    usual = "learned,late" if options.vehicle.detector == "network" else "late"
    modes = tuple(dict.fromkeys(name for name in (usual if args.modes is None else args.modes).split(",") if name))
    for mode in modes:
        if mode not in MODES:
            raise CooptrackError(f"--modes: {mode!r} is unknown; choose among {', '.join(MODES)}")
    if not modes:
        raise CooptrackError(f"--modes: names no mode; choose among {', '.join(MODES)}")
    if not set(modes) - {"ego"}:
        raise CooptrackError("--modes: mode ego uses no messages, nothing disturbs it; name another mode too")
    check_positive("--repeats", args.repeats)
    # The time constant needs a noise to belong to; that of `common` is not used.
    common = Disturbance(
        position_noise_m=1.0, noise_correlation_s=args.noise_correlation_s, seed=args.disturbance_seed
    )  # fmt: skip
    sweeps = chosen(args.only, args.grid, common)
    options = replace(options, vehicle=replace(options.vehicle, mode=modes[0]))
    return Plan(options, modes, tuple(sweeps), common, args.repeats)
