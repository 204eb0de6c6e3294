"""One case in a process of its own, so that start-up and peak memory are its own; JSON on the last line of stdout."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.cases import Case
from bench.files import load_frames, load_messages, save_messages
from bench.machine import peak_memory_mb

from cooptrack_core.timing.agents import Sent, Stopwatch, Timed, roadside_agent, vehicle_agent
from cooptrack_core.timing.frames import frame_at
from cooptrack_core.timing.table import rows_of
from cooptrack_core.types import CooptrackError

WARM_UP = 3


class Agent:
    """The agent of a case and its frames, one after the other."""

    def __init__(self, case: Case, frames: Path, messages: Path) -> None:
        self.case, self._frames, self.index = case, load_frames(frames), 0
        self.sent: list[Sent | None] = []
        if case.agent == "roadside":
            self._roadside = roadside_agent(case.network)
        else:
            self._vehicle = vehicle_agent(case.network, case.mode)
            self._heard = load_messages(messages) if messages.is_file() else []

    def step(self, watch: Stopwatch) -> Timed:
        """The next frame; a vehicle gets the message that the roadside unit made of the same moment."""
        frame = frame_at(self._frames, self.index)
        self.index += 1
        if self.case.agent == "roadside":
            done = watch.roadside(self._roadside, frame)
            self.sent.append(done.sent)
        else:
            heard = self._heard[self.index - 1] if self.index <= len(self._heard) else None
            done = watch.vehicle(self._vehicle, frame, [] if heard is None else [heard])
        if done.problem:
            raise CooptrackError(done.problem)
        return done


def measure(case: Case, args: argparse.Namespace) -> dict[str, object]:
    """Rows, start-up and memory of a case."""
    agent = Agent(case, args.frames, args.messages)
    synchronize, device_mb = None, None
    if case.device == "cuda":
        import torch

        synchronize = torch.cuda.synchronize
    plain = Stopwatch(stages=False, synchronize=synchronize)
    warm_up = [agent.step(plain)]
    started_s = (time.monotonic_ns() - args.started_ns) / 1e9 if warm_up[0].tracks else None
    while len(warm_up) < WARM_UP or (started_s is None and len(warm_up) < 2 * WARM_UP):
        warm_up.append(agent.step(plain))
        if started_s is None and warm_up[-1].tracks:
            started_s = (time.monotonic_ns() - args.started_ns) / 1e9
    # To name stages a GPU has to be waited for at each of their ends: their frames are others than the whole ones.
    whole = [agent.step(plain).whole_ms for _ in range(args.repeats)] if synchronize else None
    watch = Stopwatch(synchronize=synchronize)
    timed = [agent.step(watch) for _ in range(args.repeats)]
    if synchronize:
        device_mb = torch.cuda.max_memory_allocated() / 1e6
    if case.agent == "roadside" and not args.messages.is_file():
        save_messages(args.messages, agent.sent)
    return {
        "rows": [asdict(row) for row in rows_of(timed, whole)],
        "peak_mb": peak_memory_mb(),
        "device_mb": device_mb,
        "start_s": started_s,
        "tracks": sum(frame.tracks for frame in timed) / len(timed),
        "used_instances": sum(frame.used_instances for frame in timed) / len(timed),
    }


def run_for(case: Case, args: argparse.Namespace) -> dict[str, object]:
    """Frames per second of a case beside another process: both begin once both are warm."""
    agent = Agent(case, args.frames, args.messages)
    watch = Stopwatch(stages=False)
    for _ in range(WARM_UP):
        agent.step(watch)
    print("ready", flush=True)
    sys.stdin.readline()
    taken = []
    begin_s = time.monotonic()
    while time.monotonic() - begin_s < args.seconds:
        taken.append(agent.step(watch).whole_ms)
    return {"frames_per_s": len(taken) / (time.monotonic() - begin_s), "whole_ms": taken}


def main() -> int:
    """Measures the case of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--messages", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--started-ns", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    args = parser.parse_args()
    case = Case(**json.loads(args.case))
    try:
        done = run_for(case, args) if args.seconds else measure(case, args)
    except CooptrackError as error:
        done = {"skipped": str(error)}
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
