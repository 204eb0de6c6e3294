"""A vehicle's cooperation in functions of tensors whose shapes never change, for export.

    alignment     instances of one sender, padded to a fixed number, and a pose -> the same in the vehicle's frame
    association   [V] queries and [I] aligned instances with a mask -> their affinity
    fusion        P pairs, padded to the same number -> what becomes of each
    heads         [N] queries -> final classes and boxes (of roadside units too)

Between them stays in Python what no graph can hold: the rotation nearest to a stored pose, pairs of highest total
affinity, completion, the mean of a query with several partners, ids. Only of fusion after decoding (`graph`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances, move
from cooptrack_core.model.association import UNSCORED, distances_m
from cooptrack_core.model.fixed_shapes import Tensors, fixed
from cooptrack_core.model.queries import Queries

STREAMS = ("query_feats", "query_embeds", "motion_feats", "ref_pts", "boxes")
NODE = ("query_feats", "motion_feats", "ref_pts")
KNOWN = ("is_track", "measured", "hits", "scores")


@dataclass(frozen=True)
class Names:
    """Of the inputs and outputs of a graph, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


ALIGNMENT = Names((*STREAMS, "present", "T_vehicle_from_infra"), (*(f"aligned_{name}" for name in STREAMS), "in_range"))
ASSOCIATION = Names(
    (*(f"ego_{name}" for name in NODE), *(f"remote_{name}" for name in NODE), "before", "present"), ("affinity",)
)
FUSION = Names(
    (*(f"ego_{name}" for name in STREAMS + KNOWN), *(f"remote_{name}" for name in STREAMS), "message", "present"),
    tuple(f"fused_{name}" for name in STREAMS),
)
HEADS = Names(STREAMS, ("out_query_feats", "out_motion_feats", "out_logits", "out_scores", "out_boxes", "out_ref_pts"))


class _Graph(nn.Module):
    needed: tuple[str, ...] = ()  # modules of the network; the others would only make its file larger

    def __init__(self, model: AgentModel) -> None:
        super().__init__()
        self.model = fixed(model)
        for name, _ in list(self.model.named_children()):
            if name not in self.needed:
                delattr(self.model, name)

    def queries(self, names: tuple[str, ...], values: Tensors) -> Queries:
        """Queries of which only some fields are told."""
        config = self.model.config
        blank = Queries.empty(
            len(values[0]),
            dims=config.embed_dims,
            classes=config.num_classes,
            history=config.history_length,
            like=values[0],
        )
        return blank.with_(**dict(zip(names, values, strict=True)))


class AlignmentGraph(_Graph):
    """AgentModel.align of one message; the pose has to be a rotation already."""

    needed = ("alignment", "motion_extractor", "query_embedding")

    def __init__(self, model: AgentModel) -> None:
        super().__init__(model)
        alignment = self.model.alignment
        options = replace(alignment.config.options, orthonormalise_extrinsics=False)
        alignment.config = replace(alignment.config, options=options)

    def forward(self, *inputs: Tensor) -> Tensors:
        """ALIGNMENT.inputs, [I, .] each, present [I] bool, [4, 4] -> ALIGNMENT.outputs, zero where not in range."""
        *streams, present, T_vehicle_from_infra = inputs
        index = torch.zeros(len(streams[0]), dtype=torch.int64)
        given = RemoteInstances(**dict(zip(STREAMS, streams, strict=True)), owner=index, row=index, object_key=index)
        in_range = move(given, T_vehicle_from_infra, self.model.alignment.config, keep_all=True).keep & present
        found = self.model.align([(given, T_vehicle_from_infra)])
        return (*(_where(in_range, getattr(found, name)) for name in STREAMS), in_range)


class AssociationGraph(_Graph):
    """The affinity, as a vehicle uses it: pairs that can not match have UNSCORED."""

    needed = ("association",)

    def forward(self, *inputs: Tensor) -> Tensors:
        """ASSOCIATION.inputs: [V, .] three times, [I, .] three times, before [V, I], present [I] bool -> [V, I]."""
        ego, remote = self.queries(NODE, inputs[:3]), self.queries(NODE, inputs[3:6])
        before, present = inputs[6:]
        logits = self.model.association.plain(ego, remote, before)
        near = distances_m(ego, remote, self.model.config) <= self.model.config.options.distance_gate_m
        return (torch.where(near & present, logits, UNSCORED),)


class FusionGraph(_Graph):
    """Aggregation of pairs, each on its own but for what a message puts off all its tracks alike."""

    needed = ("aggregation",)

    def forward(self, *inputs: Tensor) -> Tensors:
        """FUSION.inputs, [P, .] each, message [P] int64, present [P] bool -> FUSION.outputs, zero where absent."""
        *streams, message, present = inputs
        split = len(STREAMS) + len(KNOWN)
        ours = self.queries(STREAMS + KNOWN, tuple(streams[:split]))
        theirs = self.queries(STREAMS, tuple(streams[split:]))
        ours = ours.with_(is_track=ours.is_track & present)
        layers, motion = self.model.aggregation, ours.motion_feats
        if self.model.config.motion_features:
            motion = layers.mixed(layers.fuse_motion, motion, theirs.motion_feats)
        ref_pts, boxes = layers.between(ours, theirs, message)
        feats = layers.mixed(layers.fuse_features, ours.query_feats, theirs.query_feats)
        embeds = layers.mixed(layers.fuse_embeddings, ours.query_embeds, theirs.query_embeds)
        fused = (feats, embeds, motion, ref_pts, ours.boxes if boxes is None else boxes)
        return tuple(_where(present, values) for values in fused)


class HeadsGraph(_Graph):
    """AgentModel.alone: cross-domain layers where there are any, then the refinement heads."""

    needed = ("aggregation", "heads")

    def forward(self, *inputs: Tensor) -> Tensors:
        """HEADS.inputs, [N, .] each -> HEADS.outputs, [N, .] each."""
        done = self.model.alone(self.queries(STREAMS, inputs))
        return done.query_feats, done.motion_feats, done.logits, done.scores, done.boxes, done.ref_pts


def _where(rows: Tensor, values: Tensor) -> Tensor:
    """[I, .] values, zero in other rows."""
    return torch.where(rows[:, None], values, torch.zeros_like(values))
