"""A network over time: what it keeps of one frame for the next, and a whole frame on one page (spec 1.2, 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.model.agent_model import AgentModel, Cooperation, Perception
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.can_bus import can_bus
from cooptrack_core.model.life_cycle import Advanced, advance
from cooptrack_core.model.partners import Partners, known_tracks, remember
from cooptrack_core.model.propagation import propagate
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.track_motion import as_filtered, observed
from cooptrack_core.stage_clock import stage

Float = NDArray[np.float64]


@dataclass(frozen=True)
class NetworkInput:
    """One frame of one agent as the network takes it."""

    image: Tensor  # [3, h, w] normalised RGB, padded
    lidar2img: Tensor  # [4, 4] to pixels of the padded image
    T_map_from_sensor: Float  # [4, 4]
    stamp_s: float  # since any fixed moment


@dataclass(frozen=True)
class Memory:
    """What a frame leaves to the next one."""

    bev: Tensor  # [HW, C]
    live: Queries  # [A]
    T_map_from_sensor: Float
    stamp_s: float
    partners: Partners = field(default_factory=dict)  # of the live tracks


@dataclass(frozen=True)
class Step:
    """Everything about a finished frame."""

    perception: Perception  # a batch of one
    remote: RemoteInstances | None  # aligned instances of the messages; None: the network is not cooperative
    cooperation: Cooperation | None
    refined: Queries  # [N]
    advanced: Advanced  # as it is reported


class Session:
    """Runs a network frame by frame, without gradient."""

    def __init__(
        self, model: AgentModel, seed: int = 0, matcher: str = "affinity", *, all_layers: bool = False
    ) -> None:
        """matcher: how a cooperative network pairs instances, `affinity` or `distance`.

        all_layers: the steps hold what every decoder layer says, not only the last.
        """
        self.model, self.matcher, self.all_layers = model, matcher, all_layers
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)
        self.memory: Memory | None = None
        self.next_id = 1  # survives reset(): an id is never reused within a run

    def reset(self) -> None:
        """Forgets tracks and BEV memory."""
        self.memory = None
        self._generator.manual_seed(self._seed)

    @torch.inference_mode()
    def step(
        self, frame: NetworkInput, messages: Sequence[tuple[RemoteInstances, Tensor]] = (), *, shuffle: bool = True
    ) -> Step:
        """One frame with the instances of others and their T_vehicle_from_infra [4, 4].

        shuffle False: the fresh queries that give way to tracks are the last ones under every option.
        """
        self._forget_what_is_too_old(frame.stamp_s)
        model, memory = self.model, self.memory
        with stage("CAA"):
            remote = model.align(messages) if model.config.cooperative else None
        live = self.live_at(frame)
        entry = model.enter(live, remote)
        queries = model.assemble(live, self._generator if shuffle else None, entry)
        perception = model.perceive(
            frame.image[None],
            frame.lidar2img[None].to(frame.image),
            self._can_bus(frame),
            queries.map(lambda value: value[None]),
            None if memory is None else memory.bev[None],
            all_layers=self.all_layers,
        )
        own = perception.queries.select(0)
        cooperation = None
        partners: Partners = {} if memory is None else memory.partners
        if remote is not None:
            with stage("GBA"):
                cooperation = model.cooperate(own, remote, self.matcher, entry, known_tracks(remote, partners))
            own = cooperation.queries
        with stage("heads"):
            refined = model.refine(own)
        with stage("life cycle"):
            options = model.config.options
            advanced = advance(observed(refined) if options.filtered_velocity else refined, self.next_id, model.config)
        self.next_id = advanced.next_id
        if cooperation is not None and remote is not None:
            ids = advanced.queries.track_id
            partners = remember(partners, remote, cooperation.fused.row_of_remote, ids, advanced.live)
        told = replace(advanced, queries=self._told(advanced.queries))
        live = (told if options.filtered_motion else advanced).queries.select(advanced.live)
        self.memory = Memory(perception.bev[0], live, frame.T_map_from_sensor, frame.stamp_s, partners)
        return Step(perception, remote, cooperation, refined, told)

    def live_at(self, frame: NetworkInput) -> Queries | None:
        """The live tracks moved to the time and pose of a frame, with query embeddings; None without memory."""
        if self.memory is None:
            return None
        moved = self._moved(self.memory, self.memory.live, frame.stamp_s, frame.T_map_from_sensor)
        return moved.with_(query_embeds=self.model.embed(moved.ref_pts))

    @torch.inference_mode()
    def foretold(self, stamp_s: float, T_map_from_sensor: Float) -> Queries | None:
        """What would be reported at another time and pose without an image; the memory stays as it is."""
        if self.memory is None:
            return None
        return self._moved(self.memory, self._told(self.memory.live), stamp_s, T_map_from_sensor)

    def _told(self, queries: Queries) -> Queries:
        """[N] queries as they are reported."""
        return as_filtered(queries) if self.model.config.options.filtered_velocity else queries

    def _moved(self, memory: Memory, live: Queries, stamp_s: float, T_map_from_sensor: Float) -> Queries:
        T_new_from_old = inverse(T_map_from_sensor) @ memory.T_map_from_sensor
        return propagate(live, stamp_s - memory.stamp_s, torch.from_numpy(T_new_from_old), self.model.config)

    def _forget_what_is_too_old(self, stamp_s: float) -> None:
        if self.memory is not None and not 0.0 <= stamp_s - self.memory.stamp_s <= self.model.config.max_gap_s:
            self.reset()

    def _can_bus(self, frame: NetworkInput) -> Tensor:
        """[1, 18]"""
        previous = None if self.memory is None else self.memory.T_map_from_sensor
        values = can_bus(frame.T_map_from_sensor, previous, self.model.config)
        return torch.from_numpy(values)[None].to(frame.image)
