"""Who was paired before: what is remembered, for how long, and what the affinity hears of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from network_cases import aligned, random_queries, small_config

from cooptrack_core.model.alignment import RemoteInstances, as_queries
from cooptrack_core.model.association import GraphAssociation
from cooptrack_core.model.partners import known_tracks, object_key, remember, remembered
from cooptrack_core.model.queries import NO_ID, Queries

CONFIG = small_config()


def message(*keys: int, owner: int = 0) -> RemoteInstances:
    return replace(aligned(len(keys), CONFIG), object_key=torch.tensor(keys), owner=torch.full((len(keys),), owner))


def tracks(*ids: int) -> Queries:
    return random_queries(len(ids), CONFIG).with_(track_id=torch.tensor(ids))


def test_objects_of_two_senders_with_the_same_id_are_two_objects() -> None:
    ids = torch.tensor([1, 7, 2**40])
    keys = torch.cat([object_key(sender, ids) for sender in range(3)])
    assert len(set(keys.tolist())) == 9


def test_an_object_without_an_id_is_not_remembered() -> None:
    assert object_key(3, torch.tensor([0, 5])).tolist()[0] == NO_ID
    found = message(NO_ID, 5)
    kept = remember({}, found, torch.tensor([0, 1]), torch.tensor([10, 11]), torch.tensor([True, True]))
    assert kept == {5: 11}
    assert known_tracks(found, {NO_ID: 3, 5: 11}).tolist() != [NO_ID, NO_ID]


def test_what_went_into_a_track_is_remembered_until_the_track_ends() -> None:
    live = torch.tensor([True, True, False])
    kept = remember({}, message(5, 6, 7, 8), torch.tensor([1, -1, 2, 0]), torch.tensor([10, 11, 12]), live)
    assert kept == {5: 11, 8: 10}, "not what found no room, not what ended"
    silent = remember(kept, message(), torch.zeros(0, dtype=torch.int64), torch.tensor([11, 10]), live[:2])
    assert silent == kept, "a message without it ends nothing"
    assert remember(kept, message(), torch.zeros(0, dtype=torch.int64), torch.tensor([11, 10]), ~live[:2]) == {}
    assert known_tracks(message(8, 9, 5), kept).tolist() == [10, NO_ID, 11]


def test_an_object_that_goes_into_another_track_is_remembered_with_that_one() -> None:
    assert remember({5: 10}, message(5), torch.tensor([1]), torch.tensor([10, 11]), torch.tensor([True, True])) == {
        5: 11
    }


def test_memory_speaks_for_a_pair_and_against_others_of_both() -> None:
    ego = tracks(10, 11, NO_ID)
    found = message(5, 6)
    told = remembered(ego, found.owner, known_tracks(found, {5: 10}))
    assert told.tolist() == [[1.0, -1.0], [-1.0, 0.0], [-1.0, 0.0]]


def test_memory_of_one_agent_leaves_the_others_open() -> None:
    """Two agents may see the same object, each of them names it its own way."""
    ego = tracks(10, 11)
    both = RemoteInstances.cat([message(5, owner=0), message(6, 7, owner=1)])
    told = remembered(ego, both.owner, known_tracks(both, {5: 10}))
    assert told.tolist() == [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]


def test_a_track_that_has_ended_speaks_against_nobody() -> None:
    found = message(5, 6)
    assert not remembered(tracks(11, NO_ID), found.owner, known_tracks(found, {5: 10})).any()
    assert not remembered(tracks(NO_ID, NO_ID), found.owner, known_tracks(found, {})).any(), "no id is not an id"


@pytest.mark.parametrize("gate", [20.0, float("inf")])
def test_the_affinity_hears_of_it_the_same_in_training_and_at_inference(gate: float) -> None:
    config = replace(CONFIG, options=replace(CONFIG.options, distance_gate_m=gate))
    torch.manual_seed(0)
    module = GraphAssociation(config).eval()
    ego, theirs = random_queries(40, config), as_queries(aligned(30, config), config)
    before = torch.randint(-1, 2, (40, 30)).float()
    with torch.no_grad():
        plain, fast, forgetful = module.plain(ego, theirs, before), module(ego, theirs, before), module(ego, theirs)
    near = fast > -1e3
    torch.testing.assert_close(fast[near], plain[near], atol=1e-4, rtol=0)
    told = near & (before != 0)
    assert told.any() and ((fast - forgetful)[told].abs() > 1e-6).all()
    torch.testing.assert_close(fast[near & ~told], forgetful[near & ~told], atol=1e-5, rtol=0)
