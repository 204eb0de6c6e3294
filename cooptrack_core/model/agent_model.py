"""The network of one agent, in the order in which a frame passes through it (spec 1.2, 1.3).

    image -> backbone -> neck -> BEV encoder -> decoder -> motion features -> history reasoning
          -> [vehicle: alignment of messages -> association -> aggregation] -> refinement heads

With fusion before decoding (ModelConfig.fusion) the aligned messages enter the decoder instead. A roadside unit and
a vehicle alone end at the heads; their networks have no cooperative modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cooptrack_core.model import early_fusion
from cooptrack_core.model.aggregation import Aggregation
from cooptrack_core.model.alignment import CrossAgentAlignment, RemoteInstances, as_queries
from cooptrack_core.model.association import GraphAssociation, match_by_affinity, match_by_distance
from cooptrack_core.model.backbone import build_backbone
from cooptrack_core.model.bev_encoder import BevEncoder
from cooptrack_core.model.completion import Fused
from cooptrack_core.model.decoder import Decoder, DecoderOutput
from cooptrack_core.model.early_fusion import Entry
from cooptrack_core.model.heads import RefinementHeads
from cooptrack_core.model.motion_features import MotionExtractor
from cooptrack_core.model.neck import FeaturePyramid
from cooptrack_core.model.partners import remembered
from cooptrack_core.model.positional import pe3d
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.proposals import DenseBoxes, ImageProposals, Proposals
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.query_fusion import PoseConcatenation, QueryFusion
from cooptrack_core.model.temporal import HistoryReasoner
from cooptrack_core.model.track_hints import TrackHints
from cooptrack_core.model.unused import UnusedModules
from cooptrack_core.stage_clock import stage


@dataclass(frozen=True)
class Perception:
    """What an agent makes of its own image; B samples, N queries."""

    bev: Tensor  # [B, HW, C] memory of the next frame
    decoder: DecoderOutput
    decoded: Queries  # [B, N] after the decoder and the motion extractor
    queries: Queries  # [B, N] after history reasoning
    dense: DenseBoxes | None = None  # of networks with proposals
    peaks: Proposals | None = None  # the best of them


@dataclass(frozen=True)
class Cooperation:
    """What the vehicle makes of its queries and the aligned instances of others; P pairs."""

    queries: Queries  # [V] fused, completed, through the cross-domain layers; not yet refined
    fused: Fused  # where each row comes from
    affinity: Tensor  # [V, I] logits
    ego_index: Tensor  # [P] rows of the ego queries
    remote_index: Tensor  # [P] rows of the aligned instances
    learned: bool = True  # False: the affinity only tells how close the pairs are


class AgentModel(nn.Module):
    """All modules of a preset."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dims
        self.backbone = build_backbone(config)
        self.neck = FeaturePyramid(self.backbone.channels, dims, config.map_levels)
        self.bev_encoder = BevEncoder(config)
        if config.proposals:
            self.proposals = ImageProposals(config, self.backbone.finest_channels)
            self.track_hints = TrackHints(config)
        self.reference_points = nn.Parameter(torch.rand(config.num_queries, 3))
        self.query_features = nn.Parameter(torch.zeros(config.num_queries, dims))
        self.query_embedding = nn.Sequential(nn.Linear(dims * 3 // 2, dims), nn.ReLU(), nn.Linear(dims, dims))
        self.decoder = Decoder(config)
        self.motion_extractor = MotionExtractor(config) if config.motion_features else None
        self.reasoner = HistoryReasoner(config)
        if config.cooperative:
            self._build_cooperation(config)
        self.heads = RefinementHeads(config)
        if config.unused_modules:
            self.unused = UnusedModules(config)

    def _build_cooperation(self, config: ModelConfig) -> None:
        by_pose = config.fusion == "univ2x" and config.latent_alignment
        self.alignment = PoseConcatenation(config) if by_pose else CrossAgentAlignment(config)
        if config.fusion == "graph":
            self.association = GraphAssociation(config)
            self.aggregation = Aggregation(config)
        elif config.fusion == "univ2x":
            self.query_fusion = QueryFusion(config)

    def embed(self, ref_pts: Tensor) -> Tensor:
        """Positional query embeddings [..., C] of normalised reference points [..., 3] (spec 1.5)."""
        return self.query_embedding(pe3d(ref_pts, self.config.embed_dims))

    def fresh_queries(self, rows: Tensor | None = None) -> Queries:
        """The learned detection queries, all or some rows of them, without id and history (spec 1.5)."""
        chosen = slice(None) if rows is None else rows
        points, feats = self.reference_points[chosen], self.query_features[chosen]
        blank = Queries.empty(
            len(points),
            dims=self.config.embed_dims,
            classes=self.config.num_classes,
            history=self.config.history_length,
            like=points,
        )
        return blank.with_(ref_pts=points, query_feats=feats, query_embeds=self.embed(points))

    def enter(self, live: Queries | None, remote: RemoteInstances | None) -> Entry | None:
        """How [I] aligned instances enter the decoder beside [A] live tracks; None where they do not."""
        if remote is None or self.config.fusion == "graph":
            return None
        tracks = early_fusion.no_tracks(self.config, self.reference_points) if live is None else live
        if self.config.fusion == "univ2x":
            return self.query_fusion(tracks, remote)
        return early_fusion.enter(tracks, remote, self.config, self.embed)

    def assemble(
        self, live: Queries | None, generator: torch.Generator | None = None, entry: Entry | None = None
    ) -> Queries:
        """[N] fresh queries followed by the live tracks of one agent (spec 1.2.3); N is always the same.

        With an entry its guests and its live tracks follow instead. Which fresh queries give way is random in the
        published network (from `generator`, on the CPU), always the last rows in ours or without a generator.
        """
        if entry is not None:
            live = Queries.cat([entry.guests, entry.live])
        if live is None or len(live) == 0:
            return self.fresh_queries()
        free = self.config.num_queries - len(live)
        rows = torch.arange(free)
        if self.config.options.random_fresh_queries and generator is not None:
            rows = torch.randperm(self.config.num_queries, generator=generator)[:free]
        return Queries.cat([self.fresh_queries(rows.to(live.scores.device)), live])

    def perceive(
        self,
        images: Tensor,
        lidar2img: Tensor,
        can_bus: Tensor,
        queries: Queries,
        prev_bev: Tensor | None,
        *,
        all_layers: bool = True,
        bev_known: Tensor | None = None,
    ) -> Perception:
        """One frame of B agents up to history reasoning (spec 1.2, steps 4 to 8).

        images [B, 3, h, w] normalised and padded; lidar2img [B, 4, 4] to its pixels; can_bus [B, 18] with
        the differences to the frame before; queries [B, N]; prev_bev [B, HW, C] or None in a first frame.
        all_layers False: boxes and classes of the last decoder layer alone, which is what inference needs.
        bev_known [B] bool: False for a sample in its first frame, whose prev_bev is not looked at; None: True for all.
        """
        with stage("backbone"):
            pyramid = self.backbone.pyramid(images)
            maps = self.neck(pyramid[-self.backbone.levels :])
        with stage("BEV encoder"):
            bev = self.bev_encoder(maps, lidar2img, can_bus, prev_bev, bev_known)
        dense = peaks = None
        if self.config.proposals:
            with stage("proposals"):
                dense, peaks = self.proposals.look(maps[0], pyramid[0], lidar2img)
                queries = self.with_proposals(queries, peaks)
        base = queries.boxes if self.config.options.residual_boxes else None
        with stage("decoder"):
            decoder = self.decoder(bev, queries.query_feats, queries.query_embeds, queries.ref_pts, all_layers, base)
        with stage("MDFE"):
            decoded = self._decoded(queries, decoder)
        with stage("history"):
            reasoned = self.reasoner(decoded)
        return Perception(bev, decoder, decoded, reasoned, dense, peaks)

    def _decoded(self, queries: Queries, decoder: DecoderOutput) -> Queries:
        """[B, N] queries as the decoder leaves them. A track that nothing in the image measures stays as it was.

        The decoder only knows what the camera shows: a track of what others see would be drawn to something else.
        """
        # Before decoding the decoder hears what others say.
        stays = queries.is_track & ~queries.measured
        coasting = (stays if self.config.fusion == "graph" else torch.zeros_like(stays))[..., None]  # [B, N, 1]
        ref_pts = torch.where(coasting, queries.ref_pts, decoder.last_ref_pts)
        boxes = torch.where(coasting, queries.boxes, decoder.boxes[-1])
        logits = torch.where(coasting, queries.logits, decoder.logits[-1])
        feats = torch.where(coasting, queries.query_feats, decoder.feats)
        return queries.with_(
            ref_pts=ref_pts,
            query_embeds=self.embed(ref_pts),
            query_feats=feats,
            motion_feats=torch.zeros_like(feats) if self.motion_extractor is None else self.motion_extractor(boxes),
            boxes=boxes,
            logits=logits,
            scores=logits.sigmoid().amax(-1),
        )

    def with_proposals(self, queries: Queries, peaks: Proposals) -> Queries:
        """[B, N] queries: the first fresh ones give way to the best peaks of the image, tracks hear of theirs."""
        hinted, found = self.track_hints(queries, peaks)
        moved = (hinted.ref_pts != queries.ref_pts).any(-1, keepdim=True)
        count = found.scores.shape[1]
        embeds = self.embed(torch.cat((found.ref_pts, hinted.ref_pts), dim=1))  # [B, P + N, C]
        queries = hinted.with_(query_embeds=torch.where(moved, embeds[:, count:], queries.query_embeds))
        # Tracks and what others sent come last, and have boxes already.
        fresh = (queries.boxes[:, :count] == 0).all(-1, keepdim=True)  # [B, P, 1]

        def put(values: Tensor, first: Tensor) -> Tensor:
            return torch.cat((torch.where(fresh, first, values[:, :count]), values[:, count:]), dim=1)

        # Not by torch.where, which ONNX Runtime does not have for booleans.
        measured = (fresh[..., 0] & found.free) | (~fresh[..., 0] & queries.measured[:, :count])
        return queries.with_(
            boxes=put(queries.boxes, found.boxes),
            ref_pts=put(queries.ref_pts, found.ref_pts),
            query_feats=put(queries.query_feats, found.feats),
            query_embeds=put(queries.query_embeds, embeds[:, :count]),
            measured=torch.cat((measured, queries.measured[:, count:]), dim=1),
        )

    def align(self, messages: Sequence[tuple[RemoteInstances, Tensor]]) -> RemoteInstances:
        """Instances of every message in the vehicle's frame, one after the other (spec 4).

        Each message comes with T_vehicle_from_infra [4, 4]. What lies outside the vehicle's range is left out.
        """
        aligned = [self.alignment(remote, T)[0] for remote, T in messages]
        if not aligned:
            return RemoteInstances.empty(self.config.embed_dims, like=self.reference_points)
        found = RemoteInstances.cat(aligned)
        if self.config.fusion != "graph" or not self.config.options.explicit_alignment:
            return found
        motion = found.motion_feats if self.motion_extractor is None else self.motion_extractor(found.boxes)
        return replace(found, query_embeds=self.embed(found.ref_pts), motion_feats=motion)

    def cooperate(
        self,
        ego: Queries,
        remote: RemoteInstances,
        matcher: str = "affinity",
        entry: Entry | None = None,
        known: Tensor | None = None,
    ) -> Cooperation:
        """Associates and fuses [V] queries of the vehicle with [I] aligned instances (spec 5); any may be empty.

        matcher: `affinity` (learned) or `distance` (the same fusion, pairs by distance within 3.5 m). With fusion
        before decoding all of that has happened: the entry of the frame says how. known [I]: the tracks that the
        instances' objects went into before (partners.known_tracks).
        """
        if self.config.fusion != "graph":
            fused, ego_index, remote_index, affinity = early_fusion.leave(
                ego, early_fusion.nobody(remote, self.config) if entry is None else entry
            )
            return Cooperation(_measured(fused.queries, fused), fused, affinity, ego_index, remote_index, learned=False)
        theirs = as_queries(remote, self.config)
        before = None if known is None else remembered(ego, remote.owner, known)
        affinity = self.association(ego, theirs, before)  # [V, I]
        if matcher == "affinity":
            ego_index, remote_index = match_by_affinity(affinity, ego, theirs, remote.owner, self.config)
        else:
            ego_index, remote_index = match_by_distance(ego, theirs, remote.owner, self.config)
        fused = self.aggregation.fuse(ego, theirs, remote.owner, ego_index, remote_index)
        queries = _measured(self.aggregation.cross_domain(fused.queries), fused)
        return Cooperation(queries, fused, affinity, ego_index, remote_index)

    def refine(self, queries: Queries) -> Queries:
        """Final classes from semantics, boxes from motion (spec 3.2.4)."""
        return self.heads(queries)

    def alone(self, own: Queries) -> Queries:
        """[N] queries of an image as they would end had nothing been heard in this frame; each on its own."""
        if self.config.cooperative and self.config.fusion == "graph":
            own = self.aggregation.cross_domain(own)
        return self.refine(own)


def _measured(queries: Queries, fused: Fused) -> Queries:
    """[V] queries, of which those that an instance went into are measured."""
    rows = fused.row_of_remote[fused.row_of_remote >= 0]
    measured = queries.measured.clone()
    measured[rows] = True
    return queries.with_(measured=measured)
