"""By how much the clocks of other agents are ahead, from objects that both sides see moving.

A message whose stamp is ahead of its contents puts everything that moves too far back. What the vehicle itself measures
tells how far: the distance along the motion, divided by the speed, is the error of the clock. What either side's
detector sees late along the motion counts as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import LatencyConfig
from cooptrack_core.cooperation.senders import LastHeard
from cooptrack_core.geometry.transforms import inverse, rotate_xy
from cooptrack_core.types import SOURCE_EGO, Associations, ClockOffset, Message, TrackedObjects

Float = NDArray[np.float64]

_WINDOW_NS = 20_000_000_000
_PAIRS = 1000  # kept of each agent
_SLOWEST_MPS = 3.0  # what moves less says little about time
_FEWEST_PAIRS, _FEWEST_OBJECTS = 20, 3
_HUBER = 1.345  # in standard deviations; 95 % efficient for normal errors
_ROUNDS = 5
_SIGMAS = 2.0  # of an estimate are not believed


@dataclass(frozen=True)
class _Pair:
    """One moving object that both sides saw."""

    stamp_ns: int
    instance_id: int
    speed_mps: float
    ahead_m: float  # of what the vehicle measures before what the message says, along the motion
    applied_s: float  # correction of the clock that was in this already


@dataclass
class _Agent:
    session_id: int
    pairs: deque[_Pair] = field(default_factory=lambda: deque(maxlen=_PAIRS))
    offset: ClockOffset = field(default_factory=ClockOffset)


class ClockOffsets:
    """Estimates for every agent, over a sliding window."""

    def __init__(self, config: LatencyConfig) -> None:
        self._config = config
        self._agents: LastHeard[str, _Agent] = LastHeard()

    def reset(self) -> None:
        """Forgets all pairs."""
        self._agents.clear()

    @property
    def estimates(self) -> Mapping[str, ClockOffset]:
        """By agent, as of the last frame."""
        return {name: agent.offset for name, agent in self._agents.items()}

    def believed_ns(self, message: Message) -> int:
        """How much of the sender's offset is to be taken off its stamps: what is beyond doubt, 0 if not wanted."""
        agent = self._agents.get(message.agent_id)
        if not self._config.correct_clock_offset or agent is None or agent.session_id != message.session_id:
            return 0
        found = agent.offset
        if not np.isfinite(found.offset_ms):
            return 0
        sure_ms = max(0.0, abs(found.offset_ms) - _SIGMAS * found.std_ms)
        bounded_ms = min(sure_ms, self._config.max_clock_offset_ms)
        return round(float(np.copysign(bounded_ms, found.offset_ms)) * 1e6)

    def observe(
        self, stamp_ns: int, associations: Associations, messages: Sequence[Message], tracks: TrackedObjects,
        T_map_from_ego: Float,
    ) -> None:  # fmt: skip
        """Learns from the pairs of a frame whose track the vehicle measured itself.

        A fused track follows the messages and says nothing about their clock, so what is compared is what the vehicle
        saw. messages: those that the frame used, with their motion.
        """
        by_name = {(m.agent_id, m.session_id, m.sequence): m for m in messages}
        seen_by_ego = set(tracks.track_id[(tracks.sources & SOURCE_EGO) != 0].tolist())
        measured = np.array([identity in seen_by_ego for identity in associations.pair_track_id.tolist()], bool)
        for row, use in enumerate(associations.messages):
            message = by_name.get((use.agent_id, use.session_id, use.sequence))
            if message is None or message.motion is None:
                continue
            agent = self._agent(message)
            mine = measured & (associations.pair_message_index == row)
            agent.pairs.extend(_pairs(stamp_ns, message, associations, mine, T_map_from_ego))
            while agent.pairs and agent.pairs[0].stamp_ns < stamp_ns - _WINDOW_NS:
                agent.pairs.popleft()
            agent.offset = estimate(list(agent.pairs), self._config.max_clock_offset_ms)

    def _agent(self, message: Message) -> _Agent:
        agent = self._agents.get(message.agent_id)
        if agent is None or agent.session_id != message.session_id:
            agent = _Agent(message.session_id)
        return self._agents.keep(message.agent_id, agent)


def _pairs(
    stamp_ns: int, message: Message, associations: Associations, chosen: NDArray[np.bool_], T_map_from_ego: Float
) -> list[_Pair]:
    """Those of the chosen pairs [P] whose object moves."""
    assert message.motion is not None and message.T_map_from_sensor is not None
    rows = associations.pair_instance_index[chosen]
    T_ego_from_sensor = inverse(T_map_from_ego) @ message.T_map_from_sensor
    velocity = rotate_xy(T_ego_from_sensor, message.motion.velocity_mps[rows])  # [p, 2]
    speed = np.linalg.norm(velocity, axis=1)
    way = (associations.pair_ego_center_m - associations.pair_remote_center_m)[chosen, :2]
    ahead = (way * velocity).sum(axis=1) / np.maximum(speed, 1e-9)
    ids, applied_s = message.instances.instance_id[rows], message.clock_offset_ns / 1e9
    return [
        _Pair(stamp_ns, int(ids[k]), float(speed[k]), float(ahead[k]), applied_s)
        for k in np.flatnonzero(speed >= _SLOWEST_MPS).tolist()
    ]


def estimate(pairs: Sequence[_Pair], limit_ms: float) -> ClockOffset:
    """The offset that explains the pairs best (Huber's M-estimate), within the limit; its error is that over objects.

    Pairs of one object in consecutive frames share their errors: they count as one for the standard deviation.
    NaN where too few pairs or objects are known.
    """
    ids = np.array([pair.instance_id for pair in pairs], np.int64)
    objects, of_object = np.unique(ids, return_inverse=True)
    if len(pairs) < _FEWEST_PAIRS or len(objects) < _FEWEST_OBJECTS:
        return ClockOffset(count=len(pairs), objects=len(objects))
    speed = np.array([pair.speed_mps for pair in pairs])
    late_m = np.array([pair.ahead_m + pair.applied_s * pair.speed_mps for pair in pairs])  # = offset * speed + noise
    # Ten pairs of each object weigh as much as a hundred: what stays in view must not outvote what passes.
    share = 1.0 / np.maximum(np.bincount(of_object), 10)[of_object]
    offset_s = float(np.median(late_m / speed))
    weight = share
    for _ in range(_ROUNDS):
        rest = late_m - offset_s * speed
        scale = max(1.4826 * float(np.median(np.abs(rest))), 0.05)
        weight = share * np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(rest), 1e-9))
        offset_s = float((weight * speed * late_m).sum() / (weight * speed**2).sum())
    pull = np.bincount(of_object, weight * speed * (late_m - offset_s * speed))  # [objects]
    few = len(objects) / (len(objects) - 1)
    std_s = float(np.sqrt(few * (pull**2).sum()) / (weight * speed**2).sum())
    bounded_ms = float(np.clip(1e3 * offset_s, -limit_ms, limit_ms))
    return ClockOffset(bounded_ms, 1e3 * std_s, len(pairs), len(objects))


__all__ = ["ClockOffsets", "estimate"]
