"""Networks of the official presets with the synthetic weights of the reference vectors."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import reference_weights
import torch

from cooptrack_core.checkpoints.official import published_name
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.queries import Queries


@functools.cache
def reference_model(role: str) -> AgentModel:
    """official_r50 of a role (inf, veh, coop), in eval mode. Shared: leave it as it is."""
    model = AgentModel(get_preset(f"official_r50_{role}"))
    fill_weights(model, role)
    return model.eval()


def fill_weights(model: AgentModel, role: str) -> None:
    """Overwrites every parameter and buffer that has a published name."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            published = published_name(name)
            assert published is not None, f"{name} has no published name"
            tensor.copy_(torch.from_numpy(reference_weights.fill(published, tuple(tensor.shape), role)))


def queries_of(arrays: Mapping[str, np.ndarray], prefix: str) -> Queries:
    """Queries [N] from reference arrays named `<prefix>cache_query_feats` and so on; what is missing is blank."""
    feats = torch.from_numpy(arrays[f"{prefix}cache_query_feats"])
    blank = Queries.empty(len(feats), dims=feats.shape[1], classes=3, history=4, like=feats)
    known = {
        field: torch.from_numpy(np.asarray(arrays[prefix + name]))
        for field, name in QUERY_ARRAYS.items()
        if prefix + name in arrays
    }
    return blank.with_(**known)


# Field of Queries: name in the published network.
QUERY_ARRAYS = {
    "ref_pts": "cache_ref_pts",
    "query_embeds": "cache_query_embeds",
    "query_feats": "cache_query_feats",
    "motion_feats": "cache_motion_feats",
    "boxes": "cache_bboxes",
    "logits": "cache_logits",
    "scores": "cache_scores",
    "history_feats": "hist_embeds",
    "history_motion": "hist_motion_embeds",
    "history_padding": "hist_padding_masks",
    "track_id": "obj_idxes",
}
