"""Names of the published network: each of ours has one, each of theirs is ours, and shapes are the same."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from cooptrack_core.checkpoints import official
from cooptrack_core.checkpoints.store import expected_entries
from cooptrack_core.model.presets import get_preset

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = {
    name: (tuple(shape), getattr(torch, dtype))
    for name, shape, dtype, _ in json.loads(
        gzip.decompress((ROOT / "data/reference/published_keys.json.gz").read_bytes())
    )
}


def of_role(role):
    return {name: entry for name, entry in PUBLISHED.items() if role == "coop" or not official.COOPERATIVE.match(name)}


@pytest.mark.parametrize(("role", "count"), [("coop", 914), ("veh", 817), ("inf", 817)])
def test_published_entries_are_exactly_ours_in_name_shape_and_type(role, count):
    renamed, unknown = official.to_ours(of_role(role))
    assert unknown == [] and len(renamed) == count
    ours = expected_entries(get_preset(f"official_r50_{role}"))
    assert {name: (tuple(value.shape), value.dtype) for name, value in ours.items()} == renamed


def test_names_lead_there_and_back():
    ours = [official.our_name(name) for name in PUBLISHED]
    assert len(set(ours)) == len(PUBLISHED) == 914
    assert [official.published_name(name) for name in ours] == list(PUBLISHED)


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("img_backbone.layer3.5.bn2.num_batches_tracked", "backbone.layer3.5.bn2.num_batches_tracked"),
        (
            "pts_bbox_head.transformer.encoder.layers.2.attentions.1.deformable_attention.value_proj.weight",
            "bev_encoder.layers.2.spatial_attention.value_proj.weight",
        ),
        (
            "pts_bbox_head.transformer.encoder.layers.1.attentions.1.output_proj.bias",
            "bev_encoder.layers.1.spatial_attention.output_proj.bias",
        ),
        ("pts_bbox_head.transformer.decoder.layers.4.ffns.0.layers.1.bias", "decoder.layers.4.ffn.2.bias"),
        ("STReasoner.hist_motion_transformer.decoder.post_norm.bias", "reasoner.motion.norm.bias"),
        ("STReasoner.ffn.3.weight", "association.affinity.3.weight"),
        ("STReasoner.get_dummy_pts.0.weight", "unused.get_dummy_pts.0.weight"),
        ("reference_points.weight", "reference_points"),
    ],
)
def test_entry_has_its_name(published, ours):
    assert official.our_name(published) == ours and official.published_name(ours) == published


@pytest.mark.parametrize(
    "name", ["", "img_backbone", "img_backbone.", "x.STReasoner.wq", "STReasoner.wq.bias", "fc.bias"]
)
def test_foreign_name_has_no_counterpart(name):
    assert official.our_name(name) is None


def test_a_cooperative_network_is_told_by_its_names():
    assert official.is_cooperative(PUBLISHED) and not official.is_cooperative(of_role("veh"))
    assert not official.is_cooperative(dict.fromkeys(["STReasoner.track_cls.0.weight", "ffn.0.bias"]))
