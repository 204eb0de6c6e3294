"""The frame as a function of fixed shapes, and what a GPU plays again: the numbers of the plain network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_runtime import assert_tracks_equal, config, frames, model, run, runtime, with_message
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cooptrack_core.model import example_frames, fixed_cooperation
from cooptrack_core.model.aggregation import common_shift, common_shift_of_all
from cooptrack_core.model.cuda_graph import Replayed, recorded_network
from cooptrack_core.model.example_cooperation import alignments, associations, fusions, heads
from cooptrack_core.model.fixed_shapes import FixedShapeNetwork, FrameGraph, frame_outputs
from cooptrack_core.model.precision import lower
from cooptrack_core.model.presets import OFFICIAL

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = {
    "coop": config("coop", proposals=8, min_peak_score=0.0),
    "peaks begin tracks": config("inf", proposals=8),
    "published": config("coop", options=OFFICIAL),
    "no history": config("veh", history_length=0),
}
CPU = torch.device("cpu")


def played(function):
    """What torch.cuda.CUDAGraph does: outputs keep their places, and playing again overwrites them."""
    outputs = function()

    def replay() -> None:
        for place, value in zip(outputs, function(), strict=True):
            place.copy_(value)

    return replay, outputs


def assert_close(got, expected, names, atol=1e-4) -> None:
    for name, a, b in zip(names, got, expected, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_shapes_give_the_plain_networks_frames(kind):
    """First frame, later frames, tracks and random numbers."""
    made = model(KINDS[kind])
    drive, _ = example_frames.drive(made, 4)
    assert not drive[0].inputs[4].item() and drive[1].inputs[4].item()  # whether a grid is known
    graph = FrameGraph(made)
    with torch.inference_mode():
        for example in (*drive, example_frames.random_frame(made)):
            assert_close(graph(*example.inputs), example.expected, frame_outputs(made.config))


def test_whatever_stands_in_the_grid_of_a_first_frame_is_not_looked_at():
    graph = FrameGraph(model(KINDS["coop"]))
    given = list(example_frames.blank_frame(graph.model))
    given[4] = torch.tensor([False])
    with torch.inference_mode():
        expected = graph(*given)
        given[3] = torch.full_like(given[3], 1e6)
        for a, b in zip(graph(*given), expected, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["coop", "published"])
def test_frames_that_are_played_again_give_the_same_tracks_and_keep_what_they_gave(kind):
    """Recorded in the first frame, without a grid; later ones have one. Nothing of a frame changes with the next."""
    plain = runtime(KINDS[kind])
    recorded = recorded_network(plain._model, CPU, record=played)
    fast = runtime(KINDS[kind], made=recorded)
    before = [(o.tracks, o.measured()) for o in run(plain, frames(4), with_message)]
    outputs = run(fast, frames(4), with_message)  # `measured` is asked for when all frames are over
    for (tracks, measured), output in zip(before, outputs, strict=True):
        assert_tracks_equal(output.tracks, tracks, atol=1e-3)
        torch.testing.assert_close(output.measured().center_m, measured.center_m, atol=1e-3, rtol=0)
    assert len(outputs[-1].tracks)


def test_static_buffers_stay_and_outputs_are_new():
    places: list[Tensor] = []

    def function(x: Tensor) -> tuple[Tensor, ...]:
        places.append(x)
        return (x + 1.0,)

    twice = Replayed(function, played)
    first = twice((torch.zeros(3),))[0]
    second = twice((torch.ones(3),))[0]
    assert first.tolist() == [1.0] * 3 and second.tolist() == [2.0] * 3
    assert len({place.data_ptr() for place in places}) == 1


def test_a_frame_that_the_graph_is_not_made_for_goes_the_usual_way():
    def never(_):
        raise AssertionError

    made = model(KINDS["coop"])
    fixed = FixedShapeNetwork.of(made, never)
    image, lidar2img, can_bus, grid, _, *_ = example_frames.blank_frame(made)
    queries = made.fresh_queries().map(lambda value: value.detach()[None])
    with torch.inference_mode():
        seen = fixed.perceive(image, lidar2img, can_bus, queries, grid, all_layers=True)
        assert len(seen.decoder.logits) == made.config.decoder_layers
        pair = queries.map(lambda value: torch.cat((value, value)))
        two = (torch.cat((x, x)) for x in (image, lidar2img, can_bus))
        assert len(fixed.perceive(*two, pair, None, all_layers=False).bev) == 2


class _HostWatch(TorchDispatchMode):
    """Notes operations that read or make tensors of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if any(isinstance(x, Tensor) and x.device.type == "cpu" for x in tree_leaves((args, kwargs or {}, out))):
            self.found.append(str(function))
        return out


class _UploadWatch(TorchFunctionMode):
    """Notes numbers of the code that become tensors, lists of indices and boolean masks."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        index = args[1] if name in ("__getitem__", "__setitem__") else ()
        hidden = any(
            isinstance(i, list) or (isinstance(i, Tensor) and i.dtype == torch.bool)
            for i in (index if isinstance(index, tuple) else (index,))
        )
        if hidden or name in ("new_tensor", "tensor", "as_tensor", "from_numpy"):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["coop", "published"])
def test_a_frame_on_a_device_needs_nothing_of_the_host(kind):
    """Without which it cannot be recorded: no uploads of constants, no shapes that depend on data."""
    made = model(replace(KINDS[kind], encoder_layers=1, decoder_layers=2))
    given = tuple(value.to("meta") for value in example_frames.blank_frame(made))
    graph = FrameGraph(made).to("meta")
    with torch.inference_mode():
        graph(*given)  # constants are uploaded once
        with _HostWatch() as host, _UploadWatch() as uploads:
            graph(*given)
    assert host.found == [] and uploads.found == []


def test_another_precision_leaves_geometry_and_outputs_in_single_precision():
    made = model(KINDS["coop"])
    given = example_frames.random_frame(made).inputs
    with torch.inference_mode():
        exact_graph, graph = FrameGraph(made), FrameGraph(made)
        lower(graph.model, "bf16", CPU)
        exact, rough = exact_graph(*given), graph(*given)
        names = frame_outputs(made.config)
        assert [x.dtype for x in rough] == [x.dtype for x in exact]
        bev = names.index("bev")
        assert not torch.equal(rough[bev], exact[bev])
        torch.testing.assert_close(rough[bev], exact[bev], atol=0.15, rtol=0.1)
        uv, seen = _projected(made)
        with torch.autocast("cpu", torch.bfloat16):
            assert all(torch.equal(a, b) for a, b in zip(_projected(made), (uv, seen), strict=True))


def _projected(made):
    from cooptrack_core.model.pillars import project

    return project(made.bev_encoder.anchors, example_frames.camera_ahead(made)[None], made.config.image_size)


@pytest.mark.parametrize("kind", ["coop", "published"])
def test_padded_graphs_of_cooperation_give_the_plain_networks_values(kind):
    made = model(KINDS[kind])
    _, seen = example_frames.drive(made, 2)
    graphs = (
        (fixed_cooperation.HeadsGraph, fixed_cooperation.HEADS, heads(made, seen)),
        (fixed_cooperation.AlignmentGraph, fixed_cooperation.ALIGNMENT, alignments(made, seen, 20)),
        (fixed_cooperation.AssociationGraph, fixed_cooperation.ASSOCIATION, associations(made, seen, 20)),
        (fixed_cooperation.FusionGraph, fixed_cooperation.FUSION, fusions(made, seen, 20)),
    )
    with torch.inference_mode():
        for make, names, examples in graphs:
            graph = make(made)
            for example in examples:
                assert_close(graph(*example.inputs), example.expected, names.outputs)
    in_range = graphs[1][2][0].expected[-1]
    assert 0 < int(in_range.sum()) < 15  # of 15 instances some leave the vehicle's range
    assert int((graphs[2][2][0].expected[0][:, :15] > -1e3).sum()) > 0


def test_the_shift_of_a_message_is_the_same_without_a_loop_over_messages():
    generator = torch.Generator().manual_seed(3)
    way_m, message = torch.randn(40, 2, generator=generator), torch.arange(40) % 6
    is_track = torch.rand(40, generator=generator) < 0.5
    expected = common_shift(way_m, is_track, message)
    assert 0 < int((expected != 0).any(1).sum()) < 40
    assert torch.equal(common_shift_of_all(way_m, is_track, message), expected)


def test_weights_and_their_names_do_not_change():
    made = model(replace(KINDS["coop"]))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    recorded_network(made, CPU, record=played)
    FrameGraph(made)
    after = made.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
