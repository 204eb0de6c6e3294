#!/usr/bin/env python3
"""Times of the network on random images with random weights: whole frames, stages, training steps, peak memory.

Prints one table with the machine beside it. Compare only within one run: machines are shared and noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from cooptrack_core.config import NetworkConfig
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.loading import load_network, untrained_network
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.runtime import NetworkRuntime
from cooptrack_core.model.session import NetworkInput
from cooptrack_core.training.carry import CarryOptions
from cooptrack_core.training.freezing import freeze
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.step import Iteration, Sample
from cooptrack_core.types import CameraView, Features, Frame, Instances, Message

STEP_NS = 100_000_000
# What the published network takes on two cores like those that the goals were set on, ms.
PUBLISHED_FRAME_MS = 900.0
TRAIN_BATCH = 4


@dataclass(frozen=True)
class Case:
    """One process of the benchmark: a preset with a number of threads."""

    preset: str  # family and role
    threads: int
    frame_goal_ms: float | None = None
    stages: bool = False
    train_goal_ms: float | None = None


CASES = (
    Case("tiny_inf", 1, 70.0, True),
    Case("tiny_coop", 1, 70.0, True),
    Case("tiny_inf", 2, None, train_goal_ms=120.0),
    Case("r50_coop", 2, None, True),
    Case("official_r50_coop", 2, PUBLISHED_FRAME_MS, True),
)


def frames(count: int, size: tuple[int, int], seed: int = 0) -> list[Frame]:
    """Noise images, height and width of `size`, of a camera that looks ahead from 2 m above the sensor frame."""
    rng = np.random.default_rng(seed)
    height, width = size
    focal = 0.8 * width
    camera = CameraView(
        np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]]),
        np.array([[0.0, -1, 0, 0], [0, 0, -1, 2], [1, 0, 0, 0], [0, 0, 0, 1]]),
        width,
        height,
    )
    images = [rng.integers(0, 255, (height, width, 3), dtype=np.uint8) for _ in range(2)]
    return [Frame(i * STEP_NS, np.eye(4), image=images[i % 2], camera=camera) for i in range(count)]


def message(network: NetworkRuntime, count: int, dims: int, stamp_ns: int) -> Message:
    """Instances on a grid ahead of a roadside unit that stands 20 m beside the vehicle."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1).reshape(-1, 2)[:count] * 5.0 + [5.0, -20.0]
    streams = rng.standard_normal((3, count, dims)).astype(np.float32)
    fingerprint = network.identity.roadside_fingerprint
    assert fingerprint is not None, "only a vehicle gets messages"
    features = Features(streams[0], streams[1], streams[2], "bench", fingerprint)
    instances = Instances.create(
        np.column_stack([grid, np.full(count, -1.0)]), np.tile([4.4, 1.8, 1.5], (count, 1)), np.zeros(count),
        np.zeros(count, np.int64), np.full(count, 0.8), velocity_mps=np.zeros((count, 2)), features=features,
    )  # fmt: skip
    T = np.eye(4)
    T[:3, 3] = (0.0, 20.0, 0.0)
    return Message("rsu", 1, 1, stamp_ns, "rsu/lidar", T, instances)


def timed(function: Callable[[int], object], repeats: int, warm_up: int = 2) -> list[float]:
    """Durations in ms."""
    for i in range(warm_up):
        function(i)
    durations = []
    for i in range(repeats):
        start = time.perf_counter_ns()
        function(warm_up + i)
        durations.append((time.perf_counter_ns() - start) / 1e6)
    return durations


def frame_rows(case: Case, repeats: int) -> list[dict[str, object]]:
    """Image to tracks as the agents call it, image preparation included; a vehicle with 25 remote instances."""
    family, _, role = case.preset.rpartition("_")
    network = load_network(NetworkConfig(preset=family, weights="untrained", device="cpu"), role)
    config = get_preset(case.preset)
    given = frames(repeats + 2, (1080, 1920))
    remote = 25 if config.cooperative else 0

    def step(i: int) -> object:
        sent = [message(network, remote, config.embed_dims, given[i].stamp_ns)] if remote else []
        return network.step(given[i], np.eye(4), sent)

    name = "frame, image 1920x1080" + (f", {remote} remote instances" if remote else "")
    return [_row(case, name, timed(step, repeats), case.frame_goal_ms)]


def stage_rows(case: Case, repeats: int) -> list[dict[str, object]]:
    """The parts of a frame one by one, on what the part before made."""
    from cooptrack_core.model.backbone import prepare_for_inference

    plain, _ = untrained_network(case.preset, 0)
    model = prepare_for_inference(plain)
    assert isinstance(model, AgentModel)
    config = model.config
    height, width = config.image_size
    images = torch.randn(1, 3, height, width)
    lidar2img = torch.tensor(
        [[width / 2, -0.8 * width, 0, 0], [height / 2, 0, -0.8 * width, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]]
    )[None]
    movement = torch.zeros(1, 18)
    rows = []

    def measure(name: str, function: Callable[[], object], goal_ms: float | None = None) -> object:
        rows.append(_row(case, name, timed(lambda _: function(), repeats), goal_ms))
        return function()

    with torch.inference_mode():
        queries = model.assemble(None).map(lambda value: value[None])
        maps = measure("  backbone, neck", lambda: model.neck(model.backbone(images)))
        bev = torch.randn(1, config.bev_cells, config.embed_dims)
        measure("  BEV encoder", lambda: model.bev_encoder(maps, lidar2img, movement, bev))
        decoder = measure(
            "  decoder", lambda: model.decoder(bev, queries.query_feats, queries.query_embeds, queries.ref_pts)
        )
        measure("  motion features", lambda: model.motion_extractor(decoder.boxes[-1]))
        reasoned = measure("  history reasoning", lambda: model.reasoner(queries)).select(0)
        if config.cooperative:
            _cooperation_rows(model, reasoned, measure)
        measure("  refinement heads", lambda: model.refine(reasoned))
    return rows


def _cooperation_rows(model: AgentModel, ego: Queries, measure: Callable[..., object]) -> None:
    count, dims = 50, model.config.embed_dims
    torch.manual_seed(0)
    remote = RemoteInstances(
        torch.randn(count, dims), torch.randn(count, dims), torch.randn(count, dims),
        0.2 + 0.6 * torch.rand(count, 3), torch.randn(count, 10), torch.zeros(count, dtype=torch.int64),
        torch.arange(count), torch.arange(1, count + 1),
    )  # fmt: skip
    T = torch.eye(4)
    T[0, 3] = -51.2

    def together() -> object:
        return model.cooperate(ego, model.align([(remote, T)]))

    rest = len(ego)
    measure(f"  CAA, GBA, aggregation, {count} x {rest}", together, 25.0)


def train_rows(case: Case, repeats: int) -> list[dict[str, object]]:
    """Forward, backward and optimizer step of one agent, a batch of streams; times of one image."""
    config = get_preset(case.preset)
    torch.manual_seed(0)
    model = AgentModel(config).train()
    freeze(model, "detection")
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-5)
    iterate = Iteration(model, CarryOptions())
    height, width = config.image_size
    truth = GroundTruth(
        torch.tensor([[5.0 + 4 * i, 3.0 * i - 10, -1.5, 1.8, 4.4, 1.5, 0.1 * i, 1.0, 0.0] for i in range(10)]),
        torch.zeros(10, dtype=torch.int64),
        torch.arange(10),
    )
    image = torch.randn(3, height, width)
    lidar2img = torch.tensor(
        [[width / 2, -0.8 * width, 0, 0], [height / 2, 0, -0.8 * width, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]]
    )

    def step(i: int) -> None:
        sample = Sample(NetworkInput(image, lidar2img, np.eye(4), 0.1 * i), truth, "bench")
        optimizer.zero_grad(set_to_none=True)
        iterate([sample] * TRAIN_BATCH).total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 35.0)
        optimizer.step()

    durations = [duration / TRAIN_BATCH for duration in timed(step, repeats)]
    return [_row(case, f"training step, one of {TRAIN_BATCH} images", durations, case.train_goal_ms)]


def _row(case: Case, what: str, durations_ms: list[float], goal_ms: float | None) -> dict[str, object]:
    p50, p90 = (float(np.percentile(durations_ms, q)) for q in (50, 90))
    return {
        "preset": case.preset, "threads": case.threads, "what": what, "p50": p50, "p90": p90, "goal": goal_ms,
        "best": min(durations_ms),
    }  # fmt: skip


def run_case(index: int, repeats: int) -> int:
    """All rows of one case as JSON on stdout; a process of its own, so that peak memory is its own."""
    case = CASES[index]
    torch.set_num_threads(case.threads)
    rows = frame_rows(case, repeats) if case.train_goal_ms is None else train_rows(case, repeats)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # before a second model for the stages
    if case.stages:
        rows += stage_rows(case, repeats)
    print(json.dumps({"rows": rows, "peak_mb": peak_mb}))
    return 0


def main() -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=10, help="timed frames per row")
    parser.add_argument("--only", default="", help="presets whose name holds this")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case is not None:
        return run_case(args.case, args.repeats)
    print(f"\nNetwork, synthetic noise images, random weights, fp32; torch {torch.__version__}, CPU only")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; ms\n")
    print(f"{'preset':20} {'threads':>7}  {'what':44} {'p50':>8} {'p90':>8} {'best':>8} {'goal':>6}")
    for index, case in enumerate(CASES):
        if args.only not in case.preset:
            continue
        command = [sys.executable, __file__, "--case", str(index), "--repeats", str(args.repeats)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(case.threads)}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(done.stdout.splitlines()[-1])
        for row in result["rows"]:
            goal = "" if row["goal"] is None else f"{row['goal']:6.0f}"
            times = f"{row['p50']:8.1f} {row['p90']:8.1f} {row['best']:8.1f}"
            print(f"{row['preset']:20} {row['threads']:7}  {row['what']:44} {times} {goal}", flush=True)
        print(f"{case.preset:20} {case.threads:7}  peak memory of the process {result['peak_mb']:.0f} MB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
