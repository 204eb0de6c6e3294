"""The network over frames, in cooperation and in training, against a second implementation of the published one.

Both run a small network with the published options in double precision, so that what differs is not rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import reference_cooperation as coop
import reference_network as plain
import reference_training
import torch
from reference_model import fill_weights
from torch import Tensor

from cooptrack_core.checkpoints.official import published_name
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.session import NetworkInput, Session, Step
from cooptrack_core.training.carry import CarryOptions
from cooptrack_core.training.freezing import freeze
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.step import Iteration, Outcome, Sample

IMAGE = (96, 160)
SIZES = {
    "image_size": IMAGE,
    "backbone": "resnet18",
    "backbone_width": 16,
    "embed_dims": 64,
    "bev_size": (12, 10),
    "encoder_layers": 2,
    "encoder_ffn": 64,
    "num_queries": 60,
    "decoder_layers": 2,
    "decoder_ffn": 64,
    "motion_width": 16,
    "reasoner_ffn": 64,
    "alignment_blocks": 4,
    "max_outputs": 30,
    "dropout": 0.0,
}
# So that some queries are tracks, some misses and most background.
REFINED_BIAS = {"inf": (-4.0, -3.0, -2.2), "coop": (-3.2, -4.0, -3.2)}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    before, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(before)
    torch.set_num_threads(threads)


def network(role: str) -> AgentModel:
    model = AgentModel(replace(get_preset(f"official_r50_{role}"), **SIZES)).double()
    fill_weights(model, role)
    with torch.no_grad():
        model.heads.class_head[-1].bias.copy_(torch.tensor(REFINED_BIAS[role]))
    return model.eval()


def parameters(model: AgentModel, trained: bool = False) -> dict[str, Tensor]:
    """By published name; trained: leaves of their own, those with gradient that have one in the model."""
    wanted = {name for name, value in model.named_parameters() if value.requires_grad}
    named = {}
    for name, value in model.state_dict().items():
        copy = value.detach().clone()
        named[str(published_name(name))] = copy.requires_grad_() if trained and name in wanted else copy
    return named


@dataclass
class Scene:
    """A frame for both implementations."""

    given: NetworkInput
    image: Tensor
    can_bus: np.ndarray
    lidar2img: np.ndarray
    scene: str = "s0"

    def observed(self, model: AgentModel) -> coop.Observation:
        with torch.no_grad():
            feats = model.neck(model.backbone(self.image[None]))[-1][0]
        T = torch.from_numpy(self.given.T_map_from_sensor)
        stamp = self.given.stamp_s
        return coop.Observation(
            feats, self.can_bus, self.lidar2img, IMAGE, T[:3, :3].T.contiguous(), T[:3, 3], stamp, self.scene
        )


def pose(side: str, t: int) -> np.ndarray:
    yaw = 0.7 if side == "inf" else 3.6 + 0.03 * t
    T = np.eye(4)
    T[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    T[:3, 3] = (100.0, 50.0, 4.0) if side == "inf" else (140.0 + 1.2 * t, 75.0 + 0.5 * t, 0.3 * t)
    return T


def frame(side: str, t: int, scene: str = "s0") -> Scene:
    T = pose(side, t)
    yaw = np.arctan2(T[1, 0], T[0, 0])
    degrees = np.rad2deg(yaw) % 360
    bus = np.zeros(18)
    bus[:3], bus[16], bus[17] = T[:3, 3], np.deg2rad(degrees), degrees
    half = yaw / 2 if np.cos(yaw / 2) > abs(np.sin(yaw / 2)) or side == "inf" else yaw / 2 + np.pi
    bus[3], bus[6] = np.cos(half), np.sin(half)
    K = np.array([[80.0, 0, 80, 0], [0, 80, 45, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    lidar2img = K @ np.array([[0.0, -1, 0, 0], [0, 0, -1, 2], [1, 0, 0, 0], [0, 0, 0, 1]])
    random = torch.Generator().manual_seed(100 * t + (7 if side == "inf" else 3))
    image = torch.randn(3, *IMAGE, generator=random)
    return Scene(NetworkInput(image, torch.from_numpy(lidar2img), T, 10.0 + 0.1 * t), image, bus, lidar2img, scene)


def T_vehicle_from_infra(t: int) -> Tensor:
    return torch.from_numpy(np.linalg.inv(pose("veh", t)) @ pose("inf", t))


def remote(message: coop.Message) -> RemoteInstances:
    count = len(message["ref_pts"])
    return RemoteInstances(
        message["query_feats"],
        message["query_embeds"],
        message["cache_motion_feats"],
        message["ref_pts"],
        message["pred_boxes"],
        torch.zeros(count, dtype=torch.int64),
        torch.arange(count),
        torch.arange(count),
    )


def random_message(count: int, seed: int, dims: int = 64) -> coop.Message:
    """Instances all over the roadside range, some of them out of that of the vehicle."""
    random = torch.Generator().manual_seed(seed)
    boxes = 0.3 * torch.randn(count, 10, generator=random)
    message = {name: torch.randn(count, dims, generator=random) for name in ("query_feats", "query_embeds")}
    points = torch.rand(count, 3, generator=random)
    boxes[:, [0, 1, 4]] = plain.metres(points, plain.ROADSIDE_RANGE)
    return message | {
        "cache_motion_feats": torch.randn(count, dims, generator=random),
        "ref_pts": points,
        "pred_boxes": boxes,
    }


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, **CLOSE)


def assert_same_frame(step: Step, expected: coop.Result) -> None:
    same(step.perception.bev[0], expected.bev)
    same(step.perception.decoder.logits[:, 0], expected.decoder["logits"])
    same(step.perception.decoder.boxes[:, 0], expected.decoder["boxes"])
    assert torch.equal(step.refined.track_id, expected.ids_before)
    assert_same_queries(step.advanced.queries, expected.final)
    live = step.advanced.queries.select(step.advanced.live)
    assert live.track_id.tolist() == expected.live.obj_idxes.tolist()
    assert live.misses.tolist() == expected.live.disappear_time.tolist()


def assert_same_queries(queries: Queries, expected: plain.Instances) -> None:
    assert queries.track_id.tolist() == expected.obj_idxes.tolist()
    assert torch.equal(queries.history_padding, expected.hist_padding_masks)
    same(queries.logits, expected.pred_logits)
    same(queries.boxes, expected.pred_boxes)
    same(queries.ref_pts, expected.ref_pts)
    same(queries.query_feats, expected.query_feats)
    same(queries.query_embeds, expected.query_embeds)
    same(queries.motion_feats, expected.cache["motion_feats"])
    same(queries.history_feats, expected.hist_embeds)
    same(queries.history_motion, expected.hist_motion_embeds)


def test_frames_of_one_agent_agree_with_memory_and_tracks():
    model = network("inf")
    session, memory, named = Session(model, all_layers=True), coop.Memory(), parameters(model)
    for t in range(3):
        now = frame("veh", t)  # moving, though with the range of a roadside unit
        with torch.no_grad():
            expected = coop.run_frame(named, memory, now.observed(model), plain.ROADSIDE_RANGE, 1)
        assert_same_frame(session.step(now.given, shuffle=False), expected)
        assert 3 <= len(expected.live) <= 40


def test_cooperative_frames_agree_with_messages_and_without_instances():
    model = network("coop")
    session, memory, named = Session(model, all_layers=True), coop.Memory(), parameters(model)
    messages = [random_message(12, seed=0), random_message(9, seed=1), random_message(0, seed=2), random_message(7, 3)]
    missed = 0
    for t, message in enumerate(messages):
        now, T = frame("veh", t), T_vehicle_from_infra(t)
        with torch.no_grad():
            expected = coop.run_frame(named, memory, now.observed(model), plain.VEHICLE_RANGE, 3, message, T)
        step = session.step(now.given, [(remote(message), T)], shuffle=False)
        assert step.cooperation is not None
        same(step.cooperation.affinity, expected.cooperation["logits"])
        pairs = list(zip(step.cooperation.ego_index.tolist(), step.cooperation.remote_index.tolist(), strict=True))
        assert pairs == expected.cooperation["pairs"] and len(pairs) == len(expected.cooperation["aligned"]["ref_pts"])
        assert_same_frame(step, expected)
        missed += int((expected.live.disappear_time > 0).sum())
    assert missed > 0  # tracks lived through a miss


def training_network() -> AgentModel:
    model = network("coop")
    freeze(model, "cooperation")
    return model.train()


def truth_near(outcome: reference_training.Outcome, seed: int) -> reference_training.Truth:
    """Objects near the best refined boxes, and at decoded ones that the message tells of, too."""
    random = torch.Generator().manual_seed(seed)
    rows = outcome.final.scores.argsort(descending=True)[:5]
    codes = torch.cat((outcome.final.pred_boxes[rows], outcome.own.cache["bboxes"][told(outcome.own)[:3]]))
    boxes = plain.decode_box(codes)
    boxes = boxes + 0.05 * boxes.abs().clamp(max=2) * torch.rand(boxes.shape, generator=random)
    return reference_training.Truth(boxes, torch.arange(8) % 3, torch.arange(8) + 100 + 20 * seed)


def told(own: plain.Instances) -> Tensor:
    """Queries that a message tells of, too: those with the best decoder scores."""
    return own.cache["scores"].argsort(descending=True)[:6]


def without(truth: reference_training.Truth, row: int) -> reference_training.Truth:
    keep = [i for i in range(len(truth.ids)) if i != row]
    return reference_training.Truth(truth.boxes[keep], truth.labels[keep], truth.ids[keep])


def near_message(own: plain.Instances, t: int, seed: int) -> coop.Message:
    """A message some of whose instances lie at queries of the vehicle."""
    message = random_message(10, seed)
    T = torch.linalg.inv(T_vehicle_from_infra(t))
    moved = plain.metres(own.cache["ref_pts"][told(own)], plain.VEHICLE_RANGE) @ T[:3, :3].T + T[:3, 3] + 0.3
    message["ref_pts"][:6] = plain.normalised(moved, plain.ROADSIDE_RANGE)
    message["pred_boxes"][:6, [0, 1, 4]] = moved
    return message


def reference_iterations(
    model: AgentModel, batches: list[list[tuple[Scene, coop.Message, Tensor, reference_training.Truth]]]
) -> list[tuple[list[reference_training.Outcome], dict[str, Tensor]]]:
    memories = [coop.Memory() for _ in batches[0]]
    done = []
    for batch in batches:
        named = parameters(model, trained=True)
        observed = [(now.observed(model), message, T, truth) for now, message, T, truth in batch]
        done.append((reference_training.iteration(named, memories, observed, plain.VEHICLE_RANGE), named))
    return done


def our_iterations(model: AgentModel, batches) -> Iterator[Outcome]:
    iteration = Iteration(model, CarryOptions.none(), shuffle=False)
    for batch in batches:
        yield iteration(
            [
                Sample(now.given, GroundTruth(truth.boxes, truth.labels, truth.ids), now.scene, [(remote(message), T)])
                for now, message, T, truth in batch
            ]
        )


NAMES = {
    "fused_cls": "frame_0_loss_cls_0",
    "fused_bbox": "frame_0_loss_bbox_0",
    "ref_cls": "ref_loss_cls",
    "ref_bbox": "ref_loss_box",
    "asso": "asso_loss",
}


def assert_same_iteration(found: Outcome, model: AgentModel, expected, named: dict[str, Tensor]) -> None:
    total = torch.zeros(())
    for name, ours in NAMES.items():
        terms = [outcome.terms[name] for outcome in expected]
        averaged = sum(value * weight for value, weight in terms) / sum(weight for _, weight in terms)
        same(found.losses[ours], averaged)
        total = total + averaged
    assert set(found.losses) == set(NAMES.values())
    model.zero_grad(set_to_none=True)
    found.total.backward()
    total.backward()
    for name, value in model.named_parameters():
        theirs = named[str(published_name(name))].grad
        if value.requires_grad and (value.grad is not None or theirs is not None):
            assert value.grad is not None and theirs is not None, name
            torch.testing.assert_close(
                value.grad, theirs, atol=1e-6, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
            )
    for slot, outcome in enumerate(expected):
        rows, assignment = found.carried_rows[slot], found.assignments[slot]
        assert assignment.track_id[rows].tolist() == outcome.carried.obj_idxes.tolist()
        assert assignment.gt_index[rows].tolist() == outcome.matched_gt.tolist()
        same(assignment.iou[rows], outcome.iou)
        assert_same_queries(found.carried[slot], outcome.carried)


def batches_of(kind: str, model: AgentModel):
    """Slots with their frames; messages and ground truth near what the network finds."""
    slots = 2 if kind == "two slots" else 1
    nothing = reference_training.Truth(torch.ones(1, 9), torch.zeros(1, dtype=torch.int64), torch.tensor([7]))
    batches = []
    for number in range(1 if kind == "one frame" else 2):
        times = [number + slot for slot in range(slots)]
        scenes = [frame("veh", t, f"s{slot}") for slot, t in enumerate(times)]
        poses = [T_vehicle_from_infra(t) for t in times]
        messages = [random_message(10, t) for t in times]
        for _ in range(2):  # messages, then truth
            trial = [(now, m, T, nothing) for now, m, T in zip(scenes, messages, poses, strict=True)]
            with torch.no_grad():
                found = reference_iterations(model, [trial])[0][0]
            messages = [near_message(outcome.own, t, t) for outcome, t in zip(found, times, strict=True)]
        truths = [truth_near(outcome, slot) for slot, outcome in enumerate(found)]
        truths[1:] = [without(truth, 7) for truth in truths[1:]]  # slots weigh differently
        if number == 1:  # the same objects, a little farther on, one gone
            before = [sample[3] for sample in batches[0]]
            truths = [without(replace(truth, boxes=truth.boxes + 0.05), 1) for truth in before]
        batches.append(list(zip(scenes, messages, poses, truths, strict=True)))
    return batches


@pytest.mark.parametrize("kind", ["one frame", "two frames", "two slots"])
def test_training_iterations_agree_in_losses_gradients_and_tracks(kind):
    model = training_network()
    batches = batches_of(kind, model)
    expected = reference_iterations(model, batches)
    for found, (outcomes, named) in zip(our_iterations(model, batches), expected, strict=True):
        assert_same_iteration(found, model, outcomes, named)
    first = expected[0][0]
    assert all(len(outcome.carried) > 0 and len(outcome.pairs) > 3 for outcome in first)
    assert any(float(outcome.terms["asso"][0].detach()) > 0 for outcome in first)
