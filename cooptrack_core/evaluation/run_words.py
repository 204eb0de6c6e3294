"""What of a run is not the usual, in words: parameters that were changed, a limit of frames, disturbed messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Run = Mapping[str, Any]

_SAID_ELSEWHERE = ("mode", "detector", "network.")  # columns and words of their own
_SHORT = 4  # values that are named in a headline, more are counted


def changed_parameters(run: Run) -> list[str]:
    """`vehicle min_score 0.3` for each that is not the default. run: as in `metrics["run"]`."""
    agents = run.get("parameters") or {}
    return [
        f"{agent} {name} {value:g}" if isinstance(value, float) else f"{agent} {name} {value}"
        for agent, values in agents.items()
        for name, value in values.items()
        if not name.startswith(_SAID_ELSEWHERE)
    ]


def all_parameters(run: Run) -> str:
    """The file if one was given and every value that is not the default; empty for the defaults."""
    return ": ".join(part for part in (str(run.get("params") or ""), ", ".join(changed_parameters(run))) if part)


def unusual(run: Run) -> list[str]:
    """For a headline: the parameter file or what was changed, a limit of frames, a disturbance."""
    found = []
    changed = changed_parameters(run)
    if run.get("params"):
        found.append(f"parameters of {run['params']}")
    elif changed:
        listed = ", ".join(changed) if len(changed) <= _SHORT else f"{len(changed)} values"
        found.append(f"changed parameters: {listed}")
    if run.get("max_frames"):
        found.append(f"ONLY the first {run['max_frames']} vehicle frames of each sequence")
    if disturbance(run) != "none":
        found.append(f"disturbed: {disturbance(run)}")
    return found


def disturbance(run: Run) -> str:
    """What disturbs the messages, or `none`; of a recorded bag nobody knows."""
    return str(run.get("disturbance") or "none")


__all__ = ["all_parameters", "changed_parameters", "disturbance", "unusual"]
