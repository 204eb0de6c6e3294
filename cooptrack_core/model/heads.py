"""Last heads of a frame: class from semantics, box from motion (spec 3.2.4), or all from semantics."""

from __future__ import annotations

from torch import nn

from cooptrack_core.model import box_code
from cooptrack_core.model.mlp import normed_mlp, set_prior
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries

POSITIVE_PRIOR = 0.01  # share of queries that show an object, where training starts


class RefinementHeads(nn.Module):
    """Two small nets that work on each query alone."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.point_range_m, self.from_motion = config.point_range_m, config.motion_features
        widths = (config.embed_dims,) * 3
        self.class_head = normed_mlp(widths, config.num_classes)
        self.box_head = normed_mlp(widths, box_code.CODE_SIZE)
        set_prior(self.class_head[-1], POSITIVE_PRIOR)
        self.residual = config.options.residual_boxes
        if self.residual:  # boxes first stay as they are
            nn.init.normal_(self.box_head[-1].get_parameter("weight"), std=0.01)
            nn.init.zeros_(self.box_head[-1].get_parameter("bias"))

    def forward(self, queries: Queries) -> Queries:
        """[..., N] queries -> the same with logits, scores, boxes (m, m/s) and reference points replaced."""
        logits = self.class_head(queries.query_feats)  # [..., N, K]
        deltas = self.box_head(queries.motion_feats if self.from_motion else queries.query_feats)  # [..., N, 10]
        base = queries.boxes if self.residual else None
        boxes, ref_pts = box_code.refine(deltas, queries.ref_pts, self.point_range_m, base)
        return queries.with_(logits=logits, scores=logits.sigmoid().amax(-1), boxes=boxes, ref_pts=ref_pts)
