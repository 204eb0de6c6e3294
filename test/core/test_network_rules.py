"""Rules of a finished network that users change: what is allowed, what it does, what it leaves alone."""

from __future__ import annotations

import pytest
import torch

from cooptrack_core.config import NetworkConfig
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.loading import load_network
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.rules import OF_CONFIG, OF_OPTIONS, fitted, with_rules
from cooptrack_core.types import CooptrackError

TINY = get_preset("tiny_coop")


def test_nothing_is_changed_unless_asked() -> None:
    assert with_rules(TINY, "") == TINY


def test_every_rule_can_be_given_as_it_is_and_fits_the_weights() -> None:
    rules = {name: getattr(TINY, name) for name in OF_CONFIG} | {
        name: getattr(TINY.options, name) for name in OF_OPTIONS
    }
    assert with_rules(TINY, ",".join(f"{name}={str(value).lower()}" for name, value in rules.items())) == TINY


def test_rules_are_changed_together() -> None:
    changed = with_rules(TINY, "birth_hits=2, affinity_threshold=0.5,protect_live_tracks=false,distance_gate_m=inf")
    assert changed.birth_hits == 2 and changed.options.affinity_threshold == 0.5
    assert not changed.options.protect_live_tracks and changed.options.distance_gate_m == float("inf")
    assert changed.options.remembered_pairs and changed.embed_dims == TINY.embed_dims


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("embed_dims=64", "network.rules: 'embed_dims' is unknown; known are score_threshold"),
        ("birth_hits=two", "network.rules: birth_hits=two: expected a number of 0 or more, such as 0"),
        ("birth_hits=-1", "network.rules: birth_hits=-1: expected a number"),
        ("score_threshold=nan", "network.rules: score_threshold=nan: expected a number"),
        ("protect_live_tracks=1", "network.rules: protect_live_tracks=1: expected true or false"),
        ("birth_hits", "network.rules: birth_hits=: expected a number"),
    ],
)
def test_what_cannot_be_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(CooptrackError) as caught:
        with_rules(TINY, text)
    assert said in str(caught.value)


def test_without_memory_the_same_weights_still_load() -> None:
    model = AgentModel(TINY)
    forgetful = with_rules(TINY, "remembered_pairs=false")
    other = AgentModel(forgetful)
    other.load_state_dict(fitted(model.state_dict(), forgetful))
    torch.testing.assert_close(other.association.edge[0].weight, model.association.edge[0].weight[:, :3])


def test_a_network_under_other_rules_keeps_its_fingerprint() -> None:
    """Whoever it cooperates with reads the same features."""
    plain = load_network(NetworkConfig(weights="untrained"), "inf")
    changed = load_network(NetworkConfig(weights="untrained", rules="birth_hits=3,max_misses=1"), "inf")
    assert changed.fingerprint == plain.fingerprint
    assert (changed.config.birth_hits, changed.config.max_misses) == (3, 1)
