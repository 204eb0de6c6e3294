"""Steps that the agents of pipeline.py share, and what a vehicle makes of a frame before objects are fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import VehicleConfig
from cooptrack_core.cooperation.late_fusion import Fused, fuse
from cooptrack_core.cooperation.sight import Sight, sight_of
from cooptrack_core.geometry.boxes import move
from cooptrack_core.perception import FrameRejected, Network, NetworkOutput
from cooptrack_core.tracking.ego_motion import EgoMotion
from cooptrack_core.tracking.life_cycle import Measurements, Tracker
from cooptrack_core.types import SOURCE_EGO, Associations, CooptrackError, Frame, Instances, Message, TrackedObjects

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """What the vehicle makes of a frame before objects are fused."""

    seen: Instances | None  # None: nothing usable in this frame
    others: list[Message]  # messages whose objects are still to be fused
    problem: str = ""
    own: tuple[TrackedObjects, Associations] | None = None  # of a network that tracks by itself
    looked: NetworkOutput | None = None

    @property
    def sightings(self) -> Instances | None:
        """What the own sensor alone shows, for what may not depend on messages."""
        if self.own is None:
            return self.seen
        return None if self.looked is None else self.looked.sightings

    def sight(self, tracks: TrackedObjects, associations: Associations) -> Sight | None:
        """What the own sensor measured of the frame's tracks; None if the frame brought nothing of its own."""
        return None if self.seen is None else sight_of(self.seen if self.own is None else None, associations, tracks)


def check_detector(detector: str, network: Network | None) -> None:
    if (detector == "network") != (network is not None):
        raise CooptrackError(f"detector {detector}: {'needs' if network is None else 'takes no'} network")


def look(network: Network, frame: Frame, T_map: Float, messages: Sequence[Message]) -> tuple[NetworkOutput | None, str]:
    """What the network makes of a frame; None and why if it cannot use it. A lost frame is no problem of its own."""
    if frame.image is None:
        return None, ""
    try:
        return network.step(frame, T_map, messages), ""
    except FrameRejected as rejected:
        return None, str(rejected)


def nothing_associated(stamp_ns: int, T_map: Float, config: VehicleConfig) -> Associations:
    return fuse(Instances.empty(), (), stamp_ns, T_map, config.late)[1]


def reset(tracker: Tracker, network: Network | None) -> None:
    tracker.reset()
    if network is not None:
        network.reset()


def locate(motion: EgoMotion, tracker: Tracker, network: Network | None, frame: Frame) -> tuple[Float, bool]:
    first_pose = not motion.ever_known
    T_map, known = motion.update(frame.stamp_ns, frame.T_map_from_sensor)
    if known and first_pose:
        reset(tracker, network)  # tracks made before the first pose live in another frame
    return T_map, known


def own_alone(seen: Instances) -> Fused:
    none = np.zeros(0, np.int64)
    return Fused(
        seen, np.full(len(seen), SOURCE_EGO, np.int64), ((),) * len(seen), np.zeros(len(seen), bool), none, none, none
    )


def advance(
    tracker: Tracker, stamp_ns: int, fused: Fused, T_map: Float, hits: Int | None = None, continues: Int | None = None
) -> Int:
    # What a sender has confirmed over several frames needs one more sighting here, not a whole birth; what the own
    # network tracks (the first rows, with their hits) is as old as it says.
    credit = np.where(fused.confirmed_by_sender, 2, 1)
    if hits is not None:
        credit[: len(hits)] = np.maximum(credit[: len(hits)], hits)
    measured = Measurements(move(fused.instances, T_map), fused.sources, fused.agents, credit, continues)
    return tracker.step(stamp_ns, measured)
