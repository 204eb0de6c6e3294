"""What a vehicle does against bad senders after each frame: judge them, and bound their influence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import LateFusionConfig
from cooptrack_core.cooperation.admission import Admission
from cooptrack_core.cooperation.bounded_influence import InfluenceBound
from cooptrack_core.cooperation.sight import Sight
from cooptrack_core.cooperation.trust import TrustMonitor, Verdict
from cooptrack_core.trust_config import TrustConfig
from cooptrack_core.types import Message, TrackedObjects

Float = NDArray[np.float64]


class Guard:
    """Trust in senders and the bound of their influence, kept for one vehicle."""

    def __init__(self, config: TrustConfig, late: LateFusionConfig, admission: Admission, detector: str) -> None:
        """detector: of the vehicle's configuration; `quarantine: auto` depends on it."""
        self.quarantines = config.enabled and (
            config.quarantine == "always" or (config.quarantine == "auto" and detector == "simulated")
        )
        self.monitor = TrustMonitor(config, late) if config.enabled else None
        self._influence = InfluenceBound(config)
        self._admission = admission

    def reset(self) -> None:
        """Forgets what was seen; who was quarantined stays so."""
        self._influence.reset()
        if self.monitor is not None:
            self.monitor.reset()
            self._act(self.monitor)

    def after(
        self, stamp_ns: int, T_map_from_ego: Float, sight: Sight | None, tracks: TrackedObjects, used: Sequence[Message]
    ) -> tuple[TrackedObjects, list[Verdict]]:
        """The tracks of a frame as they may be reported, and whom the vehicle no longer, or again, believes.

        sight: what the own sensor measured, None if nothing; used: the messages of the frame.
        """
        verdicts: list[Verdict] = []
        if self.monitor is not None:
            watched = self._admission.take_watched(stamp_ns)
            judged = self.monitor.judge(stamp_ns, T_map_from_ego, sight, used, watched)
            verdicts = judged if self.quarantines else []
            self._act(self.monitor)
        return self._influence.bounded(stamp_ns, T_map_from_ego, sight, tracks), verdicts

    def _act(self, monitor: TrustMonitor) -> None:
        if self.quarantines:
            self._admission.quarantine(monitor.quarantined)


__all__ = ["Guard"]
