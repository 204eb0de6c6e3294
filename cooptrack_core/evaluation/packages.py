"""The packages of the extra `eval`, asked for before a run takes its time."""

from __future__ import annotations

import importlib.util

from cooptrack_core.types import CooptrackError

PACKAGES = ("matplotlib", "shapely")


def require_packages() -> None:
    """CooptrackError that names what is missing; TrackEval, without which only HOTA is, is not asked for."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        what = f"Python package {' and '.join(missing)} missing"
        raise CooptrackError(f"evaluation: {what}; pip install {' '.join(missing)}, in the repository '.[eval]'")


__all__ = ["PACKAGES", "require_packages"]
