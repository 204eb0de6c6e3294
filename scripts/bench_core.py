#!/usr/bin/env python3
"""Times of the core without ROS, on synthetic objects: message codec, both agents, dataset reader.

Prints one table with the machine beside it. Compare only within one run: machines are shared and noisy.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation import wire
from cooptrack_core.cooperation.loopback import as_fields, over_the_air
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent
from cooptrack_core.types import Features, Frame, Instances

STEP_NS = 100_000_000
SIMULATED = RoadsideConfig(detector="simulated")
LATE = VehicleConfig(mode="late", detector="simulated")


def objects(count: int, index: int, rng: np.random.Generator, channels: int = 0) -> Instances:
    """Cars on a grid that drive at 5 m/s, seen with noise."""
    side = int(np.ceil(np.sqrt(count)))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:count] * 6.0 + [2.0, -20.0]
    center = np.column_stack([grid[:, 0] + 0.5 * index, grid[:, 1], np.full(count, -0.9)])
    features = None
    if channels:
        streams = rng.normal(size=(3, count, channels)).astype(np.float32)
        features = Features(streams[0], streams[1], streams[2], "bench", bytes(32))
    return Instances.create(
        center + rng.normal(0, 0.2, center.shape),
        np.tile([4.4, 1.8, 1.5], (count, 1)),
        np.zeros(count),
        np.zeros(count, np.int64),
        np.full(count, 0.8),
        features=features,
    )


def timed(function: Callable[[int], object], repeats: int) -> np.ndarray:
    """[repeats] durations in ms."""
    durations = np.empty(repeats)
    for i in range(repeats):
        start = time.perf_counter_ns()
        function(i)
        durations[i] = (time.perf_counter_ns() - start) / 1e6
    return durations


def codec_rows(count: int, repeats: int) -> list[tuple[str, np.ndarray]]:
    """Encode + decode of one message without and with learned features."""
    return [
        row
        for label, channels, precision in (("kinematics", 0, "none"), ("256 channels fp16", 256, "fp16"))
        for row in codec_pair(count, repeats, label, channels, precision)
    ]


def codec_pair(count: int, repeats: int, label: str, channels: int, precision: str) -> list[tuple[str, np.ndarray]]:
    """Encode and decode of the message of a roadside unit that tracks `count` objects."""
    rng = np.random.default_rng(0)
    config = RoadsideConfig(detector="simulated", feature_precision=precision, max_message_bytes=1_000_000)
    agent = RoadsideAgent("rsu", config, session_id=1)
    for i in range(6):
        sent = agent.step(Frame(10**18 + i * STEP_NS, np.eye(4), objects(count, i, rng, channels))).message
    assert sent is not None and len(sent.instances) == count
    fields = as_fields(sent, precision)
    return [
        (f"encode, {count} instances, {label}", timed(lambda _: wire.encode(sent, precision), repeats)),
        (f"decode, {count} instances, {label}", timed(lambda _: wire.decode(fields), repeats)),
    ]


def agent_rows(count: int, repeats: int) -> list[tuple[str, np.ndarray]]:
    """One frame of each agent."""
    rng = np.random.default_rng(0)
    rsu, vehicle = RoadsideAgent("rsu", SIMULATED, session_id=1), VehicleAgent("vehicle", LATE)
    frames = [Frame(10**18 + i * STEP_NS, np.eye(4), objects(count, i, rng)) for i in range(repeats)]
    sent = []
    roadside = timed(lambda i: sent.append(rsu.step(frames[i]).message), repeats)
    received = [over_the_air(message) for message in sent]

    def step(i: int) -> None:
        vehicle.receive(received[i], frames[i].stamp_ns)
        vehicle.step(frames[i])

    return [
        (f"roadside frame, {count} objects", roadside[10:]),
        (f"vehicle frame, {count} objects a side, late", timed(step, repeats)[10:]),
    ]


def reader_rows(frames: int) -> list[tuple[str, np.ndarray]]:
    """Metadata of a synthetic sequence: rows, calibration and labels of both sides."""
    from cooptrack_core import cli
    from cooptrack_core.data.v2x_seq import Dataset

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "scene"
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main(["synthesize", str(root), "--renderer", "none", "--duration-s", str(frames / 10)])
        dataset = Dataset(root)
        pairs = list(dataset.pairs.values())

        def read(i: int) -> None:
            pair = pairs[i]
            dataset.vehicle_calibration(pair.vehicle_frame)
            dataset.infrastructure_calibration(pair.infrastructure_frame)
            dataset.labels("vehicle", pair.vehicle_frame)
            dataset.labels("infrastructure", pair.infrastructure_frame)
            dataset.cooperative_labels(pair.vehicle_frame)

        durations = timed(read, len(pairs))
    return [(f"reader, metadata of a pair ({1000 / durations.mean():.0f} pairs per second)", durations)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=60, help="objects on each side (default 60)")
    parser.add_argument("--repeats", type=int, default=300, help="frames or messages per row (default 300)")
    args = parser.parse_args()
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; seed 0, synthetic"
    )
    rows = codec_rows(args.objects, args.repeats) + agent_rows(args.objects, args.repeats) + reader_rows(50)
    print(f"{'':62}{'p50':>9}{'p90':>9}{'p99':>9}  ms")
    for label, durations in rows:
        p50, p90, p99 = np.percentile(durations, [50, 90, 99])
        print(f"{label:62}{p50:9.3f}{p90:9.3f}{p99:9.3f}")


if __name__ == "__main__":
    main()
