"""The visibility sidecar of synthetic scenes: `visibility/<vehicle frame id>.json` in the dataset root.

It tells, per object of the cooperative labels and per side, how much of it that side's camera sees.
Real data has none; there `from_side == "inf"` is the only proxy for what is hidden from the vehicle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooptrack_core.data.files import expect_object, number, problem
from cooptrack_core.types import VIEW_OCCLUDED, VIEW_OUTSIDE, VIEW_VISIBLE

SCHEMA = "cooptrack/visibility/1"
SIDES = ("vehicle", "infrastructure")
OCCLUDED_BELOW = 0.10
VIEWS = {"visible": VIEW_VISIBLE, "occluded": VIEW_OCCLUDED, "outside": VIEW_OUTSIDE}


@dataclass(frozen=True)
class View:
    """How one camera sees one object; pixels of its image."""

    visible_px: int
    unoccluded_px: int
    view: int  # VIEW_*

    @property
    def visible_fraction(self) -> float:
        """visible / unoccluded pixels, NaN for an object outside the image."""
        return self.visible_px / self.unoccluded_px if self.unoccluded_px > 0 else float("nan")


def view_of(visible_px: int, unoccluded_px: int) -> int:
    """VIEW_* of the pixel counts."""
    if unoccluded_px <= 0:
        return VIEW_OUTSIDE
    return VIEW_OCCLUDED if visible_px / unoccluded_px < OCCLUDED_BELOW else VIEW_VISIBLE


def parse_visibility(content: Any, source: Path | str) -> dict[str, Mapping[str, View]]:
    """{cooperative track id: {side: View}} of one sidecar file."""
    top = expect_object(content, source)
    if top.get("schema") != SCHEMA:
        raise problem(source, "schema", f"is {top.get('schema')!r}, not {SCHEMA!r}", "write the scene again")
    result: dict[str, Mapping[str, View]] = {}
    for track_id, sides in expect_object(top.get("objects"), source, "objects").items():
        field = f"objects.{track_id}"
        entries = expect_object(sides, source, field)
        result[track_id] = {side: _view(entries[side], source, f"{field}.{side}") for side in SIDES if side in entries}
    return result


def _view(content: Any, source: Path | str, field: str) -> View:
    entry = expect_object(content, source, field)
    name = entry.get("view")
    if not isinstance(name, str) or name not in VIEWS:
        raise problem(source, f"{field}.view", f"is {name!r}, not one of {', '.join(VIEWS)}", "write the scene again")
    visible = int(number(entry.get("visible_px"), source, f"{field}.visible_px"))
    unoccluded = int(number(entry.get("unoccluded_px"), source, f"{field}.unoccluded_px"))
    return View(visible, unoccluded, VIEWS[name])


__all__ = ["OCCLUDED_BELOW", "SCHEMA", "SIDES", "View", "parse_visibility", "view_of"]
