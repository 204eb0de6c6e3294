"""Names of the published checkpoints and ours, in both directions (spec 9).

A rule is a pair of templates. `{i}` stands for a number, `{rest}` for anything; a placeholder has the same
value on both sides. The first rule that fits decides. No entry changes its shape. Names that no rule knows have
no counterpart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

# What only a cooperative network has, in published names.
COOPERATIVE = re.compile(
    r"crossview_alignment\.|STReasoner\.(wq|wk|we|ffn|fuse_\w+|cross_domain_\w+|get_\w+)(\.|$)",
)

_HEAD = "pts_bbox_head"
_BEV = "pts_bbox_head.transformer"
_ENCODER = "pts_bbox_head.transformer.encoder.layers.{i}"
_DECODER = "pts_bbox_head.transformer.decoder.layers.{i}"

# Transformer layers without deformable attention: the published one and ours.
_STACKS = {
    "STReasoner.hist_temporal_transformer": "reasoner.history",
    "STReasoner.spatial_transformer": "reasoner.spatial",
    "STReasoner.hist_motion_transformer": "reasoner.motion",
}


def _ffn(published: str, ours: str) -> list[tuple[str, str]]:
    """Two linear layers; the first published one sits in a sequence with its activation."""
    return [
        (f"{published}.ffns.0.layers.0.0.{{rest}}", f"{ours}.ffn.0.{{rest}}"),
        (f"{published}.ffns.0.layers.1.{{rest}}", f"{ours}.ffn.2.{{rest}}"),
    ]


def _stack(published: str, ours: str) -> list[tuple[str, str]]:
    """A transformer of the reasoner, with a norm after its last layer."""
    layer, our_layer = f"{published}.decoder.layers.{{i}}", f"{ours}.layers.{{i}}"
    return [
        (f"{layer}.attentions.0.attn.{{rest}}", f"{our_layer}.self_attention.{{rest}}"),
        (f"{layer}.attentions.1.attn.{{rest}}", f"{our_layer}.cross_attention.{{rest}}"),
        *_ffn(layer, our_layer),
        (f"{layer}.norms.{{rest}}", f"{our_layer}.norms.{{rest}}"),
        (f"{published}.decoder.post_norm.{{rest}}", f"{ours}.norm.{{rest}}"),
    ]


RULES: tuple[tuple[str, str], ...] = (
    # Backbone (torchvision names), neck.
    ("img_backbone.{rest}", "backbone.{rest}"),
    ("img_neck.lateral_convs.{i}.conv.{rest}", "neck.lateral.{i}.{rest}"),
    ("img_neck.fpn_convs.{i}.conv.{rest}", "neck.output.{i}.{rest}"),
    # BEV encoder.
    (f"{_HEAD}.bev_embedding.weight", "bev_encoder.queries.embedding"),
    (f"{_HEAD}.positional_encoding.row_embed.weight", "bev_encoder.queries.row"),
    (f"{_HEAD}.positional_encoding.col_embed.weight", "bev_encoder.queries.column"),
    (f"{_BEV}.can_bus_mlp.norm.{{rest}}", "bev_encoder.queries.can_bus_mlp.4.{rest}"),
    (f"{_BEV}.can_bus_mlp.{{rest}}", "bev_encoder.queries.can_bus_mlp.{rest}"),
    (f"{_BEV}.level_embeds", "bev_encoder.level_embeds"),
    (f"{_BEV}.cams_embeds", "bev_encoder.camera_embeds"),
    (f"{_ENCODER}.attentions.0.{{rest}}", "bev_encoder.layers.{i}.temporal_attention.{rest}"),
    (f"{_ENCODER}.attentions.1.output_proj.{{rest}}", "bev_encoder.layers.{i}.spatial_attention.output_proj.{rest}"),
    (f"{_ENCODER}.attentions.1.deformable_attention.{{rest}}", "bev_encoder.layers.{i}.spatial_attention.{rest}"),
    *_ffn(_ENCODER, "bev_encoder.layers.{i}"),
    (f"{_ENCODER}.norms.{{rest}}", "bev_encoder.layers.{i}.norms.{rest}"),
    # Queries.
    ("reference_points.weight", "reference_points"),
    ("query_feat_embedding.weight", "query_features"),
    ("query_embedding.{rest}", "query_embedding.{rest}"),
    # Decoder.
    (f"{_DECODER}.attentions.0.attn.{{rest}}", "decoder.layers.{i}.self_attention.{rest}"),
    (f"{_DECODER}.attentions.1.{{rest}}", "decoder.layers.{i}.cross_attention.{rest}"),
    *_ffn(_DECODER, "decoder.layers.{i}"),
    (f"{_DECODER}.norms.{{rest}}", "decoder.layers.{i}.norms.{rest}"),
    (f"{_HEAD}.cls_branches.{{rest}}", "decoder.class_branches.{rest}"),
    (f"{_HEAD}.reg_branches.{{rest}}", "decoder.box_branches.{rest}"),
    # Motion features, history reasoning, refinement.
    ("MotionExtractor.pointnet.{rest}", "motion_extractor.point_net.{rest}"),
    ("MotionExtractor.velonet.{rest}", "motion_extractor.velocity_net.{rest}"),
    ("MotionExtractor.fusion_net.{rest}", "motion_extractor.fusion.{rest}"),
    ("STReasoner.ts_query_embed.{rest}", "reasoner.time_embedding.{rest}"),
    *(rule for published, ours in _STACKS.items() for rule in _stack(published, ours)),
    ("STReasoner.track_cls.{rest}", "heads.class_head.{rest}"),
    ("STReasoner.track_reg.{rest}", "heads.box_head.{rest}"),
    # Alignment.
    ("crossview_alignment.rot_mlp.{rest}", "alignment.rotation_mlp.{rest}"),
    ("crossview_alignment.trans_mlp.{rest}", "alignment.translation_mlp.{rest}"),
    ("crossview_alignment.feat_input_proj.{rest}", "alignment.feature_in.{rest}"),
    ("crossview_alignment.feat_output_proj.{rest}", "alignment.feature_out.{rest}"),
    ("crossview_alignment.embed_input_proj.{rest}", "alignment.embedding_in.{rest}"),
    ("crossview_alignment.embed_output_proj.{rest}", "alignment.embedding_out.{rest}"),
    ("crossview_alignment.motion_input_proj.{rest}", "alignment.motion_in.{rest}"),
    ("crossview_alignment.motion_output_proj.{rest}", "alignment.motion_out.{rest}"),
    # Association.
    ("STReasoner.get_node_veh.{rest}", "association.ego_node.{rest}"),
    ("STReasoner.get_node_inf.{rest}", "association.remote_node.{rest}"),
    ("STReasoner.get_edge.{rest}", "association.edge.{rest}"),
    ("STReasoner.wq", "association.wq"),
    ("STReasoner.wk", "association.wk"),
    ("STReasoner.we", "association.we"),
    ("STReasoner.ffn.{rest}", "association.affinity.{rest}"),
    # Aggregation.
    ("STReasoner.fuse_feats.{rest}", "aggregation.fuse_features.{rest}"),
    ("STReasoner.fuse_motion.{rest}", "aggregation.fuse_motion.{rest}"),
    ("STReasoner.fuse_embed.{rest}", "aggregation.fuse_embeddings.{rest}"),
    ("STReasoner.cross_domain_query.{rest}", "aggregation.cross_domain_features.{rest}"),
    ("STReasoner.cross_domain_motion.{rest}", "aggregation.cross_domain_motion.{rest}"),
    # Never used.
    ("bev_embed_linear.{rest}", "unused.bev_embed_linear.{rest}"),
    ("bev_pos_linear.{rest}", "unused.bev_pos_linear.{rest}"),
    ("STReasoner.get_dummy_node.{rest}", "unused.get_dummy_node.{rest}"),
    ("STReasoner.get_dummy_pts.{rest}", "unused.get_dummy_pts.{rest}"),
    (f"{_HEAD}.code_weights", "unused.head_code_weights"),
    ("criterion.code_weights", "unused.criterion_code_weights"),
)

_PLACEHOLDERS = {r"\{i\}": r"(?P<i>\d+)", r"\{rest\}": r"(?P<rest>.+)"}


def _pattern(template: str) -> re.Pattern[str]:
    text = re.escape(template)
    for placeholder, group in _PLACEHOLDERS.items():
        text = text.replace(placeholder, group)
    return re.compile(text)


_TO_OURS = tuple((_pattern(published), ours) for published, ours in RULES)
_TO_PUBLISHED = tuple((_pattern(ours), published) for published, ours in RULES)


def _translate(name: str, rules: tuple[tuple[re.Pattern[str], str], ...]) -> str | None:
    for pattern, template in rules:
        if match := pattern.fullmatch(name):
            return template.format(**match.groupdict())
    return None


def our_name(published: str) -> str | None:
    """Our name of a published entry, None if it has no counterpart."""
    return _translate(published, _TO_OURS)


def published_name(ours: str) -> str | None:
    """The published name of an entry of ours, None if it has no counterpart."""
    return _translate(ours, _TO_PUBLISHED)


def to_ours(entries: Mapping[str, Value]) -> tuple[dict[str, Value], list[str]]:
    """Published entries under our names, and the names that have no counterpart."""
    named = {name: our_name(name) for name in entries}
    known = {ours: entries[name] for name, ours in named.items() if ours is not None}
    return known, [name for name, ours in named.items() if ours is None]


def is_cooperative(names: Mapping[str, object]) -> bool:
    """Whether published names are those of a cooperative network."""
    return any(COOPERATIVE.match(name) for name in names)
