"""What is measured: each case is a network in a process of its own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.machine import instruction_sets

from cooptrack_core.config import NetworkConfig

STRAIGHTFORWARD = "official_r50"  # with engine eager in fp32 on the CPU: what the ratios of the last column refer to
CORES = os.cpu_count() or 1
GPU_PRESETS = ("tiny", "official_r50", "r101")
MODES = ("distance", "late", "ego")  # beside learned
FULL = ("tiny", STRAIGHTFORWARD)  # every engine and precision on a CPU; of other presets few frames of these:
BRIEF = (("eager", "fp32"), ("torch", "fp32"))
LEFT_OUT = "left out to keep the bench short; --full measures it"
_GPU_GOALS_MS = {"official_r50": 10.0, "r101": 20.0}
SPEED_UP_GOAL = 3.0  # 0.30 s a frame where the published network takes 0.90 s


@dataclass(frozen=True)
class Case:
    """One network of one agent, or one of its nodes."""

    preset: str  # family
    agent: str  # roadside, vehicle; rsu node, vehicle node
    mode: str  # of the vehicle; of a node with a network: how images come
    engine: str  # of a node without a network: empty
    precision: str
    device: str  # cpu, cuda
    threads: int

    @property
    def network(self) -> NetworkConfig:
        """Trained where weights ship, else random numbers."""
        weights = "tiny" if self.preset == "tiny" else "untrained"
        return NetworkConfig(
            preset=self.preset, weights=weights, device=self.device, engine=self.engine, precision=self.precision,
            threads=self.threads,
        )  # fmt: skip

    @property
    def goal(self) -> str:
        """As the table shows it."""
        if (self.agent, self.mode) != ("vehicle", "learned") or self.engine == "eager":
            return ""
        if self.device == "cuda":
            return f"{_GPU_GOALS_MS[self.preset]:.0f} ms" if self.preset in _GPU_GOALS_MS else ""
        return f"{SPEED_UP_GOAL:.0f} x plain" if self.preset == STRAIGHTFORWARD else ""

    def frames(self, repeats: int) -> int:
        """Large networks get fewer, so that the whole bench stays short."""
        if self.preset == "tiny" or self.device == "cuda":
            return repeats
        return max(3, repeats // (3 if self.preset in FULL else 10))

    @property
    def left_out(self) -> str:
        """Why it is not measured unless all is asked for; empty: it is."""
        large = self.device == "cpu" and self.preset != "tiny"
        main = self.mode not in MODES and (self.preset in FULL or (self.engine, self.precision) in BRIEF)
        return LEFT_OUT if large and not main else ""

    def facts(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def cases_of(presets: Sequence[str], devices: Sequence[str], engines: Sequence[str]) -> list[Case]:
    """Those left out included. What others are compared with comes first, and roadsides before their vehicles."""
    order = sorted(presets, key=lambda preset: preset != STRAIGHTFORWARD)
    plain_first = sorted(engines, key=lambda engine: engine != "eager")
    return [case for device in devices for preset in order for case in _of_preset(preset, device, plain_first)]


def _of_preset(preset: str, device: str, engines: Sequence[str]) -> list[Case]:
    threads = 1 if preset == "tiny" else CORES  # tiny: roadside and vehicle share two cores
    kinds = [(engine, "fp32") for engine in engines]
    if "torch" in engines:
        reduced = ("bf16", "fp16") if device == "cuda" else (("bf16",) if _fast_bf16() else ())
        kinds += [("torch", precision) for precision in reduced]
    made = []
    for engine, precision in kinds:
        common = engine, precision, device, threads
        made += [Case(preset, "roadside", "", *common), Case(preset, "vehicle", "learned", *common)]
        if engine != "onnxruntime" and precision == "fp32":
            made += [Case(preset, "vehicle", mode, *common) for mode in MODES]
    return made


def missing_package(case: Case) -> str:
    """Why a case cannot run, as far as that is known without a try."""
    if case.engine == "onnxruntime" and importlib.util.find_spec("onnxruntime") is None:
        return "package onnxruntime is not installed"
    return ""


def _fast_bf16() -> bool:
    return any(name in instruction_sets() for name in ("avx512_bf16", "amx_bf16", "bf16"))
