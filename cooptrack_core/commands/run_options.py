"""Options of commands that run the pipeline over a split of a dataset."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.commands.common import check_positive
from cooptrack_core.commands.network_options import add_network_options
from cooptrack_core.config import DEFAULT_DETECTOR, DETECTORS, LATENCY_METHODS, UNTRAINED, default_mode
from cooptrack_core.evaluation.conventions import CONVENTIONS
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.evaluation.run_options import RunOptions

CONVENTION_NAMES = tuple(CONVENTIONS)


def add_run_options(parser: argparse.ArgumentParser, *, split: str = "val") -> None:
    """--split, --sequence, --detector, --convention and what else decides what is run, the networks included."""
    parser.add_argument("--split", default=split, help="sequences of this split of the dataset (train, val, ...)")
    parser.add_argument("--sequence", nargs="+", metavar="ID", help="these sequences instead of a split")
    parser.add_argument(
        "--detector",
        choices=DETECTORS,
        help=f"source of the instances; without it that of --params, else {DEFAULT_DETECTOR}",
    )
    parser.add_argument(
        "--convention", choices=CONVENTION_NAMES, default="cooptrack",
        help="ground truth: cooptrack (10 Hz), 5hz (the same at 5 Hz) or univ2x (2 Hz, deletions); docs/evaluation.md",
    )  # fmt: skip
    parser.add_argument(
        "--label-updates", default="auto", metavar="FILE|none",
        help="update_label_info.json; auto: the one in or beside the dataset",
    )  # fmt: skip
    parser.add_argument(
        "--full-rate", action="store_true", help="the system sees all frames, also those that the convention leaves out"
    )
    parser.add_argument(
        "--latency", choices=LATENCY_METHODS,
        help="how received objects get to the time of a frame: latency.method, without it that of --params",
    )  # fmt: skip
    parser.add_argument("--params", type=Path, metavar="FILE", help="ROS parameter YAML of the agents")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated detector and of random weights")
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N vehicle frames of each sequence")
    parser.add_argument("--skip-broken", action="store_true", help="leave out dataset frames that are unreadable")
    add_network_options(parser)
    # Not given: those of --params.
    parser.set_defaults(preset=None, weights=None, device=None, engine=None, precision=None)


def run_options(args: argparse.Namespace, mode: str | None = None) -> RunOptions:
    """What the options ask for, undisturbed; mode None: that of --params, else as the detector has it.

    Raises CooptrackError for what cannot be.
    """
    from cooptrack_core.evaluation.conventions import convention_of
    from cooptrack_core.evaluation.frame_rate import at_frame_step
    from cooptrack_core.evaluation.run_options import RunOptions
    from cooptrack_core.parameter_files import AgentParameters, read_parameters

    check_positive("--frames", args.frames)
    if args.seed < 0:
        raise CooptrackError(f"--seed: {args.seed} is negative; give 0 or more")
    file = AgentParameters(Path("parameters")) if args.params is None else read_parameters(args.params)
    if file.of_nodes:
        print(f"note: {args.params}: of the nodes only, not used here: {', '.join(file.of_nodes)}", file=sys.stderr)
    given = {
        "detector": args.detector, "network__preset": args.preset, "network__device": args.device,
        "network__engine": args.engine, "network__precision": args.precision, "network__seed": args.seed or None,
    }  # fmt: skip
    detector = args.detector or file.vehicle.get("detector", DEFAULT_DETECTOR)
    mode = mode or file.vehicle.get("mode", default_mode(detector))
    vehicle = file.vehicle_config(
        mode=mode, network__weights=args.weights, latency__method=args.latency, **given
    )  # fmt: skip
    roadside = file.roadside_config(network__weights=args.roadside_weights or args.weights, **given)
    if vehicle.detector != roadside.detector:
        what = f"vehicle has detector {vehicle.detector}, roadside {roadside.detector}"
        raise CooptrackError(f"{args.params}: detector: {what}; one run has one detector, choose with --detector")
    convention = convention_of(args.convention)
    step = 1 if args.full_rate else convention.step
    if vehicle.detector == "simulated":
        _refuse_networks(args)
    return RunOptions(
        dataset=args.dataset, split=args.split, sequences=tuple(args.sequence or ()),
        vehicle=at_frame_step(vehicle, step), roadside=at_frame_step(roadside, step), seed=args.seed,
        convention=convention, full_rate=args.full_rate,
        label_updates=args.label_updates, max_frames=args.frames, skip_broken=args.skip_broken,
    )  # fmt: skip


def _refuse_networks(args: argparse.Namespace) -> None:
    """CooptrackError for a choice of networks where none runs; where they would run (--device) changes no result."""
    for name in ("weights", "roadside_weights", "preset"):
        if getattr(args, name) is not None:
            option = "--" + name.replace("_", "-")
            what = "has no meaning with the simulated detector; choose --detector network, or leave it out"
            raise CooptrackError(f"{option}: {what}")


def warn_if_untrained(options: RunOptions) -> None:
    """Says loudly that random networks give meaningless numbers."""
    agents: dict[str, Any] = {"vehicle": options.vehicle, "roadside": options.roadside}
    random = [name for name, c in agents.items() if c.detector == "network" and c.network.weights == UNTRAINED]
    if random:
        line = "=" * 88
        text = f"UNTRAINED networks ({', '.join(random)}): random weights. Every number below is MEANINGLESS."
        print(f"{line}\n{text}\nGive trained weights with --weights FILE.\n{line}", file=sys.stderr)


__all__ = ["CONVENTION_NAMES", "add_run_options", "run_options", "warn_if_untrained"]
