"""Every engine gives what the plain modules give: frame after frame, with messages, on any calibration and path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
import small_runtime as small
import torch
from scenarios import STEP_NS, yawed

from cooptrack_core.config import NetworkConfig
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.engine import engine_of, plain
from cooptrack_core.model.loading import load_network
from cooptrack_core.model.presets import OFFICIAL, ModelConfig, get_preset
from cooptrack_core.model.runtime import NetworkRuntime
from cooptrack_core.model.session import Step
from cooptrack_core.types import CameraView, Features, Frame, Instances, Message

CPU = torch.device("cpu")
WIDTH, HEIGHT = 640, 360
FRAMES = 5


def camera(pitch: float = 0.0, focal: float = 0.8) -> CameraView:
    """Looks along x from 1.9 m above the road, pitched down."""
    axes = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0.1], [1, 0, 0, 0], [0, 0, 0, 1]])
    c, s = np.cos(pitch), np.sin(pitch)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[c, -s], [s, c]]
    K = np.array([[focal * WIDTH, 0, WIDTH / 2], [0, focal * WIDTH, HEIGHT / 2], [0, 0, 1.0]])
    return CameraView(K, turn @ axes, WIDTH, HEIGHT)


def picture(index: int) -> np.ndarray:
    """A road below a sky with a few dark boxes on it that come nearer."""
    made = np.full((HEIGHT, WIDTH, 3), (190, 180, 170), np.uint8)
    made[HEIGHT // 2 :] = (90, 90, 90)
    for k, depth_m in enumerate((9.0, 14.0, 20.0, 31.0)):
        depth_m -= 0.4 * index
        scale = 0.8 * WIDTH / depth_m
        x, y = WIDTH / 2 + scale * (-6.0 + 4.0 * k), HEIGHT / 2 + 1.9 * scale
        corners = np.round([x, y - 1.5 * scale, x + 1.9 * scale, y]).astype(int).tolist()
        cv2.rectangle(made, corners[:2], corners[2:], (30 + 40 * k, 40, 160 - 30 * k), -1)
        glass = [corners[0] + 4, corners[1] + 4, corners[2] - 4, (corners[1] + corners[3]) // 2]
        cv2.rectangle(made, glass[:2], glass[2:], (60, 50, 40), -1)
    noise = np.random.default_rng(index).integers(-8, 9, made.shape)
    return np.clip(made + noise, 0, 255).astype(np.uint8)


def drive(changing: bool = True) -> list[Frame]:
    """A vehicle that turns; with `changing` its camera is another one halfway."""
    return [
        Frame(
            i * STEP_NS, yawed(0.05 * i, 0.8 * i, 0.03 * i), image=picture(i),
            camera=camera(0.06, 0.75) if changing and i >= FRAMES // 2 else camera(),
        )
        for i in range(FRAMES)
    ]  # fmt: skip


def message(network: NetworkRuntime, index: int) -> Message:
    """Cars ahead, some of them where the picture shows some."""
    random = np.random.default_rng(3)
    count, partner = 12, network.identity.roadside_fingerprint
    assert partner is not None
    center = np.column_stack([random.uniform(5, 45, count), random.uniform(-15, 15, count), np.full(count, -1.0)])
    streams = random.standard_normal((3, count, network.config.embed_dims)).astype(np.float32)
    instances = Instances.create(
        center, np.tile((4.4, 1.8, 1.5), (count, 1)), random.uniform(-3, 3, count), np.zeros(count, np.int64),
        np.full(count, 0.8), velocity_mps=random.uniform(-5, 5, (count, 2)), instance_id=np.arange(1, count + 1),
        features=Features(*streams, "", partner),
    )  # fmt: skip
    return Message("rsu", 1, index + 1, index * STEP_NS, "rsu/lidar", yawed(0.1, 2.0, 1.0), instances)


def steps(network: NetworkRuntime, frames: Sequence[Frame]) -> list[Step]:
    """The finished frames."""
    found: list[Step] = []
    step = network._session.step
    network._session.step = lambda *given, **options: found.append(step(*given, **options)) or found[-1]
    for i, frame in enumerate(frames):
        sent = [message(network, i)] if network.config.cooperative and i != 1 else []
        network.step(frame, frame.T_map_from_sensor, sent)
    return found


def assert_same_frames(found: Sequence[Step], expected: Sequence[Step], atol: float) -> None:
    """Logits, boxes, fates and pairs of every query; rows in the same order."""
    for got, wanted in zip(found, expected, strict=True):
        for name in ("logits", "boxes", "ref_pts", "query_feats", "motion_feats"):
            for a, b in ((got.refined, wanted.refined), (got.perception.decoded, wanted.perception.decoded)):
                torch.testing.assert_close(
                    getattr(a, name), getattr(b, name), atol=atol, rtol=atol, msg=lambda text, n=name: f"{n}: {text}"
                )
        for name in ("track_id", "is_track", "misses", "hits", "measured"):
            assert torch.equal(getattr(got.advanced.queries, name), getattr(wanted.advanced.queries, name)), name
        assert torch.equal(got.advanced.reported, wanted.advanced.reported)
        assert torch.equal(got.advanced.live, wanted.advanced.live)
        if wanted.cooperation is not None:
            assert got.cooperation is not None
            assert torch.equal(got.cooperation.ego_index, wanted.cooperation.ego_index)
            assert torch.equal(got.cooperation.remote_index, wanted.cooperation.remote_index)
            assert torch.equal(got.cooperation.fused.row_of_remote, wanted.cooperation.fused.row_of_remote)


def shipped(role: str, engine: str, **changes: object) -> NetworkRuntime:
    """The weights that come with the package."""
    return load_network(replace(NetworkConfig(device="cpu", engine=engine), **changes), role)


@pytest.mark.parametrize("role", ["inf", "coop"])
def test_shipped_networks_give_the_same_frames_on_every_engine(role: str) -> None:
    expected = steps(shipped(role, "eager"), drive())
    assert expected[-1].advanced.live.any() and (role == "inf" or len(expected[2].cooperation.ego_index) > 0)
    assert_same_frames(steps(shipped(role, "torch"), drive()), expected, 1e-4)


def runtimes(config: ModelConfig) -> list[NetworkRuntime]:
    """A small network of random weights, plain and fast."""
    model = small.model(config)
    return [small.runtime(config, made=engine_of(model, engine, "fp32", CPU)) for engine in ("eager", "torch")]


VARIANTS = {
    "roadside": small.config("inf"),
    "alone": small.config("veh"),
    "official": small.config(options=OFFICIAL, backbone_norm="frozen_batch_norm"),
    "official roadside": small.config("inf", options=OFFICIAL, backbone_norm="frozen_batch_norm"),
    "resnet50": small.config(backbone="resnet50", backbone_norm="batch_norm", feature_levels=1, attended_levels=0),
    "levels": small.config(attended_levels=2, stored_levels=2),
    "two points": small.config(points_per_anchor=2, temporal_points=4),
    "univ2x": small.config(fusion="univ2x"),
    "no history": small.config(history_length=0),
    "no motion": small.config(motion_features=False),
    "proposals": small.config(proposals=20, head_dims=16),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_give_the_same_frames_on_every_engine(name: str) -> None:
    config = VARIANTS[name]
    frames = small.frames(FRAMES)
    frames[3:] = [replace(f, camera=replace(f.camera, K=f.camera.K * [[1.1], [1.1], [1.0]])) for f in frames[3:]]
    expected, found = (run_small(network, frames) for network in runtimes(config))
    assert_same_frames(found, expected, 1e-4)


def run_small(network: NetworkRuntime, frames: Sequence[Frame]) -> list[Step]:
    found: list[Step] = []
    step = network._session.step
    network._session.step = lambda *given, **options: found.append(step(*given, **options)) or found[-1]
    for i, frame in enumerate(frames):
        network.step(frame, frame.T_map_from_sensor, [small.sent(i)] if network.config.cooperative else [])
    return found
