"""One training iteration of an agent, alone or cooperative, on the next frame of every slot of a batch (spec 7).

Each slot is a stream of frames with its own memory. Nothing of a frame carries gradient into the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.model import box_code
from cooptrack_core.model.agent_model import AgentModel, Perception
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.can_bus import can_bus
from cooptrack_core.model.early_fusion import Entry
from cooptrack_core.model.partners import Partners, known_tracks, remember
from cooptrack_core.model.presets import ModelConfig, Options
from cooptrack_core.model.propagation import propagate
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.session import Memory, NetworkInput
from cooptrack_core.model.track_motion import as_filtered, observed
from cooptrack_core.stage_clock import stage
from cooptrack_core.training.assignment import Assignment
from cooptrack_core.training.carry import CarryOptions, carried_rows
from cooptrack_core.training.dense_losses import proposal_losses
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.losses import batch_average
from cooptrack_core.training.supervision import (
    Losses,
    Supervised,
    supervise_alone,
    supervise_decoder,
    supervise_together,
)

TOLD_WITHIN_M = 4.0


@dataclass(frozen=True)
class Sample:
    """One frame of one slot and what should be found in it."""

    given: NetworkInput
    truth: GroundTruth  # in the agent's lidar frame
    scene: str = ""  # another name than in the slot's last frame starts a new stream
    messages: Sequence[tuple[RemoteInstances, Tensor]] = ()  # as AgentModel.align takes them
    corrections: Sequence[Tensor] = ()  # [4, 4] of each, from where its pose puts things to where they are, if known


@dataclass(frozen=True)
class Incoming:
    """What a slot brings into a frame."""

    queries: Queries  # [N] of the decoder
    remote: RemoteInstances | None  # aligned instances; None: the network is not cooperative
    entry: Entry | None  # of fusion before decoding
    partners: Partners  # of the slot's tracks


def image_losses(perception: Perception, samples: Sequence[Sample], config: ModelConfig) -> dict[str, Tensor]:
    """Losses of the dense head on the image; none where the network has no such head or it does not learn."""
    if perception.dense is None or not perception.dense.heat.requires_grad:
        return {}
    lidar2img = torch.stack([sample.given.lidar2img for sample in samples]).to(perception.bev)
    return proposal_losses(perception.dense, [sample.truth for sample in samples], lidar2img, config)


@dataclass(frozen=True)
class Outcome:
    """What an iteration gives for B slots."""

    losses: dict[str, Tensor]  # by name, averaged over the slots
    total: Tensor  # scalar, their sum
    assignments: list[Assignment]  # [B] of the output that gave the ids
    carried_rows: list[Tensor]  # [B] x [A] rows of the assignment that go on as tracks
    carried: list[Queries]  # [B] x [A] these tracks, as the frame left them, detached
    terms: list[Losses]  # [B] losses of each slot, before the average
    refined: list[Queries]  # [B] x [N] what each slot says in the end, with gradient


ExtraLosses = Callable[[Perception, Sequence[Sample]], dict[str, Tensor]]


class Iteration:
    """The streaming state of training: call it with the next frame of every slot, then step the optimizer."""

    def __init__(
        self,
        model: AgentModel,
        carry: CarryOptions | None = None,
        *,
        seed: int = 0,
        shuffle: bool = True,
        steps_done: int = 0,
        extra: ExtraLosses | None = None,
    ) -> None:
        """shuffle False: the fresh queries that give way to tracks are the last ones under every option.

        extra: further losses of a batch, from what the network perceived, averaged over the slots.
        """
        self.extra = extra
        self.model, self.shuffle, self.steps_done = model, shuffle, steps_done
        self.carry = CarryOptions() if carry is None else carry
        self._generator = torch.Generator().manual_seed(seed)
        self._memories: list[Memory | None] = []
        self._scenes: list[str] = []

    def begin(self, step: int, seed: int) -> None:
        """What follows is step `step` of the training, with random numbers of its own."""
        self.steps_done = step
        self._generator.manual_seed(seed)

    def reset(self) -> None:
        """Forgets the memory of all slots."""
        self._memories, self._scenes = [], []

    def __call__(self, samples: Sequence[Sample]) -> Outcome:
        """Losses of the next frame of every slot; slot j goes on with samples[j]."""
        memories = [self._memory(j, sample) for j, sample in enumerate(samples)]
        incoming = [self._incoming(memory, sample) for memory, sample in zip(memories, samples, strict=True)]
        perception = self._perceive(samples, memories, Queries.stack([slot.queries for slot in incoming]))
        with stage("losses"):
            done = [self._supervise(perception, j, sample, incoming[j]) for j, sample in enumerate(samples)]
        rows = [carried_rows(slot.refined, slot.assignment, self.carry, self._generator) for slot in done]
        options = self.model.config.options
        carried = [_tracks(slot.refined, going_on, options) for slot, going_on in zip(done, rows, strict=True)]
        partnerships = [_partners(*row) for row in zip(incoming, done, rows, strict=True)]
        columns = perception.bev.detach(), carried, samples, partnerships
        self._memories = [
            Memory(bev, live, sample.given.T_map_from_sensor, sample.given.stamp_s, partners)
            for bev, live, sample, partners in zip(*columns, strict=True)
        ]
        self._scenes = [sample.scene for sample in samples]
        self.steps_done += 1
        losses = batch_average([slot.losses for slot in done])
        if self.extra is not None:
            with stage("losses"):
                losses |= self.extra(perception, samples)
        total = torch.stack(list(losses.values())).sum()
        terms, refined = [slot.losses for slot in done], [slot.refined for slot in done]
        return Outcome(losses, total, [slot.assignment for slot in done], rows, carried, terms, refined)

    @property
    def matcher(self) -> str:
        """How instances are paired for fusion now: by distance first, later as at inference (spec 5.3, 10.3)."""
        after = self.model.config.options.affinity_matching_after_steps
        return "distance" if after is None or self.steps_done < after else "affinity"

    def _memory(self, slot: int, sample: Sample) -> Memory | None:
        """What the slot remembers; None where a stream starts, has a gap or goes back in time (spec 1.2.1)."""
        memory = self._memories[slot] if slot < len(self._memories) else None
        if memory is None or self._scenes[slot] != sample.scene:
            return None
        gap_s = sample.given.stamp_s - memory.stamp_s
        return memory if 0.0 <= gap_s <= self.model.config.max_gap_s else None

    def _incoming(self, memory: Memory | None, sample: Sample) -> Incoming:
        """[N] fresh queries and the slot's tracks, and what the messages bring (spec 1.2.3)."""
        remote = self.model.align(sample.messages) if self.model.config.cooperative else None
        live = self._live(memory, sample)
        entry = self.model.enter(live, remote)
        queries = self.model.assemble(live, self._generator if self.shuffle else None, entry)
        return Incoming(queries, remote, entry, {} if memory is None else memory.partners)

    def _live(self, memory: Memory | None, sample: Sample) -> Queries | None:
        """[A] the slot's tracks, moved to the time and pose of the frame (spec 1.2.2)."""
        if memory is None or len(memory.live) == 0:
            return None
        T_new_from_old = inverse(sample.given.T_map_from_sensor) @ memory.T_map_from_sensor
        dt_s = sample.given.stamp_s - memory.stamp_s
        live = propagate(memory.live, dt_s, torch.from_numpy(T_new_from_old), self.model.config)
        return live.with_(query_embeds=self.model.embed(live.ref_pts))

    def _perceive(self, samples: Sequence[Sample], memories: Sequence[Memory | None], queries: Queries) -> Perception:
        """All slots as one batch, [B, N] queries. The BEV memory of a first frame is zeros (spec 2.4)."""
        config = self.model.config
        images = torch.stack([sample.given.image for sample in samples])  # [B, 3, h, w]
        lidar2img = torch.stack([sample.given.lidar2img for sample in samples]).to(images)  # [B, 4, 4]
        blank = images.new_zeros(config.bev_cells, config.embed_dims)
        prev_bev = torch.stack([blank if memory is None else memory.bev for memory in memories])  # [B, HW, C]
        movement = [
            can_bus(sample.given.T_map_from_sensor, None if memory is None else memory.T_map_from_sensor, config)
            for sample, memory in zip(samples, memories, strict=True)
        ]
        can = torch.from_numpy(np.stack(movement)).to(images)  # [B, 18]
        return self.model.perceive(images, lidar2img, can, queries, prev_bev)

    def _supervise(self, perception: Perception, slot: int, sample: Sample, incoming: Incoming) -> Supervised:
        logits, boxes = perception.decoder.logits[:, slot], perception.decoder.boxes[:, slot]  # [L, N, .]
        own = perception.queries.select(slot)  # [N]
        remote, entry = incoming.remote, incoming.entry
        if remote is None:
            return supervise_alone(logits, boxes, self.model.refine(own), sample.truth)
        cooperation = self.model.cooperate(own, remote, self.matcher, entry, known_tracks(remote, incoming.partners))
        refined = self.model.refine(cooperation.queries)
        truth = own_truth = sample.truth
        theirs = _corrected(remote, sample.corrections)
        if sample.truth.seen is not None:
            # What the vehicle can know without others: what it sees, and what it has been told before.
            own_known = sample.truth.seen | torch.isin(sample.truth.ids, own.track_id)
            own_truth, truth = (
                sample.truth.select(own_known),
                sample.truth.select(own_known | _told(sample.truth, theirs)),
            )
        done = supervise_together(cooperation, own, theirs, refined, truth, self.model.config.options)
        if not logits.requires_grad:  # a frozen decoder learns nothing
            return done
        if entry is not None:
            # Fused before decoding, the decoder can know what others say.
            rows, own_truth = entry.rows(len(own)), truth
            logits, boxes, own = logits[:, rows], boxes[:, rows], own.select(rows)
        elif sample.truth.seen is None:
            return done
        extra, _ = supervise_decoder(logits, boxes, own.track_id, own_truth, "decoder_loss")
        return replace(done, losses=done.losses | extra)


def _corrected(remote: RemoteInstances, corrections: Sequence[Tensor]) -> Tensor:
    """[I, 10] codes of aligned instances as a right pose would have aligned them, without gradient."""
    boxes = remote.boxes.detach().clone()
    for message, T in enumerate(corrections):
        mine = remote.owner == message
        moved = box_code.rotate_translate(box_code.decode(boxes[mine]), T[:3, :3].to(boxes), T[:3, 3].to(boxes))
        boxes[mine] = box_code.encode(moved)
    return boxes


def _told(truth: GroundTruth, boxes: Tensor) -> Tensor:
    """[G] bool whether an instance with one of these codes [I, 10] is near: what nobody reports cannot be learned."""
    if len(boxes) == 0 or len(truth) == 0:
        return torch.zeros(len(truth), dtype=torch.bool, device=truth.labels.device)
    theirs = box_code.center(boxes)[:, :2]
    return torch.cdist(truth.boxes[:, :2].to(theirs), theirs).amin(1) < TOLD_WITHIN_M


def _partners(incoming: Incoming, done: Supervised, rows: Tensor) -> Partners:
    """Of the next frame, in which the refined queries of these rows go on."""
    if incoming.remote is None or done.row_of_remote is None:
        return {}
    live = torch.zeros_like(done.refined.is_track)
    live[rows] = True
    return remember(incoming.partners, incoming.remote, done.row_of_remote, done.refined.track_id, live)


def _tracks(refined: Queries, rows: Tensor, options: Options) -> Queries:
    """[A] tracks of the next frame, without gradient (spec 7.5)."""
    live = refined.detach().select(rows)
    live = live.with_(is_track=torch.ones_like(live.is_track), hits=live.hits + 1)
    if options.filtered_velocity:
        live = observed(live)
    return as_filtered(live) if options.filtered_motion else live


__all__ = ["ExtraLosses", "Iteration", "Outcome", "Sample", "image_losses"]
