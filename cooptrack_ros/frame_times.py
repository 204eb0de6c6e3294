"""When the worker did what with a frame, as the stages of debug/timings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cooptrack_core.stage_clock import sum_ms
from cooptrack_ros.trigger import Arrival


@dataclass(frozen=True)
class Moments:
    """On the monotonic clock, in ns."""

    begun: int  # the worker took the frame
    posed: int  # pose and image were there
    stepped: int  # the agent's step began
    tracks_out: int
    all_out: int

    def stages_ms(self, arrival: Arrival, core_ms: Mapping[str, float]) -> dict[str, float]:
        """The stages from the entry of the callback on; `total` ends with the tracks. core_ms: those of the agent."""
        return {
            "convert_in": arrival.convert_ms,
            "receive_to_start": (self.begun - arrival.received_ns) / 1e6 - arrival.convert_ms,
            "wait_tf": (self.posed - self.begun) / 1e6,
            **core_ms,
            "publish": (self.tracks_out - self.stepped) / 1e6 - sum_ms(core_ms),
            "publish_rest": (self.all_out - self.tracks_out) / 1e6,
            "total": (self.tracks_out - arrival.received_ns) / 1e6,
        }
