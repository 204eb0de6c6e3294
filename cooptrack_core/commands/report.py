"""`cooptrack report`: figures and pictures of a recorded run."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "turn a recorded run into a summary table, a film, pictures and an HTML player"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("recorded", type=Path, help="rosbag2 directory that the recorder wrote")
    parser.add_argument("--source", type=Path, required=True, help="rosbag2 directory that was replayed")
    parser.add_argument("--out", type=Path, default=Path("report"), help="directory for the results")
    parser.add_argument("--vehicle", metavar="NAME", help="whose run, where several vehicles were recorded")
    parser.add_argument(
        "--faint-below", type=float, metavar="SCORE",
        help="draw tracks of a lower score as outlines alone (default: 0.5 of a network, else 0: none)",
    )  # fmt: skip
    parser.add_argument("--no-video", action="store_true", help="leave out the film, the slowest part")
    parser.add_argument("--no-pictures", action="store_true", help="only recording.json and summary.json")


def run(args: argparse.Namespace) -> int:
    """Writes the report and prints the table."""
    from cooptrack_core.report import write_report

    write_report(
        args.recorded, args.source, args.out, video=not args.no_video, pictures=not args.no_pictures,
        vehicle=args.vehicle, faint_below_score=args.faint_below,
    )  # fmt: skip
    return 0
