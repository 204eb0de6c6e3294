"""Both networks together: the message carries gradient, and means the same as one that went over the air."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training_stages import LOOP, config, data, recipe

from cooptrack_core.checkpoints import store
from cooptrack_core.checkpoints.header import read_header
from cooptrack_core.geometry.transforms import inverse, make_transform
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.remote import remote_instances
from cooptrack_core.model.session import Session
from cooptrack_core.training import building
from cooptrack_core.training.cooperation_stage import training_config
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.joint_stage import ROADSIDE, JointStage, on_the_air
from cooptrack_core.training.loop import train
from cooptrack_core.training.messages import EPOCH_NS, current_messages
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.training.views import ViewOptions, image_batch, network_input, view_of
from cooptrack_core.types import CooptrackError

pytestmark = pytest.mark.usefixtures("one_thread")
__all__ = ["data"]  # the fixture


def joint(data: TrainingData, **changes: object) -> JointStage:
    """A roadside unit that reports every query."""
    torch.manual_seed(0)
    plan = recipe("joint", "coop", message_dropout=0.0, **changes)
    unit = AgentModel(replace(config("inf"), score_threshold=0.0))
    return JointStage(AgentModel(training_config(config("coop"), plan)), unit, data, plan, StageOptions())


def test_what_the_vehicle_makes_of_a_message_teaches_the_roadside(data: TrainingData) -> None:
    stage = joint(data, frozen=())
    stage.network.train()
    with torch.no_grad():  # fusion adds nothing at first
        for parameter in [*stage.model.aggregation.parameters(), *stage.model.alignment.parameters()]:
            parameter.add_(0.02 * torch.randn_like(parameter))
    losses = stage.network(0, 0)
    own = [value for name, value in losses.items() if not name.startswith(ROADSIDE)]
    torch.stack(own).sum().backward()
    taught = {name for name, p in stage.roadside.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("decoder") for name in taught)
    assert any(name.startswith("backbone") for name in taught)


def test_without_messages_the_roadside_learns_from_its_own_labels_alone(data: TrainingData) -> None:
    stage = joint(data, frozen=())
    stage.network.recipe = replace(stage.network.recipe, message_dropout=1.0)
    losses = stage.network(0, 0)
    own = [value for name, value in losses.items() if not name.startswith(ROADSIDE)]
    torch.stack(own).sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in stage.roadside.parameters())


@torch.no_grad()
def test_a_message_with_gradient_says_what_the_one_over_the_air_says(data: TrainingData) -> None:
    torch.manual_seed(3)
    unit = AgentModel(replace(config("inf"), score_threshold=0.0, output_threshold=0.0)).eval()
    vehicle = AgentModel(config("coop")).eval()
    clip = data.val.of("rsu").clips[0]
    T = make_transform(np.eye(3), (-5.0, 2.0, 0.1))
    message = current_messages(unit, clip)[0]
    assert message.stamp_ns == EPOCH_NS
    sent = remote_instances(message, 0, 0.07, T, vehicle.config, vehicle.embed)
    view = view_of(clip, 0, unit.config, ViewOptions(), 0)
    step = Session(unit).step(network_input(view, image_batch([view], unit.config)[0]))
    heard = on_the_air(step.refined, torch.from_numpy(T).float(), 0.07, vehicle.config, unit.config)
    order = torch.cdist(sent.boxes[:, [0, 1, 4]], heard.boxes[:, [0, 1, 4]]).argmin(1)
    assert len(order.unique()) == len(sent) > 5
    torch.testing.assert_close(heard.boxes[order], sent.boxes, atol=2e-2, rtol=1e-2)
    torch.testing.assert_close(heard.ref_pts[order], sent.ref_pts, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(heard.query_feats[order], sent.query_feats, atol=2e-2, rtol=1e-2)


def test_both_networks_are_written_as_a_pair(data: TrainingData, tmp_path: Path) -> None:
    result = train(joint(data), LOOP, tmp_path / "run")
    assert [path.name for path in result.files] == ["tiny_inf.safetensors", "tiny_coop.safetensors"]
    unit, vehicle = map(read_header, result.files)
    assert len(unit.fingerprint) == 64
    assert vehicle.roadside_fingerprint == unit.fingerprint


def test_joint_training_needs_both_networks(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "load_data", lambda *_: data)
    with pytest.raises(CooptrackError, match=r"--init: is missing; stage joint .* of stage cooperation"):
        building.build("joint", "tiny_coop", tmp_path, StageOptions())
    start = tmp_path / "tiny_coop.safetensors"
    store.save(start, AgentModel(config("coop")), store.Metadata())
    with pytest.raises(CooptrackError, match=r"--roadside: is missing; stage joint"):
        building.build("joint", "tiny_coop", tmp_path, StageOptions(init=start))


def test_the_pose_of_both_decides_where_a_message_lies(data: TrainingData) -> None:
    stage = joint(data)
    draws = stage.sampler.draw(1, 0, range(2))
    stage.network(0, 0)
    stage.network(1, 0)
    for sample, draw in zip(stage.network.samples(draws), draws, strict=True):
        ((_, T),) = sample.messages
        unit = stage.clips[draw.clip.sequence].T_map_from_sensor[draw.frame]
        expected = inverse(draw.clip.T_map_from_sensor[draw.frame]) @ unit
        assert np.abs(T.numpy() - expected).max() < 2.0, "but for the recipe's noise"
