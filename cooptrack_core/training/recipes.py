"""How each stage of each family is trained: the paper's recipe for the official presets, ours from scratch for the rest.

Steps of the official recipe are for the 7,110 vehicle, 7,445 roadside and 7,362 cooperative frames of its train split
(spec 7.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cooptrack_core.training.augmentation import GridMaskOptions, PhotometricOptions
from cooptrack_core.training.carry import CarryOptions
from cooptrack_core.training.views import ViewOptions
from cooptrack_core.types import CooptrackError

VISIBILITIES = ("camera", "all")


@dataclass(frozen=True)
class Recipe:
    """One stage."""

    steps: int
    batch: int
    clip_frames: int = 1  # frames of a stream before it starts anew
    frozen: tuple[str, ...] = ()  # modules of AgentModel that stay as they are
    slow: Mapping[str, float] = field(default_factory=dict)  # modules with a factor on the learning rate
    visibility: str = "camera"  # what a single agent should find: what its camera sees, or all that is labelled
    carry: CarryOptions = field(default_factory=CarryOptions)
    view: ViewOptions = field(default_factory=ViewOptions)
    photometric: PhotometricOptions | None = field(default_factory=PhotometricOptions)
    grid_mask: GridMaskOptions | None = None
    dense_losses: bool = False  # image head and auxiliary grid head
    # Of the cooperative stage.
    by_rule_until: float = 0.4  # share of the steps in which pairs for fusion are made by distance
    message_dropout: float = 0.0  # share of frames without a message
    delay_frames: int = 0  # messages are up to so many frames older
    position_noise_m: float = 0.0  # standard deviation
    yaw_noise_rad: float = 0.0
    loop: Mapping[str, Any] = field(default_factory=dict)  # fields of LoopOptions


_OFFICIAL_LOOP = {"learning_rate": 2e-4, "weight_decay": 0.01, "warm_up_steps": 500, "max_gradient_norm": 35.0}
_NO_TRACKS = CarryOptions(min_iou=2.0, drop_probability=0.0, false_positive_ratio=0.0)


def _official(stage: str, role: str) -> Recipe:
    base = Recipe(
        steps=0, batch=8, clip_frames=5, slow={"backbone": 0.1}, visibility="all", grid_mask=GridMaskOptions(),
        loop=_OFFICIAL_LOOP,
    )  # fmt: skip
    if stage == "detection":
        steps = 24 * (7110 if role == "veh" else 7445) // 8
        return replace(base, steps=steps, clip_frames=20 if role == "veh" else 5, carry=_NO_TRACKS)
    if stage == "tracking":
        return replace(base, steps=48 * 7110 // 8 if role == "veh" else 24 * 7445 // 8, frozen=("backbone",))
    return replace(base, steps=48 * 7362 // 16, batch=16, frozen=("backbone", "neck"))


_SCRATCH_LOOP = {
    "weight_decay": 0.01, "warm_up_steps": 100, "warm_up_from": 0.1, "last_rate": 0.01, "max_gradient_norm": 10.0,
    "ema_decay": 0.999,
}  # fmt: skip
_SCRATCH_VIEW = ViewOptions(mirror_probability=0.5, zoom=(0.9, 1.25), shift=0.06)
# Small road users seldom overlap by half at first.
_SCRATCH_CARRY = CarryOptions(min_iou=0.1, drop_probability=0.15, false_positive_ratio=0.2)


def _scratch(stage: str, role: str) -> Recipe:
    base = Recipe(
        steps=700, batch=8, clip_frames=5, view=_SCRATCH_VIEW, dense_losses=True, carry=_SCRATCH_CARRY,
        slow={"backbone": 0.3, "neck": 0.5, "proposals": 0.5}, loop={**_SCRATCH_LOOP, "learning_rate": 6e-4},
    )  # fmt: skip
    if stage == "pretrain":
        return replace(base, steps=1500, batch=16, clip_frames=1, slow={}, loop=base.loop | {"learning_rate": 1e-3})
    if stage == "detection":
        return replace(base, steps=700, clip_frames=2, carry=_NO_TRACKS)
    if stage == "tracking":
        return replace(base, steps=700)
    return replace(
        base, steps=800, frozen=("backbone", "neck", "proposals", "bev_encoder", "decoder"), message_dropout=0.1
    )


def recipe_of(stage: str, preset: str) -> Recipe:
    """The recipe of a stage for a preset. CooptrackError where there is none."""
    family, _, role = preset.rpartition("_")
    if not family.startswith("official"):
        return _scratch(stage, role)
    if stage == "pretrain":
        raise CooptrackError(
            f"train: STAGE: {preset} has no stage pretrain: its recipe starts from a backbone trained on ImageNet; "
            "begin with detection"
        )
    return _official(stage, role)


__all__ = ["Recipe", "recipe_of"]
