"""Runs of the small stage, and what they left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from small_stage import SmallStage, recipe
from torch import Tensor

from cooptrack_core.training.loop import Result, train
from cooptrack_core.training.stage import LoopOptions


def options(**changes: object) -> LoopOptions:
    return LoopOptions(**{**recipe("", ""), **changes})  # type: ignore[arg-type]


def run(folder: Path, stage: SmallStage | None = None, **changes: object) -> Result:
    return train(stage or SmallStage(), options(**changes), folder)


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("step_*"))


def lines(folder: Path, kind: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
