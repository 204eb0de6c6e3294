"""What a user may choose about a synthetic dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cooptrack_core.data.synthetic.coopsynth.plan import (
    BENCHMARKS,
    MORE_SEQUENCES,
    RATE_HZ,
    SEQUENCES,
    TRAIN_SEQUENCES,
    V1_SEQUENCES,
    V1_TEST,
    V2,
    first_pair,
    sequence_plan,
)
from cooptrack_core.types import CooptrackError

RENDERERS = ("auto", "egl", "rays", "none")
SPLITS = ("auto", "train", "val")
POINT_CLOUDS = ("none", "sparse", "full")


@dataclass(frozen=True)
class SceneOptions:
    """Everything that decides the content of the dataset; the same options give the same bytes."""

    seed: int = 7
    sequences: int = 1
    duration_s: float = 10.0
    rate_hz: float = 10.0
    width_px: int = 1920
    height_px: int = 1080
    renderer: str = "egl"
    supersample: float = 1.5
    jpeg_quality: int = 90
    split: str = "auto"
    skewed_extrinsics: bool = False
    point_clouds: str = "sparse"
    benchmark: str = ""  # its name; sequences, duration_s, rate_hz and split are then the benchmark's
    every: int = 1  # of the benchmark's sequences: all, or every n-th
    train_every: int = 1  # of its train sequences alone; val stays whole
    pairs: int = 1  # vehicles with sensors, and as many roadside units, in the same traffic
    pair: int = 0  # which of them this dataset is of

    def __post_init__(self) -> None:
        checks = (
            ("--seed", self.seed >= 0, self.seed, "give 0 or more"),
            ("--sequences", 1 <= self.sequences <= 999, self.sequences, "give 1 to 999"),
            ("--rate-hz", 1.0 <= self.rate_hz <= 20.0, self.rate_hz, "give 1 to 20 Hz"),
            ("--duration-s", 0.0 < self.duration_s <= 60.0, self.duration_s, "give more than 0 and at most 60 s"),
            (
                "--duration-s",
                self.duration_s * self.rate_hz >= 1.5,
                self.duration_s,
                "give 2 frames or more",
            ),
            ("--image-size", self.width_px >= 64 and self.height_px >= 36, self.size_text, "give 64x36 or more"),
            (
                "--image-size",
                self.width_px <= 3840 and self.height_px <= 2160,
                self.size_text,
                "give 3840x2160 or less",
            ),
            ("--supersample", self.supersample in (1.0, 1.5, 2.0), self.supersample, "give 1, 1.5 or 2"),
            ("--jpeg-quality", 30 <= self.jpeg_quality <= 100, self.jpeg_quality, "give 30 to 100"),
            ("--renderer", self.renderer in RENDERERS, self.renderer, f"choose from {', '.join(RENDERERS)}"),
            (
                "--point-clouds",
                self.point_clouds in POINT_CLOUDS,
                self.point_clouds,
                f"choose from {', '.join(POINT_CLOUDS)}",
            ),
            ("--benchmark", self.benchmark in ("", *BENCHMARKS), self.benchmark, f"choose {' or '.join(BENCHMARKS)}"),
            ("--every", 1 <= self.every <= 120, self.every, "give 1 to 120"),
            ("--train-every", 1 <= self.train_every <= 120, self.train_every, "give 1 to 120"),
            ("--pairs", 1 <= self.pairs <= 4, self.pairs, "give 1 to 4; an intersection has four corners"),
            ("--pair", 0 <= self.pair < self.pairs, self.pair, "give a pair that there is"),
            ("--split", self.split in SPLITS, self.split, f"choose from {', '.join(SPLITS)}"),
        )
        for name, good, value, remedy in checks:
            if not good:
                raise CooptrackError(f"synthesize: {name}: {value} is not possible; {remedy}")

    @property
    def frames(self) -> int:
        """Frames of one sequence outside the benchmark."""
        return round(self.duration_s * self.rate_hz)

    @property
    def total(self) -> int:
        """Sequences there are, made or not: ids count them all."""
        if not self.benchmark:
            return self.sequences
        if self.benchmark == V2:
            return V1_SEQUENCES + MORE_SEQUENCES
        return V1_SEQUENCES if self.of_test else SEQUENCES

    @property
    def of_test(self) -> bool:
        """Whether these are the benchmark's test sequences."""
        return self.benchmark == V1_TEST

    @property
    def numbers(self) -> Sequence[int]:
        """Numbers of the sequences that are made."""
        if not self.benchmark:
            return range(self.total)
        if self.of_test:
            return range(SEQUENCES, self.total, self.every)
        train = [*range(TRAIN_SEQUENCES), *range(V1_SEQUENCES, self.total)]
        kept = {*train[:: self.train_every], *range(TRAIN_SEQUENCES, SEQUENCES)}
        return [n for n in sorted(kept) if n % self.every == 0]

    def frames_of(self, number: int) -> int:
        """Frames of a sequence."""
        return round(sequence_plan(number).duration_s * RATE_HZ) if self.benchmark else self.frames

    def first_frame_of(self, number: int) -> int:
        """Number of the first frame of a sequence within the dataset."""
        return first_pair(number) if self.benchmark else number * self.frames

    @property
    def size_text(self) -> str:
        """Image size as WxH."""
        return f"{self.width_px}x{self.height_px}"

    def to_json(self) -> dict[str, Any]:
        """The options as plain values."""
        return asdict(self)
