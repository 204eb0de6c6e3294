"""From the air to use: what a vehicle admits, makes whole, and corrects of the messages of others."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import VehicleConfig
from cooptrack_core.cooperation.admission import Admission
from cooptrack_core.cooperation.redundancy import ReceivedStates
from cooptrack_core.cooperation.sender_pose import SenderPoses
from cooptrack_core.cooperation.timing import ClockOffset, Timing
from cooptrack_core.perception import Network
from cooptrack_core.types import Associations, Instances, Message, MessageKey, Refusal, TrackedObjects

Float = NDArray[np.float64]
_ADMITTED = 1000  # messages that a frame reports as admitted


class Inbox:
    """Messages in, in the order of arrival; out come those of a frame, with poses, motions and clocks set right."""

    def __init__(self, config: VehicleConfig, map_frame: str, network: Network | None) -> None:
        self._config, self._network = config, network
        self.received, self.poses = ReceivedStates(), SenderPoses(config.pose_correction)
        self.admission = Admission(config.admission, map_frame, self._whole)
        self._arrived: deque[MessageKey] = deque(maxlen=_ADMITTED)
        self.hears_as(config.detector)

    def hears_as(self, detector: str) -> None:
        """What messages are taken to come of."""
        self._timing = Timing(self._config.latency, detector)

    @property
    def clock_offsets(self) -> Mapping[str, ClockOffset]:
        """How far others' clocks are ahead, by agent."""
        return self._timing.clock_offsets

    def reset(self) -> None:
        """Forgets everybody (time jumped back)."""
        self.admission.reset()
        self.poses.reset()
        self.received.reset()
        self._arrived.clear()
        self._timing.reset()

    def receive(self, message: Message, now_ns: int) -> Refusal | None:
        """Takes a message for a later frame, or says why not. now_ns: receiver's clock."""
        return self.admission.receive(message, now_ns)

    def arrived(self) -> tuple[MessageKey, ...]:
        """What was admitted since the last call, in that order."""
        keys = tuple(self._arrived)
        self._arrived.clear()
        return keys

    def prepared(self, messages: Sequence[Message], *, whole: bool) -> tuple[list[Message], list[Message]]:
        """The messages of a frame with better poses: as their senders mean them, and with motions and clocks for use.

        whole: they come from here.
        """
        known = messages if whole else [self._looked_up(message) for message in messages]
        meant = self.poses.corrected(known)
        return meant, self._timing.prepared(meant)

    def learn(
        self, stamp_ns: int, T_map_from_ego: Float, used: Sequence[Message], associations: Associations,
        tracks: TrackedObjects, seen: Instances | None,
    ) -> None:  # fmt: skip
        """Learns of the senders' clocks and poses from what came of their messages; seen: by the own sensor alone."""
        self._timing.observe(stamp_ns, associations, used, tracks, T_map_from_ego)
        self.poses.observe(seen, used, stamp_ns, T_map_from_ego)

    def _whole(self, message: Message) -> Message:
        """An admitted message as everything after sees it: codes looked up, held instances moved on."""
        self._arrived.append(message.key)
        return self.received.expand(self._looked_up(message))

    def _looked_up(self, message: Message) -> Message:
        """With features in place of codes, where they are of this vehicle's codebook."""
        features, codebook = message.instances.features, None if self._network is None else self._network.codebook
        if features is None or codebook is None or not codebook.knows(features):
            return message
        return replace(message, instances=replace(message.instances, features=codebook.decode(features)))


__all__ = ["Inbox"]
