"""A tuning as a ROS 2 parameter file: what the nodes, `--params` and `params_file:=` take, with how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cooptrack_core.config import VehicleConfig, specs
from cooptrack_core.evaluation.tuning import OBJECTIVE, Tuned
from cooptrack_core.types import CooptrackError

_SEQUENCES = "# sequences: "
_ROADSIDE_TUNED = "with the tracker that was best for the vehicle, which was then tuned again to what they send"
_ROADSIDE_GIVEN = "as given"
_NODE = "/**/{}_node"  # of whatever namespace; `/**` alone would give one agent's tracker to the other, too


def text(tuned: Tuned, sequences: Sequence[str], about: Sequence[str]) -> str:
    """The whole file. sequences: those it was tuned on; about: lines on data, detector and command."""
    lines = [f"# Parameters for mode {tuned.mode}, tuned by `cooptrack tune`."]
    lines += [f"# {line}" for line in about]
    lines.append(_SEQUENCES + " ".join(sequences))
    for side, calibration in tuned.calibrations.items():
        lines.append(f"# scores, {side}: {calibration.describe()}")
    scores = ((name, tuned.given[name], tuned.before[name], tuned.after[name]) for name in ("amota", "map"))
    changes = ", ".join(f"{name} {given:.3f} -> {before:.3f} -> {after:.3f}" for name, given, before, after in scores)
    lines.append(f"# given parameters -> scores calibrated -> best of {tuned.trials} trials (seed {tuned.seed}):")
    lines.append(f"# {changes}; searched for the highest {OBJECTIVE}")
    if tuned.mode == "late":
        lines.append(f"# roadside units: {_ROADSIDE_TUNED if tuned.roadside else _ROADSIDE_GIVEN}")
    lines += _section("vehicle", tuned.values)
    if tuned.roadside:
        lines += _section("roadside", tuned.roadside)
    return "\n".join(lines) + "\n"


def _section(agent: str, values: Mapping[str, Any]) -> list[str]:
    """Of the vehicle or of roadside units."""
    return [f"{_NODE.format(agent)}:", "  ros__parameters:", *_nested(values)]


def _nested(values: Mapping[str, Any]) -> list[str]:
    """The values in the order of the configuration, nested by the dots of their names."""
    lines: list[str] = []
    open_group = ""
    for spec in specs(VehicleConfig):
        if spec.name not in values:
            continue
        group, _, name = spec.name.rpartition(".")
        if group and group != open_group:
            lines.append(f"    {group}:")
        open_group = group
        lines.append(f"{'      ' if group else '    '}{name}: {json.dumps(values[spec.name])}")
    return lines or ["    {}"]


def tuned_sequences(path: Path) -> tuple[str, ...]:
    """The sequences that a parameter file was tuned on as it says, none if it says nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CooptrackError(f"{path}: file: cannot be read ({error}); check the path") from None
    return next((tuple(line[len(_SEQUENCES) :].split()) for line in lines if line.startswith(_SEQUENCES)), ())


__all__ = ["text", "tuned_sequences"]
