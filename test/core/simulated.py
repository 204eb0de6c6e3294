"""Agents that perceive by the simulated detector, and runs of them over a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.evaluation.run_options import RunOptions

LATE = VehicleConfig(mode="late", detector="simulated")
EGO = VehicleConfig(mode="ego", detector="simulated")
SIMULATED = ("--detector", "simulated")  # the same for a command
UNIT = RoadsideConfig(detector="simulated")


def simulated_run(dataset: Path, *arguments: Any, **changes: Any) -> RunOptions:
    """RunOptions with simulated detectors and late fusion, unless the changes name other agents."""
    return RunOptions(dataset, *arguments, **{"vehicle": LATE, "roadside": UNIT, **changes})
