"""From a stage's name to the stage: its preset, its data, and the weights that it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cooptrack_core.checkpoints import store
from cooptrack_core.checkpoints.header import read_header
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.training.agent_stage import AgentStage, start_from
from cooptrack_core.training.cooperation_stage import CooperationStage, training_config
from cooptrack_core.training.data import CACHE_FOLDER, TrainingData, load_data
from cooptrack_core.training.joint_stage import JointStage
from cooptrack_core.training.loop import WEIGHTS_FOLDER
from cooptrack_core.training.messages import roadside_messages
from cooptrack_core.training.pretrain import Pretraining
from cooptrack_core.training.recipes import Recipe, recipe_of, with_changes
from cooptrack_core.training.stage import Stage
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.types import CooptrackError, Message

BEFORE = {"detection": "pretrain", "tracking": "detection", "cooperation": "tracking", "joint": "cooperation"}


def recipe(stage: str, preset: str) -> Mapping[str, Any]:
    """What the loop's options are by default."""
    return recipe_of(stage, preset).loop


def build(stage: str, preset: str, data: Path, options: StageOptions) -> Stage:
    """Raises CooptrackError for a preset of another role, bad data, or missing weights of the stage before."""
    config, plan = get_preset(preset), with_changes(recipe_of(stage, preset), options.changes)
    _check_role(stage, config)
    if stage == "pretrain" and config.proposals == 0:
        raise CooptrackError(f"train: STAGE: {preset} has no image head to pretrain; begin with detection")
    frames = load_data(data, config)
    if stage == "pretrain":
        built = Pretraining(config, frames, plan, options)
        if options.init is not None:  # goes on with what another run has learned
            start_from(built.model, _file(options.init, config.name.rpartition("_")[0], config.role, "--init", stage))
        return built
    start = _weights(stage, config, options)
    torch.manual_seed(options.seed)
    if stage == "joint":
        return _joint(config, frames, plan, options, start)
    if stage == "cooperation":
        return _cooperation(config, frames, plan, options, start, data)
    model = AgentModel(config)
    if start is not None:
        start_from(model, start)
    return AgentStage(stage, model, frames, plan, options)


def _cooperation(
    config: ModelConfig, frames: TrainingData, plan: Recipe, options: StageOptions, start: Path | None, data: Path
) -> Stage:
    family = config.name.rpartition("_")[0]
    learns = f"stage cooperation of {config.name} learns with the messages of a finished {family}_inf"
    roadside = _roadside(options, family, f"{learns}: give its run folder or weights")
    preset = read_header(roadside).preset
    checkpoint = store.load(roadside, preset)
    cache = data / CACHE_FOLDER / f"messages_{checkpoint.fingerprint.hex()[:16]}"
    messages: dict[str, list[Message]] = {}
    for part in (frames.train, frames.val):
        messages |= roadside_messages(roadside, preset, part, cache)
    plan = plan if options.steps is None else replace(plan, steps=options.steps)
    model = AgentModel(training_config(config, plan))
    if start is not None:
        start_from(model, start)
    return CooperationStage(model, frames, plan, options, checkpoint.fingerprint, messages)


def _joint(config: ModelConfig, frames: TrainingData, plan: Recipe, options: StageOptions, start: Path | None) -> Stage:
    family = config.name.rpartition("_")[0]
    goes_on = f"stage joint trains the roadside network of {config.name} on"
    unit = _roadside(options, family, f"{goes_on}: give the run folder or weights of the {family}_inf that it heard")
    vehicle = AgentModel(training_config(config, plan))
    models = vehicle, AgentModel(get_preset(read_header(unit).preset))
    for model, path in zip(models, (start, unit), strict=True):
        if path is not None:
            start_from(model, path)
    return JointStage(*models, frames, plan, options)


def _roadside(options: StageOptions, family: str, why: str) -> Path:
    """The file of the roadside network that a stage needs, for the reason given."""
    if options.roadside is None:
        raise CooptrackError(f"train: --roadside: is missing; {why}")
    return _file(options.roadside, family, "inf", "--roadside", "tracking")


def _check_role(stage: str, config: ModelConfig) -> None:
    roles = {"pretrain": ("inf",), "cooperation": ("coop",), "joint": ("coop",)}.get(stage, ("inf", "veh"))
    if config.role not in roles:
        family = config.name.rpartition("_")[0]
        names = " or ".join(f"{family}_{role}" for role in roles)
        raise CooptrackError(f"train: --preset: {config.name} has no stage {stage}; give {names}")


def _weights(stage: str, config: ModelConfig, options: StageOptions) -> Path | None:
    """The file that a stage starts from; None where the recipe starts without."""
    before = BEFORE[stage]
    if options.init is None:
        if config.proposals == 0 and stage == "detection":
            return None  # there is no stage before
        raise CooptrackError(
            f"train: --init: is missing; stage {stage} of {config.name} starts from the weights of stage {before}: "
            f"give the folder of that run"
        )
    role = "veh" if stage == "cooperation" else config.role
    return _file(options.init, config.name.rpartition("_")[0], role, "--init", before)


def _file(given: Path, family: str, role: str, option: str, stage: str) -> Path:
    """The weights that an option means: a file, or those in the folder of a finished run.

    A variant such as tiny-univ2x may start from a run of tiny itself.
    """
    if given.is_file():
        return given
    names = dict.fromkeys((family, family.split("-")[0]))
    paths = [given / WEIGHTS_FOLDER / f"{name}_{role}{store.SUFFIX}" for name in names]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise CooptrackError(
            f"{paths[0]}: {option}: no such file; finish stage {stage} first, or give a {store.SUFFIX} file"
        )
    return found


__all__ = ["build", "recipe"]
