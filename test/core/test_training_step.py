"""One training iteration: streaming memory, gradients, determinism, alone and in cooperation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scenarios import yawed

from cooptrack_core.geometry.transforms import make_transform
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.model.session import NetworkInput
from cooptrack_core.training import step, supervision
from cooptrack_core.training.carry import CarryOptions
from cooptrack_core.training.cooperation_stage import correction
from cooptrack_core.training.freezing import freeze
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.step import Iteration, Outcome, Sample

SMALL = {
    "image_size": (64, 96), "backbone_width": 8, "embed_dims": 32, "num_heads": 4, "num_queries": 24,
    "bev_size": (8, 8), "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn": 32, "decoder_ffn": 32,
    "reasoner_layers": 1, "reasoner_ffn": 32, "alignment_blocks": 4, "motion_width": 8, "dropout": 0.0,
}  # fmt: skip
# Which boxes become queries and what they say carries no gradient.
DENSE_ONLY = ("proposals.heat.bias", "proposals.heat.weight", "proposals.values.bias", "proposals.values.weight")
LIDAR2IMG = torch.tensor([[48.0, -48, 0, 0], [32, 0, -48, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def config_of(role: str, **options: object) -> ModelConfig:
    config = replace(get_preset(f"tiny_{role}"), **SMALL)
    return replace(config, options=replace(config.options, **options))


def network(role: str, seed: int = 0, **options: object) -> AgentModel:
    torch.manual_seed(seed)
    return AgentModel(config_of(role, **options)).train()


def given(frame: int, seed: int = 0) -> NetworkInput:
    """A vehicle that drives 1 m per frame of 0.1 s."""
    T = np.eye(4)
    T[0, 3] = frame
    image = torch.randn(3, *SMALL["image_size"], generator=torch.Generator().manual_seed(100 * seed + frame))
    return NetworkInput(image, LIDAR2IMG, T, 0.1 * frame)


def truth(ids: Sequence[int] = (3, 5, 8), seen: Sequence[bool] | None = None) -> GroundTruth:
    boxes = [[5.0 * i, 2.0 * i - 9, -1.5, 1.9, 4.5, 1.6, 0.3, 2.0, -1.0] for i in ids]
    mask = None if seen is None else torch.tensor(seen)
    return GroundTruth(torch.tensor(boxes).reshape(-1, 9), torch.tensor([i % 3 for i in ids]), torch.tensor(ids), mask)


def remote(at: GroundTruth, seed: int = 0) -> tuple[RemoteInstances, torch.Tensor]:
    """A message with an instance at each object, from a sender in the same place with the same range."""
    generator = torch.Generator().manual_seed(seed)
    count, dims = len(at), SMALL["embed_dims"]
    feats = [torch.randn(count, dims, generator=generator) for _ in range(3)]
    low, high = torch.tensor([0.0, -51.2, -5.0]), torch.tensor([102.4, 51.2, 3.0])
    ref_pts = (at.boxes[:, :3] - low) / (high - low)
    index = torch.arange(count)
    return RemoteInstances(*feats, ref_pts, at.codes(), torch.zeros_like(index), index, index), torch.eye(4)


def gradients(model: AgentModel) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def run_and_differentiate(model: AgentModel, iteration: Iteration, samples: Sequence[Sample]) -> Outcome:
    model.zero_grad(set_to_none=True)
    outcome = iteration(samples)
    outcome.total.backward()
    return outcome


CARRY_ALL = CarryOptions(min_iou=-1.0, drop_probability=0.0, false_positive_ratio=0.0)


def test_single_agent_has_losses_of_every_layer_and_of_the_refined_output() -> None:
    outcome = Iteration(network("veh"))([Sample(given(0), truth())])
    layers = [f"frame_0_loss_{kind}_{layer}" for layer in range(2) for kind in ("cls", "bbox")]
    assert list(outcome.losses) == [*layers, "ref_loss_cls", "ref_loss_box"]
    assert outcome.total.item() == pytest.approx(sum(loss.item() for loss in outcome.losses.values()), rel=1e-5)
    assert sorted(outcome.assignments[0].gt_index[outcome.assignments[0].matched].tolist()) == [0, 1, 2]


def test_cooperative_vehicle_has_the_losses_of_the_published_one() -> None:
    outcome = Iteration(network("coop"))([Sample(given(0), truth(), messages=[remote(truth())])])
    names = ["frame_0_loss_cls_0", "frame_0_loss_bbox_0", "ref_loss_cls", "ref_loss_box", "asso_loss"]
    assert list(outcome.losses) == names
    assert outcome.losses["frame_0_loss_cls_0"].item() == outcome.losses["ref_loss_cls"].item()


def test_tracks_keep_their_objects_over_frames_and_a_vanished_one_is_let_go() -> None:
    iteration = Iteration(network("veh"), CARRY_ALL)
    first = iteration([Sample(given(0), truth())])
    assert sorted(first.carried[0].track_id.tolist()) == [3, 5, 8]
    second = iteration([Sample(given(1), truth((3, 8)))])
    assignment = second.assignments[0]
    assert assignment.vanished.sum().item() == 1
    assert assignment.track_id[assignment.vanished].tolist() == [5]
    # The tracks are the last rows and in the order in which they were carried.
    ids = [i for i in first.carried[0].track_id.tolist() if i != 5]
    assert assignment.track_id[-3:][assignment.matched[-3:]].tolist() == ids
    assert sorted(second.carried[0].track_id.tolist()) == [3, 8]


def test_tracks_move_with_velocity_and_ego_motion() -> None:
    model = network("veh")
    iteration = Iteration(model, CARRY_ALL)
    carried = iteration([Sample(given(0), truth())]).carried[0]
    sample = Sample(given(1), truth())
    moved = iteration._incoming(iteration._memory(0, sample), sample).queries.select(slice(-3, None))
    extent = torch.tensor([102.4, 102.4])
    expected = carried.ref_pts[:, :2] + (carried.boxes[:, 8:10] * 0.1 - torch.tensor([1.0, 0.0])) / extent
    assert torch.allclose(moved.ref_pts[:, :2], expected, atol=1e-5)
    assert torch.equal(moved.query_embeds, model.embed(moved.ref_pts))


def restarts(later: Sample) -> bool:
    """Whether no track is carried from a first frame into this one."""
    iteration = Iteration(network("veh"), CARRY_ALL)
    iteration([Sample(given(0), truth(), "a")])
    outcome = iteration([later])
    return not outcome.assignments[0].vanished.any()


def test_another_scene_a_gap_and_time_running_back_start_anew() -> None:
    gone = truth((1,))  # a carried track would be seen to vanish
    assert not restarts(Sample(given(1), gone, "a"))
    assert restarts(Sample(given(1), gone, "b"))
    assert restarts(Sample(replace(given(1), stamp_s=1.2), gone, "a"))
    assert restarts(Sample(replace(given(1), stamp_s=-0.1), gone, "a"))


def test_no_gradient_leaks_across_frames() -> None:
    model = network("veh")
    iteration = Iteration(model, CARRY_ALL)
    run_and_differentiate(model, iteration, [Sample(given(0), truth())])
    memory = iteration._memories[0]
    assert memory is not None and not memory.bev.requires_grad
    assert not any(value.requires_grad for value in vars(memory.live).values())
    # The graph of the first frame is gone; a leak into it would raise here.
    run_and_differentiate(model, iteration, [Sample(given(1), truth())])


def test_same_seed_gives_the_same_losses_and_gradients() -> None:
    def two_frames(seed: int) -> tuple[list[float], dict[str, torch.Tensor]]:
        model = network("veh", random_fresh_queries=True)
        iteration = Iteration(model, CarryOptions(min_iou=-1.0), seed=seed)
        totals = [run_and_differentiate(model, iteration, [Sample(given(t), truth())]).total.item() for t in range(2)]
        return totals, gradients(model)

    (totals, grads), (again, grads_again), (other, _) = two_frames(1), two_frames(1), two_frames(2)
    assert totals == again and totals != other
    assert all(torch.equal(grads[name], grads_again[name]) for name in grads)


@pytest.mark.parametrize("role", ["veh", "coop"])
def test_gradients_are_finite_without_objects_and_messages(role: str) -> None:
    model = network(role)
    outcome = run_and_differentiate(model, Iteration(model), [Sample(given(0), GroundTruth.empty())])
    assert outcome.total.item() > 0.0
    assert all(torch.isfinite(grad).all() for grad in gradients(model).values())


def test_gradients_are_finite_with_a_message_of_no_instances() -> None:
    model = network("coop")
    sample = Sample(given(0), truth(), messages=[remote(GroundTruth.empty())])
    outcome = run_and_differentiate(model, Iteration(model), [sample])
    assert outcome.losses["asso_loss"].item() == 0.0
    assert all(torch.isfinite(grad).all() for grad in gradients(model).values())


def test_every_parameter_learns_in_a_second_frame() -> None:
    """But the dense head behind the proposals, which has losses of its own."""
    model = network("coop")
    with torch.no_grad():
        model.decoder.class_branches[-1][-1].bias.fill_(3.0)  # sure of everything: affinity is learned
    iteration = Iteration(model, CARRY_ALL)
    everywhere = truth(tuple(range(10)), [True] * 10)
    for frame in range(2):
        # Affinity needs a pair: both sides lie on objects.
        run_and_differentiate(model, iteration, [Sample(given(frame), everywhere, messages=[remote(everywhere)])])
    without = {name for name, _ in model.named_parameters()} - set(gradients(model))
    assert without == set(DENSE_ONLY)


def test_frozen_parts_have_no_gradient_and_the_rest_has() -> None:
    model = network("coop")
    freeze(model, "cooperation")
    run_and_differentiate(model, Iteration(model), [Sample(given(0), truth(), messages=[remote(truth())])])
    learned = set(gradients(model))
    assert not any(name.startswith(("backbone.", "neck.")) for name in learned)
    assert any(name.startswith("bev_encoder.") for name in learned)
    freeze(model, "tracking")
    run_and_differentiate(model, Iteration(model), [Sample(given(0), truth(), messages=[remote(truth())])])
    assert any(name.startswith("neck.") for name in gradients(model))


def test_published_cooperation_teaches_no_class_to_the_decoder_and_ours_does() -> None:
    def class_gradient(seen: Sequence[bool] | None) -> float:
        model = network("coop")
        sample = Sample(given(0), truth(seen=seen), messages=[remote(truth())])
        run_and_differentiate(model, Iteration(model), [sample])
        grads = [p.grad for p in model.decoder.class_branches.parameters() if p.grad is not None]
        return float(sum(grad.abs().sum() for grad in grads))

    assert class_gradient(None) == 0.0
    assert class_gradient([True, True, False]) > 0.0


def test_decoder_keeps_what_it_tracks_though_it_does_not_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def supervise_decoder(*args: object) -> object:
        asked.append(sorted(args[3].ids.tolist()))
        return supervision.supervise_decoder(*args)

    monkeypatch.setattr(step, "supervise_decoder", supervise_decoder)
    iteration = Iteration(network("coop"), CARRY_ALL)
    for frame, seen in enumerate(([True, False, False], [False, False, False])):
        some = truth(seen=seen)
        iteration([Sample(given(frame), some, messages=[remote(some)])])
        iteration._memories = [
            memory and replace(memory, live=memory.live.select(memory.live.track_id == 5))
            for memory in iteration._memories
        ]
    assert asked == [[3], [5]]


def test_without_a_message_the_vehicle_is_asked_for_what_it_sees() -> None:
    some = truth(seen=[True, False, False])
    for messages, expected in (([], [3]), ([remote(some)], [3, 5, 8])):
        assignment = Iteration(network("coop"))([Sample(given(0), some, messages=messages)]).assignments[0]
        assert sorted(assignment.track_id[assignment.matched].tolist()) == expected


def test_fusion_by_rule_gives_way_to_learned_matching_after_the_steps_asked_for() -> None:
    iteration = Iteration(network("coop", affinity_matching_after_steps=2))
    matchers = []
    for frame in range(3):
        matchers.append(iteration.matcher)
        iteration([Sample(given(frame), truth(), messages=[remote(truth())])])
    assert matchers == ["distance", "distance", "affinity"]
    assert Iteration(network("coop", affinity_matching_after_steps=None), steps_done=10**6).matcher == "distance"


def test_batch_is_the_weighted_mean_of_its_slots() -> None:
    """With GroupNorm and without the published batch quirks the slots do not touch each other."""
    model = network("veh")
    samples = [Sample(given(0, seed=1), truth()), Sample(given(0, seed=2), truth((4,)))]
    with torch.no_grad():
        both = Iteration(model)(samples).losses
        alone = [Iteration(model)([sample]).losses for sample in samples]
    for name, loss in both.items():
        assert loss.item() == pytest.approx((3 * alone[0][name].item() + alone[1][name].item()) / 4, rel=1e-4), name


def test_slots_stream_on_their_own() -> None:
    iteration = Iteration(network("veh"), CARRY_ALL)
    outcome = iteration([Sample(given(0), truth((3, 5)), "a"), Sample(given(4), truth((7,)), "b")])
    assert [sorted(carried.track_id.tolist()) for carried in outcome.carried] == [[3, 5], [7]]
    outcome = iteration([Sample(given(1), truth((3, 5)), "a"), Sample(given(0), truth((9,)), "b")])
    assert not any(assignment.vanished.any() for assignment in outcome.assignments)
    assert sorted(outcome.carried[1].track_id.tolist()) == [9]


def test_a_correction_undoes_the_error_of_a_pose() -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        T, error = yawed(random.normal(), *random.normal(size=2)), yawed(random.normal(), 1.0, -2.0)
        told = torch.from_numpy(T @ error).float()
        torch.testing.assert_close(correction(told, error) @ told, torch.from_numpy(T).float(), atol=1e-5, rtol=0)


def test_labels_follow_where_instances_are_and_not_where_a_wrong_pose_puts_them() -> None:
    """A message 30 m off: without its correction nothing of it is known to be told, and no pair belongs together."""
    at = truth(seen=[False, False, False])
    error = make_transform(np.eye(3), (0.0, 30.0, 0.0))
    message, T = remote(at)
    wrong = T @ torch.from_numpy(error).float()
    told = {}
    for name, corrections in (("corrected", (correction(wrong, error),)), ("left", ())):
        model = network("coop", affinity_matching_after_steps=None)
        sample = Sample(given(0), at, messages=((message, wrong),), corrections=corrections)
        told[name] = int(Iteration(model)([sample]).assignments[0].matched.sum())
    assert told == {"corrected": 3, "left": 0}
