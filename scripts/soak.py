#!/usr/bin/env python3
"""A long run: replay in a loop at 10 Hz through the launched system; growth, kill -9, random transitions.

`make soak` lets it run for an hour; SOAK_S=60 for a minute. Exit code 1 if memory, open descriptors or the age of
tracks grow beyond their bounds with 95 % confidence, a killed node does not come back, or a transition breaks a node.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from os import kill
from pathlib import Path
from typing import Any

import numpy as np
from soak_statistics import Bound, Growth, growth
from soak_system import AGENTS, NODES, System, descriptors, memory_mb

from cooptrack_core import cli
from cooptrack_core.progress import progress_bar

BOUNDS = {  # between the first and the last third of a run
    "memory MB": Bound(4.0, 0.03), "descriptors": Bound(1.0), "age p50 ms": Bound(5.0, 0.25),
    "age p99 ms": Bound(25.0, 0.5),
}  # fmt: skip
SAMPLES = 360  # of a run at most, one a second at most
# What shows that a node works again.
SIGNS = {"roadside_node": "messages_used", "vehicle_node": "tracks", "marker_node": "markers", "replay_node": "tracks"}
TRANSITIONS = {"configure": 1, "cleanup": 2, "activate": 3, "deactivate": 4}
NEXT = {"unconfigured": "configure", "inactive": "activate"}
RECOVERY_S = 90.0  # DDS believes in a killed node for 20 s, and its successor waits for that


def make_bag(folder: Path, duration_s: float, seed: int) -> Path:
    """A synthetic scene of a roadside unit and a vehicle without images, as a bag; made once."""
    bag = folder / "bag"
    if not (bag / "metadata.yaml").is_file():
        scene = folder / "scene"
        options = ["--renderer", "none", "--duration-s", str(duration_s), "--seed", str(seed)]
        made = (scene / "synthetic.json").is_file()
        for command in (["synthesize", str(scene), *options], ["to-bag", str(scene), str(bag)])[made:]:
            if cli.main(command) != 0:
                raise SystemExit(1)
    return bag


def watch(system: System, duration_s: float) -> list[dict[str, float]]:
    """Samples of the running system: time, memory and descriptors by node, ages of tracks since the last sample."""
    period_s = max(1.0, duration_s / SAMPLES)
    rows, began = [], time.monotonic()
    system.monitor.take_ages_ms()
    for number in progress_bar(range(int(duration_s / period_s)), desc="soak", unit="sample"):
        while (left := began + (number + 1) * period_s - time.monotonic()) > 0:
            time.sleep(left)
        row: dict[str, float] = {"time_s": time.monotonic() - began}
        for name, pid in system.pids().items():
            row[f"memory MB {name}"], row[f"descriptors {name}"] = memory_mb(pid), descriptors(pid)
        ages_ms = system.monitor.take_ages_ms()
        for percent in (50, 99):
            row[f"age p{percent} ms tracks"] = float(np.percentile(ages_ms, percent)) if ages_ms else float("nan")
        row["tracks"] = system.monitor.counts["tracks"]
        rows.append(row)
    return rows


def judge(rows: Sequence[dict[str, float]]) -> dict[str, Growth]:
    """Growth of every series."""
    times_s = np.array([row["time_s"] for row in rows])
    names = sorted({name for row in rows for name in row} - {"time_s", "tracks"})
    found = {}
    for name in names:
        values = np.array([row.get(name, float("nan")) for row in rows])
        bound = next(bound for kind, bound in BOUNDS.items() if name.startswith(kind))
        found[name] = growth(times_s, values, bound)
    return found


def kills(system: System, count: int, rng: random.Random) -> list[str]:
    """Kills nodes one after the other, each at some time, and waits until each works again; one line a kill."""
    lines = []
    order = list(NODES) * (count // len(NODES) + 1)
    rng.shuffle(order)
    for name in order[:count]:
        time.sleep(rng.uniform(0.0, 2.0))
        system.wait_until(lambda name=name: name in system.pids(), f"{name} runs")
        old, starts = system.pids()[name], system.monitor.counts["vehicle starts"]
        kill(old, signal.SIGKILL)
        began = time.monotonic()
        if name != "vehicle_node" and name != "replay_node":
            system.wait_for_more("tracks", 10, 20.0)  # the vehicle goes on without it
        system.wait_until(lambda name=name, old=old: system.pids().get(name, old) != old, f"{name} again", RECOVERY_S)
        if name == "vehicle_node":  # what the old one sent may still be on the way
            again = "tracks of the new vehicle_node"
            system.wait_until(lambda n=starts: system.monitor.counts["vehicle starts"] > n, again, RECOVERY_S)
        system.wait_for_more(SIGNS[name], 5, RECOVERY_S)
        lines.append(f"kill -9 {name}: works again after {time.monotonic() - began:.1f} s")
        print(f"  {lines[-1]}", flush=True)
    return lines


def transitions(system: System, count: int, rng: random.Random) -> list[str]:
    """Asks the agents for transitions in any order, allowed or not, then brings both to active; one line an agent."""
    lines = []
    for node in AGENTS:
        pid, agreed = system.pids()[node], 0
        for _ in range(count):
            agreed += system.change_state(node, TRANSITIONS[rng.choice(sorted(TRANSITIONS))])
        for _ in range(2 * len(NEXT)):
            if (label := system.state(node)) in NEXT:
                system.change_state(node, TRANSITIONS[NEXT[label]])
        if (label := system.state(node)) != "active":
            raise TimeoutError(f"{node}: cannot leave state {label}")
        if system.pids().get(node) != pid:
            raise TimeoutError(f"{node}: died of a transition")
        system.wait_for_more("tracks", 10, RECOVERY_S)
        system.wait_for_more(SIGNS[node], 5, RECOVERY_S)
        lines.append(f"{node}: {agreed} of {count} random transitions agreed to; active, works")
        print(f"  {lines[-1]}", flush=True)
    return lines


def print_table(found: dict[str, Growth], rows: Sequence[dict[str, float]]) -> None:
    """Every series: both thirds, their difference with its interval, what is allowed."""
    span_s = rows[-1]["time_s"]
    print(f"\n{len(rows)} samples over {span_s:.0f} s, {rows[-1]['tracks'] - rows[0]['tracks']:.0f} track messages")
    print(f"{'series':<30}{'first third':>12}{'last third':>12}{'growth, 95 %':>22}{'allowed':>9}{'per hour':>10}")
    for name, g in found.items():
        interval = f"[{g.low:+.2f}, {g.high:+.2f}]"
        mark = "  GROWS" if g.failed else ""
        numbers = f"{g.first:>12.2f}{g.last:>12.2f}{interval:>22}{g.allowed:>9.2f}{g.slope_per_hour:>10.1f}"
        print(f"{name:<30}{numbers}{mark}")


def soak(args: argparse.Namespace) -> dict[str, Any]:
    """Everything; `problems` in the result is empty if all is well."""
    rng, problems = random.Random(args.seed), []
    bag = args.bag or make_bag(args.out, args.scene_s, args.seed)
    options = [f"bag:={bag}", "loop:=true", "use_respawn:=true", f"detector:={args.detector}", f"rate:={args.rate}"]
    options += [f"{name}:={value}" for name, value in (("impair", args.impair), ("params_file", args.params)) if value]
    system = System(args.out / "launch.log", *options)
    result: dict[str, Any] = {"seed": args.seed, "detector": args.detector, "duration_s": args.duration_s}
    rows: list[dict[str, float]] = []
    try:
        system.wait_for_more("messages_used", 10, 180.0)
        rows = watch(system, args.duration_s)
        found = judge(rows)
        print_table(found, rows)
        problems += [f"{name} grows" for name, g in found.items() if g.failed]
        result["growth"] = {name: asdict(g) for name, g in found.items()}
        print(f"\nkill -9, seed {args.seed}")
        result["kills"] = kills(system, args.kills, rng)
        print(f"\ntransitions in random order, seed {args.seed}")
        result["transitions"] = transitions(system, args.transitions, rng)
    except (TimeoutError, ValueError) as error:
        problems.append(str(error))
    finally:
        problems += system.monitor.wrong[:10]
        if not system.running:
            problems.append(f"the launch has ended by itself; see {args.out / 'launch.log'}")
        system.close()
    return result | {"samples": rows, "problems": problems}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration-s", type=float, default=3600.0, help="of the run that is watched for growth, s")
    parser.add_argument("--kills", type=int, default=8, help="nodes that are killed afterwards, one after the other")
    parser.add_argument("--transitions", type=int, default=40, help="random transitions of each agent after that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bag", type=Path, help="rosbag2 to loop; else a synthetic one is made")
    parser.add_argument("--scene-s", type=float, default=10.0, help="length of the synthetic one, s")
    parser.add_argument("--detector", default="simulated", choices=("simulated", "network"))
    parser.add_argument("--rate", type=float, default=1.0, help="speed of the replay")
    parser.add_argument("--impair", default="", metavar="FILE", help="impairments between roadside and vehicle")
    parser.add_argument("--params", default="", metavar="FILE", help="parameter file of the nodes")
    parser.add_argument("--out", type=Path, default=Path("soak"))
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Exit code."""
    args = arguments(given)
    args.out.mkdir(parents=True, exist_ok=True)
    result = soak(args)
    (args.out / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
    print()
    for line in result["problems"]:
        print(f"PROBLEM: {line}")
    print(f"{len(result['problems'])} problems; {args.out / 'soak.json'}")
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
