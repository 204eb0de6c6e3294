#!/usr/bin/env python3
"""Times of networks on real frames: JPEG 1920x1080 in, tracks out, messages coded and decoded; stages, memory, start-up.

Prints one table with the machine beside it. Images are synthetic, rendered once into build/bench; tiny has the weights
that ship, other networks random ones. Compare only within one run: machines are shared and noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.cases import CORES, GPU_PRESETS, STRAIGHTFORWARD, Case, cases_of, missing_package
from bench.files import save_frames
from bench.machine import gpu_name, machine_line
from bench.tables import HEADS, NetworkTable

from cooptrack_core.config import ENGINES, NETWORK_FAMILIES
from cooptrack_core.timing.frames import frames_of, synthesize

ROOT = Path(__file__).resolve().parent.parent
SCENE = ROOT / "build" / "bench" / "scene"
PAIRS = 6  # of images
TOGETHER_GOAL_HZ = 10.0
LIMIT_S = 600.0  # of one process
RUN_CASE = ROOT / "scripts" / "bench" / "run_case.py"


def command_of(case: Case, work: Path, *options: str) -> list[str]:
    """The command line of a case; its vehicle hears what the first roadside unit of the preset and device sent."""
    frames, messages = work / f"{case.agent}.npz", work / f"{case.preset}_{case.device}_messages.npz"
    named = "--case", json.dumps(case.facts()), "--frames", str(frames), "--messages", str(messages)
    return [sys.executable, str(RUN_CASE), *named, *options]


def environment_of(case: Case) -> dict[str, str]:
    """The same threads for all libraries of OpenMP."""
    return {**os.environ, "OMP_NUM_THREADS": str(case.threads)}


def measured(case: Case, work: Path, repeats: int) -> dict[str, Any]:
    """What the process of a case says; "skipped": why there is nothing."""
    if reason := missing_package(case):
        return {"skipped": reason}
    options = ("--repeats", str(case.frames(repeats)), "--started-ns", str(time.monotonic_ns()))
    command = command_of(case, work, *options)
    try:
        done = subprocess.run(
            command, env=environment_of(case), capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return {"skipped": f"took longer than {LIMIT_S:.0f} s"}
    return result_of(done.returncode, done.stdout, done.stderr)


def result_of(status: int, stdout: str, stderr: str) -> dict[str, Any]:
    """The JSON of the last line, or the last words of a process that failed."""
    if status != 0:
        last = (stderr.strip().splitlines() or [f"exit status {status}"])[-1]
        return {"skipped": f"failed: {last}"}
    result: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return result


def together(table: NetworkTable, work: Path, engine: str, seconds: float) -> None:
    """Roadside unit and vehicle of preset tiny at the same time, a thread each: frames per second of both."""
    cases = [Case("tiny", agent, mode, engine, "fp32", "cpu", 1) for agent, mode in (("roadside", ""), ("vehicle", "learned"))]
    reasons = {missing_package(case) for case in cases} - {""}
    running = []
    for case in [] if reasons else cases:
        command = command_of(case, work, "--seconds", str(seconds))
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, env=environment_of(case), stdin=pipe, stdout=pipe, stderr=pipe, text=True))
    for process in running:
        assert process.stdout is not None
        process.first_line = process.stdout.readline()  # type: ignore[attr-defined]
    for process in running:
        if process.first_line.strip() == "ready":  # type: ignore[attr-defined]
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
    found = []
    for process in running:
        first: str = process.first_line  # type: ignore[attr-defined]
        out, err = process.communicate(timeout=LIMIT_S)
        found.append(result_of(process.returncode, first + out, err))
    reasons |= {done["skipped"] for done in found if "skipped" in done}
    names = ("tiny", "both together", f"{engine} 2 x 1 thr", "frames per s")
    if reasons:
        table.note(*names, f"not measured: {', '.join(sorted(reasons))}", skipped=", ".join(sorted(reasons)))
        return
    rates = [done["frames_per_s"] for done in found]
    text = f"roadside {rates[0]:.1f}, vehicle {rates[1]:.1f}; goal {TOGETHER_GOAL_HZ:.0f} each"
    table.note(*names, text, roadside_hz=rates[0], vehicle_hz=rates[1], goal_hz=TOGETHER_GOAL_HZ)


def gpu_rows(table: NetworkTable, presets: list[str], gpu: str, wanted: str) -> None:
    """Says so where nothing was measured."""
    if gpu and wanted != "cpu":
        return
    reason = "no GPU" if not gpu else "--device cpu"
    for preset in dict.fromkeys((*presets, *GPU_PRESETS)):
        table.note(preset, "both", "any, GPU", "whole frame", f"unmeasured: {reason}", device="cuda", skipped=reason)


def association_row(table: NetworkTable, repeats: int) -> None:
    """300 instances and 900 queries, learned, with the assignment."""
    from bench_scaling import ASSOCIATION_GOAL_MS, association_ms

    p50, p90, p99 = association_ms(300, 900, repeats)
    text = f"{p50:9.2f}{p90:9.2f}{p99:9.2f}{'':45}  {ASSOCIATION_GOAL_MS:.0f} ms"
    table.note(
        "r50", "300 x 900", "torch 1 thr", "association", text, p50_ms=p50, p90_ms=p90, p99_ms=p99,
        goal=f"{ASSOCIATION_GOAL_MS:.0f} ms",
    )  # fmt: skip


def main() -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--presets", nargs="+", choices=NETWORK_FAMILIES, default=["tiny", STRAIGHTFORWARD])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["eager", "torch", "onnxruntime"])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: the GPU as well")
    parser.add_argument("--repeats", type=int, default=30, help="timed frames; large networks on a CPU a third (30)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the run with both agents (6)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="dataset with images; without it a synthetic one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows")
    args = parser.parse_args()
    gpu = gpu_name()
    if args.device == "cuda" and not gpu:
        parser.error("--device cuda: torch finds no usable GPU")
    if args.data is None:
        synthesize(SCENE, PAIRS)
    print(f"\n{machine_line(gpu)}\n{CORES} cores; frames 1920x1080" + (", synthetic" if args.data is None else f" of {args.data}"))
    print(*HEADS, sep="\n")
    table = NetworkTable()
    devices = [name for name in ("cpu", "cuda") if args.device in ("auto", name) and (name == "cpu" or gpu)]
    with tempfile.TemporaryDirectory() as folder:
        work, frames = Path(folder), frames_of(args.data or SCENE)
        for agent in ("vehicle", "roadside"):
            save_frames(work / f"{agent}.npz", getattr(frames, agent))
        for device in devices:
            presets = list(dict.fromkeys((*args.presets, *(GPU_PRESETS if device == "cuda" else ()))))
            for case in cases_of(presets, [device], args.engines):
                table.add(case, measured(case, work, args.repeats))
        if "tiny" in args.presets and "cpu" in devices:
            for engine in args.engines:
                together(table, work, engine, args.seconds)
    if "cpu" in devices:
        association_row(table, args.repeats)
    gpu_rows(table, args.presets, gpu, args.device)
    if args.json is not None:
        facts = {"machine": machine_line(gpu), "repeats": args.repeats, "rows": table.rows}
        args.json.write_text(json.dumps(facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
