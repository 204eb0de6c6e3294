"""Which messages a vehicle believes and uses: each refusal has a name and is counted (design 3 and 4; anchors E.4)."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from cooptrack_core.config import AdmissionConfig
from cooptrack_core.cooperation.consistency import contradiction
from cooptrack_core.types import Message, Refusal

_WAITING = 8  # messages kept per agent until a frame can use them
_REPORTED = 1000  # refusals kept for the next frame's report; the counters count all
_AGENTS = 32  # senders remembered; somebody who makes up names must not fill the memory
_RESYNC_AFTER = 5  # refusals in a row after which a sender's own count is believed again


@dataclass
class _Agent:
    session_id: int
    last_sequence: int = 0
    refused_in_a_row: int = 0
    waiting: deque[Message] = field(default_factory=lambda: deque(maxlen=_WAITING))


class Admission:
    """Checks messages on arrival, keeps the admitted ones and hands each frame the newest of every agent.

    Stale is not empty: a message without instances is news, no message is silence, and a refused
    message is a fault with a name.
    """

    def __init__(self, config: AdmissionConfig, map_frame: str = "map") -> None:
        self._config = config
        self._map_frame = map_frame
        self._agents: dict[str, _Agent] = {}
        self._refusals: deque[Refusal] = deque(maxlen=_REPORTED)
        self.counters: Counter[str] = Counter()

    def reset(self) -> None:
        """Forgets agents and waiting messages (time jumped back); the counters go on."""
        self._agents.clear()
        self._refusals.clear()

    def receive(self, message: Message, now_ns: int) -> Refusal | None:
        """Admits a message for a later frame, or refuses it. now_ns: receiver's clock."""
        reason = self._objection(message, now_ns)
        if reason is not None:
            return self.refuse(message.agent_id, message.sequence, reason)
        agent = self._agents.get(message.agent_id)
        self._agents.pop(message.agent_id, None)
        if agent is None or agent.session_id != message.session_id:
            agent = _Agent(message.session_id)
        self._agents[message.agent_id] = agent  # the last heard comes last
        if len(self._agents) > _AGENTS:
            for forgotten in self._agents.pop(next(iter(self._agents))).waiting:
                self.refuse(forgotten.agent_id, forgotten.sequence, "too_many_agents")
        agent.last_sequence = message.sequence
        agent.refused_in_a_row = 0
        agent.waiting.append(message)
        return None

    def refuse(self, agent_id: str, sequence: int, reason: str) -> Refusal:
        """Records a refusal, also one decided outside, such as a message that could not be decoded."""
        refusal = Refusal(agent_id, sequence, reason)
        self._refusals.append(refusal)
        self.counters[reason] += 1
        return refusal

    def take(self, stamp_ns: int) -> tuple[list[Message], list[Refusal]]:
        """The newest usable message of every agent for a frame at stamp_ns, and the refusals since the last frame.

        A message is used once. One that is newer than the clock tolerance waits for its frame.
        """
        newest_ns = stamp_ns + round(self._config.clock_tolerance_ms * 1e6)
        oldest_ns = stamp_ns - round(self._config.max_age_ms * 1e6)
        taken: list[Message] = []
        for agent in self._agents.values():
            ready = [message for message in agent.waiting if message.stamp_ns <= newest_ns]
            agent.waiting = deque((m for m in agent.waiting if m.stamp_ns > newest_ns), maxlen=_WAITING)
            for message in ready:
                if message.stamp_ns < oldest_ns:
                    self.refuse(message.agent_id, message.sequence, "stale")
            fresh = [message for message in ready if message.stamp_ns >= oldest_ns]
            if fresh:
                taken.append(max(fresh, key=lambda message: message.stamp_ns))
        refusals = list(self._refusals)
        self._refusals.clear()
        return sorted(taken, key=lambda message: message.agent_id), refusals

    def _objection(self, message: Message, now_ns: int) -> str | None:
        config, instances = self._config, message.instances
        agent = self._agents.get(message.agent_id)
        if message.size_bytes > config.max_message_bytes or len(instances) > config.max_instances:
            return "too_large"
        if message.stamp_ns > now_ns + config.clock_tolerance_ms * 1e6:
            return "from_future"
        if agent is not None and agent.session_id == message.session_id:
            if message.sequence == agent.last_sequence:
                return "duplicate"
            if message.sequence < agent.last_sequence:
                agent.refused_in_a_row += 1
                # One broken message with a huge number must not silence its sender for good.
                if agent.refused_in_a_row <= _RESYNC_AFTER:
                    return "out_of_order"
        if message.T_map_from_sensor is None or message.map_frame != self._map_frame:
            return "no_pose"
        if len(instances) and np.abs(instances.center_m).max() > config.max_range_m:
            return "out_of_range"
        return contradiction(instances)
