"""The seam behind which a detector sits: detections that a frame brings, or a network that looks at its image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.codebook import Codebook
from cooptrack_core.types import Associations, CooptrackError, Frame, Instances, Message, TrackedObjects


class FrameRejected(CooptrackError):
    """A frame that the network cannot use, with what was expected and what was found; its state is untouched."""


@dataclass(frozen=True)
class NetworkOutput:
    """What a network makes of a frame, in the agent's sensor frame.

    instances: N active objects with features, in the order of their rows in `tracks` that have the same
    id (Instances.instance_id = TrackedObjects.track_id). detections: what it reports without regard to
    tracks, for object-level cooperation. tracks, associations: of the network's own life cycle. sightings: what the
    image alone shows, untouched by tracks and messages; None of a network that cannot tell it. measured: makes
    what a vehicle's network measured itself in this frame, for its own message; None: that is `instances`.
    """

    instances: Instances
    detections: Instances
    tracks: TrackedObjects
    associations: Associations
    sightings: Instances | None = None
    measured: Callable[[], Instances] | None = None

    def own_instances(self) -> Instances:
        """What to tell others."""
        return self.instances if self.measured is None else self.measured()


class Network(Protocol):
    """A network of one agent with the memory of its frames (model/runtime.py)."""

    @property
    def preset(self) -> str:
        """Name of the configuration, such as tiny_inf."""

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of configuration and weights, which goes into messages."""

    @property
    def trained(self) -> bool:
        """False: random weights."""

    @property
    def codebook(self) -> Codebook | None:
        """Of the features that it makes, or that a vehicle's understands; None: there is none."""

    @property
    def needed_streams(self) -> tuple[str, ...]:
        """Streams of its features that vehicles of its kind cannot recompute; empty: all."""

    @property
    def about(self) -> Mapping[str, str]:
        """What users want to know beside that: device, weights, parameters."""

    def understands(self, message: Message) -> bool:
        """Whether the features of a message come from the roadside network that this one was trained with."""

    def step(self, frame: Frame, T_map_from_sensor: NDArray[np.float64], messages: Sequence[Message]) -> NetworkOutput:
        """Processes a frame with messages that it understands. Raises FrameRejected before anything is changed."""

    def predict(self, stamp_ns: int, T_map_from_sensor: NDArray[np.float64]) -> TrackedObjects:
        """The live tracks moved to another time and pose; the state stays as it is."""

    def reset(self) -> None:
        """Forgets all tracks and the BEV memory; track ids go on."""


def perceive(frame: Frame, min_score: float) -> Instances | None:
    """What the agent's detector saw, in its sensor frame; None if the frame carries nothing usable.

    With the `simulated` detector the frame brings the detections. Rows that are not finite or have no
    extent are dropped: one broken row must not cost the others.
    """
    detections = frame.detections
    if detections is None:
        return None
    finite = np.isfinite(detections.center_m).all(axis=1) & np.isfinite(detections.heading_rad)
    sized = np.isfinite(detections.size_m).all(axis=1) & (detections.size_m > 0).all(axis=1)
    return detections.select(finite & sized & (detections.score >= min_score))
