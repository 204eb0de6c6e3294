"""Stages 1a and 1b: one agent alone, first single detections with the grid's memory, then tracks (spec 7.1 to 7.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from cooptrack_core.checkpoints import store
from cooptrack_core.model.agent_model import AgentModel, Perception
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.stage_clock import stage
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.denoising import Denoising
from cooptrack_core.training.dense_losses import BevHead
from cooptrack_core.training.frames import AGENT_OF_ROLE
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.recipes import Recipe
from cooptrack_core.training.sampling import Draw, GroupSampler
from cooptrack_core.training.stage import mix
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.training.step import Iteration, Outcome, Sample, image_losses
from cooptrack_core.training.validation import tracking_quality
from cooptrack_core.training.views import View, channels_last, image_batch, network_input, view_of


class AgentTraining(nn.Module):
    """The network of an agent, what teaches it beside, and its losses on the frames of a step."""

    def __init__(self, model: AgentModel, sampler: GroupSampler, recipe: Recipe, options: StageOptions) -> None:
        super().__init__()
        self.model, self.sampler, self.recipe, self.options = model, sampler, recipe, options
        self.slots = options.slots(sampler.batch)
        channels_last(model)
        self.bev_head = BevHead(model.config) if recipe.dense_losses else None
        self.denoising = Denoising(model.config) if recipe.denoising else None
        self.iterations: dict[int, Iteration] = {}  # by micro-batch, whose slots are streams of their own
        for module in self.frozen():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> AgentTraining:
        """What is frozen stays in eval mode."""
        super().train(mode)
        for module in self.frozen():
            module.eval()
        return self

    def frozen(self) -> list[nn.Module]:
        """What stays as it is, of that what this network has."""
        present = dict(self.model.named_modules())
        return [present[name] for name in self.recipe.frozen if name in present]

    def forward(self, step: int, micro: int) -> dict[str, Tensor]:
        """Losses of the next frame of every slot."""
        return self.look(step, micro, self.sampler.draw(step, micro, self.slots)).losses

    def look(self, step: int, micro: int, draws: Sequence[Draw]) -> Outcome:
        """What comes of the frames of a step, one for every slot."""
        iteration = self.iterations.setdefault(micro, Iteration(self.model, self.recipe.carry, extra=self._extra))
        iteration.begin(step, mix(self.options.seed, step, micro, self.options.rank) % 2**63)
        if step % self.sampler.length == 0:
            iteration.reset()
        return iteration(self.samples(draws))

    def samples(self, draws: Sequence[Draw]) -> list[Sample]:
        """Frames as the network is shown them, with what it should find."""
        config, device = self.model.config, self.model.reference_points.device
        with stage("data"):
            views = [view_of(draw.clip, draw.frame, config, self.recipe.view, draw.number) for draw in draws]
            images = image_batch(views, config, self.recipe.photometric, self.recipe.grid_mask).to(device)
            return [self._sample(*row) for row in zip(draws, views, images, strict=True)]

    def _sample(self, draw: Draw, view: View, image: Tensor) -> Sample:
        truth = self.wanted(view.truth).to(image.device)
        return Sample(network_input(view, image), truth, str(draw.number))

    def wanted(self, truth: GroundTruth) -> GroundTruth:
        """What the agent should find by itself."""
        within = truth.within(self.model.config.point_range_m)
        if within.seen is None or self.recipe.visibility == "all":
            return replace(within, seen=None)
        return replace(within.select(within.seen), seen=None)

    def _extra(self, perception: Perception, samples: Sequence[Sample]) -> dict[str, Tensor]:
        truths = [sample.truth for sample in samples]
        losses: dict[str, Tensor] = {}
        if self.bev_head is not None:
            losses |= self.bev_head.losses(perception.bev, truths)
            losses |= image_losses(perception, samples, self.model.config)
        if self.denoising is not None:
            losses |= self.denoising.losses(self.model, perception.bev, truths)
        return losses


class AgentStage:
    """Implements training.stage.Stage."""

    def __init__(self, name: str, model: AgentModel, data: TrainingData, recipe: Recipe, options: StageOptions) -> None:
        self.name, self.role, self.model, self.recipe = name, model.config.role, model, recipe
        agent = AGENT_OF_ROLE[self.role]
        self.val = data.val.of(agent)
        self.checkpoint_every = recipe.clip_frames
        self.total_steps = options.steps or recipe.steps
        batch = options.batch or recipe.batch
        self.sampler = GroupSampler.of(data.train.of(agent), recipe.clip_frames, batch, options.seed)
        self.network = AgentTraining(model, self.sampler, recipe, options)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group for each factor on the learning rate."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.rate_of(name), []).append(parameter)
        return [{"params": members, "rate": rate} for rate, members in groups.items()]

    def rate_of(self, name: str) -> float:
        """Of a parameter of the network, as a factor on the learning rate."""
        return self.recipe.slow.get(name.removeprefix("model.").split(".")[0], 1.0)

    def describe(self, step: int, micro: int) -> str:
        """The frames of a batch."""
        draws = self.sampler.draw(step, micro, self.network.slots)
        return ", ".join(f"sequence {draw.clip.sequence} frame {draw.frame}" for draw in draws)

    def evaluate(self) -> dict[str, float]:
        """Of the agent alone on its held-out clips."""
        return tracking_quality(self.model, self.val)

    def export(self, folder: Path, notes: Mapping[str, str]) -> list[Path]:
        """The network's weights."""
        path = folder / f"{self.model.config.name}{store.SUFFIX}"
        store.save(path, self.model, store.Metadata(notes={**notes, "stage": self.name}))
        return [path]


def start_from(model: AgentModel, path: Path) -> int:
    """Takes over what a file of weights of any role has for this network; returns how many entries fitted."""
    own, state = model.state_dict(), load_file(path)
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    model.load_state_dict(own | fitting)
    return len(fitting)


__all__ = ["AgentStage", "AgentTraining", "ModelConfig", "start_from"]
