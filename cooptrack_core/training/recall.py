"""How many road users both agents find, measured on the agents as they run in the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from cooptrack_core.checkpoints import store
from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.model.runtime import Identity, NetworkRuntime
from cooptrack_core.offline import make_agents
from cooptrack_core.perception import Network
from cooptrack_core.tracking.assignment import assign, centre_distance
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.messages import WHOLE
from cooptrack_core.training.sequence import LabelledFrame
from cooptrack_core.types import Message, TrackedObjects

WITHIN_M = 2.0


@dataclass
class Count:
    """Objects, how many of them a track of their class is near, and tracks; summed over frames."""

    objects: int = 0
    found: int = 0
    tracks: int = 0

    @property
    def recall(self) -> float:
        """Share of the objects that were found."""
        return self.found / max(self.objects, 1)

    @property
    def precision(self) -> float:
        """Share of the tracks that are near an object."""
        return self.found / max(self.tracks, 1)

    def add(self, truth: GroundTruth, tracks: TrackedObjects) -> None:
        """Counts a frame: one track for one object, centres at most 2 m apart on the ground."""
        distance = centre_distance(truth.boxes[:, :2].double().numpy(), tracks.center_m[:, :2])
        same_class = truth.labels.numpy()[:, None] == tracks.class_id[None]
        rows, _ = assign(distance, (distance <= WITHIN_M) & same_class)
        self.objects += len(truth)
        self.found += len(rows)
        self.tracks += len(tracks)


@dataclass
class Drive:
    """Both agents over a sequence."""

    roadside: Count = field(default_factory=Count)
    vehicle: Count = field(default_factory=Count)
    seen: Count = field(default_factory=Count)  # the vehicle's, of objects that it sees itself
    hidden: Count = field(default_factory=Count)  # the vehicle's, of objects that only the roadside sees
    messages: dict[str, Message] = field(default_factory=dict)  # by vehicle frame id: the newest one before it


def drive(frames: Sequence[LabelledFrame], roadside: AgentModel, vehicle: AgentModel, mode: str) -> Drive:
    """Runs the agents in a mode (`ego`: nobody listens) and counts what they find in their point ranges."""
    networks = {"rsu": _runtime(roadside, None), "vehicle": _runtime(vehicle, fingerprint(roadside))}

    def network_of(config: RoadsideConfig | VehicleConfig) -> Network:
        return networks["rsu" if isinstance(config, RoadsideConfig) else "vehicle"]

    car, units = make_agents("vehicle", ["rsu"], VehicleConfig(mode=mode, detector="network"), WHOLE, network_of)
    unit, newest, result = units["rsu"], None, Drive()
    for item in frames:
        event = item.event
        if event.agent_id == "rsu":
            seen = unit.step(event.frame)
            result.roadside.add(item.truth.within(roadside.config.point_range_m), seen.tracks)
            if seen.message is not None:
                newest = over_the_air(seen.message)
                car.receive(newest, event.log_time_ns)
        else:
            tracks = car.step(event.frame).tracks
            truth = item.truth.within(vehicle.config.point_range_m)
            result.vehicle.add(truth, tracks)
            if truth.seen is not None:
                result.seen.add(truth.select(truth.seen), tracks)
                result.hidden.add(truth.select(~truth.seen), tracks)
            if newest is not None:
                result.messages[event.frame_id] = newest
    return result


def trained_config(model: AgentModel) -> ModelConfig:
    """The configuration under which weights are kept: the preset's own where there is one of that shape.

    Training may run with other options than inference.
    """
    preset = get_preset(model.config.name)
    same = {name: value.shape for name, value in store.expected_entries(preset).items()}
    return preset if same == {name: value.shape for name, value in model.state_dict().items()} else model.config


def fingerprint(model: AgentModel) -> bytes:
    """SHA-256 of configuration and weights."""
    return store.fingerprint_of(trained_config(model), model.state_dict())


def _runtime(model: AgentModel, roadside_fingerprint: bytes | None) -> NetworkRuntime:
    identity = Identity(fingerprint(model), roadside_fingerprint, True, "training")
    return NetworkRuntime(model, identity, torch.device("cpu"))


__all__ = ["Count", "Drive", "drive", "fingerprint", "trained_config"]
