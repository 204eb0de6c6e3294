#!/usr/bin/env python3
"""Mutated instance messages through a vehicle: bytes, fields, decoding, admission and now and then a frame.

`make fuzz` runs 100,000. Every block of 1,000 begins with a new vehicle, so that any block can be repeated alone:
--seed S --first BLOCK --count 1. Exit code 1 after an exception, an output that is not finite or a refusal without a
name; what was received since the last good frame is then in --out, one file a message.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import Maker, road_users, valid
from message_mutations import mutated

from cooptrack_core.config import VehicleConfig
from cooptrack_core.cooperation.damage import Codec
from cooptrack_core.cooperation.refusals import RULES
from cooptrack_core.data.instance_messages import cdr_codec
from cooptrack_core.pipeline import VehicleAgent, VehicleOutput
from cooptrack_core.progress import progress_bar
from cooptrack_core.types import Frame, Refusal

BLOCK = 1000
FRAME_EVERY = 10  # messages
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
ADMITTED = "admitted"
WRITER = cdr_codec()  # its padding is always zero, that of rclpy whatever was there: bytes would not repeat


@dataclass
class Outcome:
    """What became of the messages of one or more blocks."""

    messages: int = 0
    frames: int = 0
    mutations: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)  # admitted, or the name of the refusal
    used: int = 0
    highest_tracks: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Adds another one."""
        for name in ("messages", "frames", "used"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.mutations.update(other.mutations)
        self.outcomes.update(other.outcomes)
        self.highest_tracks = max(self.highest_tracks, other.highest_tracks)
        self.failures += other.failures


def stamp_ns(index: int) -> int:
    """Of the frame that comes next after the message of this index."""
    return START_NS + index // FRAME_EVERY * PERIOD_NS


def named(refusal: Refusal) -> str:
    """The name of a refusal. Raises ValueError for one that admission does not know."""
    if refusal.reason not in RULES:
        raise ValueError(f"refusal without a name: {refusal.reason!r}")
    return refusal.reason


def unfit(output: VehicleOutput) -> list[str]:
    """Fields of a frame's output with numbers that are not finite; covariances may be unknown."""
    tracks, associations = output.tracks, output.associations
    places = {f"tracks.{n}": getattr(tracks, n) for n in ("score", "center_m", "size_m", "heading_rad", "velocity_mps")}
    names = [n for n in vars(associations) if n.endswith(("_m", "affinity"))]
    places |= {f"associations.{n}": getattr(associations, n) for n in names}
    found = [name for name, values in places.items() if not np.isfinite(values).all()]
    return found + [f"age_ms of {use.agent_id}" for use in associations.messages if not math.isfinite(use.age_ms)]


@functools.cache
def network() -> tuple[Any, bytes]:
    """The shipped network of a vehicle, and an image of noise."""
    import cv2

    from cooptrack_core.networks import network_of

    pixels = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    return network_of(VehicleConfig()), cv2.imencode(".jpg", pixels)[1].tobytes()


class Block:
    """One vehicle and BLOCK messages."""

    def __init__(self, seed: int, number: int, codec: Codec, with_network: bool, out: Path) -> None:
        self._rng = np.random.default_rng([seed, number])
        self._number, self._codec, self._out, self._with_network = number, codec, out, with_network
        config = VehicleConfig() if with_network else VehicleConfig(mode="late", detector="simulated")
        self._maker = Maker()
        if with_network:
            made, _ = network()
            made.reset()
            known = made.identity
            self._maker = Maker(made.config.embed_dims, known.roadside_fingerprint, known.codebook.fingerprint)
        self._vehicle = VehicleAgent("vehicle", config, network=network()[0] if with_network else None)
        self._own = road_users(self._rng, 8)
        self._since: list[bytes] = []
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Feeds all messages."""
        other = self._valid(0)
        for index in range(BLOCK):
            whole = self._valid(index)
            if self._rng.random() < 0.02:
                data, kind = whole, "unchanged"  # a good sender among the bad ones
            else:
                data, kind = mutated(whole, other, WRITER, self._rng)
            other = whole
            self.outcome.mutations[kind] += 1
            self._since.append(data)
            self._guarded(index, lambda data=data, index=index: self._receive(data, index))
            if index % FRAME_EVERY == FRAME_EVERY - 1:
                self._guarded(index, lambda index=index: self._frame(index))
        return self.outcome

    def _valid(self, index: int) -> bytes:
        return WRITER.write(valid(self._rng, index + 1, stamp_ns(index), self._maker))

    def _receive(self, data: bytes, index: int) -> None:
        """As vehicle_node does."""
        self.outcome.messages += 1
        now_ns = stamp_ns(index) + PERIOD_NS // 2
        try:
            fields = self._codec.fields_of(data)
        except Exception:  # rclpy raises its own, undocumented types
            refusal: Refusal | None = self._vehicle.refuse("rsu", 0, "malformed")
        else:
            refusal = self._vehicle.receive_fields(fields, len(data), now_ns, "rsu")
        self.outcome.outcomes[ADMITTED if refusal is None else named(refusal)] += 1

    def _frame(self, index: int) -> None:
        frame = Frame(stamp_ns(index), np.eye(4), self._own)
        if self._with_network:
            frame = replace(frame, detections=None, image=network()[1], camera=camera())
        output = self._vehicle.step(frame)
        self.outcome.frames += 1
        self.outcome.used += len(output.associations.messages)
        self.outcome.highest_tracks = max(self.outcome.highest_tracks, len(output.tracks))
        for refusal in output.refusals:
            named(refusal)
        if wrong := unfit(output):
            raise ValueError(f"not finite: {', '.join(wrong)}")
        self._since.clear()

    def _guarded(self, index: int, action: Any) -> None:
        try:
            action()
        except Exception as error:
            self._keep(index, error)

    def _keep(self, index: int, error: Exception) -> None:
        """Writes what was received since the last good frame, for repetition."""
        where = self._out / f"block{self._number}_message{index}"
        where.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(self._since):
            (where / f"{number:03d}.bin").write_bytes(data)
        (where / "why.txt").write_text("".join(traceback.format_exception(error)))
        self.outcome.failures.append(f"block {self._number}, message {index}: {type(error).__name__}: {error}; {where}")
        self._since.clear()


def camera() -> Any:
    """Of the noise image: looks ahead."""
    from cooptrack_core.types import CameraView

    T = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    return CameraView(np.array([[120.0, 0, 80], [0, 120.0, 45], [0, 0, 1]]), T, 160, 90)


def blocks(first: int, count: int, network_every: int) -> Iterator[tuple[int, bool]]:
    """Numbers, and whether the vehicle of the block runs the network."""
    for number in range(first, first + count):
        yield number, bool(network_every) and number % network_every == network_every - 1


def fuzz(seed: int, first: int, count: int, network_every: int, out: Path) -> Outcome:
    """Runs `count` blocks from `first` on."""
    from cooptrack_ros.impairment_node import ros_codec

    total = Outcome()
    for number, with_network in progress_bar(list(blocks(first, count, network_every)), desc="fuzz", unit="block"):
        total.add(Block(seed, number, ros_codec(), with_network, out).run())
    return total


@contextlib.contextmanager
def native_noise_to(path: Path) -> Iterator[None]:
    """What DDS libraries say of each broken message goes to a file; what Python says stays."""
    terminal, before = os.dup(2), sys.stderr
    with path.open("wb") as log, os.fdopen(os.dup(terminal), "w", buffering=1) as ours:
        sys.stderr = ours
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            sys.stderr = before


def print_table(outcome: Outcome, seed: int) -> None:
    """Outcomes by name."""
    print(f"\n{outcome.messages} mutated messages, seed {seed}; {outcome.frames} frames, {outcome.used} messages used,")
    print(f"at most {outcome.highest_tracks} tracks in a frame\n")
    for title, counts in (("mutation", outcome.mutations), ("outcome", outcome.outcomes)):
        print(f"{title:<20}{'messages':>10}{'share':>9}")
        for name, count in counts.most_common():
            print(f"{name:<20}{count:>10}{count / outcome.messages:>9.2%}")
        print()
    print(f"crashes, numbers that are not finite, refusals without a name: {len(outcome.failures)}")
    for line in outcome.failures[:20]:
        print(f"  {line}")


def repeat(folder: Path) -> int:
    """What the reader makes of the messages of a kept failure."""
    from cooptrack_ros.impairment_node import ros_codec

    for path in sorted(folder.glob("*.bin")):
        found = ros_codec().read(path.read_bytes(), "rsu")
        print(f"{path.name}: {found.reason if isinstance(found, Refusal) else f'{len(found.instances)} instances'}")
    return 0


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000, help="how many, in blocks of 1,000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, metavar="BLOCK", help="the first block")
    parser.add_argument("--count", type=int, metavar="N", help="blocks, instead of --messages")
    parser.add_argument(
        "--network-every", type=int, default=25, metavar="N", help="every n-th block runs the shipped network; 0: none"
    )
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder for what fails")
    parser.add_argument("--repeat", type=Path, metavar="DIR", help="only read the messages of a kept failure again")
    args = parser.parse_args()
    if args.repeat is not None:
        return repeat(args.repeat)
    count = args.count or max(1, -(-args.messages // BLOCK))
    args.out.mkdir(parents=True, exist_ok=True)
    with native_noise_to(args.out / "libraries.log"):
        outcome = fuzz(args.seed, args.first, count, args.network_every, args.out)
    print_table(outcome, args.seed)
    result = {"seed": args.seed, "first_block": args.first, **vars(outcome)}
    (args.out / "fuzz.json").write_text(json.dumps(result, indent=1) + "\n")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
