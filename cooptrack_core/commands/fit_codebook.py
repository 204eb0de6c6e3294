"""`cooptrack fit-codebook`: the codebook with which features of a roadside network become a few bytes."""

from __future__ import annotations

import argparse

from cooptrack_core.commands.common import check_positive, print_files
from cooptrack_core.commands.fitting_options import add_fitting_options, check_output

HELP = "fit the codebook of a roadside network's features (precision rvq) on what it sends about a train split"
STAGES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_fitting_options(
        parser,
        what="codebook",
        measured_on="a tenth of them measures it",
        seed="k-means and of the choice of instances",
    )
    parser.add_argument(
        "--stages",
        type=int,
        default=STAGES,
        metavar="K",
        help="most codes per stream and instance; senders may use fewer",
    )


def run(args: argparse.Namespace) -> int:
    """Fits, prints what is left unexplained, writes the file."""
    check_output(args)
    check_positive("--stages", args.stages)
    from cooptrack_core.cooperation.codebook import save_codebook
    from cooptrack_core.training.codebook import fit_codebook

    fitted = fit_codebook(
        args.dataset, args.preset, args.weights, stages=args.stages, seed=args.seed, split=args.split, cache=args.cache
    )
    save_codebook(fitted.codebook, args.output)
    print(f"codebook {fitted.codebook.fingerprint.hex()[:16]} of {fitted.codebook.notes}")
    print("variance left in sequences that it was not fitted on, by number of codes (bytes):")
    for stream, shares in fitted.left.items():
        print(f"  {stream:8}" + " ".join(f"{100 * share:6.2f} %" for share in shares))
    print_files([args.output])
    return 0
