"""The packages of the extras: those of `eval` are asked for before a run takes its time; which one a module is of."""

from __future__ import annotations

import importlib.util

from cooptrack_core.types import CooptrackError

PACKAGES = ("matplotlib", "shapely")
_NETWORK = ("torch", "safetensors")
# Modules that come with another package, under names of their own.
_COMES_WITH = dict.fromkeys(("cycler", "contourpy", "kiwisolver", "fontTools", "pyparsing", "dateutil"), "matplotlib")
_COMES_WITH |= {"cv2": "opencv-python-headless", "yaml": "PyYAML"}


def package_of(module: str | None) -> str:
    """What to install where a module is missing."""
    name = (module or "").partition(".")[0]
    return _COMES_WITH.get(name, name)


def remedy_for(package: str) -> str:
    """How a missing package is installed."""
    if package in _NETWORK:
        return f"the network needs it: pip install {' '.join(_NETWORK)}, in the repository '.[network]'"
    return f"pip install {package}, or all: pip install '.[eval,synth,video]' in the repository"


def require_packages() -> None:
    """CooptrackError that names what is missing; TrackEval, without which only HOTA is, is not asked for."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        what = f"Python package {' and '.join(missing)} missing"
        raise CooptrackError(f"evaluation: {what}; pip install {' '.join(missing)}, in the repository '.[eval]'")


__all__ = ["PACKAGES", "package_of", "remedy_for", "require_packages"]
