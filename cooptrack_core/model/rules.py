"""Thresholds and rules of a finished network that may be other ones without training it anew."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from torch import Tensor

OF_CONFIG = ("score_threshold", "output_threshold", "birth_hits", "max_misses", "min_peak_score", "max_gap_s")
OF_OPTIONS = (
    "affinity_threshold", "distance_gate_m", "protect_live_tracks", "remembered_pairs", "kinematic_compensation",
    "rotate_about_bev_centre", "shift_past_only", "shift_along_lidar_axes", "wrap_yaw_difference",
    "ego_motion_of_velocity_and_heading", "orthonormalise_extrinsics", "camera_at_image_time", "scale_about_corner",
    "filtered_velocity", "filtered_motion",
)  # fmt: skip
_WORDS = {"true": True, "false": False}


def with_rules(config: ModelConfig, text: str) -> ModelConfig:
    """The configuration with NAME=VALUE changes, separated by commas; '' changes nothing.

    Raises CooptrackError naming what is unknown or impossible.
    """
    own: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for change in filter(None, text.split(",")):
        name, _, value = (part.strip() for part in change.partition("="))
        if name not in OF_CONFIG + OF_OPTIONS:
            raise CooptrackError(f"network.rules: {name!r} is unknown; known are {', '.join(OF_CONFIG + OF_OPTIONS)}")
        into, holder = (own, config) if name in OF_CONFIG else (options, config.options)
        into[name] = _value(name, value, getattr(holder, name))
    return replace(config, **own, options=replace(config.options, **options))


def _value(name: str, text: str, now: float | int | bool) -> float | int | bool:
    if isinstance(now, bool):
        if text in _WORDS:
            return _WORDS[text]
        raise CooptrackError(f"network.rules: {name}={text}: expected true or false")
    try:
        value = type(now)(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or value < 0:
        raise CooptrackError(f"network.rules: {name}={text}: expected a number of 0 or more, such as {now:g}")
    return value


def fitted(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The entries of weights as a network under other rules takes them: without memory edges have one input less."""
    found = dict(state)
    if not config.options.remembered_pairs and "association.edge.0.weight" in found:
        found["association.edge.0.weight"] = found["association.edge.0.weight"][:, :3].contiguous()
    return found


__all__ = ["OF_CONFIG", "OF_OPTIONS", "fitted", "with_rules"]
