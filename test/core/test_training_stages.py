"""The stages on a handful of frames: what learns, what stays, what is written, and that runs repeat themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training_views import clip

from cooptrack_core.checkpoints import store
from cooptrack_core.config import LatencyConfig
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.training import building
from cooptrack_core.training.agent_stage import AgentStage, start_from
from cooptrack_core.training.cooperation_stage import CooperationStage, Heard, training_config
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.frames import Clip, FrameSet
from cooptrack_core.training.loop import train
from cooptrack_core.training.messages import EPOCH_NS, newest_before
from cooptrack_core.training.pretrain import Pretraining
from cooptrack_core.training.recipes import Recipe, recipe_of
from cooptrack_core.training.stage import LoopOptions
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.types import CooptrackError, Features, Instances, Message

pytestmark = pytest.mark.usefixtures("one_thread")
LOOP = LoopOptions(warm_up_steps=1, learning_rate=1e-3, keep_every=2, log_every=1, ema_decay=0.5)


def config(role: str) -> ModelConfig:
    return replace(
        get_preset(f"tiny_{role}"), backbone_width=16, embed_dims=32, num_heads=4, bev_size=(8, 8), encoder_layers=1,
        decoder_layers=1, encoder_ffn=32, decoder_ffn=32, reasoner_ffn=32, alignment_blocks=4, motion_width=8,
        num_queries=24, proposals=12, max_outputs=24, min_peak_score=0.0,
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> TrainingData:
    """Two sequences of a roadside unit and a vehicle that stand side by side; the second is held out."""
    folder = tmp_path / "frames"
    folder.mkdir()

    def both(name: str) -> FrameSet:
        roadside = clip(folder, name, frames=4)
        np.save(folder / f"{name}_vehicle.npy", roadside.images)
        return FrameSet((roadside, replace(roadside, agent="vehicle")))

    return TrainingData(both("0001"), both("0002"))


def recipe(stage: str, role: str, **changes: object) -> Recipe:
    return replace(recipe_of(stage, f"tiny_{role}"), steps=4, batch=2, **{"clip_frames": 2, **changes})


def agent_stage(data: TrainingData, stage: str = "tracking", role: str = "inf", seed: int = 0) -> AgentStage:
    torch.manual_seed(seed)
    options = StageOptions(seed=seed)
    return AgentStage(stage, AgentModel(config(role)), data, recipe(stage, role), options)


def test_what_sees_the_image_stays_and_the_rest_learns(data: TrainingData, tmp_path: Path) -> None:
    stage = agent_stage(data)
    before = {name: value.clone() for name, value in stage.model.state_dict().items()}
    train(stage, LOOP, tmp_path / "run")
    after = stage.model.state_dict()
    frozen = tuple(f"{name}." for name in stage.recipe.frozen)
    for name, value in before.items():
        if name.startswith(frozen):
            assert torch.equal(after[name], value), name
    for part in ("decoder.layers", "bev_encoder.layers", "proposals.query", "heads", "reasoner", "query_features"):
        assert any(not torch.equal(after[n], v) for n, v in before.items() if n.startswith(part)), part


def test_every_part_gets_a_gradient_where_nothing_is_frozen(data: TrainingData) -> None:
    """The dense head, too, which tracks and decoder teach nothing."""
    stage = AgentStage(
        "tracking", AgentModel(config("inf")), data, recipe("tracking", "inf", frozen=()), StageOptions()
    )  # fmt: skip
    sum(stage.network(0, 0).values()).backward()
    sum(stage.network(1, 0).values()).backward()
    assert not [name for name, value in stage.network.named_parameters() if value.grad is None]


def test_the_same_seed_gives_the_same_weights_and_another_others(data: TrainingData, tmp_path: Path) -> None:
    runs = []
    for number, seed in enumerate((0, 0, 1)):
        stage = agent_stage(data, seed=seed)
        train(stage, replace(LOOP, seed=seed), tmp_path / str(number))
        runs.append(stage.model.state_dict())
    assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items())
    assert any(not torch.equal(value, runs[2][name]) for name, value in runs[0].items())


def test_a_run_that_goes_on_ends_like_one_that_was_never_stopped(data: TrainingData, tmp_path: Path) -> None:
    whole = agent_stage(data)
    train(whole, LOOP, tmp_path / "whole")

    class Stop(Exception):
        pass

    broken = agent_stage(data)
    forward, calls = broken.network.forward, []

    def interrupted(step: int, micro: int) -> dict[str, torch.Tensor]:
        calls.append(step)
        if step == 3:
            raise Stop
        return forward(step, micro)

    broken.network.forward = interrupted
    with pytest.raises(Stop):
        train(broken, LOOP, tmp_path / "broken")
    resumed = agent_stage(data, seed=0)
    train(resumed, LOOP, tmp_path / "broken")
    assert calls == [0, 1, 2, 3]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_pretraining_gives_both_agents_the_same_trunk_and_nothing_else(data: TrainingData, tmp_path: Path) -> None:
    stage = Pretraining(get_preset("tiny_inf"), data, recipe("pretrain", "inf", clip_frames=1), StageOptions(steps=1))
    losses = stage.network(0, 0)
    assert set(losses) == {"image_heat", "image_pixel", "image_drop", "image_depth", "image_box"}
    files = stage.export(tmp_path, {"made_by": "a test"})
    inf, veh = (store.load(file, file.stem) for file in files)
    assert [inf.config.name, veh.config.name] == ["tiny_inf", "tiny_veh"]
    for name, value in inf.state.items():
        if name.startswith(("backbone.", "neck.", "proposals.")):
            assert torch.equal(value, veh.state[name])
    assert not torch.equal(inf.state["reference_points"], veh.state["reference_points"])
    assert inf.metadata.notes["made_by"] == "a test"


def test_a_network_takes_over_what_fits_it(tmp_path: Path) -> None:
    torch.manual_seed(1)
    alone = AgentModel(get_preset("tiny_veh"))
    store.save(tmp_path / "tiny_veh.safetensors", alone)
    torch.manual_seed(2)
    together = AgentModel(get_preset("tiny_coop"))
    own = {name: value.clone() for name, value in together.state_dict().items()}
    assert start_from(together, tmp_path / "tiny_veh.safetensors") == len(alone.state_dict())
    for name, value in together.state_dict().items():
        assert torch.equal(value, alone.state_dict().get(name, own[name]))


def heard_messages(frames: FrameSet) -> dict[str, list[Message]]:
    """One instance on each of the two road users, with features that say which."""
    found = {}
    for roadside in frames.of("rsu").clips:
        messages = []
        for index in range(len(roadside)):
            features = Features(np.eye(2, 32, dtype=np.float32), None, np.zeros((2, 32), np.float32), "tiny_inf")
            centre = np.array([[30.0, 40 * 30 / 364, -13 * 30 / 388], [40.0, -60 * 40 / 364, -11 * 40 / 388]])
            instances = Instances.create(
                centre, np.array([[4.4, 1.8, 1.5], [1.7, 0.6, 1.7]]), np.zeros(2), np.array([0, 1]), np.ones(2),
                velocity_mps=np.zeros((2, 2)), features=features,
            )  # fmt: skip
            stamp_ns = EPOCH_NS + round(roadside.stamp_s[index] * 1e9)
            messages.append(Message("rsu", 1, index + 1, stamp_ns, "rsu/lidar", np.eye(4), instances))
        found[roadside.sequence] = messages
    return found


def test_a_vehicle_in_training_hears_how_instances_move_from_the_messages_before(data: TrainingData) -> None:
    moving = {}
    for sequence, messages in heard_messages(data.train).items():
        for message in messages:
            way_m = 10.0 * (message.stamp_ns - messages[0].stamp_ns) / 1e9
            centre = message.instances.center_m + np.array([[way_m, 0.0, 0.0], [0.0, 0.0, 0.0]])
            seen = replace(message.instances, center_m=centre, instance_id=np.array([1, 2]))
            moving.setdefault(sequence, []).append(replace(message, instances=seen))
    for messages in Heard.of(data.train, moving).messages.values():
        first, last = messages[0].motion, messages[-1].motion
        assert first is not None and last is not None
        np.testing.assert_allclose(first.velocity_mps, 0.0, atol=1e-3)
        np.testing.assert_allclose(last.velocity_mps, [[10.0, 0.0], [0.0, 0.0]], atol=0.5)
        lag_ns = round(LatencyConfig().network_lag_ms * 1e6)
        assert messages[-1].perceived_ns == messages[-1].stamp_ns - lag_ns < messages[-1].stamp_ns


def cooperation(data: TrainingData, **changes: object) -> CooperationStage:
    torch.manual_seed(0)
    plan = recipe("cooperation", "coop", **changes)
    model = AgentModel(training_config(config("coop"), plan))
    messages = heard_messages(data.train) | heard_messages(data.val)
    return CooperationStage(model, data, plan, StageOptions(), b"\7" * 32, messages)


def test_cooperation_learns_to_cooperate_and_leaves_the_rest(data: TrainingData, tmp_path: Path) -> None:
    stage = cooperation(data, message_dropout=0.0)
    before = {name: value.clone() for name, value in stage.model.state_dict().items()}
    train(stage, LOOP, tmp_path / "run")
    after = stage.model.state_dict()
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(after[name], value)}
    assert changed <= {"alignment", "association", "aggregation", "heads"}
    assert {"alignment", "aggregation", "heads"} <= changed


def test_messages_are_dropped_delayed_and_displaced_as_the_recipe_says(data: TrainingData) -> None:
    def messages(**changes: object) -> list:
        stage = cooperation(data, **{"message_dropout": 0.0, "position_noise_m": 0.0, "yaw_noise_rad": 0.0} | changes)
        draws = [draw for step in range(8) for draw in stage.sampler.draw(step, 0, range(2))]
        return [sample.messages for sample in stage.network.samples(draws)]

    plain = messages()
    assert all(len(found) == 1 and len(found[0][0]) == 2 for found in plain)
    assert all(torch.equal(found[0][1], torch.eye(4)) for found in plain)
    assert not any(messages(message_dropout=1.0))
    shifted = torch.stack([found[0][1] for found in messages(position_noise_m=1.0)])
    assert shifted[:, :2, 3].abs().amin() > 0 and not shifted[:, 2, 3].any()
    assert torch.equal(shifted[:, :3, :3], torch.eye(3).expand(len(shifted), 3, 3))
    turned = torch.stack([found[0][1] for found in messages(yaw_noise_rad=0.1)])
    assert (turned[:, 0, 1] != 0).all() and torch.allclose(turned[:, 2, 2], torch.ones(len(turned)))


def test_a_vehicle_hears_the_newest_message_that_has_arrived(tmp_path: Path) -> None:
    vehicle = replace(clip(tmp_path, frames=5), agent="vehicle")
    roadside: Clip = replace(clip(tmp_path, frames=5), log_time_ns=vehicle.log_time_ns + 30_000_000)
    assert [newest_before(vehicle, roadside, frame) for frame in range(5)] == [-1, 0, 1, 2, 3]
    assert [newest_before(vehicle, roadside, frame, back=2) for frame in range(5)] == [-1, -1, -1, 0, 1]
    heard = Heard({"0001": roadside}, {"0001": ["a", "b", "c", "d", "e"]})
    assert heard.message(vehicle, 0) is None
    assert heard.message(vehicle, 4) == "d"


def test_the_official_recipe_is_the_papers() -> None:
    found = {(stage, role): recipe_of(stage, f"official_r50_{role}") for stage, role in (
        ("detection", "veh"), ("detection", "inf"), ("tracking", "veh"), ("tracking", "inf"), ("cooperation", "coop"),
    )}  # fmt: skip
    assert {key: (item.steps, item.batch, item.clip_frames) for key, item in found.items()} == {
        ("detection", "veh"): (24 * 7110 // 8, 8, 20), ("detection", "inf"): (24 * 7445 // 8, 8, 5),
        ("tracking", "veh"): (48 * 7110 // 8, 8, 5), ("tracking", "inf"): (24 * 7445 // 8, 8, 5),
        ("cooperation", "coop"): (48 * 7362 // 16, 16, 5),
    }  # fmt: skip
    for item in found.values():
        loop = LoopOptions(**item.loop)
        assert (loop.learning_rate, loop.weight_decay, loop.max_gradient_norm) == (2e-4, 0.01, 35.0)
        assert (loop.warm_up_steps, loop.warm_up_from, loop.last_rate) == (500, pytest.approx(1 / 3), 1e-3)
        assert item.slow == {"backbone": 0.1} and item.visibility == "all"
        assert item.photometric is not None and item.grid_mask is not None and item.grid_mask.probability == 0.7
    assert found["tracking", "inf"].frozen == ("backbone",)
    assert found["cooperation", "coop"].frozen == ("backbone", "neck")
    assert found["tracking", "veh"].carry.min_iou == 0.5


@pytest.mark.parametrize(
    ("stage", "preset", "said"),
    [
        ("detection", "tiny_inf", "--init: is missing; stage detection of tiny_inf starts from .* of stage pretrain"),
        ("cooperation", "tiny_coop", "--init: is missing; .* of stage tracking"),
        ("cooperation", "tiny_veh", "--preset: tiny_veh has no stage cooperation; give tiny_coop"),
        ("tracking", "tiny_coop", "--preset: tiny_coop has no stage tracking; give tiny_inf or tiny_veh"),
        ("pretrain", "official_r50_inf", "has no image head to pretrain; begin with detection"),
        ("detection", "huge_inf", "preset 'huge_inf' is unknown"),
    ],
)
def test_a_stage_that_cannot_begin_says_what_it_needs(
    stage: str, preset: str, said: str, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "load_data", lambda *_: data)
    with pytest.raises(CooptrackError, match=said):
        building.build(stage, preset, tmp_path, StageOptions())


def test_a_stage_names_the_file_that_the_stage_before_did_not_leave(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "load_data", lambda *_: data)
    with pytest.raises(CooptrackError, match=r"tiny_inf\.safetensors: --init: no such file; finish stage detection"):
        building.build("tracking", "tiny_inf", tmp_path, StageOptions(init=tmp_path))
