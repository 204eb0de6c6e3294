"""Time limits of the object-level tracker at another frame rate than the 10 Hz for which the defaults are."""

from __future__ import annotations

from typing import Any, TypeVar

from cooptrack_core.config import RoadsideConfig, VehicleConfig, from_parameters, specs, values_of

Config = TypeVar("Config", RoadsideConfig, VehicleConfig)

_LIMITS = ("tracker.max_coast_ms", "tracker.tentative_coast_ms", "tracker.max_frame_gap_ms")


def at_frame_step(config: Config, step: int) -> Config:
    """The configuration for every `step`-th frame: limits that have their defaults last as many frames as at 10 Hz.

    Otherwise a track would die between two frames of 2 Hz. What differs from a default is the user's and stays.
    """
    values = values_of(config)
    longer: dict[str, Any] = {
        spec.name: min(step * spec.default, spec.maximum or float("inf"))
        for spec in specs(type(config))
        if spec.name in _LIMITS and values[spec.name] == spec.default
    }
    result: Config = from_parameters(type(config), values | longer)
    return result


__all__ = ["at_frame_step"]
