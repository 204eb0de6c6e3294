"""Impairments of a radio link as a YAML file: one disturbance, by the names and units of Disturbance."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.types import CooptrackError

_OFFLINE = {  # what a link cannot do, since it knows neither the frames of the vehicle nor the end
    "async_frames": "give delay_ms",
    "drop_roadside": "give loss with burst, or 1 for no message at all",
}
_SHAPE = "write NAME: NUMBER lines as in config/impairment.yaml"


def read_impairment(path: Path) -> Disturbance:
    """The disturbance of a file. Raises CooptrackError in one line: file, name, what is wrong and the remedy."""
    known: dict[str, Any] = {item.name: type(item.default) for item in fields(Disturbance)}
    values: dict[str, Any] = {}
    for name, value in _content(path).items():
        if name not in known:
            raise _problem(path, f"{name!r} is no impairment", f"known are {', '.join(known)}")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or (known[name] is int and not isinstance(value, int)):
            what = "a whole number" if known[name] is int else "a number"
            raise _problem(path, f"{name}: {value!r} is not {what}", _SHAPE)
        values[name] = known[name](value)
    try:
        found = Disturbance(**values)
    except CooptrackError as error:
        raise CooptrackError(f"{path}: {error}") from None
    for name, remedy in _OFFLINE.items():
        if getattr(found, name) not in (0, 1.0 if name == "drop_roadside" else 0):
            raise _problem(path, f"{name}: {getattr(found, name)} exists in offline runs only", remedy)
    return found


def _content(path: Path) -> dict[Any, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _problem(path, f"cannot be read ({error.strerror})", "check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _problem(path, f"is not YAML ({str(error).splitlines()[0]})", _SHAPE) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _problem(path, "holds no names", _SHAPE)
    return content


def _problem(path: Path, what: str, remedy: str) -> CooptrackError:
    return CooptrackError(f"{path}: {what}; {remedy}")


__all__ = ["read_impairment"]
