"""Every engine gives what the plain modules give: frame after frame, with messages, on any calibration and path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_runtime as small
import torch
from scenarios import STEP_NS, yawed

from cooptrack_core.config import NetworkConfig
from cooptrack_core.model import precision
from cooptrack_core.model.bev_encoder import BevEncoder
from cooptrack_core.model.bev_queries import rotate
from cooptrack_core.model.engine import engine_of
from cooptrack_core.model.fast import half
from cooptrack_core.model.fast import network as fast_network
from cooptrack_core.model.loading import load_network
from cooptrack_core.model.presets import OFFICIAL, ModelConfig, Options
from cooptrack_core.model.runtime import NetworkRuntime
from cooptrack_core.model.session import Step
from cooptrack_core.types import CameraView, CooptrackError, Features, Frame, Instances, Message

CPU = torch.device("cpu")
WIDTH, HEIGHT = 640, 360
FRAMES = 5
STEP_S = STEP_NS / 1e9


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


def steps(
    network: NetworkRuntime, frames: Sequence[Frame], sent: Callable[[NetworkRuntime, int], Message] = message
) -> list[Step]:
    """The finished frames; a vehicle gets a message in all but one."""
    found: list[Step] = []
    step = network._session.step

    def recorded(*given, **options) -> Step:
        found.append(step(*given, **options))
        return found[-1]

    network._session.step = recorded
    for i, frame in enumerate(frames):
        messages = [sent(network, i)] if network.config.cooperative and i != 1 else []
        network.step(frame, frame.T_map_from_sensor, messages)
    return found


def assert_near(found: torch.Tensor, expected: torch.Tensor, atol: float, name: str) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=atol, msg=lambda text: f"{name}: {text}")


def assert_same_frames(found: Sequence[Step], expected: Sequence[Step], atol: float) -> None:
    """Logits, boxes, fates and pairs of every query; rows in the same order.

    Velocities follow from places 0.1 s apart, so that what these may differ by counts ten times in m/s.
    """
    for got, wanted in zip(found, expected, strict=True):
        for a, b in ((got.refined, wanted.refined), (got.perception.decoded, wanted.perception.decoded)):
            for name in ("logits", "ref_pts", "query_feats", "motion_feats"):
                assert_near(getattr(a, name), getattr(b, name), atol, name)
            assert_near(a.boxes[..., :8], b.boxes[..., :8], atol, "boxes")
            assert_near(a.boxes[..., 8:], b.boxes[..., 8:], atol / STEP_S, "velocities")
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
    "convnext": small.config(
        backbone="convnext_s", backbone_norm="layer_norm", backbone_stages=2, feature_levels=1, attended_levels=0
    ),
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
    return steps(network, frames, lambda _, i: small.sent(i))


def test_bf16_tracks_are_near_those_of_fp32() -> None:
    """Centres within 0.2 m (0.05 m when this was written), scores within 0.03, and each keeps its partner.

    Tracks that began with a score at the threshold may be missing on one side.
    """
    frames = drive()[:2]
    fp32, bf16 = (
        [network.step(f, f.T_map_from_sensor, [message(network, i)]).tracks for i, f in enumerate(frames)]
        for network in (shipped("coop", "torch"), shipped("coop", "torch", precision="bf16"))
    )
    for ours, theirs in ((fp32, bf16), (bf16, fp32)):
        partners: dict[int, int] = {}
        # From the last frame to the first, which so has the last word.
        began = {id_: score for tracks in ours[::-1] for id_, score in zip(tracks.track_id, tracks.score, strict=True)}
        for a, b in zip(ours, theirs, strict=True):
            sure = np.flatnonzero([began[id_] > 0.2 + 0.03 for id_ in a.track_id])
            assert len(sure) > 3
            distance_m = np.linalg.norm(a.center_m[sure, None] - b.center_m, axis=-1)
            nearest = distance_m.argmin(axis=1)
            assert distance_m.min(axis=1).max() < 0.2 and len(set(nearest)) == len(sure)
            np.testing.assert_allclose(a.score[sure], b.score[nearest], atol=0.03, rtol=0)
            for own, other in zip(a.track_id[sure].tolist(), b.track_id[nearest].tolist(), strict=True):
                assert partners.setdefault(own, other) == other


def outputs_of_first_frame(model: ModelConfig, engine: str, precision_: str) -> torch.Tensor:
    """The grid of a small network of random weights, and its queries where no peaks of the image were chosen."""
    network = small.runtime(model, made=engine_of(small.model(model), engine, precision_, CPU))
    seen = run_small(network, small.frames(1))[0].perception
    outputs = () if model.proposals else (seen.decoded.boxes.flatten(), seen.decoded.logits.flatten())
    return torch.cat((seen.bev.flatten(), *outputs))


@pytest.mark.skipif(not half.can_halve(), reason="this processor does not multiply bf16 numbers")
@pytest.mark.parametrize("name", VARIANTS)
def test_weights_in_bf16_are_as_near_to_fp32_as_numbers_lowered_on_the_way(name: str) -> None:
    exact, autocast, halved = (
        outputs_of_first_frame(VARIANTS[name], *chosen)
        for chosen in (("eager", "fp32"), ("eager", "bf16"), ("torch", "bf16"))
    )
    allowed, found = (autocast - exact).square().mean().sqrt(), (halved - exact).square().mean().sqrt()
    assert 0.0 < found < 1.5 * allowed


@pytest.mark.parametrize("name", ["official", "proposals", "convnext", "no history"])
def test_geometry_norms_and_what_is_behind_the_decoder_keep_single_precision(name: str) -> None:
    """Where attention looks, boxes and classes, cooperation: only products of features are of lower precision."""
    model = half.halve(fast_network.faster(small.model(VARIANTS[name])))
    lower = {name for name, values in model.named_parameters() if values.dtype == torch.bfloat16}
    parts = {name.split(".")[0] for name in lower}
    assert {"neck", "bev_encoder", "decoder"} <= parts
    assert parts <= {"backbone", "neck", "bev_encoder", "decoder", "proposals", "reasoner"}
    exact = ("norm", "sampling_offsets", "attention_weights", "branches", "heat", "values", "queries", "embed")
    assert not [name for name in lower if any(word in name.replace("value_proj", "") for word in exact)]


def test_fp16_without_a_gpu_is_refused_in_one_line() -> None:
    with pytest.raises(CooptrackError, match="fp16 needs a GPU, found device cpu; choose bf16 or fp32"):
        shipped("inf", "torch", precision="fp16")


def test_a_cpu_without_bf16_instructions_is_told_about(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags : fpu avx2 avx512_bf16 sse\n")
    assert precision.cpu_has_bf16(cpuinfo)
    cpuinfo.write_text("processor : 0\nflags : fpu avx2\nbugs : bf16\n")
    assert not precision.cpu_has_bf16(cpuinfo)
    assert not precision.cpu_has_bf16(tmp_path / "missing")
    about = NetworkRuntime(
        small.model(small.config("inf")), small.runtime(small.config("inf")).identity, CPU,
        about={"precision": precision.note("bf16", CPU)},
    ).about  # fmt: skip
    assert about["precision"].startswith("bf16")


def test_fast_modules_stay_as_they_are_when_a_network_learns() -> None:
    """With gradient the prepared copy goes the plain way: nothing is remembered, gradients arrive."""
    config = small.config("inf", proposals=20, head_dims=16)
    fast = engine_of(small.model(config), "torch", "fp32", CPU)
    given = small.runtime(config)._input(small.street(0), small.vehicle_pose(0))
    fresh = fast.assemble(None).map(lambda values: values[None])
    bev = torch.randn(1, config.bev_cells, config.embed_dims)
    perception = fast.perceive(given.image[None], given.lidar2img[None], torch.zeros(1, 18), fresh, bev)
    assert perception.dense is not None
    (perception.decoder.logits.sum() + perception.dense.heat.sum()).backward()
    assert fast.bev_encoder.layers[0].temporal_attention.value_proj.weight.grad.abs().sum() > 0
    assert len(fast.bev_encoder._seen) == 0 and len(fast.proposals._looks) == 0


def test_what_is_remembered_of_calibrations_stays_bounded() -> None:
    config = small.config("inf", proposals=20, head_dims=16)
    network = small.runtime(config, made=engine_of(small.model(config), "torch", "fp32", CPU))
    for i, frame in enumerate(small.frames(9)):
        turned = replace(frame.camera, K=frame.camera.K * [[1.0 + 0.01 * i], [1.0], [1.0]])
        network.step(replace(frame, camera=turned), frame.T_map_from_sensor, ())
    assert len(network._model.bev_encoder._seen) == len(network._model.proposals._looks) == 4


def test_the_model_that_an_engine_is_made_of_stays_as_it_is() -> None:
    model = small.model(small.config())
    before = {name: values.clone() for name, values in model.state_dict().items()}
    for engine in ("eager", "torch"):
        engine_of(model, engine, "fp32", CPU)
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    assert type(model.bev_encoder) is BevEncoder and model.bev_encoder.short_cuts


def test_fast_networks_have_no_more_parameters() -> None:
    config = small.config(proposals=20, head_dims=16)
    plain, fast = runtimes(config)
    assert fast.parameters == plain.parameters


@pytest.mark.parametrize("options", [Options(), OFFICIAL])
def test_a_grid_that_is_not_turned_stays_bit_by_bit(options: Options) -> None:
    config = small.config(options=options, bev_size=(9, 12))
    grid = torch.randn(1, config.bev_cells, 4)
    assert torch.equal(rotate(grid, torch.zeros(1), config), grid)


def test_torch_without_onednn_convolutions_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_network, "has_fused_convolution", lambda: False)
    expected, found = (run_small(network, small.frames(3)) for network in runtimes(small.config()))
    assert_same_frames(found, expected, 1e-4)
