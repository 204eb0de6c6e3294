"""Which messages a vehicle believes and uses: each refusal has a name and is counted (design 3 and 4; anchors E.4)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import AdmissionConfig
from cooptrack_core.cooperation.consistency import contradiction
from cooptrack_core.cooperation.physical import impossible
from cooptrack_core.cooperation.refusals import RefusalBook
from cooptrack_core.cooperation.wire import WireError, decode
from cooptrack_core.geometry.ranges import inside
from cooptrack_core.types import Message, Refusal

_WAITING = 8  # messages kept per agent until a frame can use them
_REPORTED = 1000  # refusals kept for the next frame's report; the counters count all
_AGENTS = 32  # senders remembered; somebody who makes up names must not fill the memory
_RESYNC_AFTER = 5  # refusals in a row after which a sender's own count is believed again


def _few() -> deque[Message]:
    return deque(maxlen=_WAITING)


@dataclass
class _Agent:
    session_id: int
    last_sequence: int = 0
    newest_stamp_ns: int = 0
    refused_in_a_row: int = 0
    waiting: deque[Message] = field(default_factory=_few)
    watched: deque[Message] = field(default_factory=_few)  # while quarantined


@dataclass
class _Bucket:
    """Tokens of a sender: each message costs one, a second brings max_rate_hz, a second's worth can be saved."""

    tokens: float
    filled_ns: int


class Admission:
    """Checks messages on arrival, keeps the admitted ones and hands each frame the newest of every agent.

    The checks come in the order of `refusals.RULES`, and a message is refused by the first that it fails. Stale is
    not empty: a message without instances is news, no message is silence, and a refused message is a fault with a
    name.
    """

    def __init__(
        self, config: AdmissionConfig, map_frame: str = "map", prepare: Callable[[Message], Message] = lambda m: m
    ) -> None:
        """prepare: what is made of every admitted message, in the order of arrival, before a frame uses it."""
        self._prepare = prepare
        self._config = config
        self._map_frame = map_frame
        self._agents: dict[str, _Agent] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._refusals: deque[Refusal] = deque(maxlen=_REPORTED)
        self._frame_ns: int | None = None  # of the last frame that took messages
        self._quarantined: frozenset[str] = frozenset()
        self.book = RefusalBook()

    @property
    def counters(self) -> Counter[str]:
        """Refusals by reason, of all senders together."""
        return self.book.total

    def reset(self) -> None:
        """Forgets agents and waiting messages (time jumped back); the counters go on."""
        self._agents.clear()
        self._buckets.clear()
        self._refusals.clear()
        self._frame_ns = None
        self._quarantined = frozenset()

    def opened(self, fields: Any, size_bytes: int, known_as: str = "") -> Message | Refusal:
        """The message of the fields of a cooptrack_msgs/InstanceFeatures, or why it is refused before its rules count.

        Limits are checked before anything is decoded, so that an absurd message costs nothing. known_as: who is heard
        there; it is charged with a refusal as well, whoever the message names.
        """
        sender, sequence = str(fields.agent_id) or known_as, int(fields.sequence)

        def unread(reason: str, detail: str) -> Refusal:
            if known_as and known_as != sender:  # nothing in it is believed, its name neither
                self.book.also(known_as, reason)
            return self.refuse(sender, sequence, reason, detail)

        if self._too_large(size_bytes, int(fields.instance_count)):
            what = f"{size_bytes} bytes, {fields.instance_count} instances"
            return unread("too_large", what)
        try:
            return decode(fields, size_bytes)
        except WireError as error:
            return unread(error.reason, error.detail)

    def receive(self, message: Message, now_ns: int) -> Refusal | None:
        """Admits a message for a later frame, or refuses it. now_ns: receiver's clock."""
        reason = self._objection(message, now_ns)
        if reason is not None:
            return self.refuse(message.agent_id, message.sequence, reason)
        agent = self._note(message)
        if message.agent_id in self._quarantined:
            agent.watched.append(self._prepare(message))
            return self.refuse(message.agent_id, message.sequence, "quarantined")
        agent.waiting.append(self._prepare(message))
        self.book.admitted(message.agent_id)
        return None

    def refuse(self, agent_id: str, sequence: int, reason: str, detail: str = "") -> Refusal:
        """Records a refusal, also one decided outside, such as a message that could not be read at all."""
        refusal = Refusal(agent_id, sequence, reason, detail)
        self._refusals.append(refusal)
        self.book.refused(agent_id, reason)
        return refusal

    def quarantine(self, agent_ids: frozenset[str]) -> None:
        """Whose messages are refused from now on, though still watched; what they have waiting is refused as well."""
        for agent_id in agent_ids - self._quarantined:
            agent = self._agents.get(agent_id)
            for message in agent.waiting if agent is not None else ():
                self.refuse(agent_id, message.sequence, "quarantined")
            if agent is not None:
                agent.watched.extend(agent.waiting)
                agent.waiting.clear()
        self._quarantined = agent_ids

    def take(self, stamp_ns: int) -> tuple[list[Message], list[Refusal]]:
        """The newest usable message of every agent for a frame at stamp_ns, and the refusals since the last frame.

        A message is used once. One that is newer than the clock tolerance waits for its frame.
        """
        self._frame_ns = stamp_ns
        taken: list[Message] = []
        for agent in self._agents.values():
            ready, agent.waiting = self._split(agent.waiting, stamp_ns)
            for message in ready:
                if self._is_stale(message, stamp_ns):
                    self.refuse(message.agent_id, message.sequence, "stale")
            fresh = [message for message in ready if not self._is_stale(message, stamp_ns)]
            if fresh:
                taken.append(max(fresh, key=lambda message: message.stamp_ns))
        refusals = list(self._refusals)
        self._refusals.clear()
        return sorted(taken, key=lambda message: message.agent_id), refusals

    def take_watched(self, stamp_ns: int) -> list[Message]:
        """The newest message of every quarantined agent for a frame at stamp_ns: to be judged, not to be used."""
        found: list[Message] = []
        for agent in self._agents.values():
            ready, agent.watched = self._split(agent.watched, stamp_ns)
            if ready:
                found.append(max(ready, key=lambda message: message.stamp_ns))
        return sorted(found, key=lambda message: message.agent_id)

    def _split(self, waiting: deque[Message], stamp_ns: int) -> tuple[list[Message], deque[Message]]:
        """What a frame may use, and what is still ahead of it."""
        newest_ns = stamp_ns + round(self._config.clock_tolerance_ms * 1e6)
        later = deque((message for message in waiting if message.stamp_ns > newest_ns), maxlen=_WAITING)
        return [message for message in waiting if message.stamp_ns <= newest_ns], later

    def _is_stale(self, message: Message, stamp_ns: int) -> bool:
        return message.stamp_ns < stamp_ns - round(self._config.max_age_ms * 1e6)

    def _note(self, message: Message) -> _Agent:
        """What is remembered of the sender, this message included."""
        agent = self._agents.get(message.agent_id)
        self._agents.pop(message.agent_id, None)
        if agent is None or agent.session_id != message.session_id:
            agent = _Agent(message.session_id)
        self._agents[message.agent_id] = agent  # the last heard comes last
        if len(self._agents) > _AGENTS:
            name = next(iter(self._agents))
            self._buckets.pop(name, None)
            for forgotten in self._agents.pop(name).waiting:
                self.refuse(forgotten.agent_id, forgotten.sequence, "too_many_agents")
        agent.last_sequence, agent.refused_in_a_row = message.sequence, 0
        agent.newest_stamp_ns = max(agent.newest_stamp_ns, message.stamp_ns)
        return agent

    def _too_large(self, size_bytes: int, instances: int) -> bool:
        return size_bytes > self._config.max_message_bytes or instances > self._config.max_instances

    def _objection(self, message: Message, now_ns: int) -> str | None:
        """The name of the first rule that a message breaks; the order is that of refusals.RULES."""
        if self._too_large(message.size_bytes, len(message.instances) + len(message.held_id)):
            return "too_large"
        if message.stamp_ns > now_ns + self._config.clock_tolerance_ms * 1e6:
            return "from_future"
        # Frames come in order: what is too old for the last one is so for every other. Before that, its frame decides.
        if self._frame_ns is not None and self._is_stale(message, self._frame_ns):
            return "stale"
        return (
            self._sequence_objection(message)
            or self._pose_objection(message)
            or self._geometry_objection(message)
            or self._rate_objection(message.agent_id, now_ns)
        )

    def _sequence_objection(self, message: Message) -> str | None:
        agent = self._agents.get(message.agent_id)
        if agent is None:
            return None
        if agent.session_id != message.session_id:
            # A restarted sender counts anew, but its time goes on; a recording of an earlier session does not.
            return "out_of_order" if message.stamp_ns <= agent.newest_stamp_ns else None
        if message.sequence == agent.last_sequence:
            return "duplicate"
        if message.sequence < agent.last_sequence:
            agent.refused_in_a_row += 1
            # One broken message with a huge number must not silence its sender for good; an old one stays old.
            if agent.refused_in_a_row <= _RESYNC_AFTER or message.stamp_ns <= agent.newest_stamp_ns:
                return "out_of_order"
        return None

    def _pose_objection(self, message: Message) -> str | None:
        if message.map_frame != self._map_frame:
            return "unknown_frame"
        T = message.T_map_from_sensor
        return "no_pose" if T is None or not np.isfinite(T).all() else None

    def _geometry_objection(self, message: Message) -> str | None:
        instances = message.instances
        if not len(instances):
            return None
        if not self._in_range(instances.center_m, message.point_range_m):
            return "out_of_range"
        return "impossible" if impossible(instances).any() else contradiction(instances)

    def _in_range(self, center_m: NDArray[np.float64], declared_m: tuple[float, ...]) -> bool:
        """Whether all centres [N, 3] lie where their sender sees; of one that declares no range, around it."""
        tolerance_m = self._config.range_tolerance_m
        if np.abs(center_m).max() > self._config.max_range_m:
            return False
        if not declared_m:
            return bool(np.hypot(*center_m[:, :2].T).max() <= self._config.undeclared_range_m + tolerance_m)
        low, high = declared_m[:3], declared_m[3:]
        reach = (*(value - tolerance_m for value in low), *(value + tolerance_m for value in high))
        return bool(inside(center_m, reach).all())

    def _rate_objection(self, agent_id: str, now_ns: int) -> str | None:
        most = max(1.0, self._config.max_rate_hz)
        bucket = self._buckets.get(agent_id, _Bucket(most, now_ns))
        gained = max(0, now_ns - bucket.filled_ns) / 1e9 * self._config.max_rate_hz
        tokens = min(most, bucket.tokens + gained)
        allowed = tokens >= 1.0
        self._buckets[agent_id] = _Bucket(tokens - allowed, max(now_ns, bucket.filled_ns))
        return None if allowed else "too_often"
