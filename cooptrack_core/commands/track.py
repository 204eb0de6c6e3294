"""`cooptrack track`: the nodes' work without ROS, on a bag or straight from a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.commands.common import warn
from cooptrack_core.commands.disturbance_options import add_disturbance_options, disturbance_of
from cooptrack_core.commands.network_options import BY_DETECTOR, add_network_options, network_configs
from cooptrack_core.config import DEFAULT_DETECTOR, DETECTORS, MODES, default_mode
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.data.sequence_source import SequenceSource

HELP = "track offline on a bag or a dataset: the same agents as the nodes, the same numbers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("source", type=Path, help="rosbag2 (of `cooptrack to-bag`, or recorded alike), or a dataset")
    parser.add_argument("--sequence", metavar="ID", help="of a dataset; may be left out when there is only one")
    parser.add_argument("--mode", choices=MODES, help=f"cooperation; without it that of --schedule, else {BY_DETECTOR}")
    parser.add_argument(
        "--detector",
        choices=DETECTORS,
        help=f"source of the instances; without it that of --schedule, else {DEFAULT_DETECTOR}",
    )
    parser.add_argument("--vehicle", default="vehicle", help="namespace of the vehicle")
    parser.add_argument("--roadside", default="rsu", help="namespaces of roadside units, separated by commas")
    parser.add_argument(
        "--schedule", "--repeat", type=Path, metavar="RECORDED", dest="schedule",
        help="repeat a recorded run: its frames, each with exactly the messages that it used there",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of a dataset's simulated detector and of random weights")
    parser.add_argument("--skip-broken", action="store_true", help="leave out dataset frames that are unreadable")
    parser.add_argument("-o", "--output", type=Path, help="write the recording JSON here")
    add_network_options(parser)
    add_disturbance_options(parser)


def run(args: argparse.Namespace) -> int:
    """Tracks, prints the summary, writes the recording."""
    from cooptrack_core.report import print_summary, save_json, summarize

    roadside = tuple(name for name in args.roadside.split(",") if name)
    recording = _tracked(args, roadside)
    print_summary(summarize(recording))
    if "repeated" in recording:
        print(_repetition(recording["repeated"], args.schedule))
    if args.output is not None:
        save_json(recording, args.output)
        print(f"recording: {args.output}")
    return 0


def _tracked(args: argparse.Namespace, roadside: tuple[str, ...]) -> dict[str, Any]:
    from cooptrack_core.config import RoadsideConfig, VehicleConfig
    from cooptrack_core.data.recorded_run import read_run
    from cooptrack_core.offline_bag import drive_of, repeat_run, track_drive

    disturbance = disturbance_of(args)
    if args.schedule is not None and not disturbance.is_none:
        raise CooptrackError("--schedule: repeats the messages of a recorded run; leave out what disturbs messages")
    vehicle_network, roadside_network = network_configs(args, args.seed)
    then = None if args.schedule is None else read_run(args.schedule, args.vehicle, roadside)
    detector = args.detector or (DEFAULT_DETECTOR if then is None else then.detector)
    mode = args.mode or (default_mode(detector) if then is None else then.mode)
    source = _source(args, roadside, labels=detector == "simulated")
    config = VehicleConfig(mode=mode, detector=detector, network=vehicle_network)
    if then is not None:
        recording = repeat_run(source, then, config, vehicle=args.vehicle, roadside=roadside)
    else:
        unit = RoadsideConfig(detector=detector, network=roadside_network)
        drive = drive_of(source, detector, vehicle=args.vehicle, roadside=roadside)
        recording = track_drive(drive, config, roadside_config=unit, channel=drive.channel(disturbance))
    if not isinstance(source, Path):
        warn(args, source.sequence.warnings_of_run)
    return recording


def _source(args: argparse.Namespace, roadside: tuple[str, ...], *, labels: bool) -> Path | SequenceSource:
    """The bag, or the sequence of the dataset."""
    from cooptrack_core.data.frame_messages import SequenceOptions
    from cooptrack_core.data.sequence_messages import SequenceMessages
    from cooptrack_core.data.sequence_source import SequenceSource
    from cooptrack_core.data.v2x_seq import Dataset, is_dataset

    if args.sequence is None and not is_dataset(args.source):
        path: Path = args.source
        return path
    if len(roadside) > 1:
        raise CooptrackError(f"--roadside: {', '.join(roadside)}: a dataset has one roadside unit; name one")
    dataset = Dataset(args.source)
    sequences = dataset.sequences
    if args.sequence is None and len(sequences) != 1:
        some = ", ".join(sequences[:10]) + (" ..." if len(sequences) > 10 else "")
        what = f"{args.source}: sequence: has {len(sequences)} of them ({some})"
        raise CooptrackError(f"{what}; choose with --sequence")
    options = SequenceOptions(
        seed=args.seed,
        labels=labels,
        skip_broken=args.skip_broken,
        vehicle=args.vehicle,
        roadside=roadside[0] if roadside else "rsu",
    )
    return SequenceSource(SequenceMessages(dataset, args.sequence or sequences[0], options))


def _repetition(repeated: dict[str, int], recorded: Path) -> str:
    equal, frames, first = repeated["equal"], repeated["frames"], repeated["first_frame_index"]
    text = f"repeated: the tracks of {equal} of {frames} frames are byte for byte those in {recorded}"
    if equal == frames:
        return text
    if first != 1:
        return f"{text}; the recording begins with frame {first} of its run, what came before is not known"
    return f"{text}; do mode, detector, weights and source agree with the run?"
