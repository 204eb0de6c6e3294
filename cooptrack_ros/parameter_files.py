"""The files config/<node>.yaml, written from the parameters: `python -m cooptrack_ros.parameter_files config`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cooptrack_core.config import ParameterSpec, RoadsideConfig, VehicleConfig, specs
from cooptrack_ros.parameters import (
    ImpairmentParameters,
    MarkerParameters,
    RecorderParameters,
    ReplayParameters,
    RoadsideParameters,
    VehicleParameters,
    spec_value,
)

NODES: dict[str, tuple[type[Any], ...]] = {
    "impairment_node": (ImpairmentParameters,),
    "marker_node": (MarkerParameters,),
    "recorder_node": (RecorderParameters,),
    "replay_node": (ReplayParameters,),
    "roadside_node": (RoadsideParameters, RoadsideConfig),
    "vehicle_node": (VehicleParameters, VehicleConfig),
}


def comment(spec: ParameterSpec) -> str:
    """Description and what is allowed."""
    if spec.choices is not None:
        return f"{spec.description}; one of {', '.join(spec.choices)}"
    if spec.minimum is None and spec.maximum is None:
        return spec.description
    low = "" if spec.minimum is None else f"{spec.minimum:g} "
    high = "" if spec.maximum is None else f" {spec.maximum:g}"
    return f"{spec.description}; {low}..{high}"


def text(node: str) -> str:
    """The whole file of a node: every parameter with its default, nested by the dots of its name."""
    lines = [
        f"# Parameters of {node} with their defaults; written by cooptrack_ros.parameter_files, see docs/nodes.md.",
        "/**:",
        "  ros__parameters:",
    ]
    open_groups: list[str] = []
    for spec in (spec for cls in NODES[node] for spec in specs(cls)):
        *groups, name = spec.name.split(".")
        shared = 0
        while shared < min(len(groups), len(open_groups)) and groups[shared] == open_groups[shared]:
            shared += 1
        lines += [f"{'  ' * (depth + 2)}{groups[depth]}:" for depth in range(shared, len(groups))]
        open_groups = groups
        indent = "  " * (len(groups) + 2)
        lines += [f"{indent}# {comment(spec)}", f"{indent}{name}: {json.dumps(spec_value(spec.default))}"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes all files into the directory given."""
    for node in NODES:
        Path(sys.argv[1], f"{node}.yaml").write_text(text(node), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
