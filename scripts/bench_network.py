#!/usr/bin/env python3
"""Times of networks on real frames, JPEG 1920x1080 in, tracks out, with their messages: stages, memory, start-up.

Prints one table with the machine beside it. Images are synthetic, rendered once into build/bench; tiny has the weights
that ship, other networks random ones. Compare only within one run: machines are shared and noisy.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.cases import CORES, GPU_PRESETS, STRAIGHTFORWARD, Case, cases_of
from bench.files import save_frames
from bench.machine import gpu_name, machine_line
from bench.processes import measured, together
from bench.tables import HEADS, NetworkTable

from cooptrack_core.config import ENGINES, NETWORK_FAMILIES
from cooptrack_core.timing.frames import frames_of, synthesize

SCENE = Path(__file__).resolve().parent.parent / "build" / "bench" / "scene"
PAIRS = 6  # of images
TOGETHER_GOAL_HZ = 10.0


def together_row(table: NetworkTable, work: Path, engine: str, seconds: float) -> None:
    """Roadside unit and vehicle of preset tiny at the same time, a thread each: frames per second of both."""
    kinds = (("roadside", ""), ("vehicle", "learned"))
    found = together([Case("tiny", *kind, engine, "fp32", "cpu", 1) for kind in kinds], work, seconds)
    names = ("tiny", "both together", f"{engine} 2 x 1 thr", "frames per s")
    if reasons := sorted({done["skipped"] for done in found if "skipped" in done}):
        table.note(*names, f"not measured: {', '.join(reasons)}", skipped=", ".join(reasons))
        return
    rates = [done["frames_per_s"] for done in found]
    text = f"roadside {rates[0]:.1f}, vehicle {rates[1]:.1f}; goal {TOGETHER_GOAL_HZ:.0f} each"
    table.note(*names, text, roadside_hz=rates[0], vehicle_hz=rates[1], goal_hz=TOGETHER_GOAL_HZ)


def association_rows(table: NetworkTable, repeats: int) -> None:
    """300 instances and 900 queries, learned, with the assignment."""
    from bench_scaling import ASSOCIATION_GOAL_MS, association_ms

    goal = f"{ASSOCIATION_GOAL_MS:.0f} ms"
    for preset in ("tiny", "r50", STRAIGHTFORWARD):
        frames = repeats if preset != STRAIGHTFORWARD else max(3, repeats // 10)  # without a gate all pairs are scored
        for threads in sorted({1, CORES}):
            p50, p90, p99 = association_ms(300, 900, frames, f"{preset}_coop", threads)
            text = f"{p50:9.2f}{p90:9.2f}{p99:9.2f}{'':43}  {goal}"
            names = (preset, "300 x 900", f"torch {threads} thr", "association")
            table.note(*names, text, p50_ms=p50, p90_ms=p90, p99_ms=p99, goal=goal)


def unmeasured_rows(table: NetworkTable, presets: list[str], reason: str) -> None:
    """What would have run on a GPU."""
    for preset in dict.fromkeys((*presets, *GPU_PRESETS)):
        table.note(
            preset, "both", "any, GPU", "whole frame", f"unmeasured: {reason}", device="cuda", skipped=reason
        )  # fmt: skip


def fill(table: NetworkTable, args: argparse.Namespace, devices: list[str]) -> None:
    """All rows that this machine can measure."""
    if args.data is None:
        synthesize(SCENE, PAIRS)
    frames = frames_of(args.data or SCENE)
    print(*HEADS, sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for agent in ("vehicle", "roadside"):
            save_frames(work / f"{agent}.npz", getattr(frames, agent))
        for device in devices:
            presets = list(dict.fromkeys((*args.presets, *(GPU_PRESETS if device == "cuda" else ()))))
            cases = cases_of(presets, [device], args.engines)
            wanted = [case for case in cases if args.full or not case.left_out]
            for case in wanted:
                table.add(case, measured(case, work, args.repeats))
            for preset in presets:
                if others := [case for case in cases if case.preset == preset and case not in wanted]:
                    table.leave_out(others, others[0].left_out)
        if "cpu" in devices:
            for engine in args.engines if "tiny" in args.presets else ():
                together_row(table, work, engine, args.seconds)
            association_rows(table, args.repeats)


def main() -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--presets", nargs="+", choices=NETWORK_FAMILIES, default=list(NETWORK_FAMILIES))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["eager", "torch", "onnxruntime"])
    parser.add_argument("--full", action="store_true", help="large networks on a CPU in all engines and modes as well")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: the GPU as well")
    parser.add_argument("--repeats", type=int, default=30, help="timed frames; large networks on a CPU fewer (30)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the run with both agents (6)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="dataset with images; without it a synthetic one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows")
    args = parser.parse_args()
    gpu = gpu_name()
    if args.device == "cuda" and not gpu:
        parser.error("--device cuda: torch finds no usable GPU")
    machine, source = machine_line(gpu), "synthetic" if args.data is None else f"of {args.data}"
    print(f"\nnetworks; frames 1920x1080, {source}; large networks with {CORES} threads, tiny with 1\n{machine}")
    table = NetworkTable()
    fill(table, args, [name for name in ("cpu", "cuda") if args.device in ("auto", name) and (name == "cpu" or gpu)])
    if not gpu or args.device == "cpu":
        unmeasured_rows(table, args.presets, "--device cpu" if gpu else "no GPU")
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": machine, "repeats": args.repeats, "rows": table.rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
