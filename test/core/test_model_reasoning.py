"""Motion features, history reasoning and refinement: numbers of the published network, and what must hold for any."""

from __future__ import annotations

import pytest
import torch
from network_cases import assert_same, random_queries, reference, small_config, with_reference_weights
from reference_model import QUERY_ARRAYS
from torch import Tensor

from cooptrack_core.model.heads import RefinementHeads
from cooptrack_core.model.motion_features import MotionExtractor
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.model.queries import MOTION_NUMBERS, Queries
from cooptrack_core.model.temporal import HistoryReasoner, push
from cooptrack_core.model.transformer import TransformerStack


def build(config: ModelConfig, seed: int = 0) -> tuple[HistoryReasoner, RefinementHeads]:
    torch.manual_seed(seed)
    return HistoryReasoner(config).eval(), RefinementHeads(config).eval()


def one(queries: Queries) -> Queries:
    return Queries.stack([queries])


def published(given: dict[str, Tensor], side: str) -> Queries:
    """Queries from the published names of their fields."""
    values = {ours: given[f"{side}/{theirs}"] for ours, theirs in QUERY_ARRAYS.items()}
    ids = values["track_id"]
    none = torch.zeros_like(ids)
    motion = torch.zeros(len(ids), MOTION_NUMBERS)
    return Queries(**values, is_track=none.bool(), misses=none, hits=none, measured=ids > -9, motion=motion)


def test_motion_features_equal_the_published_network() -> None:
    given = reference("motion_extractor.npz")
    module = with_reference_weights(MotionExtractor(get_preset("official_r50_inf")), "motion_extractor", "inf")
    with torch.no_grad():
        feats = module(given["cache_bboxes"])
    torch.testing.assert_close(feats, given["cache_motion_feats"], atol=1e-4, rtol=0)


def test_history_reasoning_and_refinement_equal_the_published_network() -> None:
    given = reference("st_reasoner_single.npz")
    config = get_preset("official_r50_inf")
    reasoner = with_reference_weights(HistoryReasoner(config), "reasoner", "inf")
    heads = with_reference_weights(RefinementHeads(config), "heads", "inf")
    with torch.no_grad():
        refined = heads(reasoner(one(published(given, "in")))).select(0)
    assert_same(refined, published(given, "out"), atol=1e-4)


def test_motion_features_do_not_depend_on_where_a_box_is() -> None:
    module = MotionExtractor(small_config()).double()
    code = torch.randn(7, 10, dtype=torch.float64)
    moved = code.clone()
    moved[:, [0, 1, 4]] += 13.0
    torch.testing.assert_close(module(moved), module(code))


def test_push_drops_the_oldest_slot() -> None:
    queries = random_queries(5, small_config())
    pushed = push(queries)
    torch.testing.assert_close(pushed.history_feats[:, :-1], queries.history_feats[:, 1:])
    torch.testing.assert_close(pushed.history_motion[:, -1], queries.motion_feats)
    assert not pushed.history_padding[:, -1].any()
    assert torch.equal(pushed.history_padding[:, :-1], queries.history_padding[:, 1:])


def test_padding_slots_do_not_matter() -> None:
    config = small_config()
    reasoner, heads = build(config)
    queries = random_queries(12, config)
    assert queries.history_padding.any() and not queries.history_padding.all()
    hidden = queries.history_padding[..., None]
    other = queries.with_(
        history_feats=torch.where(hidden, 1e3, queries.history_feats),
        history_motion=torch.where(hidden, -1e3, queries.history_motion),
    )
    with torch.no_grad():
        a, b = heads(reasoner(one(queries))), heads(reasoner(one(other)))
    torch.testing.assert_close(a.logits, b.logits)
    torch.testing.assert_close(a.boxes, b.boxes)


def test_valid_slots_matter() -> None:
    config = small_config()
    reasoner, _ = build(config)
    queries = random_queries(4, config)
    valid = queries.with_(history_padding=torch.zeros_like(queries.history_padding))
    with torch.no_grad():
        a = reasoner(one(valid))
        b = reasoner(one(valid.with_(history_feats=valid.history_feats + 1.0)))
    assert (a.query_feats - b.query_feats).abs().max() > 1e-3
    torch.testing.assert_close(a.motion_feats, b.motion_feats)


def test_order_of_queries_does_not_matter() -> None:
    config = small_config()
    reasoner, heads = build(config)
    queries = random_queries(15, config)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        straight = heads(reasoner(one(queries))).select(0)
        shuffled = heads(reasoner(one(queries.select(order)))).select(0)
    assert_same(shuffled, straight.select(order))


@pytest.mark.parametrize("training", [False, True])
def test_batch_equals_single(training: bool) -> None:
    config = small_config(dropout=0.0)
    reasoner, heads = build(config)
    reasoner.train(training)
    samples = [random_queries(9, config, seed) for seed in range(3)]
    batch = heads(reasoner(Queries.stack(samples))).unbind()
    for together, sample in zip(batch, samples, strict=True):
        assert_same(together.detach(), heads(reasoner(one(sample))).select(0).detach())


@pytest.mark.parametrize("past", [None, 0, 3])
def test_inference_equals_training_without_dropout(past: int | None) -> None:
    config = small_config(dropout=0.0)
    reasoner, _ = build(config)
    queries = one(random_queries(9, config))
    if past is not None:
        slots = torch.arange(config.history_length)
        queries = queries.with_(history_padding=(slots < config.history_length - past).expand(1, 9, -1))
    trained = reasoner.train()(queries).detach()
    with torch.inference_mode():
        assert_same(reasoner.eval()(queries), trained)


def test_single_precision_agrees_with_double() -> None:
    config = small_config()
    reasoner, heads = build(config)
    queries = random_queries(20, config, dtype=torch.float64)
    with torch.no_grad():
        single = heads(reasoner(one(queries.to(torch.float32))))
        double = heads.double()(reasoner.double()(one(queries)))
    assert double.boxes.dtype == torch.float64
    assert_same(single, double.to(torch.float32), atol=1e-4)


def test_history_holds_no_gradient() -> None:
    config = small_config()
    reasoner, heads = build(config)
    queries = one(random_queries(6, config))
    feats, motion = queries.query_feats.requires_grad_(), queries.motion_feats.requires_grad_()
    reasoned = reasoner(queries.with_(query_feats=feats, motion_feats=motion))
    torch.testing.assert_close(reasoned.history_feats[..., -1, :], reasoned.query_feats.detach())
    torch.testing.assert_close(reasoned.history_motion[..., -1, :], reasoned.motion_feats.detach())
    assert not reasoned.history_feats.requires_grad
    assert not reasoned.history_motion.requires_grad
    refined = heads(reasoned)
    (refined.logits.sum() + refined.boxes.sum()).backward()
    assert feats.grad is not None and motion.grad is not None
    assert feats.grad.abs().sum() > 0 and motion.grad.abs().sum() > 0


def test_gradients_are_finite() -> None:
    config = small_config()
    reasoner, heads = build(config)
    extractor = MotionExtractor(config)
    queries = one(random_queries(6, config))
    queries = queries.with_(motion_feats=extractor(torch.zeros_like(queries.boxes)))
    refined = heads(reasoner.train()(queries))
    (refined.scores.sum() + refined.boxes.square().sum()).backward()
    for module in (reasoner, heads, extractor):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_query(count: int) -> None:
    config = small_config()
    reasoner, heads = build(config)
    with torch.no_grad():
        refined = heads(reasoner(one(random_queries(count, config))))
    assert refined.boxes.shape == (1, count, 10)
    assert torch.isfinite(refined.boxes).all()
    assert MotionExtractor(config)(torch.zeros(count, 10)).shape == (count, config.embed_dims)


def test_single_frame_history_is_possible() -> None:
    config = small_config(history_length=1)
    reasoner, _ = build(config)
    with torch.no_grad():
        reasoned = reasoner(one(random_queries(3, config)))
    assert torch.isfinite(reasoned.query_feats).all()


def test_training_starts_with_equal_histories_and_rare_objects() -> None:
    config = small_config()
    reasoner, heads = build(config)
    for a, b in zip(reasoner.history.parameters(), reasoner.motion.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not next(reasoner.history.parameters()).equal(next(reasoner.spatial.parameters()))
    assert heads.class_head[-1].bias.sigmoid().tolist() == pytest.approx([0.01] * 3)


def test_short_cut_for_one_target_is_plain_attention() -> None:
    config = small_config(dropout=0.0)
    stack = TransformerStack(config).double()
    x, memory = torch.randn(5, 1, 32, dtype=torch.float64), torch.randn(5, 4, 32, dtype=torch.float64)
    query_pos, key_pos = torch.randn(1, 32, dtype=torch.float64), torch.randn(4, 32, dtype=torch.float64)
    padding = torch.tensor([[True, True, True, False]] * 4 + [[False] * 4])
    plain = stack.train()(x, query_pos, memory, key_pos, padding)
    with torch.no_grad():
        torch.testing.assert_close(stack.eval()(x, query_pos, memory, key_pos, padding), plain.detach())
