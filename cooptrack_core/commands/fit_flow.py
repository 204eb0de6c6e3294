"""`cooptrack fit-flow`: the small network that foresees what a roadside network will say of its objects."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooptrack_core.commands.common import check_positive, print_files
from cooptrack_core.config import SHIPPED_WEIGHTS
from cooptrack_core.types import CooptrackError

HELP = "fit the flow of a roadside network (latency.method flow) on what it sends about a train split"
STEPS = 6000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("dataset", type=Path, help="in the V2X-Seq-SPD layout, with images")
    add("--weights", default=SHIPPED_WEIGHTS, metavar="FILE|NAME", help="of the roadside network")
    add("--preset", default="tiny_inf", metavar="NAME", help="its preset")
    add(
        "--codebook",
        default="",
        metavar="FILE",
        help="of its features; default: the one beside the weights or that ships",
    )
    add("--split", default="train", metavar="NAME", help="sequences it is fitted on; five of val measure it")
    add("--steps", type=int, default=STEPS, metavar="N", help=f"of 512 instances each (default: {STEPS})")
    add("--seed", type=int, default=0, metavar="N", help="of the network and the order of instances")
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="kept frames and messages, as of cooptrack train; default: in the dataset",
    )
    add("--output", "-o", type=Path, required=True, metavar="FILE", help="flow, safetensors")
    add("--overwrite", action="store_true", help="replace that file")


def run(args: argparse.Namespace) -> int:
    """Fits, prints what it foresees, writes the file."""
    if args.output.exists() and not args.overwrite:
        raise CooptrackError(
            f"{args.output}: output: exists already; choose another -o, or replace it with --overwrite"
        )
    check_positive("--steps", args.steps)
    from cooptrack_core.cooperation.flow import save_flow
    from cooptrack_core.training.flow import fit_flow

    fitted = fit_flow(
        args.dataset, args.preset, args.weights, steps=args.steps, seed=args.seed, split=args.split, cache=args.cache,
        codebook_file=args.codebook,
    )  # fmt: skip
    save_flow(fitted.flow, args.output)
    print(f"flow {fitted.flow.fingerprint.hex()[:16]} of {fitted.flow.notes}")
    print("errors on val sequences, by velocity alone and by the flow:")
    for delay_s, (without, with_flow) in fitted.place_m.items():
        feature, foreseen = fitted.features[delay_s]
        print(
            f"  after {delay_s:3.1f} s: place {without:.2f} m, {with_flow:.2f} m; "
            f"features (mean square, in variances) {feature:.3f}, {foreseen:.3f}"
        )
    print_files([args.output])
    return 0
