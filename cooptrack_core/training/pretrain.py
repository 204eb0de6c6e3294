"""Stage 0 of the recipe from scratch: backbone, neck and dense image head on single frames of both agents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cooptrack_core.checkpoints import store
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.model.proposals import DenseBoxes
from cooptrack_core.stage_clock import stage
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.dense_losses import proposal_losses
from cooptrack_core.training.recipes import Recipe
from cooptrack_core.training.sampling import GroupSampler
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.training.validation import dense_score
from cooptrack_core.training.views import channels_last, image_batch, view_of

ROLES = ("inf", "veh")
TRUNK = ("backbone", "neck", "proposals")


class Trunk(nn.Module):
    """The parts that look at the image alone, and their losses on a batch of frames."""

    def __init__(self, model: AgentModel, sampler: GroupSampler, recipe: Recipe, options: StageOptions) -> None:
        super().__init__()
        channels_last(model)
        self.config = model.config
        self.backbone, self.neck, self.proposals = model.backbone, model.neck, model.proposals
        self.sampler, self.recipe, self.slots = sampler, recipe, options.slots(sampler.batch)

    def forward(self, step: int, micro: int) -> dict[str, Tensor]:
        """Losses of the frames of a step."""
        with stage("data"):
            draws = self.sampler.draw(step, micro, self.slots)
            views = [view_of(d.clip, d.frame, self.config, self.recipe.view, d.number) for d in draws]
            device = self.device
            images = image_batch(views, self.config, self.recipe.photometric, self.recipe.grid_mask).to(device)
            lidar2img = torch.stack([torch.from_numpy(view.lidar2img).float() for view in views]).to(device)
            truths = [view.truth.to(device) for view in views]
        dense = self.dense(images, lidar2img)
        with stage("losses"):
            return proposal_losses(dense, truths, lidar2img, self.config)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.parameters()).device

    def dense(self, images: Tensor, lidar2img: Tensor) -> DenseBoxes:
        """images [B, 3, h, w], lidar2img [B, 4, 4]."""
        with stage("backbone"):
            pyramid = self.backbone.pyramid(images)
            finest = self.neck(pyramid[-self.backbone.levels :])[0]
        with stage("proposals"):
            return self.proposals.dense(finest, pyramid[0], lidar2img)


class Pretraining:
    """Implements training.stage.Stage."""

    name, role = "pretrain", "inf"

    def __init__(self, config: ModelConfig, data: TrainingData, recipe: Recipe, options: StageOptions) -> None:
        torch.manual_seed(options.seed)
        self.model = AgentModel(config)
        self.data, self.checkpoint_every = data, 1
        self.total_steps = options.steps or recipe.steps
        sampler = GroupSampler.of(data.train, 1, options.batch or recipe.batch, options.seed)
        self.network = Trunk(self.model, sampler, recipe, options)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All alike."""
        return [{"params": list(self.network.parameters()), "rate": 1.0}]

    def evaluate(self) -> dict[str, float]:
        """Average precision of the peaks on the frames that are held out."""
        return dense_score(self.network, self.model.config, self.data.val)

    def export(self, folder: Path, notes: Mapping[str, str]) -> list[Path]:
        """Networks of both agents that know how to see, and nothing else yet."""
        family = self.model.config.name.rpartition("_")[0]
        files = []
        for role in ROLES:
            model = AgentModel(get_preset(f"{family}_{role}"))
            for part in TRUNK:
                getattr(model, part).load_state_dict(getattr(self.model, part).state_dict())
            files.append(folder / f"{family}_{role}{store.SUFFIX}")
            store.save(files[-1], model, store.Metadata(notes=notes))
        return files
