"""`cooptrack to-bag`: a dataset sequence as a rosbag2."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from cooptrack_core.commands.common import check_positive, warn
from cooptrack_core.commands.run_options import CONVENTION_NAMES
from cooptrack_core.types import CooptrackError

_NAMESPACE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*")
HELP = "turn a V2X-Seq-SPD sequence into a rosbag2 (mcap, zstd chunks) for the ROS nodes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `cooptrack to-bag`."""
    parser.add_argument("dataset", type=Path, help="root of the dataset: the folder that holds vehicle-side/")
    parser.add_argument("out", type=Path, help="rosbag2 folder to write; with several sequences a folder of them")
    parser.add_argument(
        "--with", nargs="+", type=Path, default=[], metavar="DATASET", dest="others",
        help="datasets of the same traffic (synthesize --pairs), whose agents come into the bag, too: vehicle1, rsu1, "
        "vehicle2, rsu2, ...",
    )  # fmt: skip
    parser.add_argument(
        "--sequence", nargs="+", metavar="ID", help="sequence ids, or 'all'; may be left out when there is only one"
    )
    parser.add_argument("--raw", action="store_true", help="decoded images on `image` instead of `image/compressed`")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulated detector")
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N vehicle frames of each sequence")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bag")
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out frames whose calibration, pose or labels are unreadable"
    )
    parser.add_argument(
        "--label-updates", default="none", metavar="FILE|auto",
        help="apply this update_label_info.json, auto: the one in or beside the dataset",
    )  # fmt: skip
    parser.add_argument(
        "--convention", choices=CONVENTION_NAMES, default="cooptrack",
        help="which of its lists: of both sides (cooptrack), or the cooperative deletions too (univ2x)",
    )  # fmt: skip
    parser.add_argument("--vehicle", default="vehicle", help="namespace of the vehicle")
    parser.add_argument("--roadside", default="rsu", help="namespace of the roadside unit")


def run(args: argparse.Namespace) -> int:
    """Writes the bags; returns 0."""
    from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
    from cooptrack_core.data.v2x_seq import Dataset
    from cooptrack_core.evaluation.conventions import convention_of
    from cooptrack_core.evaluation.run_options import updates_of

    updates = updates_of(args.dataset, args.label_updates, convention_of(args.convention))
    dataset = Dataset(args.dataset, updates)
    check_positive("--frames", args.frames)
    for option, name in (("--vehicle", args.vehicle), ("--roadside", args.roadside)):
        if not _NAMESPACE.fullmatch(name):
            raise CooptrackError(f"{option}: {name!r} is no ROS namespace; give letters, digits and _, a letter first")
    if args.vehicle == args.roadside:
        raise CooptrackError(f"--roadside: {args.roadside!r} is the vehicle's namespace too; give another")
    options = BagOptions(
        raw=args.raw, seed=args.seed, overwrite=args.overwrite, skip_broken=args.skip_broken, max_frames=args.frames,
        vehicle=args.vehicle, roadside=args.roadside,
    )  # fmt: skip
    others = [Dataset(root, updates) for root in args.others]
    chosen = _sequences(args.sequence, dataset.sequences, args.dataset)
    for sequence_id in chosen:
        out = args.out if len(chosen) == 1 else args.out / sequence_id
        summary = sequence_to_bag(dataset, sequence_id, out, options, others)
        warn(args, summary.warnings)
        counts = f"{summary.vehicle_frames} vehicle frames, {summary.roadside_frames} roadside frames"
        print(f"{out}: sequence {sequence_id}, {counts}, {summary.images} images")
    return 0


def _sequences(asked: list[str] | None, known: tuple[str, ...], root: Path) -> list[str]:
    if asked == ["all"]:
        return list(known)
    if asked:
        return asked
    if len(known) == 1:
        return list(known)
    some = ", ".join(known[:10]) + (" ..." if len(known) > 10 else "")
    raise CooptrackError(f"{root}: sequence: has {len(known)} of them ({some}); choose with --sequence")
