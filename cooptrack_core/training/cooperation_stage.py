"""Stage 2: alignment, association and fusion of the vehicle with the messages of a roadside network (spec 7.1).

The streams run as at inference: what is fused in one frame is tracked into the next. What is frozen runs without
gradient, which is most of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.checkpoints import store
from cooptrack_core.config import LatencyConfig
from cooptrack_core.cooperation.timing import Timing
from cooptrack_core.geometry.transforms import inverse, make_transform
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.training.agent_stage import AgentStage, AgentTraining
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.frames import Clip, FrameSet
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.messages import newest_before, received
from cooptrack_core.training.recipes import Recipe
from cooptrack_core.training.sampling import Draw, GroupSampler
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.training.step import Sample
from cooptrack_core.training.validation import CooperativeRun, tracking_quality
from cooptrack_core.training.views import View, network_input
from cooptrack_core.types import Message

Float = NDArray[np.float64]

_NOISE, _QUALITY = 1, 2  # random numbers of their own


@dataclass(frozen=True)
class Heard:
    """What a vehicle can hear: the roadside's clips and messages by sequence."""

    clips: Mapping[str, Clip]
    messages: Mapping[str, Sequence[Message]]

    @staticmethod
    def of(frames: FrameSet, messages: Mapping[str, Sequence[Message]]) -> Heard:
        """Of all roadside clips; how instances move is learned from the messages before, as a vehicle does."""
        clips = {clip.sequence: clip for clip in frames.of("rsu").clips}
        told: dict[str, Sequence[Message]] = {}
        for sequence in clips.keys() & messages.keys():
            told[sequence] = Timing(LatencyConfig(), "network").prepared(messages[sequence])
        return Heard(clips, told)

    def message(self, clip: Clip, frame: int, back: int = 0) -> Message | None:
        """The newest message that the vehicle has by its frame, or one so many frames older; None: none yet."""
        roadside = self.clips.get(clip.sequence)
        if roadside is None:
            return None
        row = newest_before(clip, roadside, frame, back)
        return None if row < 0 or clip.sequence not in self.messages else self.messages[clip.sequence][row]


class CooperationTraining(AgentTraining):
    """The vehicle's network with the messages that it hears."""

    def __init__(
        self, model: AgentModel, sampler: GroupSampler, recipe: Recipe, options: StageOptions, heard: Heard
    ) -> None:
        super().__init__(model, sampler, recipe, options)
        self.heard = heard
        if {"bev_encoder", "decoder"} <= set(recipe.frozen):  # then the learned queries stay as well
            for parameter in (model.reference_points, model.query_features, *model.query_embedding.parameters()):
                parameter.requires_grad_(False)

    def wanted(self, truth: GroundTruth) -> GroundTruth:
        """Everything in range; which of it the vehicle sees itself stays known."""
        return truth.within(self.model.config.point_range_m)

    def _sample(self, draw: Draw, view: View, image: Tensor) -> Sample:
        truth = self.wanted(view.truth).to(image.device)
        given = network_input(view, image)
        rng = self.random_of(draw)
        messages: tuple[tuple[RemoteInstances, Tensor], ...] = ()
        corrections: tuple[Tensor, ...] = ()
        if rng.random() >= self.recipe.message_dropout:
            message = self.heard.message(draw.clip, draw.frame, int(rng.integers(self.recipe.delay_frames + 1)))
            if message is not None:
                error = self._noise(draw)
                messages = (received(self.model, message, draw.clip, draw.frame, error),)
                corrections = (correction(messages[0][1], error),)
        return Sample(given, truth, str(draw.number), messages, corrections)

    @staticmethod
    def random_of(draw: Draw, what: int = 0) -> np.random.Generator:
        """What happens to the messages of a frame."""
        return np.random.default_rng([draw.number % 2**32, draw.frame, what])

    def _noise(self, draw: Draw) -> Float:
        """[4, 4] error of the sender's pose; of all qualities up to the recipe's, most of them small."""
        recipe, rng = self.recipe, self.random_of(draw, _NOISE)
        quality = self.random_of(replace(draw, frame=0), _QUALITY).random() ** 2
        yaw = quality * recipe.yaw_noise_rad * rng.normal()
        shift = quality * recipe.position_noise_m * rng.normal(size=2)
        c, s = np.cos(yaw), np.sin(yaw)
        return make_transform([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], (*shift, 0.0))


def correction(T_vehicle_from_infra: Tensor, T_error: Float) -> Tensor:
    """[4, 4] in the vehicle's frame, undoes the error [4, 4] that a pose was multiplied with."""
    T = T_vehicle_from_infra.double().cpu().numpy()
    return torch.from_numpy(T @ inverse(T_error) @ inverse(T)).float()


class CooperationStage(AgentStage):
    """Implements training.stage.Stage."""

    def __init__(
        self, model: AgentModel, data: TrainingData, recipe: Recipe, options: StageOptions,
        roadside_fingerprint: bytes, messages: Mapping[str, Sequence[Message]],
    ) -> None:  # fmt: skip
        super().__init__("cooperation", model, data, recipe, options)
        self.roadside_fingerprint = roadside_fingerprint
        self.heard_val = Heard.of(data.val, messages)
        heard = Heard.of(data.train, messages)
        self.network = CooperationTraining(model, self.sampler, recipe, options, heard)

    def evaluate(self) -> dict[str, float]:
        """Of the vehicle with the messages on its held-out clips."""
        return tracking_quality(self.model, self.val, CooperativeRun(self.heard_val.message))

    def export(self, folder: Path, notes: Mapping[str, str]) -> list[Path]:
        """The network's weights, which name the roadside network they belong to."""
        config = get_preset(self.model.config.name)  # training pairs by other rules at first
        path = folder / f"{config.name}{store.SUFFIX}"
        about = store.Metadata(self.roadside_fingerprint, {**notes, "stage": self.name})
        store.save_state(path, config, self.model.state_dict(), about)
        return [path]


def training_config(config: ModelConfig, recipe: Recipe) -> ModelConfig:
    """With pairs by distance for the recipe's first steps."""
    if config.options.affinity_matching_after_steps is None:
        return config
    steps = round(recipe.by_rule_until * recipe.steps)
    return replace(config, options=replace(config.options, affinity_matching_after_steps=steps))


__all__ = ["CooperationStage", "CooperationTraining", "Heard", "training_config"]
