"""What one more agent costs a vehicle: admission, association and fusion with 1 to 16 others, late and learned.

Every agent reports the same road users from a pose that is slightly wrong, so that all have to be joined. Synthetic,
seeded; times are of this machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cooptrack_core.config import LateFusionConfig, VehicleConfig
from cooptrack_core.cooperation.admission import Admission
from cooptrack_core.cooperation.late_fusion import fuse
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.transforms import inverse, make_transform
from cooptrack_core.types import Features, Instances, Message

COUNTS = (1, 2, 4, 8, 16)
STEP_NS, START_NS = 100_000_000, 10**18
SIZE_M = (4.4, 1.8, 1.5)


def road_users(count: int, rng: np.random.Generator) -> Instances:
    """Cars on a grid around the vehicle, in its sensor frame: 9.5 m apart, or as many within 48 m as there are."""
    side = int(np.ceil(np.sqrt(count)))
    apart_m = min(9.5, 95.0 / side)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)[:count] - (side - 1) / 2
    center = np.column_stack([grid * apart_m + rng.uniform(-0.2, 0.2, grid.shape), np.full(count, -1.0)])
    return Instances.create(
        center, np.tile(SIZE_M, (count, 1)), rng.uniform(-3, 3, count), np.zeros(count, np.int64), np.full(count, 0.8),
        velocity_mps=np.zeros((count, 2)), instance_id=np.arange(1, count + 1), age_frames=np.full(count, 9),
        position_variance_m2=np.full((count, 2), 0.3),
    )  # fmt: skip


def messages_of(agents: int, seen: Instances, index: int, dims: int, preset: str, fingerprint: bytes) -> list[Message]:
    """What each agent sends of the same road users, from its own place, with a small error of its pose."""
    sent = []
    for k in range(agents):
        rng = np.random.default_rng([7, k])
        yaw, error = rng.uniform(-3, 3), rng.normal(0.0, 0.15, 2)
        c, s = np.cos(yaw), np.sin(yaw)
        T_map = make_transform([[c, -s, 0], [s, c, 0], [0, 0, 1]], [*rng.uniform(-25, 25, 2), 0.0])
        local = move(seen, inverse(T_map))
        local = replace(local, center_m=local.center_m + np.array([*error, 0.0]))
        if dims:
            streams = rng.standard_normal((3, len(seen), dims)).astype(np.float32)
            local = replace(local, features=Features(*streams, preset, fingerprint))
        name = f"agent{k:02d}"
        message = Message(name, 1, index + 1, START_NS + index * STEP_NS, f"{name}/lidar", T_map, local, ())
        sent.append(over_the_air(message, "fp16" if dims else "none"))
    return sent


def timed(work: Callable[[int], object], repeats: int) -> float:
    """Median processor time of work(i) in this thread, ms: what else runs on the machine does not count."""
    took = []
    for i in range(repeats):
        begin = time.thread_time()
        work(i)
        took.append((time.thread_time() - begin) * 1e3)
    return float(np.median(took))


def late_row(agents: int, objects: int, repeats: int) -> tuple[float, float, int]:
    """Admission and fusion of one frame in ms, and how many objects came out."""
    seen, config = road_users(objects, np.random.default_rng(1)), LateFusionConfig()
    frames = [messages_of(agents, seen, i, 0, "", bytes(32)) for i in range(repeats)]
    admission = Admission(VehicleConfig().admission)

    def admit(i: int) -> None:
        for message in frames[i]:
            assert admission.receive(message, START_NS + i * STEP_NS) is None
        admission.take(START_NS + i * STEP_NS)

    own = seen.select(np.arange(0, objects, 3))  # the vehicle sees every third itself
    result = fuse(own, frames[0], START_NS, np.eye(4), config)[0]
    fusing = timed(lambda i: fuse(own, frames[i], START_NS + i * STEP_NS, np.eye(4), config), repeats)
    return timed(admit, repeats), fusing, len(result.instances)


def learned_row(agents: int, objects: int, repeats: int) -> tuple[float, int]:
    """Alignment, association and fusion of features in ms, and how many rows others went into."""
    import torch

    from cooptrack_core.config import NetworkConfig
    from cooptrack_core.model.loading import load_network
    from cooptrack_core.model.partners import known_tracks

    network = load_network(NetworkConfig(threads=1), "coop")
    model, fingerprint = network._model, network.identity.roadside_fingerprint or bytes(32)
    seen = road_users(objects, np.random.default_rng(1))
    sent = messages_of(agents, seen, 0, network.config.embed_dims, "tiny_inf", fingerprint)
    with torch.inference_mode():
        queries = model.fresh_queries()

        def cooperate(_: int) -> int:
            aligned = model.align([network._remote(m, k, START_NS, np.eye(4)) for k, m in enumerate(sent)])
            done = model.cooperate(queries, aligned, known=known_tracks(aligned, {}))
            return len(set(done.fused.row_of_remote.tolist()) - {-1})

        rows = cooperate(0)
        return timed(cooperate, repeats), rows


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=40, help="objects that each agent reports (default 40)")
    parser.add_argument("--repeats", type=int, default=30, help="frames per row (default 30)")
    args = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"machine: {machine}, one thread; synthetic, {args.objects} objects that every agent reports")
    print(f"processor time, median of {args.repeats} frames, ms")
    print(f"{'agents':>8}{'admission':>12}{'late fusion':>13}{'per agent':>11}{'objects':>9}", end="")
    with_network = _has_torch()
    print(f"{'learned fusion':>17}{'per agent':>11}{'objects':>9}" if with_network else "   (learned: no torch)")
    for agents in COUNTS:
        admission, fusion, count = late_row(agents, args.objects, args.repeats)
        line = f"{agents:>8}{admission:>12.2f}{fusion:>13.2f}{(admission + fusion) / agents:>11.2f}{count:>9}"
        if with_network:
            learned, rows = learned_row(agents, args.objects, args.repeats)
            line += f"{learned:>17.2f}{learned / agents:>11.2f}{rows:>9}"
        print(line, flush=True)


def _has_torch() -> bool:
    try:
        import torch
    except ImportError:
        return False
    torch.set_num_threads(1)
    return True


if __name__ == "__main__":
    main()
