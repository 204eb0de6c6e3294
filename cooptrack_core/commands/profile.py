"""`cooptrack profile`: where the time of a network's frames goes, as a table and as a trace to look at."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cooptrack_core.commands.common import check_positive
from cooptrack_core.commands.network_options import add_network_options, network_configs
from cooptrack_core.config import MODES
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.timing.frames import TimedFrames
    from cooptrack_core.timing.table import Row

HELP = "time the stages of a network's frames and write a trace of them for a trace viewer"

PAIRS = 4  # of images in the synthetic scene
_DEFAULT_FRAMES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add(
        "dataset",
        type=Path,
        nargs="?",
        metavar="DATASET",
        help="without it a small synthetic scene, 1920x1080, is made",
    )
    add("--sequence", metavar="ID", help="of the dataset; without it its first one")
    add("--mode", choices=MODES, default="learned", help="how the vehicle cooperates")
    add("--frames", type=int, default=_DEFAULT_FRAMES, metavar="N", help="frames of each agent, after two to warm up")
    add("--operators", type=int, default=12, metavar="N", help="rows of the table of operators")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads of a network; 0: half of the cores")
    add("--out", type=Path, default=Path("trace.json"), metavar="FILE", help="the trace")
    add_network_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the tables and writes the trace."""
    for name in ("frames", "operators"):
        check_positive(f"--{name}", getattr(args, name))
    if not args.out.resolve().parent.is_dir():
        raise CooptrackError(f"{args.out}: --out: its folder does not exist; make it, or choose another")
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # torch's profiler otherwise says on the terminal that it starts
    from cooptrack_core.timing.profiling import profile

    vehicle, roadside = network_configs(args, threads=args.threads)
    with _frames(args) as frames:
        done = profile(frames, roadside, vehicle, args.mode, args.frames, args.out, args.operators)
    for agent, rows in done.rows.items():
        print(f"\n{agent}, {args.preset}, engine {args.engine}, {args.precision}, {done.device}: {args.frames} frames")
        print("\n".join(table(rows)))
    print(f"\n{'operator':56}{'calls':>8}{'ms':>10}   (of itself, all {2 * args.frames} frames of the trace together)")
    for operator in done.operators:
        print(f"{operator.name:56.55}{operator.calls:>8}{operator.own_ms:>10.1f}")
    print(f"\n{args.out}: open it in https://ui.perfetto.dev or in chrome://tracing; stages are named as above")
    return 0


def table(rows: Sequence[Row]) -> list[str]:
    """Lines of a table for people."""
    lines = [f"{'stage':20}{'p50':>10}{'p90':>10}{'p99':>10}{'share':>8}   (ms)"]
    for row in rows:
        times = "".join(f"{value:>10.2f}" for value in (row.p50_ms, row.p90_ms, row.p99_ms))
        lines.append(f"{row.what:20}{times}{row.share:>8.1%}")
    return lines


@contextlib.contextmanager
def _frames(args: argparse.Namespace) -> Iterator[TimedFrames]:
    from cooptrack_core.timing.frames import frames_of, synthesize

    if args.dataset is not None:
        yield frames_of(args.dataset, args.sequence, args.frames + 2)
        return
    if args.sequence is not None:
        raise CooptrackError("--sequence: has no meaning without DATASET; give one, or leave it out")
    with tempfile.TemporaryDirectory() as folder:
        print(f"making a synthetic scene of {PAIRS} pairs of images", flush=True)
        synthesize(Path(folder) / "scene", PAIRS)
        yield frames_of(Path(folder) / "scene")
