"""`cooptrack synthesize`: a synthetic V2X-Seq-SPD dataset of a signalised intersection."""

from __future__ import annotations

import argparse
import os
import re
import time
from pathlib import Path

from cooptrack_core.types import CooptrackError

HELP = "make a synthetic scene in the V2X-Seq-SPD layout (images, calibration, labels, maps)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder of the dataset; an interrupted run is continued")
    add("--seed", type=int, default=7, help="same seed and options give the same bytes")
    add("--sequences", type=int, default=1, help="number of sequences, each with its own traffic")
    add("--duration-s", type=float, default=10.0, help="length of a sequence in s")
    add("--rate-hz", type=float, default=10.0, help="pairs per second in Hz")
    add("--image-size", default="1920x1080", metavar="WxH", help="image size in px; intrinsics scale with it")
    add(
        "--renderer", default="auto", choices=("auto", "egl", "rays", "none"),
        help="egl: OpenGL; rays: plain ray caster; none: everything but images; auto: egl where it starts, else rays",
    )  # fmt: skip
    add(
        "--supersample",
        type=float,
        default=1.5,
        choices=(1.0, 1.5, 2.0),
        help="drawn pixels per image pixel and axis, against jagged edges; egl only",
    )
    add("--jpeg-quality", type=int, default=90, help="30 to 100")
    add(
        "--split",
        default="auto",
        choices=("auto", "train", "val"),
        help="split list of the sequences; auto: every third is val",
    )
    add(
        "--skewed-extrinsics",
        action="store_true",
        help="infrastructure camera extrinsics that are not orthonormal, as in real data",
    )
    add(
        "--point-clouds",
        default="sparse",
        choices=("none", "sparse", "full"),
        help="lidar sweeps of 20x480 rays, of 64x1800, or none",
    )
    add("--jobs", type=int, default=0, help="processes; 0: one per core. The result does not depend on it")
    add("--overwrite", action="store_true", help="replace a synthetic dataset of other options in OUT")


def run(args: argparse.Namespace) -> int:
    """Makes the dataset and prints its statistics."""
    from cooptrack_core.data.synthetic import generate, renderers, statistics
    from cooptrack_core.data.synthetic.options import SceneOptions

    match = re.fullmatch(r"(\d+)x(\d+)", args.image_size)
    if match is None:
        raise CooptrackError(f"synthesize: --image-size: {args.image_size} is not possible; give WxH such as 1920x1080")
    renderer, line = renderers.choose(args.renderer)
    options = SceneOptions(
        seed=args.seed, sequences=args.sequences, duration_s=args.duration_s, rate_hz=args.rate_hz,
        width_px=int(match[1]), height_px=int(match[2]), renderer=renderer, supersample=args.supersample,
        jpeg_quality=args.jpeg_quality, split=args.split, skewed_extrinsics=args.skewed_extrinsics,
        point_clouds=args.point_clouds,
    )  # fmt: skip
    if args.jobs < 0:
        raise CooptrackError(f"synthesize: --jobs: {args.jobs} is not possible; give 0 or more")
    print(line)
    start, reused = time.monotonic(), generate.is_complete(args.out, options)
    content = generate.generate(args.out, options, args.jobs or os.cpu_count() or 1, overwrite=args.overwrite)
    print(statistics.table(content))
    state = "complete already" if reused else f"{time.monotonic() - start:.1f} s"
    print(f"{args.out}: {options.sequences} x {options.frames} pairs, {state}")
    return 0
