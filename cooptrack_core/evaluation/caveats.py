"""What would mislead a reader of numbers who does not know it: untrained networks, synthetic data, no network."""

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


__all__ = ["MEANINGLESS", "caveats", "is_untrained"]
