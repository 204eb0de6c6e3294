"""What would mislead a reader of numbers who does not know it: untrained networks, synthetic data, missing classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cooptrack_core.config import UNTRAINED

MEANINGLESS = "The networks are UNTRAINED (random numbers): every number here is MEANINGLESS."
_SYNTHETIC = "Synthetic data: the numbers compare runs with each other, not with published results."
_SIMULATED = "Simulated detector: made from labels with noise, so detection says nothing about a network."


def is_untrained(run: Mapping[str, Any]) -> bool:
    """Whether a network that the numbers depend on has random weights. run: what was run, as in `metrics["run"]`.

    A roadside network counts unless every number is of mode ego; networks of a recorded bag are taken as trained.
    """
    used = [run.get("weights") or UNTRAINED]
    if run.get("mode") != "ego":
        used.append(run.get("roadside_weights"))
    return run.get("detector") == "network" and UNTRAINED in used


def caveats(run: Mapping[str, Any], *, synthetic: bool) -> list[str]:
    """One sentence for each that holds, the most serious first."""
    said = (
        (is_untrained(run), MEANINGLESS),
        (synthetic, _SYNTHETIC),
        (run.get("detector") == "simulated", _SIMULATED),
    )
    return [text for holds, text in said if holds]


def missing_objects(data: Mapping[str, Any]) -> list[str]:
    """A sentence for every class of which no object is in range, one if there is none at all.

    data: what was scored, as in `metrics["data"]`.
    """
    boxes: Mapping[str, int] = data.get("boxes") or {}
    if boxes and not any(boxes.values()):
        ranges = ", ".join(f"{name} {range_m:g} m" for name, range_m in (data.get("range_m") or {}).items())
        return [f"No labelled object is in range ({ranges}): there is nothing to find, hence the dashes."]
    rule = "its AP counts as 0 in mAP, as in the nuScenes kit"
    return [f"No {name} in range in the ground truth: {rule}." for name, count in boxes.items() if not count]


__all__ = ["MEANINGLESS", "caveats", "is_untrained", "missing_objects"]
