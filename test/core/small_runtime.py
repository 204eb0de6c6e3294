"""A whole network small enough for tests, behind the pipeline's seam, and a street for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scenarios import STEP_NS, yawed
from torch import nn

from cooptrack_core.checkpoints import store
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import ROADSIDE_POINT_RANGE_M, ModelConfig, Options, get_preset
from cooptrack_core.model.runtime import Identity, NetworkRuntime
from cooptrack_core.model.session import Session
from cooptrack_core.types import CameraView, Features, Frame, Instances, Message

START_NS = 1_700_000_000_000_000_000
WIDTH, HEIGHT = 96, 54
AXES = np.array([[0.0, -1, 0, 0], [0, 0, -1, 1.5], [1, 0, 0, 0], [0, 0, 0, 1]])
ROADSIDE_POSE = yawed(np.pi, 60.0, 3.0)  # looks back at the vehicle


def config(role: str = "coop", **changes) -> ModelConfig:
    """Eight by eight BEV cells, 24 queries, all of them learned: what random weights see in an image is all alike."""
    made = replace(
        get_preset(f"tiny_{role}"), options=Options(distance_gate_m=20.0), image_size=(64, 96), backbone_width=8,
        embed_dims=32, num_heads=4, bev_size=(8, 8), encoder_ffn=48, num_queries=24, decoder_layers=2, decoder_ffn=48,
        motion_width=16, reasoner_ffn=48, alignment_blocks=4, max_outputs=24, proposals=0,
        score_threshold=0.4, output_threshold=0.3,
    )  # fmt: skip
    return replace(made, **changes)


def model(config: ModelConfig, seed: int = 6, bias: float | None = None) -> AgentModel:
    """Random weights; bias: of the classes, None: such that in each frame some queries are active and some are not."""
    torch.manual_seed(seed)
    made = AgentModel(config).eval()
    with torch.no_grad():
        made.query_features.normal_()
        last = made.heads.class_head[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(12.0)
        last.bias.fill_(0.0 if bias is None else bias)
        if config.cooperative and config.fusion == "graph":
            made.association.affinity[-1].bias.fill_(1.0)
        if bias is None:
            scores = first_scores(made)
            last.bias.fill_(float(torch.tensor(config.score_threshold).logit() - scores.logit().quantile(0.7)))
    return made


def first_scores(made: AgentModel) -> torch.Tensor:
    """[N] of the fresh queries in the first frame of the street."""
    given = runtime(made.config, made=made)._input(street(0), vehicle_pose(0))
    return Session(made).step(given).refined.scores


def roadside_fingerprint() -> bytes:
    return b"\7" * 32


def runtime(config: ModelConfig, seed: int = 0, made: AgentModel | None = None, **options) -> NetworkRuntime:
    """The network of a config; a vehicle's understands messages with roadside_fingerprint()."""
    made = model(config) if made is None else made
    fingerprint = roadside_fingerprint() if config.role == "inf" else store.fingerprint_of(config, made.state_dict())
    identity = Identity(fingerprint, roadside_fingerprint() if config.cooperative else None, False, "random")
    return NetworkRuntime(made, identity, torch.device("cpu"), seed=seed, **options)


def camera(width: int = WIDTH, height: int = HEIGHT) -> CameraView:
    return CameraView(
        np.array([[0.6 * width, 0, width / 2], [0, 0.6 * width, height / 2], [0, 0, 1.0]]), AXES.copy(), width, height
    )


def image(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.random.default_rng(1000 + index).integers(0, 256, (height, width, 3), dtype=np.uint8)


def street(index: int, start_ns: int = START_NS, **changes) -> Frame:
    """Frame number `index` of a vehicle that drives along x at 10 Hz and turns a little."""
    made = Frame(start_ns + index * STEP_NS, vehicle_pose(index), image=image(index), camera=camera())
    return replace(made, **changes)


def vehicle_pose(index: int) -> np.ndarray:
    return yawed(0.01 * index, 1.0 * index, 0.1 * index)


def run(network: NetworkRuntime, frames, messages=lambda i: ()) -> list:
    """Outputs of frames in sequence; messages(i) go into the i-th."""
    return [network.step(f, f.T_map_from_sensor, messages(i)) for i, f in enumerate(frames)]


def sent(
    index: int, count: int = 5, agent: str = "rsu", dims: int = 32, seed: int = 0, start_ns: int = START_NS, **changes
) -> Message:
    """Message of frame `index`: cars ahead of the vehicle, with random features that stay the same."""
    random = np.random.default_rng(seed)
    center = np.column_stack([random.uniform(20, 45, count), random.uniform(-20, 20, count), np.full(count, -1.0)])
    streams = random.standard_normal((3, count, dims)).astype(np.float32)
    instances = Instances.create(
        center, np.tile((4.4, 1.8, 1.5), (count, 1)), random.uniform(-3, 3, count), np.zeros(count, np.int64),
        np.full(count, 0.8), velocity_mps=random.uniform(-5, 5, (count, 2)), instance_id=np.arange(1, count + 1),
        features=Features(*streams, "small_inf", roadside_fingerprint()),
    )  # fmt: skip
    values = {
        "agent_id": agent, "session_id": 3, "sequence": index + 1, "stamp_ns": start_ns + index * STEP_NS,
        "sensor_frame": f"{agent}/lidar", "T_map_from_sensor": ROADSIDE_POSE, "instances": instances,
        "point_range_m": ROADSIDE_POINT_RANGE_M,
    }  # fmt: skip
    return Message(**(values | changes))


def assert_tracks_equal(a, b, atol: float = 0.0, ids: bool = True) -> None:
    """Every column of TrackedObjects equal within atol (bit by bit if zero)."""
    for name in type(a).__dataclass_fields__:
        if name == "track_id" and not ids:
            continue
        left, right = getattr(a, name), getattr(b, name)
        if isinstance(left, np.ndarray):
            np.testing.assert_allclose(left, right, atol=atol, rtol=0, err_msg=name)
        else:
            assert list(left) == list(right) if name == "agents" else left == right, name


def memory_bytes(network: NetworkRuntime) -> list[bytes]:
    """Everything that a network keeps between frames."""
    memory = network._session.memory
    assert memory is not None
    tensors = [memory.bev, *(getattr(memory.live, name) for name in type(memory.live).__dataclass_fields__)]
    book = network._book
    columns = [getattr(book, name) for name in type(book).__dataclass_fields__]
    rest = (memory.stamp_s, network._session.next_id, network._frame_index, network._session._generator.get_state())
    return [
        *(t.numpy().tobytes() for t in tensors), memory.T_map_from_sensor.tobytes(), *(c.tobytes() for c in columns),
        repr(rest[:3]).encode(), rest[3].numpy().tobytes(),
    ]  # fmt: skip


def frames(count: int, start: int = 0, **changes) -> list:
    return [street(i, **changes) for i in range(start, start + count)]


def with_message(i: int) -> list:
    return [sent(i)]


def assert_same_outputs(a: list, b: list) -> None:
    """Bit by bit."""
    for x, y in zip(a, b, strict=True):
        assert_tracks_equal(x.tracks, y.tracks)
        np.testing.assert_array_equal(x.instances.features.query, y.instances.features.query)
        np.testing.assert_array_equal(x.detections.center_m, y.detections.center_m)
        np.testing.assert_array_equal(x.associations.pair_affinity, y.associations.pair_affinity)
