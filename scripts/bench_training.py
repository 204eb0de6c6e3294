#!/usr/bin/env python3
"""Training speed of every stage: samples per second and where the time goes, on a synthetic dataset with kept frames.

The dataset is made once into build/bench; its frames are decoded once, as `cooptrack train` does. Prints one table with
the machine beside it. Compare only within one run: machines are shared and noisy.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.machine import gpu_name, machine_line

import cooptrack_core
from cooptrack_core.model.loading import choose_device
from cooptrack_core.stage_clock import NETWORK_STAGES, TRAINING_STAGES
from cooptrack_core.training.stages import StageOptions, build, loop_options
from cooptrack_core.training.steps import Stepper

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "build" / "bench" / "training"
WEIGHTS = Path(cooptrack_core.__file__).parent / "weights"
ROLES = {
    "pretrain": ("inf",), "detection": ("inf", "veh"), "tracking": ("inf", "veh"), "cooperation": ("coop",),
    "joint": ("coop",),
}  # fmt: skip
SCENES, LENGTH_S, IMAGE = 3, 1.5, "320x180"
PARTS = ("data", "forward", "losses", "backward", "optimizer", "the rest")
DATA_GOAL = 0.1  # share of a step, at most


def dataset() -> Path:
    """Small images, a scene of which is held out."""
    from cooptrack_core import cli

    with contextlib.redirect_stdout(io.StringIO()):
        status = cli.main([
            "synthesize", str(DATA), "--sequences", str(SCENES), "--duration-s", str(LENGTH_S), "--image-size", IMAGE,
            "--overwrite", "--point-clouds", "none", "--supersample", "1.0", "--jobs", "1",
        ])  # fmt: skip
    if status:
        raise SystemExit(status)
    return DATA


def options_of(stage_name: str, role: str, batch: int | None, device: str) -> StageOptions:
    """Shipped weights stand for those of the stage before: a vehicle alone begins with those of the roadside unit."""
    roadside, vehicle = WEIGHTS / "tiny_inf.safetensors", WEIGHTS / "tiny_coop.safetensors"
    if role == "coop":  # its usual clips are longer than the scenes here
        clips = ("clip_frames=5",)
        return StageOptions(batch=batch, init=vehicle, roadside=roadside, device=device, changes=clips)
    return StageOptions(batch=batch, init=None if stage_name == "pretrain" else roadside, device=device)


def measure(
    stage_name: str, role: str, data: Path, batch: int | None, steps: int, device: torch.device
) -> dict[str, Any]:
    """Steps of a stage after the first two; a part's share is that of the time of all steps."""
    preset = f"tiny_{role}"
    options = loop_options(stage_name, preset, {"device": device.type})
    stage = build(stage_name, preset, data, options_of(stage_name, role, batch, device.type))
    stepper = Stepper(stage, options, device)
    stage.network.train()
    whole_ms: list[float] = []
    parts = dict.fromkeys(PARTS, 0.0)
    for step in range(steps + 2):
        start = time.perf_counter_ns()
        taken = stepper(step)
        if device.type == "cuda":
            torch.cuda.synchronize()
        took_ms = (time.perf_counter_ns() - start) / 1e6
        if step < 2:
            continue
        whole_ms.append(took_ms)
        own = {name: taken.stages_ms.get(name, 0.0) for name in TRAINING_STAGES}
        own["forward"] = sum(taken.stages_ms.get(name, 0.0) for name in NETWORK_STAGES)
        own["the rest"] = took_ms - sum(own.values())
        for name, value in own.items():
            parts[name] += value
    count = len(stage.network.slots) * options.accumulate
    total = sum(whole_ms)
    return {
        "stage": stage_name, "preset": preset, "batch": count, "device": device.type,
        "step_p50_ms": float(np.median(whole_ms)),
        "samples_per_s": 1e3 * count * len(whole_ms) / total,
        "share": {name: value / total for name, value in parts.items()},
    }  # fmt: skip


def main() -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=12, help="timed steps (12)")
    parser.add_argument("--batch", type=int, help="frames of a step; without it that of the recipe")
    parser.add_argument("--stages", nargs="+", choices=tuple(ROLES), default=tuple(ROLES), help="these (all)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows")
    args = parser.parse_args()
    device = choose_device(args.device)
    machine = machine_line(gpu_name())
    data = dataset()
    where = f"{device.type}, {torch.get_num_threads()} threads"
    print(f"\ntraining of preset tiny, synthetic, {args.steps} steps, {where}\n{machine}")
    head = f"{'stage':12}{'preset':11}{'batch':>6}{'samples/s':>11}{'step ms':>9}"
    print(head + "".join(f"{name:>11}" for name in PARTS))
    rows = []
    runs = [(stage, role) for stage in args.stages for role in ROLES[stage]]
    for stage, role in runs:
        row = measure(stage, role, data, args.batch, args.steps, device)
        rows.append(row)
        shares = "".join(f"{row['share'][part]:>11.1%}" for part in PARTS)
        numbers = f"{row['batch']:>6}{row['samples_per_s']:>11.1f}{row['step_p50_ms']:>9.0f}"
        print(f"{stage:12}{row['preset']:11}{numbers}{shares}", flush=True)
    print(f"data: frames drawn from the kept ones, changed and normalised; goal at most {DATA_GOAL:.0%} of a step")
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
