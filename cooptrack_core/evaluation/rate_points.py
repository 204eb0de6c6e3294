"""The points of a rate curve: what a roadside unit sends, by name, as changes of its configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cooptrack_core.config import RoadsideConfig, from_parameters, specs, values_of
from cooptrack_core.types import CooptrackError

_WHOLE = {"feature_precision": "fp32", "feature_streams": "all", "kinematics_precision": "fp32"}
_COMPACT = {"kinematics_precision": "compact"}
_HELD = {"redundancy.refresh_ms": 300.0}
REFERENCE = "fp32"
POINTS: Mapping[str, Mapping[str, Any]] = {
    REFERENCE: _WHOLE,
    "fp16-all": {**_WHOLE, "feature_precision": "fp16"},
    "fp16": {"feature_precision": "fp16", "kinematics_precision": "fp32"},
    "int8": {"feature_precision": "int8", **_COMPACT},
    "rvq8": {"feature_precision": "rvq", "feature_codes": 8, **_COMPACT},
    "rvq4": {"feature_precision": "rvq", "feature_codes": 4, **_COMPACT},
    "rvq2": {"feature_precision": "rvq", "feature_codes": 2, **_COMPACT},
    "rvq4-held": {"feature_precision": "rvq", "feature_codes": 4, **_COMPACT, **_HELD},
    "rvq2-held": {"feature_precision": "rvq", "feature_codes": 2, **_COMPACT, **_HELD},
    "rvq4-held-4000": {"feature_precision": "rvq", "feature_codes": 4, **_COMPACT, **_HELD, "budget_bytes_per_s": 4000},
    "rvq4-held-3000": {"feature_precision": "rvq", "feature_codes": 4, **_COMPACT, **_HELD, "budget_bytes_per_s": 3000},
    "rvq4-held-2000": {"feature_precision": "rvq", "feature_codes": 4, **_COMPACT, **_HELD, "budget_bytes_per_s": 2000},
}
# Of cooperation without features.
OBJECT_POINTS: Mapping[str, Mapping[str, Any]] = {
    REFERENCE: {"feature_precision": "none", "kinematics_precision": "fp32"},
    "compact": {"feature_precision": "none", **_COMPACT},
    "compact-held": {"feature_precision": "none", **_COMPACT, **_HELD},
    "compact-held-3000": {"feature_precision": "none", **_COMPACT, **_HELD, "budget_bytes_per_s": 3000},
    "compact-held-2000": {"feature_precision": "none", **_COMPACT, **_HELD, "budget_bytes_per_s": 2000},
}


@dataclass(frozen=True)
class Point:
    """What is sent at a point of the curve."""

    name: str
    changes: Mapping[str, Any]

    def config(self, given: RoadsideConfig) -> RoadsideConfig:
        """The given configuration with the changes. Raises CooptrackError for a value that is not allowed."""
        changed = from_parameters(RoadsideConfig, {**values_of(given), **self.changes})
        return replace(given, **{name: getattr(changed, name) for name in _top_level(self.changes)})

    def folder(self, given: RoadsideConfig) -> str:
        """Of its recordings: other values under the same name are another one."""
        values = json.dumps(values_of(self.config(given)), sort_keys=True)
        return f"{self.name}-{hashlib.sha256(values.encode()).hexdigest()[:8]}"


def chosen_points(names: str | None, given: list[str], *, objects: bool) -> list[Point]:
    """The reference and the points named (all without a name), and those given as NAME=PARAMETER=VALUE,... .

    objects: of cooperation without features. Raises CooptrackError for an unknown name or parameter.
    """
    known = OBJECT_POINTS if objects else POINTS
    wanted = list(known) if names is None and not given else [name for name in (names or "").split(",") if name]
    for name in wanted:
        if name not in known:
            raise CooptrackError(f"--points: {name!r} is unknown; choose among {', '.join(known)}")
    points = [Point(name, known[name]) for name in dict.fromkeys([REFERENCE, *wanted])]
    for text in given:
        name, separator, changes = text.partition("=")
        if not separator or not name or name in known:
            what = "is the name of another" if name in known else "cannot be read"
            raise CooptrackError(f"--point: {text!r} {what}; give NAME=PARAMETER=VALUE,PARAMETER=VALUE")
        points.append(Point(name, _parsed(changes)))
    for point in points:
        point.config(RoadsideConfig())
    return points


def _parsed(text: str) -> dict[str, Any]:
    kinds = {spec.name: type(spec.default) for spec in specs(RoadsideConfig)}
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, separator, value = part.partition("=")
        if not separator or name not in kinds:
            raise CooptrackError(f"--point: {part!r} is no PARAMETER=VALUE of the roadside node; see docs/nodes.md")
        try:
            found[name] = kinds[name](value)
        except ValueError:
            raise CooptrackError(f"--point: {name}: {value!r} is not of type {kinds[name].__name__}") from None
    return found


def _top_level(changes: Mapping[str, Any]) -> set[str]:
    return {name.partition(".")[0] for name in changes}


__all__ = ["OBJECT_POINTS", "POINTS", "REFERENCE", "Point", "chosen_points"]
