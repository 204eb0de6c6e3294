"""Valid instance messages, drawn from every way in which they can be written."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cooptrack_core.config import KINEMATICS, PRECISIONS
from cooptrack_core.geometry.transforms import from_quaternion
from cooptrack_core.types import CLASS_NAMES, Features, Instances, Message

POSE = from_quaternion(np.array([0.0, 0.0, math.sin(0.4), math.cos(0.4)]), np.array([40.0, -20.0, 5.0]))


@dataclass(frozen=True)
class Maker:
    """The network of the roadside unit: what its features are, and the codebook of their codes."""

    channels: int = 8
    fingerprint: bytes = bytes(range(32))
    codebook: bytes = bytes(range(32, 64))  # its fingerprint


def road_users(rng: np.random.Generator, count: int, features: Features | None = None) -> Instances:
    """Seen somewhere ahead."""
    center = np.column_stack([rng.uniform(0, 100, count), rng.uniform(-50, 50, count), rng.uniform(-1, 1, count)])
    return Instances.create(
        center, rng.uniform(0.5, 5.9, (count, 3)), rng.uniform(-3, 3, count),
        rng.integers(0, len(CLASS_NAMES), count), rng.uniform(0.2, 1, count), velocity_mps=rng.normal(0, 5, (count, 2)),
        instance_id=1 + rng.permutation(1000)[:count], age_frames=rng.integers(0, 50, count), features=features,
        position_variance_m2=rng.uniform(0.1, 1, (count, 2)) if rng.random() < 0.5 else None,
    )  # fmt: skip


def features(rng: np.random.Generator, precision: str, count: int, maker: Maker) -> Features | None:
    """Of `count` instances, as numbers or as codes."""
    if precision == "none":
        return None
    if precision == "rvq":
        codes = rng.integers(0, 256, (count, int(rng.integers(1, 3)), int(rng.integers(1, 5)))).astype(np.uint8)
        query, about = np.zeros((count, 0), np.float32), ("tiny_inf", maker.fingerprint)
        return Features(query, None, None, *about, codes, maker.codebook, maker.channels)
    query, motion = rng.normal(size=(2, count, maker.channels)).astype(np.float32)
    embedding = rng.normal(size=(count, maker.channels)).astype(np.float32) if rng.random() < 0.5 else None
    return Features(query, embedding, motion, "tiny_inf", maker.fingerprint)


def valid(rng: np.random.Generator, sequence: int, stamp_ns: int, maker: Maker) -> Message:
    """A message as a roadside unit would send it, in any of the formats there are."""
    count = int(rng.choice([0, 1, 4, 12, 600], p=[0.1, 0.2, 0.4, 0.29, 0.01]))  # 600: more than a vehicle admits
    precision = str(rng.choice(PRECISIONS))
    seen = road_users(rng, count, features(rng, precision, count, maker))
    held = np.setdiff1d(1 + rng.permutation(1000)[: int(rng.choice([0, 1, 50]))], seen.instance_id)
    return Message(
        str(rng.choice(["rsu", "rsu2"])), 77, sequence, stamp_ns, "rsu/lidar", POSE,
        seen, held_id=held, precision=precision, kinematics=str(rng.choice(KINEMATICS)),
    )  # fmt: skip
