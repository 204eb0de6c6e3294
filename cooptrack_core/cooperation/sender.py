"""From what an agent sees to the message that it sends: selection, redundancy, codes and the budget of bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import SendingConfig
from cooptrack_core.cooperation.budget import Budget
from cooptrack_core.cooperation.compose import select_for_message
from cooptrack_core.cooperation.message_size import size_bytes
from cooptrack_core.cooperation.redundancy import Foreseen, SentStates
from cooptrack_core.geometry.ranges import INFRASTRUCTURE_RANGE_M
from cooptrack_core.perception import Network
from cooptrack_core.stage_clock import stage
from cooptrack_core.types import CooptrackError, Features, Instances, Message

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

_NEW = 2.0  # worth of an instance that the receiver does not have, in tolerances
_STRETCH = 3.0  # tolerances by which a held instance may be off where there is no room to send it


class Sender:
    """Composes the messages of one agent, one after the other."""

    def __init__(
        self, agent_id: str, config: SendingConfig, session_id: int, sensor_frame: str, map_frame: str,
        network: Network | None = None, point_range_m: tuple[float, ...] = INFRASTRUCTURE_RANGE_M,
    ) -> None:  # fmt: skip
        """network: makes the features to be sent, and says which of them receivers cannot recompute.

        point_range_m: what lies outside is not told. Raises CooptrackError for codes without a codebook.
        """
        self.agent_id, self.config, self.session_id = agent_id, config, session_id
        self._sensor_frame, self._map_frame, self._point_range_m = sensor_frame, map_frame, point_range_m
        self._codebook = None if network is None else network.codebook
        self._streams = network.needed_streams if network is not None and config.feature_streams == "needed" else ()
        self._precision = _precision(config, network)
        self._sent, self._budget = SentStates(config.redundancy), Budget(config)
        self.sequence = 0

    def reset(self) -> None:
        """Starts anew after time jumped back; sequence numbers go on."""
        self._sent.reset()
        self._budget.reset()

    def compose(self, stamp_ns: int, seen: Instances, T_map_from_sensor: Float) -> Message | None:
        """The message about a frame; None where the budget has no room for one, so that it comes less often."""
        self.sequence += 1
        instances, withheld = select_for_message(seen, self.config.max_instances, self._point_range_m)
        if instances.features is not None:
            instances = replace(instances, features=self._shortened(instances.features))
        foreseen = self._sent.compare(instances, stamp_ns, T_map_from_sensor)
        redundant = foreseen.known & ~foreseen.due & (foreseen.error <= 1.0)
        blank = Message(
            self.agent_id, self.session_id, self.sequence, stamp_ns, self._sensor_frame, T_map_from_sensor,
            instances, self._point_range_m, withheld, 0, self._map_frame, precision=self._precision,
            kinematics=self.config.kinematics_precision,
        )  # fmt: skip
        message = self._fitted(blank, foreseen, redundant, self._budget.allowed(stamp_ns))
        if message is not None:
            self._sent.sent(message.instances, stamp_ns)
        return message

    def _shortened(self, features: Features) -> Features | None:
        """As they go on the air; precision is what the bytes are made of later."""
        if self._precision == "none":
            return None
        if self._streams:
            features = features.without([name for name in ("embedding", "motion") if name not in self._streams])
        if self._precision == "rvq":
            assert self._codebook is not None
            with stage("code features"):
                return self._codebook.encode(features, self.config.feature_codes)
        return features

    def _fitted(self, blank: Message, foreseen: Foreseen, redundant: Bool, allowed: int) -> Message | None:
        """With as many instances as there is room for, the most useful ones; the others are held if they may be."""
        wanted = np.flatnonzero(~redundant)
        order = wanted[np.argsort(-_worth(blank.instances, foreseen)[wanted], kind="stable")]
        may_hold = foreseen.known & (redundant | (foreseen.error <= _STRETCH)) & (self.config.redundancy.refresh_ms > 0)
        count = len(order)
        while True:
            message = _with(blank, np.sort(order[:count]), may_hold)
            over = size_bytes(message) - allowed
            if over <= 0:
                self._budget.spend(over + allowed)
                return message
            if count == 0:
                return None
            each = max(1.0, (size_bytes(message) - size_bytes(_with(blank, order[:0], may_hold))) / count)
            count = max(0, count - max(1, int(over / each)))


def _worth(instances: Instances, foreseen: Foreseen) -> Float:
    """[N] expected use to a receiver: how sure it is, times how much the receiver lacks it.

    What receivers see themselves does not count: telling it costs more than it saves (docs/wire.md).
    """
    lacking = np.where(foreseen.known, np.minimum(foreseen.error + np.minimum(foreseen.age_s, 1.0), _NEW), _NEW)
    return np.asarray(instances.score * lacking)


def _with(blank: Message, rows: NDArray[np.intp], may_hold: Bool) -> Message:
    """The message with these rows sent; of the others those held that may be, the rest is withheld."""
    left = np.ones(len(blank.instances), bool)
    left[rows] = False
    held = left & may_hold
    return replace(
        blank,
        instances=blank.instances.select(rows),
        held_id=np.sort(blank.instances.instance_id[held]),
        instances_withheld=blank.instances_withheld + int((left & ~held).sum()),
    )


def _precision(config: SendingConfig, network: Network | None) -> str:
    codebook = None if network is None else network.codebook
    if config.feature_precision == "auto":
        return "fp16" if codebook is None else "rvq"
    if config.feature_precision == "rvq" and network is not None and codebook is None:
        what = f"the weights of {network.preset} have no codebook; make one with cooptrack fit-codebook and name it in"
        raise CooptrackError(f"feature_precision rvq: {what} network.codebook, or choose another precision")
    return config.feature_precision


__all__ = ["Sender"]
