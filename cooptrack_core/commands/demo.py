"""`cooptrack demo`: a scene, a bag, the nodes, the result (what `make demo` runs)."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooptrack_core.commands.network_options import BY_DETECTOR, add_network_options
from cooptrack_core.config import DEFAULT_DETECTOR, DETECTORS, MODES
from cooptrack_core.data.synthetic.options import SceneOptions

SCENES = ("single", "multi")
HELP = "make a synthetic scene, play it through the ROS 2 nodes and show the result"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="directory for everything the demo makes")
    parser.add_argument(
        "--scene", choices=SCENES, default=SCENES[0],
        help="single: one vehicle, one roadside unit; multi: two of each, and vehicles tell one another what they see",
    )  # fmt: skip
    parser.add_argument("--mode", choices=MODES, help=f"cooperation; without it {BY_DETECTOR}")
    parser.add_argument("--detector", choices=DETECTORS, default=DEFAULT_DETECTOR, help="source of the instances")
    parser.add_argument("--seed", type=int, default=SceneOptions().seed, help="of the scene and the noise")
    parser.add_argument("--duration-s", type=float, default=10.0, help="length of the scene in s")
    parser.add_argument(
        "--image-size",
        help="width x height of the camera images in pixels; without it 1280x720, in scene multi 640x360",
    )
    parser.add_argument("--rate", type=float, default=1.0, help="replay speed; 1 is real time")
    parser.add_argument(
        "--lockstep", action=argparse.BooleanOptionalAction, default=None,
        help="next frame only when the tracks of this one are out; without it as needed: for a network on the CPU",
    )  # fmt: skip
    parser.add_argument("--rviz", action="store_true", help="also open RViz (needs a ROS 2 installation)")
    parser.add_argument("--no-video", action="store_true", help="leave out the film")
    add_network_options(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the demo from the scene to the pictures."""
    from cooptrack_core.demo import Demo

    return Demo(args).run()
