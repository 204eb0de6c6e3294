"""Options of the commands that fit something to what a roadside network sends about a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooptrack_core.config import SHIPPED_WEIGHTS
from cooptrack_core.types import CooptrackError


def add_fitting_options(parser: argparse.ArgumentParser, *, what: str, measured_on: str, seed: str) -> None:
    """Dataset, network, output. what: is written; measured_on: by which it is judged; seed: of what."""
    add = parser.add_argument
    add("dataset", type=Path, help="in the V2X-Seq-SPD layout, with images")
    add("--weights", default=SHIPPED_WEIGHTS, metavar="FILE|NAME", help="of the roadside network")
    add("--preset", default="tiny_inf", metavar="NAME", help="its preset")
    add("--split", default="train", metavar="NAME", help=f"sequences it is fitted on; {measured_on}")
    add("--seed", type=int, default=0, metavar="N", help=f"of {seed}")
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="kept frames and messages, as of cooptrack train; default: in the dataset",
    )
    add("--output", "-o", type=Path, required=True, metavar="FILE", help=f"{what}, safetensors")
    add("--overwrite", action="store_true", help="replace that file")


def check_output(args: argparse.Namespace) -> None:
    """CooptrackError where the output exists and may not be replaced."""
    if args.output.exists() and not args.overwrite:
        raise CooptrackError(
            f"{args.output}: output: exists already; choose another -o, or replace it with --overwrite"
        )


__all__ = ["add_fitting_options", "check_output"]
