"""Evidence against a sender from other senders: what two of them must see too, and neither does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.coverage import Coverage
from cooptrack_core.cooperation.latency import propagate, reported_motion
from cooptrack_core.cooperation.sight import Sight
from cooptrack_core.cooperation.sight_evidence import Recall, refutations
from cooptrack_core.cooperation.sight_watch import SightWatch
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.types import Instances, Message

Int = NDArray[np.int64]

_NEEDED = 2  # one word against another decides nothing
_ASKED = 4  # witnesses of an agent at most, so that the cost stays linear in their number
_SETTLED = 5  # messages with an object before its sender is a witness of it
_ERROR_M, _RANGE_M = 2.5, 80.0
_MOST_AGENTS = 32


@dataclass
class _Witness:
    """What a sender has shown so far."""

    coverage: Coverage = field(default_factory=Coverage)
    recall: Recall = field(default_factory=Recall)
    heard: Counter[int] = field(default_factory=Counter)
    watches: dict[str, SightWatch] = field(default_factory=dict)  # of the agents that it is a witness against


class Witnesses:
    """Compares every sender with some of the others. With fewer than three agents it has nothing to say."""

    def __init__(self) -> None:
        self._known: dict[str, _Witness] = {}

    def contradicted(
        self, stamp_ns: int, messages: Sequence[Message], quarantined: frozenset[str]
    ) -> dict[str, int]:  # fmt: skip
        """By agent: how many of its objects two others had to see for long and did not, and nobody sees."""
        if len(messages) <= _NEEDED:
            return {}
        if len(self._known) > _MOST_AGENTS:
            self._known.clear()
        honest = [message for message in messages if message.agent_id not in quarantined]
        sights = {message.agent_id: self._sight(message) for message in honest}
        found = {}
        for message in messages:
            others = [other for other in honest if other.agent_id != message.agent_id]
            against, seen = np.zeros(len(message.instances), np.int64), np.zeros(len(message.instances), bool)
            for witness in others[:_ASKED]:
                says, there = self._ask(stamp_ns, message, witness, sights[witness.agent_id])
                against, seen = against + says, seen | there
            found[message.agent_id] = int(((against >= _NEEDED) & ~seen).sum())
        for message in honest:
            sight = sights[message.agent_id]
            assert message.T_map_from_sensor is not None
            self._known[message.agent_id].coverage.add(sight.center_m[sight.track_id > 0], message.T_map_from_sensor)
        return found

    def _sight(self, message: Message) -> Sight:
        """What a sender reports as what it sees; what it has reported for long is its track."""
        own = message.instances
        heard = self._known.setdefault(message.agent_id, _Witness()).heard
        heard.update(own.instance_id.tolist())
        if len(heard) > 5000:
            heard.clear()
        settled = np.array([heard[i] >= _SETTLED for i in own.instance_id.tolist()], bool)
        return Sight(own.center_m, own.size_m, own.heading_rad, own.class_id, np.where(settled, own.instance_id, 0))

    def _ask(
        self, stamp_ns: int, accused: Message, by: Message, sight: Sight
    ) -> tuple[Int, NDArray[np.bool_]]:  # fmt: skip
        """[N] whether the witness contradicts each object of a message, and whether it sees it."""
        assert accused.T_map_from_sensor is not None and by.T_map_from_sensor is not None
        witness = self._known[by.agent_id]
        watch = witness.watches.setdefault(accused.agent_id, SightWatch(_RANGE_M))
        reported = _seen_from(by, accused)
        view = watch.look(
            stamp_ns / 1e9, by.T_map_from_sensor, accused.T_map_from_sensor, reported, sight, witness.coverage,
            _ERROR_M,
        )  # fmt: skip
        against = [name != "" for name in refutations(view, witness.recall)]
        witness.recall.update(view)
        return np.array(against, np.int64).reshape(-1), view.there


def _seen_from(by: Message, accused: Message) -> Instances:
    """The objects of a message in another one's frame, at its time."""
    assert accused.T_map_from_sensor is not None and by.T_map_from_sensor is not None
    current = propagate(
        accused.instances, (by.stamp_ns - accused.stamp_ns) / 1e9, reported_motion(accused.instances, 1.0)
    )
    return move(current, inverse(by.T_map_from_sensor) @ accused.T_map_from_sensor)


__all__ = ["Witnesses"]
