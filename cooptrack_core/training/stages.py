"""The stages that `cooptrack train` knows. Torch is imported when one is built."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.training.stage import LoopOptions
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.training.stage import Stage


@dataclass(frozen=True)
class StageOptions:
    """What a stage is built with, beside preset and data. None: as the recipe of stage and preset says."""

    steps: int | None = None
    batch: int | None = None  # slots of all processes together in a micro-batch
    init: Path | None = None  # weights of the stage before
    roadside: Path | None = None  # weights of the roadside network whose messages a cooperative stage learns with
    device: str = "auto"
    seed: int = 0
    rank: int = 0
    world: int = 1
    changes: tuple[str, ...] = ()  # NAME=VALUE for fields of the recipe

    def slots(self, batch: int) -> range:
        """The slots of a batch that this process trains."""
        own = batch // self.world
        return range(self.rank * own, (self.rank + 1) * own)


@dataclass(frozen=True)
class StageEntry:
    """A stage by name.

    module: has `build(stage, preset, data, options) -> Stage` and `recipe(stage, preset) -> dict`, the fields of
    LoopOptions in which a preset differs from the defaults.
    """

    about: str  # one line for --help
    module: str
    extra: Mapping[str, Any] = field(default_factory=dict)  # further keyword arguments of build


_BUILDING = "cooptrack_core.training.building"
STAGES: dict[str, StageEntry] = {
    "pretrain": StageEntry("stage 0, from scratch: the image trunk of both agents on single frames", _BUILDING),
    "detection": StageEntry("stage 1a: one agent's detector, without tracks", _BUILDING),
    "tracking": StageEntry("stage 1b: one agent's tracker", _BUILDING),
    "cooperation": StageEntry("stage 2: the vehicle with the messages of a finished roadside network", _BUILDING),
    "joint": StageEntry("after stage 2, if wanted: both networks together, gradients pass the message", _BUILDING),
}


def build(stage: str, preset: str, data: Path, options: StageOptions) -> Stage:
    """The stage, ready to be trained. CooptrackError for an unknown one, bad data or missing weights."""
    entry = entry_of(stage)
    built: Stage = importlib.import_module(entry.module).build(stage, preset, data, options, **entry.extra)
    return built


def loop_options(stage: str, preset: str, given: Mapping[str, Any]) -> LoopOptions:
    """Those of the recipe, with what is given (no None) in their place."""
    recipe: Mapping[str, Any] = importlib.import_module(entry_of(stage).module).recipe(stage, preset)
    return LoopOptions(**{**recipe, **given})


def entry_of(stage: str) -> StageEntry:
    """CooptrackError for a name that is not known."""
    if stage not in STAGES:
        known = ", ".join(STAGES) or "none in this version"
        raise CooptrackError(f"STAGE: {stage!r} is not known; choose one of: {known}")
    return STAGES[stage]


__all__ = ["STAGES", "StageEntry", "StageOptions", "build", "entry_of", "loop_options"]
