"""`cooptrack fit-codebook`: the codebook with which features of a roadside network become a few bytes."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooptrack_core.commands.common import check_positive, print_files
from cooptrack_core.config import SHIPPED_WEIGHTS
from cooptrack_core.types import CooptrackError

HELP = "fit the codebook of a roadside network's features (precision rvq) on what it sends about a train split"
STAGES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("dataset", type=Path, help="in the V2X-Seq-SPD layout, with images")
    add("--weights", default=SHIPPED_WEIGHTS, metavar="FILE|NAME", help="of the roadside network")
    add("--preset", default="tiny_inf", metavar="NAME", help="its preset")
    add("--split", default="train", metavar="NAME", help="sequences it is fitted on; a tenth of them measures it")
    add(
        "--stages",
        type=int,
        default=STAGES,
        metavar="K",
        help="most codes per stream and instance; senders may use fewer",
    )
    add("--seed", type=int, default=0, metavar="N", help="of k-means and of the choice of instances")
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="kept frames and messages, as of cooptrack train; default: in the dataset",
    )
    add("--output", "-o", type=Path, required=True, metavar="FILE", help="codebook, safetensors")
    add("--overwrite", action="store_true", help="replace that file")


def run(args: argparse.Namespace) -> int:
    """Fits, prints what is left unexplained, writes the file."""
    if args.output.exists() and not args.overwrite:
        raise CooptrackError(
            f"{args.output}: output: exists already; choose another -o, or replace it with --overwrite"
        )
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
