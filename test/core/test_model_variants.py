"""Baselines and ablations: every variant runs in the pipeline and learns, and leaves out what it says."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from network_cases import FORWARD, random_queries, random_remote, small_config
from small_runtime import assert_same_outputs, config, frames, model, run, runtime, sent
from test_training_step import CARRY_ALL, DENSE_ONLY, SMALL, given, gradients, remote, run_and_differentiate, truth

from cooptrack_core.checkpoints import store
from cooptrack_core.config import NETWORK_FAMILIES, NETWORK_VARIANTS, NetworkConfig, VehicleConfig, from_parameters
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import CrossAgentAlignment, as_queries
from cooptrack_core.model.cost import sizes
from cooptrack_core.model.presets import FAMILIES, PRESETS, ROLES, VARIANTS, ModelConfig, get_preset
from cooptrack_core.model.temporal import HistoryReasoner
from cooptrack_core.networks import make_network
from cooptrack_core.training import step, supervision
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.step import Iteration, Sample
from cooptrack_core.types import SOURCE_REMOTE, CooptrackError

EVERY = pytest.mark.parametrize("family", VARIANTS)
ALIKE = ("tiny-h2", "tiny-h3", "tiny-seenaffinity", "tiny-unlocated")  # like another one, the last two in use
DISTINCT = pytest.mark.parametrize("family", [name for name in VARIANTS if name not in ALIKE])
EARLY = ("tiny-univ2x", "tiny-before")


def changed(family: str) -> dict[str, object]:
    """What a variant has otherwise than tiny."""
    ours, tiny = vars(VARIANTS[family]), vars(FAMILIES["tiny"])
    return {name: value for name, value in ours.items() if value != tiny[name] and name != "name"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def variant(family: str, role: str = "coop", **more: object) -> ModelConfig:
    return config(role, **(changed(family) | more))


def training_network(family: str, seed: int = 0) -> AgentModel:
    torch.manual_seed(seed)
    return AgentModel(replace(get_preset(f"{family}_coop"), **SMALL)).train()


def test_configuration_and_presets_name_the_same_families() -> None:
    assert tuple(FAMILIES) == NETWORK_FAMILIES and tuple(VARIANTS) == NETWORK_VARIANTS
    assert not set(VARIANTS) & {name.rpartition("_")[0] for name in PRESETS}


@EVERY
def test_variant_is_a_family_like_any_other_and_differs_in_one_thing(family: str) -> None:
    assert len(changed(family)) == 1
    for role in ROLES:
        made = get_preset(f"{family}_{role}")
        assert made.name == f"{family}_{role}" and made.role == role
    parameters = from_parameters(VehicleConfig, {"network.preset": family})
    assert parameters.network.preset == family


def test_unknown_variants_and_values_are_refused_in_one_line() -> None:
    with pytest.raises(CooptrackError, match=r"'tiny-late_coop' is unknown.*tiny_coop.*tiny-univ2x.*_coop"):
        get_preset("tiny-late_coop")
    with pytest.raises(CooptrackError, match="fusion 'late' is unknown; choose one of graph, univ2x, before_decoding"):
        replace(get_preset("tiny_coop"), fusion="late")
    with pytest.raises(CooptrackError, match="history_length -1 is not possible"):
        replace(get_preset("tiny_coop"), history_length=-1)


@EVERY
def test_pipeline_runs_with_messages_without_and_with_empty_ones(family: str) -> None:
    def messages(i: int) -> list:
        return [[sent(i)], [], [sent(i, count=0)], [sent(i), sent(i, agent="other", seed=1)]][i % 4]

    made = model(variant(family), bias=0.0)
    outputs = run(runtime(made.config, made=made), frames(4), messages)
    for output in outputs:
        ids = output.tracks.track_id.tolist()
        assert len(set(ids)) == len(ids)
        assert np.isfinite(output.tracks.center_m).all() and np.isfinite(output.tracks.score).all()
        listed = output.associations
        heard = [*zip(listed.pair_message_index, listed.pair_instance_index, strict=True)]
        heard += zip(listed.unmatched_remote_message_index, listed.unmatched_remote_instance_index, strict=True)
        assert len(set(heard)) == len(heard)
        assert ((listed.pair_affinity >= 0) & (listed.pair_affinity <= 1)).all()
    assert any((output.tracks.sources & SOURCE_REMOTE).any() for output in outputs)
    assert any(agents for output in outputs for agents in output.tracks.agents)


@DISTINCT
def test_empty_message_is_as_none(family: str) -> None:
    made = model(variant(family))
    empty = run(runtime(made.config, made=made), frames(3), lambda i: [sent(i, count=0)])
    assert_same_outputs(empty, run(runtime(made.config, made=made), frames(3)))


@DISTINCT
def test_same_frames_give_the_same_tracks(family: str) -> None:
    made = model(variant(family))
    assert_same_outputs(*(run(runtime(made.config, made=made), frames(3), lambda i: [sent(i)]) for _ in range(2)))


@EVERY
def test_every_parameter_learns_in_a_second_frame(family: str) -> None:
    network = training_network(family)
    with torch.no_grad():
        network.decoder.class_branches[-1][-1].bias.fill_(3.0)  # sure of everything: affinity is learned
        network.heads.class_head[-1].bias.fill_(3.0)  # and tracks are worth a partner
    iteration = Iteration(network, CARRY_ALL)
    iteration([Sample(given(0), truth((1, 2, 3, 4), [True] * 4))])
    # Some tracks are told of again, and some objects are new.
    everywhere = truth(tuple(range(1, 9)), [True] * 8)
    iteration._memories = [
        memory and replace(memory, live=_on_their_objects(memory.live)) for memory in iteration._memories
    ]
    outcome = run_and_differentiate(network, iteration, [Sample(given(1), everywhere, messages=[remote(everywhere)])])
    assert {name for name, _ in network.named_parameters()} - set(gradients(network)) == set(DENSE_ONLY)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(network).values())
    assert ("asso_loss" in outcome.losses) == (family not in EARLY)
    if family == "tiny-univ2x":
        assert gradients(network)["query_fusion.pair.weight"].any()


def _on_their_objects(live):
    """Tracks at the places of their objects; frame 1 is a metre farther on, which is within every gate."""
    objects = truth(tuple(live.track_id.tolist()))
    low, high = torch.tensor([-51.2, -51.2, -5.0]), torch.tensor([51.2, 51.2, 3.0])
    return live.with_(ref_pts=(objects.boxes[:, :3] - low) / (high - low), boxes=objects.codes())


@DISTINCT
def test_training_is_safe_without_objects_and_with_empty_messages(family: str) -> None:
    network = training_network(family)
    nothing = GroundTruth.empty()
    for messages in ([], [remote(nothing)]):
        outcome = run_and_differentiate(network, Iteration(network), [Sample(given(0), nothing, messages=messages)])
        assert torch.isfinite(outcome.total)
        assert all(torch.isfinite(gradient).all() for gradient in gradients(network).values())


@pytest.mark.parametrize("family", EARLY)
@pytest.mark.parametrize("told", [True, False])
def test_decoder_that_is_told_answers_for_what_the_roadside_sees(
    family: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def supervise_decoder(*args: object) -> object:
        asked.append(sorted(args[3].ids.tolist()))
        return supervision.supervise_decoder(*args)

    monkeypatch.setattr(step, "supervise_decoder", supervise_decoder)
    some = truth(seen=[True, False, False])
    Iteration(training_network(family))([Sample(given(0), some, messages=[remote(some)] if told else [])])
    assert asked == [[3, 5, 8] if told else [3]]


@pytest.mark.parametrize("family", EARLY)
def test_in_training_too_an_instance_beside_a_track_ends_after_the_decoder(family: str) -> None:
    network = training_network(family).eval()
    iteration = Iteration(network, CARRY_ALL)
    some = truth((1, 2, 3), [True] * 3)
    iteration([Sample(given(0), some)])
    iteration._memories = [m and replace(m, live=_on_their_objects(m.live)) for m in iteration._memories]
    outcome = iteration([Sample(given(1), some, messages=[remote(some)])])
    expected = network.config.num_queries - (3 if family == "tiny-before" else 0)
    assert len(outcome.assignments[0].track_id) == expected
    matched = outcome.assignments[0].matched
    assert outcome.assignments[0].track_id[-3:].tolist() == outcome.carried[0].track_id[-3:].tolist()
    assert sorted(outcome.assignments[0].track_id[matched].tolist()) == [1, 2, 3]


def test_without_latent_alignment_only_points_and_boxes_move() -> None:
    bare, full = small_config(latent_alignment=False), small_config()
    given_to_it = random_remote(5, bare)
    module = CrossAgentAlignment(bare)
    got, keep = module(given_to_it, FORWARD)
    expected, _ = CrossAgentAlignment(full)(given_to_it, FORWARD)
    assert keep.all() and not list(module.parameters())
    for name in ("query_feats", "query_embeds", "motion_feats"):
        assert torch.equal(getattr(got, name), getattr(given_to_it, name))
    assert torch.equal(got.ref_pts, expected.ref_pts) and torch.equal(got.boxes, expected.boxes)


def test_without_motion_features_boxes_come_from_semantics_and_nothing_of_motion_is_left() -> None:
    made = model(variant("tiny-nomdfe"))
    assert not [name for name, _ in made.named_parameters() if "motion" in name]
    queries = random_queries(7, made.config)
    with torch.no_grad():
        refined = made.refine(queries)
        assert torch.equal(made.refine(queries.with_(motion_feats=queries.motion_feats + 1.0)).boxes, refined.boxes)
        assert not torch.equal(made.refine(queries.with_(query_feats=queries.query_feats + 1.0)).boxes, refined.boxes)
    unit = model(variant("tiny-nomdfe", "inf"), bias=0.0)
    outputs = run(runtime(unit.config, made=unit), frames(2))
    assert len(outputs[-1].instances) > 0 and not outputs[-1].instances.features.motion.any()


def test_without_history_queries_are_as_the_decoder_leaves_them() -> None:
    bare = small_config(history_length=0)
    module, queries = HistoryReasoner(bare), random_queries(5, small_config(history_length=0), seed=2)
    assert module(queries) is queries and not list(module.parameters())
    assert as_queries(random_remote(3, bare), bare).history_feats.shape == (3, 0, bare.embed_dims)


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_tracks_remember_as_many_frames_as_the_history_has_slots(length: int) -> None:
    made = model(variant(f"tiny-h{length}"), bias=0.0)
    network = runtime(made.config, made=made)
    for i, frame in enumerate(frames(5)):
        network.step(frame, frame.T_map_from_sensor, [sent(i)])
    memory = network._session.memory
    assert memory is not None and len(memory.live) > 0
    assert memory.live.history_padding.shape[1] == length
    assert (~memory.live.history_padding).sum(1).max().item() == length if length else True


@pytest.mark.parametrize("family", ["tiny-univ2x", "tiny-nomdfe"])
def test_untrained_vehicle_takes_what_its_roadside_unit_sends(family: str) -> None:
    config = NetworkConfig(preset=family, weights="untrained", threads=1)
    unit, car = (make_network(config, role) for role in ("inf", "coop"))
    assert unit.preset == f"{family}_inf" and car.preset == f"{family}_coop"
    looked = unit.step(frames(1)[0], np.eye(4), ())
    message = over_the_air(sent(0, instances=looked.instances), "fp16")
    assert len(message.instances) > 0 and car.understands(message)
    assert len(car.step(frames(1)[0], np.eye(4), [message]).associations.messages) == 1


def test_weights_of_a_variant_are_found_by_name_and_load(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "tiny-nocaa", variant("tiny-nocaa"))
    made = AgentModel(get_preset("tiny-nocaa_coop"))
    store.save(tmp_path / "tiny-nocaa_coop.safetensors", made)
    monkeypatch.setattr(store, "SHIPPED", tmp_path)
    path = store.find("tiny-nocaa", "tiny-nocaa_coop")
    assert path is not None and store.load(path, "tiny-nocaa_coop").config == made.config
    with pytest.raises(CooptrackError, match="expected weights of preset tiny_coop"):
        store.load(path, "tiny_coop")


def test_variants_have_no_parameters_that_they_do_not_use() -> None:
    """What tiny has and a variant does not, and the other way round."""
    tiny = set(sizes(get_preset("tiny_coop")).parameters)
    parts = {family: set(sizes(get_preset(f"{family}_coop")).parameters) for family in VARIANTS}
    assert tiny - parts["tiny-before"] == {"association", "aggregation"}
    assert tiny ^ parts["tiny-univ2x"] == {"association", "aggregation", "query_fusion"}
    assert tiny - parts["tiny-nomdfe"] == {"motion_extractor"}
    names = {name for name, _ in AgentModel(get_preset("tiny-before_coop")).alignment.named_parameters()}
    assert {re.split(r"[._]", name)[0] for name in names} == {"rotation", "translation", "feature"}
