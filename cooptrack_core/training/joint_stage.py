"""After stage 2: both networks together, what the vehicle makes of a message teaches the roadside that sent it.

In every step the roadside unit looks at the frame that the vehicle would have heard of, and its instances reach the
vehicle with their gradient, in full precision. Otherwise as stage 2; messages are lost and displaced, not late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cooptrack_core.checkpoints import store
from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.model import box_code
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.partners import object_key
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.model.queries import Queries
from cooptrack_core.training.agent_stage import AgentStage, AgentTraining
from cooptrack_core.training.cooperation_stage import CooperationTraining, Heard, correction
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.frames import Clip
from cooptrack_core.training.messages import current_messages, newest_before
from cooptrack_core.training.recipes import Recipe
from cooptrack_core.training.sampling import Draw, GroupSampler
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.training.step import Sample
from cooptrack_core.training.validation import CooperativeRun, tracking_quality
from cooptrack_core.training.views import View

ROADSIDE = "roadside"  # prefix of its parameters and losses


@dataclass(frozen=True)
class Sent:
    """What the roadside unit says of its frame, with gradient."""

    refined: Queries  # [N] in its lidar frame
    clip: Clip
    row: int


class JointTraining(CooperationTraining):
    """The vehicle's network and that of the roadside unit, frame by frame together."""

    def __init__(
        self, model: AgentModel, roadside: AgentModel, sampler: GroupSampler, recipe: Recipe, options: StageOptions,
        clips: Mapping[str, Clip],
    ) -> None:  # fmt: skip
        super().__init__(model, sampler, recipe, options, Heard(clips, {}))
        self.roadside = AgentTraining(roadside, sampler, recipe, options)
        self._sent: dict[int, Sent] = {}  # by number of the vehicle's group; of this step

    def train(self, mode: bool = True) -> JointTraining:
        """What is frozen stays in eval mode, in both."""
        super().train(mode)
        self.roadside.train(mode)
        return self

    def forward(self, step: int, micro: int) -> dict[str, Tensor]:
        """Losses of both for the next frame of every slot."""
        theirs = [self._their_frame(draw) for draw in self.sampler.draw(step, micro, self.slots)]
        outcome = self.roadside.look(step, micro, [draw for draw, _ in theirs])
        self._sent = {
            draw.number: Sent(refined, draw.clip, draw.frame)
            for (draw, heard), refined in zip(theirs, outcome.refined, strict=True)
            if heard
        }
        losses = {f"{ROADSIDE}/{name}": value for name, value in outcome.losses.items()}
        return super().forward(step, micro) | losses

    def _their_frame(self, draw: Draw) -> tuple[Draw, bool]:
        """The roadside's frame at a frame of the vehicle, and whether the vehicle has heard of it."""
        clip = self.heard.clips[draw.clip.sequence]
        row = newest_before(draw.clip, clip, draw.frame)
        return replace(draw, clip=clip, frame=max(row, 0)), row >= 0

    def _sample(self, draw: Draw, view: View, image: Tensor) -> Sample:
        alone = super()._sample(draw, view, image)  # there are no kept messages
        sent, rng = self._sent.get(draw.number), self.random_of(draw)
        if sent is None or rng.random() < self.recipe.message_dropout:
            return alone
        T_error = self._noise(draw)
        T = inverse(draw.clip.T_map_from_sensor[draw.frame]) @ sent.clip.T_map_from_sensor[sent.row] @ T_error
        dt_s = float(draw.clip.stamp_s[draw.frame] - sent.clip.stamp_s[sent.row])
        T_vehicle_from_infra = torch.from_numpy(T).float().to(image.device)
        remote = on_the_air(sent.refined, T_vehicle_from_infra, dt_s, self.model.config, self.roadside.model.config)
        corrections = (correction(T_vehicle_from_infra, T_error),)
        return replace(alone, messages=((remote, T_vehicle_from_infra),), corrections=corrections)


def on_the_air(
    refined: Queries, T_vehicle_from_infra: Tensor, dt_s: float, vehicle: ModelConfig, roadside: ModelConfig
) -> RemoteInstances:
    """What `remote_instances` makes of the message of a roadside unit's refined queries [N], with their gradient."""
    chosen = refined.select(torch.nonzero(refined.scores > roadside.score_threshold).squeeze(-1))
    center = box_code.center(chosen.boxes)
    if vehicle.options.kinematic_compensation:
        step = box_code.velocity(chosen.boxes) * dt_s
        center = center + torch.nn.functional.pad(step, (0, 1))
    boxes = box_code.with_center(chosen.boxes, center)
    heading = torch.nn.functional.normalize(boxes[:, 6:8], dim=-1)  # a message has an angle
    boxes = torch.cat((boxes[:, :6], heading, boxes[:, 8:]), dim=-1)
    aligned = center.detach() @ T_vehicle_from_infra[:3, :3].T + T_vehicle_from_infra[:3, 3]
    length_m, width_m = vehicle.options.own_vehicle_m
    own = (aligned[:, 0].abs() < length_m / 2) & (aligned[:, 1].abs() < width_m / 2)
    rows = torch.arange(len(chosen), device=center.device)
    found = RemoteInstances(
        query_feats=chosen.query_feats,
        query_embeds=chosen.query_embeds,
        motion_feats=chosen.motion_feats,
        ref_pts=box_code.normalise(center, vehicle.roadside_point_range_m),
        boxes=boxes,
        owner=torch.zeros_like(rows),
        row=rows,
        object_key=object_key(0, chosen.track_id.clamp(min=0)),  # ids of training are those of the objects
    )
    return found.select(torch.nonzero(~own).squeeze(-1))


class JointStage(AgentStage):
    """Implements training.stage.Stage."""

    def __init__(
        self, model: AgentModel, roadside: AgentModel, data: TrainingData, recipe: Recipe, options: StageOptions
    ) -> None:
        super().__init__("joint", model, data, recipe, options)
        clips = {clip.sequence: clip for part in (data.train, data.val) for clip in part.of("rsu").clips}
        # A vehicle learns of others where there are others.
        groups = tuple(group for group in self.sampler.groups if group.clip.sequence in clips)
        self.sampler = replace(self.sampler, groups=groups)
        self.roadside, self.clips = roadside, clips
        self.network: JointTraining = JointTraining(model, roadside, self.sampler, recipe, options, clips)

    def rate_of(self, name: str) -> float:
        """Of a parameter, as a factor on the learning rate."""
        return super().rate_of(name.removeprefix(f"{ROADSIDE}."))

    def evaluate(self) -> dict[str, float]:
        """Of the vehicle with what the roadside's network now says, on the held-out clips."""
        sequences = {clip.sequence for clip in self.val.clips} & set(self.clips)
        heard = Heard(self.clips, {name: current_messages(self.roadside, self.clips[name]) for name in sequences})
        return tracking_quality(self.model, self.val, CooperativeRun(heard.message))

    def export(self, folder: Path, notes: Mapping[str, str]) -> list[Path]:
        """Both networks; the vehicle's names the roadside's."""
        paths, partner, said = [], None, {**notes, "stage": self.name}
        for model in (self.roadside, self.model):
            config = get_preset(model.config.name)
            path = folder / f"{config.name}{store.SUFFIX}"
            partner = store.save_state(path, config, model.state_dict(), store.Metadata(partner, said))
            paths.append(path)
        return paths


__all__ = ["JointStage", "JointTraining", "on_the_air"]
