"""`cooptrack track`: the nodes' work without ROS, on a recorded bag."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooptrack_core.config import DETECTORS, MODES

HELP = "track offline on a bag: the same agents as the nodes, the same numbers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("bag", type=Path, help="rosbag2 directory made by `cooptrack to-bag` (or recorded alike)")
    parser.add_argument("--mode", choices=MODES, default="late", help="cooperation")
    parser.add_argument("--detector", choices=DETECTORS, default="simulated", help="source of the instances")
    parser.add_argument("--vehicle", default="vehicle", help="namespace of the vehicle")
    parser.add_argument("--roadside", default="rsu", help="namespaces of roadside units, separated by commas")
    parser.add_argument(
        "--repeat", type=Path, metavar="RECORDED",
        help="repeat a recorded run: each frame uses exactly the messages it used there",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, help="write the recording JSON here")


def run(args: argparse.Namespace) -> int:
    """Tracks, prints the summary, writes the recording."""
    from cooptrack_core.config import VehicleConfig
    from cooptrack_core.offline_bag import repeat_bag, track_bag
    from cooptrack_core.report import print_summary, save_json, summarize

    config = VehicleConfig(mode=args.mode, detector=args.detector)
    roadside = tuple(name for name in args.roadside.split(",") if name)
    if args.repeat is not None:
        recording = repeat_bag(args.bag, args.repeat, config, vehicle=args.vehicle, roadside=roadside)
    else:
        recording = track_bag(args.bag, config, vehicle=args.vehicle, roadside=roadside)
    print_summary(summarize(recording))
    if args.output is not None:
        save_json(recording, args.output)
        print(f"recording: {args.output}")
    return 0
