"""`cooptrack synthesize`: a synthetic V2X-Seq-SPD dataset of a signalised intersection, or the benchmark of many."""

from __future__ import annotations

import argparse
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.data.synthetic.options import SceneOptions

HELP = "make a synthetic scene in the V2X-Seq-SPD layout (images, calibration, labels, maps)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder of the dataset; an interrupted run is continued")
    add(
        "--benchmark", action="store_true",
        help="make CoopSynth v1: 240 train sequences of 2.5 s and 15 val sequences of 10 s at many intersections, "
        "320x180 px, without point clouds unless asked for; with --split test the 30 test sequences, at ten more",
    )  # fmt: skip
    add(
        "--more-train", action="store_true",
        help="of the benchmark: CoopSynth v2, which trains on 384 further sequences at 64 further intersections; "
        "val and test are those of v1",
    )  # fmt: skip
    add("--every", type=int, metavar="N", help="of the benchmark only every N-th sequence; for trying things out")
    add("--train-every", type=int, metavar="N", help="of its train sequences only every N-th; val stays whole")
    add("--shard", metavar="I/N", help="make only the I-th of N parts; once all are there the dataset is completed")
    add("--seed", type=int, help="same seed and options give the same bytes (7)")
    add("--sequences", type=int, help="number of sequences, each with its own traffic (1)")
    add("--duration-s", type=float, help="length of a sequence in s (10)")
    add(
        "--pairs", type=int, default=1, metavar="N",
        help="N vehicles and N roadside units in the same traffic: N datasets OUT/1 .. OUT/N, for to-bag --with",
    )  # fmt: skip
    add("--rate-hz", type=float, help="pairs per second in Hz (10)")
    add(
        "--image-size", metavar="WxH",
        help="image size in px (1920x1080; with --benchmark 320x180); intrinsics scale with it",
    )  # fmt: skip
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
        choices=("auto", "train", "val", "test"),
        help="split list of the sequences; auto, as by default: every third is val; test is of --benchmark alone",
    )
    add(
        "--skewed-extrinsics",
        action="store_true",
        help="infrastructure camera extrinsics that are not orthonormal, as in real data",
    )
    add(
        "--point-clouds",
        choices=("none", "sparse", "full"),
        help="lidar sweeps of 20x480 rays (sparse, the default), of 64x1800, or none",
    )
    add("--jobs", type=int, default=0, help="processes; 0: one per core. The result does not depend on it")
    add("--overwrite", action="store_true", help="replace a synthetic dataset of other options in OUT")


def run(args: argparse.Namespace) -> int:
    """Makes the dataset, or a part of it, and prints its statistics."""
    from cooptrack_core.data.synthetic import renderers

    if args.jobs < 0:
        raise CooptrackError(f"synthesize: --jobs: {args.jobs} is not possible; give 0 or more")
    shard = _shard(args.shard)
    renderer, line = renderers.choose(args.renderer)
    options = _options(args, renderer)
    if args.pairs != 1 and (args.benchmark or args.shard):
        raise CooptrackError("synthesize: --pairs: does not go with --benchmark or --shard; omit one of them")
    print(line)
    for pair in range(args.pairs):
        out = args.out if args.pairs == 1 else args.out / str(pair + 1)
        _make(args, out, replace(options, pair=pair), shard)
    return 0


def _make(args: argparse.Namespace, out: Path, options: SceneOptions, shard: tuple[int, int]) -> None:
    """One dataset, or a part of it."""
    from cooptrack_core.data.synthetic import generate, statistics

    start, reused = time.monotonic(), generate.is_complete(out, options)
    jobs = args.jobs or os.cpu_count() or 1
    content = generate.generate(out, options, jobs, overwrite=args.overwrite, shard=shard)
    spent = f"{time.monotonic() - start:.1f} s"
    if content is None:
        print(f"{out}: part {args.shard} is there, {spent}; other parts are missing still")
        return
    print(statistics.table(content))
    pairs = sum(options.frames_of(number) for number in options.numbers)
    state = "complete already" if reused else spent
    print(f"{out}: {len(options.numbers)} sequences, {pairs} pairs, {state}")


def _options(args: argparse.Namespace, renderer: str) -> SceneOptions:
    """Scene options of the command line. The benchmark's content is fixed: what would change it is refused."""
    from cooptrack_core.data.synthetic.coopsynth.plan import V1, V1_TEST, V2
    from cooptrack_core.data.synthetic.options import SceneOptions

    size = args.image_size or ("320x180" if args.benchmark else "1920x1080")
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if match is None:
        raise CooptrackError(f"synthesize: --image-size: {size} is not possible; give WxH such as 1920x1080")
    test = args.split == "test"  # chooses a benchmark; other splits are written into the lists
    free = {
        "seed": args.seed, "sequences": args.sequences, "duration_s": args.duration_s, "rate_hz": args.rate_hz,
        "split": None if test else args.split, "skewed_extrinsics": args.skewed_extrinsics or None,
    }  # fmt: skip
    given = {name: value for name, value in free.items() if value is not None}
    if args.benchmark:
        if given:
            name = next(iter(given)).replace("_", "-")
            raise CooptrackError(f"synthesize: --{name}: does not go with --benchmark, whose content is fixed; omit it")
        parts = {"every": args.every, "train_every": args.train_every}
        chosen = {name: value for name, value in parts.items() if value is not None}
        for name, value in (("train-every", args.train_every is not None), ("more-train", args.more_train)):
            if test and value:
                raise CooptrackError(f"synthesize: --{name}: does not go with --split test; omit one of them")
        given = {"benchmark": V1_TEST if test else (V2 if args.more_train else V1), "seed": 1, **chosen}
    else:
        if test:
            raise CooptrackError("synthesize: --split: test is of the benchmark; add --benchmark or choose another")
        for name in ("every", "train_every", "more_train"):
            if getattr(args, name) not in (None, False):
                option = f"--{name.replace('_', '-')}"
                raise CooptrackError(f"synthesize: {option}: chooses from the benchmark; add --benchmark or omit it")
    return SceneOptions(
        width_px=int(match[1]), height_px=int(match[2]), renderer=renderer, supersample=args.supersample,
        jpeg_quality=args.jpeg_quality, pairs=args.pairs,
        point_clouds=args.point_clouds or ("none" if args.benchmark else "sparse"), **given,
    )  # fmt: skip


def _shard(text: str | None) -> tuple[int, int]:
    """(I, N) of --shard I/N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text or "1/1")
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise CooptrackError(f"synthesize: --shard: {text} is not possible; give I/N such as 1/4 to 4/4")
    return int(match[1]), int(match[2])
