"""`cooptrack from-bag`: tracks and associations of a recorded run as JSON."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "turn a recorded run into a JSON of tracks, associations, timings and ground truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `cooptrack from-bag`."""
    parser.add_argument("recorded", type=Path, help="rosbag2 with the vehicle's tracks and associations")
    parser.add_argument("--source", type=Path, required=True, help="the rosbag2 that was played (of cooptrack to-bag)")
    parser.add_argument("-o", "--output", type=Path, default=Path("recording.json"), help="JSON file to write")
    parser.add_argument("--vehicle", help="namespace of the vehicle; found by its associations topic")
    units = "namespaces of the roadside units; by default every other agent of the source"
    parser.add_argument("--roadside", nargs="*", metavar="NAME", help=units)


def run(args: argparse.Namespace) -> int:
    """Writes the recording; returns 0."""
    from cooptrack_core.data.recording import recording_from_bags, write_recording

    recording = recording_from_bags(args.recorded, args.source, args.vehicle, args.roadside)
    write_recording(recording, args.output)
    tracks = {track["id"] for frame in recording["frames"] for track in frame["tracks"]}
    print(f"{args.output}: {len(recording['frames'])} frames, {len(tracks)} tracks, mode {recording['mode']}")
    return 0
