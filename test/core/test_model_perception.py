"""Image features to boxes: BEV encoder and decoder, alone and together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_network import OFFICIAL_SMALL, SMALL, Perception, build, close, inputs

from cooptrack_core.model import box_code
from cooptrack_core.model.pillars import pillar_anchors, project
from cooptrack_core.model.presets import OFFICIAL, ModelConfig, Options

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("memory", [True, False])
def test_a_batch_equals_its_samples(memory: bool) -> None:
    model, batch = build(), list(inputs())
    if not memory:
        batch[3] = None  # type: ignore[call-overload]
    with torch.no_grad():
        together = model(*batch)
        for i in range(3):
            alone = model(*(None if x is None else x[i : i + 1] for x in batch))
            for dim, got, wanted in zip((0, 1, 1, 0, 0), together, alone, strict=True):
                close(got.narrow(dim, i, 1), wanted, 1e-5 if got is not together[2] else 1e-4)


def test_samples_see_different_cells() -> None:
    _, seen = project(pillar_anchors(SMALL), inputs()[1], SMALL.image_size)
    counts = seen.any(-1).sum(1)
    assert len(set(counts.tolist())) == 3
    assert int(counts.min()) > 0
    assert int(counts.max()) < SMALL.bev_cells


def test_published_batches_mix_their_samples() -> None:
    model, batch = build(OFFICIAL_SMALL), inputs()
    with torch.no_grad():
        together = model(*batch)[0]
        alone = [model(*(x[i : i + 1] for x in batch))[0] for i in range(3)]
    # Already the queries of the first sample's turned memory are its own.
    close(together[0], alone[0][0], 1e-5)
    assert float((together[1] - alone[1][0]).abs().max()) > 1e-2
    assert float((together[2] - alone[2][0]).abs().max()) > 1e-2


def test_without_gradient_the_result_is_the_same() -> None:
    """Also: gather and grid_sample agree through the whole network."""
    model, batch = build(), inputs()
    with torch.no_grad():
        without = model(*batch)
    for got, wanted in zip(model(*batch), without, strict=True):
        close(got, wanted, 1e-4)


def test_double_precision_agrees() -> None:
    model, batch = build(), inputs()
    with torch.no_grad():
        single = model(*batch)
        double = model.double()(*(x.double() for x in batch))
    for got, wanted in zip(single, double, strict=True):
        assert wanted.dtype == torch.float64
        close(got.double(), wanted, 2e-4)


def test_a_first_frame_differs_from_an_empty_memory() -> None:
    """Officially inference starts without memory and training with zeros; both are defined."""
    model, batch = build(), list(inputs(b=1))
    with torch.no_grad():
        maps = model.neck(model.backbone(batch[0]))
        first = model.bev_encoder(maps, batch[1], batch[2], None)
        zeros = model.bev_encoder(maps, batch[1], batch[2], torch.zeros_like(batch[3]))
    assert torch.isfinite(first).all() and torch.isfinite(zeros).all()
    assert float((first - zeros).abs().max()) > 1e-3


def test_a_camera_that_sees_no_cell_gives_a_finite_grid() -> None:
    model, batch = build(), list(inputs(b=1))
    into_the_sky = torch.eye(4)
    into_the_sky[2] = torch.tensor([0.0, 0.0, 1.0, -1000.0])
    with torch.no_grad():
        maps = model.neck(model.backbone(batch[0]))
        blind = model.bev_encoder(maps, into_the_sky[None], batch[2], batch[3])
        other = model.bev_encoder([x + 1.0 for x in maps], into_the_sky[None], batch[2], batch[3])
    assert torch.isfinite(blind).all()
    assert torch.equal(blind, other)


def test_permuted_queries_give_permuted_boxes() -> None:
    model, batch = build(), inputs()
    order = torch.randperm(SMALL.num_queries, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        bev = model.bev_encoder(model.neck(model.backbone(batch[0])), *batch[1:4])
        plain = model.decoder(bev, *batch[4:])
        permuted = model.decoder(bev, *(x[:, order] for x in batch[4:]))
    close(permuted.logits, plain.logits[:, :, order], 1e-5)
    close(permuted.boxes, plain.boxes[:, :, order], 1e-4)
    close(permuted.last_ref_pts, plain.last_ref_pts[:, order], 1e-5)
    close(permuted.feats, plain.feats[:, order], 1e-5)


def test_the_last_layer_alone_is_the_same() -> None:
    model, batch = build(), inputs()
    with torch.no_grad():
        every = model.decoder(batch[3], *batch[4:])
        last = model.decoder(batch[3], *batch[4:], all_layers=False)
    assert torch.equal(last.logits, every.logits[-1:])
    assert torch.equal(last.boxes, every.boxes[-1:])
    assert torch.equal(last.feats, every.feats)


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_query(count: int) -> None:
    model, batch = build(), inputs()
    with torch.no_grad():
        output = model.decoder(batch[3], *(x[:, :count] for x in batch[4:]))
    assert output.logits.shape == (2, 3, count, 3)
    assert output.boxes.shape == (2, 3, count, 10)
    assert torch.isfinite(output.boxes).all()


def test_box_centres_lie_in_the_point_range_and_equal_the_last_points() -> None:
    model, batch = build(), inputs()
    with torch.no_grad():
        output = model.decoder(batch[3], *batch[4:])
    centres = box_code.center(output.boxes)
    assert (centres >= torch.tensor(SMALL.point_range_m[:3])).all()
    assert (centres <= torch.tensor(SMALL.point_range_m[3:])).all()
    close(box_code.denormalise(output.last_ref_pts, SMALL.point_range_m), centres[-1], 1e-5)


def test_a_layer_does_not_learn_through_the_boxes_of_the_one_before() -> None:
    model, batch = build(), inputs()
    output = model.decoder(batch[3], *batch[4:])
    output.boxes[-1].sum().backward()
    first, last = model.decoder.box_branches[0], model.decoder.box_branches[-1]
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in first.parameters())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in last.parameters())


@pytest.mark.parametrize("options", [Options(), OFFICIAL])
def test_every_parameter_learns_with_finite_gradients(options: Options) -> None:
    """From the random weights with which training starts."""
    torch.manual_seed(0)
    model = Perception(replace(SMALL, options=options)).train()
    bev, logits, boxes, ref_pts, feats = model(*inputs())
    (bev.square().mean() + logits.square().mean() + boxes.square().mean() + ref_pts.mean() + feats.mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    touched = sum(int((parameter.grad != 0).any()) for parameter in model.parameters() if parameter.grad is not None)
    assert touched > 0.7 * len(list(model.parameters()))


def test_training_starts_with_rare_objects_at_the_reference_points() -> None:
    torch.manual_seed(0)
    model = Perception(SMALL).eval()
    batch = inputs()
    with torch.no_grad():
        _, logits, _, ref_pts, _ = model(*batch)
    assert 0.002 < float(logits.sigmoid().mean()) < 0.05
    assert float((ref_pts - batch[6]).abs().max()) < 0.2


def test_dropout_acts_in_training_only() -> None:
    model, batch = build(replace(SMALL, dropout=0.5)), inputs()
    with torch.no_grad():
        assert torch.equal(model(*batch)[0], model(*batch)[0])
        model.train()
        assert not torch.equal(model(*batch)[0], model(*batch)[0])


@pytest.mark.parametrize("config", [SMALL, OFFICIAL_SMALL])
def test_the_exported_network_equals_the_eager_one(config: ModelConfig) -> None:
    model, batch = build(config), inputs(config, b=1)
    program = torch.export.export(model, batch, strict=False)
    other = inputs(config, b=1, seed=5)
    with torch.no_grad():
        for got, wanted in zip(program.module()(*other), model(*other), strict=True):
            close(got, wanted, 1e-4)
