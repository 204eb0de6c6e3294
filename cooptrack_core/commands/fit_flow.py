"""`cooptrack fit-flow`: the small network that foresees what a roadside network will say of its objects."""

from __future__ import annotations

import argparse

from cooptrack_core.commands.common import check_positive, print_files
from cooptrack_core.commands.fitting_options import add_fitting_options, check_output

HELP = "fit the flow of a roadside network (latency.method flow) on what it sends about a train split"
STEPS = 6000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_fitting_options(
        parser, what="flow", measured_on="five of val measure it", seed="the network and the order of instances"
    )
    add = parser.add_argument
    add(
        "--codebook",
        default="",
        metavar="FILE",
        help="of its features; default: the one beside the weights or that ships",
    )
    add("--steps", type=int, default=STEPS, metavar="N", help="of 512 instances each")


def run(args: argparse.Namespace) -> int:
    """Fits, prints what it foresees, writes the file."""
    check_output(args)
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
