"""How each stage is trained: the paper's recipe for the official presets, ours from scratch for the rest.

Steps of the official recipe are for the 7,110 vehicle, 7,445 roadside and 7,362 cooperative frames of its train split
(spec 7.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    denoising: bool = False  # disturbed boxes of the ground truth as further queries
    # Of the cooperative stage.
    by_rule_until: float = 0.4  # share of the steps in which pairs for fusion are made by distance
    message_dropout: float = 0.0  # share of frames without a message
    delay_frames: int = 0  # messages are up to so many frames older
    position_noise_m: float = 0.0  # standard deviation
    yaw_noise_rad: float = 0.0
    loop: Mapping[str, Any] = field(default_factory=dict)  # fields of LoopOptions

    def __post_init__(self) -> None:
        """Raises ValueError for what is out of range."""
        shares = (self.by_rule_until, self.message_dropout)
        noises = (self.delay_frames, self.position_noise_m, self.yaw_noise_rad)
        good = self.visibility in VISIBILITIES and self.clip_frames >= 1 and all(0 <= x <= 1 for x in shares)
        if not good or not all(0 <= x < math.inf for x in noises):
            raise ValueError("recipe")


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
    "ema_decay": 0.995,
}  # fmt: skip
_SCRATCH_VIEW = ViewOptions(mirror_probability=0.5, zoom=(0.9, 1.25), shift=0.06)
# Small road users seldom overlap by half at first.
_SCRATCH_CARRY = CarryOptions(min_iou=0.1, drop_probability=0.15, false_positive_ratio=0.2)
_IMAGE_PARTS = (
    "backbone", "neck",
    *(f"proposals.{part}" for part in ("finest", "coarser", "trunk", "norm", "second", "heat", "values")),
)  # fmt: skip
_FINISHED_ALONE = (
    "backbone", "neck", "proposals", "track_hints", "bev_encoder", "decoder", "motion_extractor", "reasoner",
)  # fmt: skip


def _scratch(stage: str, family: str) -> Recipe:
    """For a GPU all parts learn to the end; tiny, for two cores, keeps what sees the image after stage 0."""
    small = family.startswith("tiny")
    base = Recipe(
        steps=2400, batch=8, clip_frames=5, view=_SCRATCH_VIEW, dense_losses=True, carry=_SCRATCH_CARRY,
        frozen=_IMAGE_PARTS if small else (), slow={"backbone": 0.3, "neck": 0.5, "proposals": 0.5},
        loop={**_SCRATCH_LOOP, "learning_rate": 8e-4 if small else 4e-4},
    )  # fmt: skip
    if not small:
        base = replace(base, steps=20_000, batch=16, denoising=True)
    if stage == "pretrain":
        steps, batch = (11_000, 8) if small else (20_000, 16)
        loop = {**base.loop, "learning_rate": 1e-3, "warm_up_steps": 200, "ema_decay": 0.998} if small else base.loop
        return replace(base, steps=steps, batch=batch, clip_frames=1, frozen=(), slow={}, loop=loop, denoising=False)
    if stage == "detection":
        return replace(base, steps=base.steps // 3, clip_frames=2, carry=_NO_TRACKS)
    if stage == "tracking":
        return base
    if stage == "joint":
        return replace(
            base, steps=base.steps // 2, view=ViewOptions(), dense_losses=False, denoising=False, message_dropout=0.1,
            position_noise_m=0.3, yaw_noise_rad=0.005, by_rule_until=0.0,
            loop={**base.loop, "learning_rate": 0.25 * float(base.loop["learning_rate"])},
        )  # fmt: skip
    # What fuses before decoding needs a decoder that knows of it.
    early = family in ("tiny-univ2x", "tiny-before")
    finished = (*_IMAGE_PARTS, "bev_encoder") if early else _FINISHED_ALONE
    return replace(
        base, steps=1800 if small else base.steps, clip_frames=25, frozen=finished, dense_losses=False, denoising=False,
        view=ViewOptions(), message_dropout=0.1, position_noise_m=1.0, yaw_noise_rad=0.0175, by_rule_until=0.25,
        slow={},
    )  # fmt: skip


def recipe_of(stage: str, preset: str) -> Recipe:
    """The recipe of a stage for a preset."""
    family, _, role = preset.rpartition("_")
    return _official(stage, role) if family.startswith("official") else _scratch(stage, family)


# What --set changes: name and how it is read.
CHANGEABLE: Mapping[str, Callable[[str], Any]] = {
    "visibility": str,
    "clip_frames": int,
    "by_rule_until": float,
    "message_dropout": float,
    "delay_frames": int,
    "position_noise_m": float,
    "yaw_noise_rad": float,
    "dense_losses": lambda text: {"true": True, "false": False}[text],
    "denoising": lambda text: {"true": True, "false": False}[text],
    "frozen": lambda text: tuple(filter(None, text.split(","))),
}


def with_changes(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe with NAME=VALUE changes. CooptrackError for a wrong name or value."""
    for change in changes:
        name, _, text = change.partition("=")
        if name not in CHANGEABLE:
            raise CooptrackError(f"train: --set: {name!r} is not known; give one of {', '.join(CHANGEABLE)}")
        try:
            recipe = replace(recipe, **{name: CHANGEABLE[name](text)})
        except (KeyError, ValueError):
            raise CooptrackError(f"train: --set: {change}: {text!r} is not possible; see docs/training.md") from None
    return recipe


__all__ = ["CHANGEABLE", "VISIBILITIES", "Recipe", "recipe_of", "with_changes"]
