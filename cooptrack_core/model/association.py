"""Graph-based association: which instance of another agent is which query of ours (paper GBA, spec 5.1 to 5.3)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.linear import Linear, linear
from cooptrack_core.model.mlp import normed_mlp, set_prior, two_layer_mlp
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.queries import Queries
from cooptrack_core.tracking.assignment import assign

RULE_LIMIT_M = 3.5  # match_by_distance leaves pairs farther apart alone
AFFINITY_PRIOR = 0.1  # where training starts: most pairs are not the same object
UNSCORED = -1e4  # logit of a pair that can not match; finite, so that losses stay so
PAIRS_AT_ONCE = 4096  # at inference; so many rows of C channels stay in the cache
_PRODUCTS = 8  # products of a matrix in the time of one that is asked for by itself


class GraphAssociation(nn.Module):
    """Affinity of every ego query with every remote instance, from their features (nodes) and offset (edge)."""

    short_cuts = True  # at inference: linear maps folded, pairs beyond the gate not scored

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dims
        inputs = 2 * dims if config.motion_features else dims
        self.ego_node = two_layer_mlp(inputs, dims)
        self.remote_node = two_layer_mlp(inputs, dims)
        self.with_memory = config.options.remembered_pairs
        self.edge = nn.Sequential(Linear(4 if self.with_memory else 3, dims), nn.ReLU(), Linear(dims, dims))
        self.wq = nn.Parameter(torch.empty(dims, dims))
        self.wk = nn.Parameter(torch.empty(dims, dims))
        self.we = nn.Parameter(torch.empty(dims, dims))
        self.affinity = normed_mlp((dims, dims), 1)
        for weight in (self.wq, self.wk, self.we):
            nn.init.xavier_uniform_(weight)
        self.similarity_scale = dims**-0.5 if config.options.scaled_similarity else 1.0
        set_prior(self.affinity[-1], AFFINITY_PRIOR)
        self._products: tuple[tuple[object, ...], _PairScorer] | None = None

    def forward(self, ego: Queries, remote: Queries, before: Tensor | None = None) -> Tensor:
        """[V] ego and [I] aligned remote queries -> logits [V, I].

        before [V, I]: who was paired with whom (partners.remembered); None: nothing is known. At inference pairs
        beyond the distance gate, which can not match, are not scored: UNSCORED.
        """
        if self.training or torch.is_grad_enabled() or not self.short_cuts:
            return self.plain(ego, remote, before)
        if math.isinf(self.config.options.distance_gate_m):
            return self._folded(ego, remote, before)
        return self._within_gate(ego, remote, before)

    def plain(self, ego: Queries, remote: Queries, before: Tensor | None = None) -> Tensor:
        """The affinity as the paper writes it: [V], [I] -> [V, I] logits."""
        q = self._node(self.ego_node, ego) @ self.wq  # [V, C]
        k = self._node(self.remote_node, remote) @ self.wk  # [I, C]
        offset = ego.ref_pts[:, None] - remote.ref_pts  # [V, I, 3], signed, in shares of the point range
        edge = offset
        if self.with_memory:
            told = torch.zeros_like(offset[..., 0]) if before is None else before
            edge = torch.cat((offset, told[..., None]), dim=-1)
        z = (q @ k.T)[..., None] * self.similarity_scale + self.edge(edge) @ self.we  # [V, I, C]
        return self.affinity(z)[..., 0]

    def _folded(self, ego: Queries, remote: Queries, before: Tensor | None) -> Tensor:
        """plain() with the three linear maps of an edge made one and no [V, I, C] tensor: [V, I] logits."""
        scorer = self._scorer()
        nodes, theirs, offset = self._nodes(ego, remote, scorer)
        similarity = linear(nodes, theirs, offset)  # [V, I]
        ego_side, remote_side = self._edge_sides(ego, remote)  # [V, C], [I, C]
        logits = torch.empty_like(similarity)
        step = max(1, PAIRS_AT_ONCE // max(1, len(remote)))
        for start in range(0, len(ego), step):
            rows = slice(start, start + step)
            hidden = ego_side[rows, None] - remote_side  # [step, I, C]
            hidden = self._with_memory(hidden, None if before is None else before[rows]).flatten(0, 1)
            logits[rows] = scorer(hidden, similarity[rows].flatten()).view_as(logits[rows])
        return logits

    def _within_gate(self, ego: Queries, remote: Queries, before: Tensor | None) -> Tensor:
        """plain() for pairs within the distance gate, UNSCORED elsewhere: [V, I] logits."""
        allowed = distances_m(ego, remote, self.config) <= self.config.options.distance_gate_m
        pairs = allowed.flatten().nonzero()[:, 0]  # [P] of V x I, by row
        columns = pairs % max(1, len(remote))
        # [S] ego rows that have any pair; [P] which of these is that of a pair.
        near, rows = torch.unique(pairs // max(1, len(remote)), return_inverse=True)
        scorer = self._scorer()
        nodes, theirs, offset = self._nodes(ego, remote, scorer, near)
        # Where few of all pairs are near, their products are fewer than those of a matrix.
        whole = linear(nodes, theirs, offset) if len(pairs) * _PRODUCTS > len(nodes) * len(theirs) else None  # [S, I]
        ego_side, remote_side = self._edge_sides(ego, remote, near)
        scores = []
        for r, c, p in zip(*(torch.split(part, PAIRS_AT_ONCE) for part in (rows, columns, pairs)), strict=True):
            hidden = ego_side.index_select(0, r).sub_(remote_side.index_select(0, c))
            hidden = self._with_memory(hidden, None if before is None else before.flatten()[p])
            if whole is None:
                products = nodes.index_select(0, r).mul_(theirs.index_select(0, c)).sum(1)
                similarity = products.add_(offset.index_select(0, c))
            else:
                similarity = whole[r, c]
            scores.append(scorer(hidden, similarity))
        logits = nodes.new_full((allowed.numel(),), UNSCORED)
        return logits.index_copy_(0, pairs, torch.cat(scores)).view_as(allowed)

    def _nodes(
        self, ego: Queries, remote: Queries, scorer: _PairScorer, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[S, C] of some rows of the ego queries, [I, C] and [I] of the remote ones.

        The products of the first two plus the last are the similarities of the nodes. What is linear between them is
        one map, applied to the remote side, of which there is less.
        """
        hidden = self.ego_node[1](self.ego_node[0](self._inputs(ego, rows)))
        theirs = self.remote_node[1](self.remote_node[0](self._inputs(remote)))
        return hidden, *scorer.across(theirs)

    def prepare(self) -> None:
        """Makes the products of weights that inference needs; otherwise its first frame does."""
        self._scorer()

    def _scorer(self) -> _PairScorer:
        """Products of weights, made anew only after these have changed."""
        weights = list(self.parameters())
        if torch.compiler.is_compiling() or any(weight.is_inference() for weight in weights):
            return _PairScorer(self)  # no version tells of changes
        versions = tuple((id(weight), weight.data_ptr(), weight._version) for weight in weights)
        if self._products is None or self._products[0] != versions:
            self._products = versions, _PairScorer(self)
        return self._products[1]

    def _node(self, mlp: nn.Module, queries: Queries) -> Tensor:
        return mlp(self._inputs(queries))

    def _inputs(self, queries: Queries, rows: Tensor | None = None) -> Tensor:
        """What the nodes of all or some rows are made of."""
        streams = (queries.query_feats, queries.motion_feats) if self.config.motion_features else (queries.query_feats,)
        return torch.cat([stream if rows is None else stream.index_select(0, rows) for stream in streams], dim=-1)

    def _edge_sides(self, ego: Queries, remote: Queries, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The first linear map of an edge is a difference of these: [S, C] of some ego rows minus [I, C]."""
        first = self.edge[0]
        assert isinstance(first, nn.Linear)
        weight = first.weight[:, :3]
        points = ego.ref_pts if rows is None else ego.ref_pts.index_select(0, rows)
        return torch.addmm(first.bias, points, weight.T), remote.ref_pts @ weight.T

    def _with_memory(self, hidden: Tensor, before: Tensor | None) -> Tensor:
        """[..., C] edges before their ReLU with what memory [...] adds."""
        first = self.edge[0]
        assert isinstance(first, nn.Linear)
        if not self.with_memory or before is None or not bool(before.any()):
            return hidden
        return hidden + before[..., None] * first.weight[:, 3]


class _PairScorer:
    """What follows the first layer of an edge, its linear maps multiplied into one; and what lies between two nodes."""

    def __init__(self, association: GraphAssociation) -> None:
        second, third, norm, last = (
            association.edge[2],
            association.affinity[0],
            association.affinity[1],
            association.affinity[3],
        )
        assert isinstance(second, nn.Linear) and isinstance(third, nn.Linear)
        assert isinstance(norm, nn.LayerNorm) and isinstance(last, nn.Linear)
        fold = third.weight @ association.we.T  # [C, C]
        self.weight = fold @ second.weight  # [C, C]
        self.bias = fold @ second.bias + third.bias  # [C]
        self.similarity_weight = third.weight.sum(1)  # [C], the similarity goes to all channels alike
        self.norm, self.last = norm, last
        ours, theirs = association.ego_node[2], association.remote_node[2]
        assert isinstance(ours, nn.Linear) and isinstance(theirs, nn.Linear)
        between = (association.wq @ association.wk.T) * association.similarity_scale  # [C, C]
        half = between @ theirs.weight  # [C, C]
        self.across_weight = ours.weight.T @ half  # [C, C]
        self.across_bias = ours.weight.T @ (between @ theirs.bias)  # [C]
        self.offset_weight = ours.bias @ half  # [C]
        self.offset = ours.bias @ (between @ theirs.bias)  # a number

    def across(self, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """[I, C] hidden layers of remote nodes -> [I, C] to be multiplied with those of ego nodes, [I] to be added."""
        return linear(theirs, self.across_weight, self.across_bias), theirs @ self.offset_weight + self.offset

    def __call__(self, hidden: Tensor, similarity: Tensor) -> Tensor:
        """[P, C] edges before their ReLU (overwritten), [P] similarity of the nodes -> [P] logits."""
        z = linear(hidden.relu_(), self.weight, self.bias).addcmul_(similarity[:, None], self.similarity_weight)
        return self.last(self.norm(z).relu_())[:, 0]


def distances_m(ego: Queries, remote: Queries, config: ModelConfig) -> Tensor:
    """[V, I] distances in space between reference points, m."""
    a, b = (box_code.denormalise(side.ref_pts.detach(), config.point_range_m) for side in (ego, remote))
    # By coordinate: a norm over a last axis of three takes three times as long.
    squares = [(a[:, None, axis] - b[:, axis]).square_() for axis in range(3)]
    return squares[0].add_(squares[1]).add_(squares[2]).sqrt_()


@torch.no_grad()
def match_by_affinity(
    logits: Tensor, ego: Queries, remote: Queries, owner: Tensor, config: ModelConfig
) -> tuple[Tensor, Tensor]:
    """Pairs of highest total affinity among those that reach the threshold and lie within the gate (spec 5.2).

    logits [V, I]; owner [I] the agent of each instance. Returns ego rows and remote rows [P], by ego row. With
    the published options every instance gets a partner.
    """
    affinity = logits.sigmoid()
    allowed = affinity >= config.options.affinity_threshold
    if math.isfinite(config.options.distance_gate_m):
        rows, columns = allowed.nonzero().unbind(1)  # few: others need not be measured
        a, b = (box_code.denormalise(side.ref_pts, config.point_range_m) for side in (ego, remote))
        apart = a.index_select(0, rows).sub_(b.index_select(0, columns)).square_()
        distance_m = apart[:, 0].add(apart[:, 1]).add_(apart[:, 2]).sqrt_()
        allowed[rows, columns] = distance_m <= config.options.distance_gate_m
    return match(1.0 - affinity, allowed, owner)


@torch.no_grad()
def match_by_distance(
    ego: Queries, remote: Queries, owner: Tensor, config: ModelConfig, limit_m: float = RULE_LIMIT_M
) -> tuple[Tensor, Tensor]:
    """The rule that training starts with: nearest pairs, none farther apart than the limit (spec 5.3)."""
    distance = distances_m(ego, remote, config)
    return match(distance, distance <= limit_m, owner)


def match(cost: Tensor, allowed: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """One assignment for each agent, so that a query takes at most one instance of each: [P], [P] by query.

    cost, allowed (bool) [V, I]; owner [I].
    """
    possible = allowed.any(1).nonzero()[:, 0]  # [R] queries that anybody may go to
    costs, masks = cost[possible].double().cpu().numpy(), allowed[possible].cpu().numpy()
    owners, rows = owner.cpu().numpy(), possible.cpu().numpy()
    queries, instances = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for agent in np.unique(owners):
        columns = np.flatnonzero(owners == agent)
        alone = len(columns) == len(owners)  # then nothing needs to be copied
        row, column = assign(costs, masks) if alone else assign(costs[:, columns], masks[:, columns])
        queries.append(rows[row])
        instances.append(columns[column])
    ego_index, remote_index = np.concatenate(queries), np.concatenate(instances)
    order = np.lexsort((remote_index, ego_index))
    return torch.from_numpy(ego_index[order]).to(cost.device), torch.from_numpy(remote_index[order]).to(cost.device)
