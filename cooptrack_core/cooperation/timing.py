"""When messages are of: each gets how its instances move and how far its sender's clock is off, before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import LatencyConfig
from cooptrack_core.cooperation.clock_offset import ClockOffsets
from cooptrack_core.cooperation.motion_history import MotionHistory
from cooptrack_core.types import Associations, ClockOffset, Message, TrackedObjects


class Timing:
    """What a vehicle learns of its senders over time."""

    def __init__(self, config: LatencyConfig, detector: str) -> None:
        """detector: of the agents, config.DETECTORS."""
        self._lag_ns = round(config.network_lag_ms * 1e6) if detector == "network" else 0
        self._motions, self._clocks = MotionHistory(config), ClockOffsets(config)

    def reset(self) -> None:
        """Forgets everything."""
        self._motions.reset()
        self._clocks.reset()

    @property
    def clock_offsets(self) -> Mapping[str, ClockOffset]:
        """By agent."""
        return self._clocks.estimates

    def prepared(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with motion and clock offset; each is told of once."""
        return [
            replace(
                self._motions.with_motion(message),
                clock_offset_ns=self._clocks.believed_ns(message),
                lag_ns=self._lag_ns,
            )
            for message in messages
        ]

    def observe(
        self, stamp_ns: int, associations: Associations, used: Sequence[Message], tracks: TrackedObjects,
        T_map_from_ego: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Learns from what a frame made of the messages that it used."""
        self._clocks.observe(stamp_ns, associations, used, tracks, T_map_from_ego)


__all__ = ["ClockOffset", "Timing"]
