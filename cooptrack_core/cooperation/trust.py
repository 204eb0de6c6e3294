"""How far each agent is believed: evidence from physics, own sight and other agents, quarantine and return."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import LateFusionConfig
from cooptrack_core.cooperation.coverage import Coverage
from cooptrack_core.cooperation.late_fusion import align
from cooptrack_core.cooperation.physics_watch import PhysicsWatch
from cooptrack_core.cooperation.sight import Sight
from cooptrack_core.cooperation.sight_evidence import Recall, Scale, evidence_of
from cooptrack_core.cooperation.sight_watch import SightWatch, View
from cooptrack_core.cooperation.witnesses import Witnesses
from cooptrack_core.trust_config import TrustConfig
from cooptrack_core.types import Message

Float = NDArray[np.float64]

# Log-odds that each object which speaks against its sender costs; chosen so that honest senders with detectors are not
# quarantined (docs/trust.md, also on what networks make of it).
WEIGHTS = {
    "replay": 0.75, "jump": 0.5, "resize": 0.5, "speed": 0.4, "drift": 0.4, "bend": 0.4, "overlap": 0.1,
    "unseen": 0.25, "transparent": 0.4, "omitted": 0.15, "displaced": 0.3, "contradicted": 0.25,
}  # fmt: skip
_START, _MOST, _LEAST = 2.0, 3.0, -2.0  # log-odds
_MOST_AT_ONCE = 1.5
_LONGEST_STEP_S = 0.5  # silence earns nothing
_AGENTS = 32


@dataclass
class Standing:
    """What is known of one agent."""

    log_odds: float = _START
    quarantined: bool = False
    stamp_s: float | None = None
    physics: PhysicsWatch = field(default_factory=PhysicsWatch)
    sight: SightWatch = field(default_factory=SightWatch)
    evidence: Counter[str] = field(default_factory=Counter)  # objects against it so far, by the name of the evidence

    @property
    def trust(self) -> float:
        """0..1"""
        return 1.0 / (1.0 + math.exp(-self.log_odds))


@dataclass(frozen=True)
class Verdict:
    """A change: an agent was quarantined, or is heard again."""

    stamp_ns: int
    agent_id: str
    quarantined: bool
    cause: str  # the evidence that weighed most lately, '' on return


class TrustMonitor:
    """Judges agents frame by frame. An agent is its agent_id: a new session does not wipe its record."""

    def __init__(self, config: TrustConfig, late: LateFusionConfig) -> None:
        self._config, self._late = config, late
        self._standings: dict[str, Standing] = {}
        self._recent: dict[str, deque[str]] = {}
        self._forget_views()

    def _forget_views(self) -> None:
        self._coverage, self._recall, self._scale, self._witnesses = Coverage(), Recall(), Scale(), Witnesses()

    @property
    def quarantined(self) -> frozenset[str]:
        """Agents whose messages are refused now."""
        return frozenset(name for name, standing in self._standings.items() if standing.quarantined)

    @property
    def standings(self) -> dict[str, Standing]:
        """Of every agent that was judged."""
        return self._standings

    def reset(self) -> None:
        """Starts anew after time jumped back: what was seen is forgotten, who was quarantined stays so."""
        self._standings = {
            name: Standing(standing.log_odds, standing.quarantined) for name, standing in self._standings.items()
        }
        self._forget_views()

    def judge(
        self, stamp_ns: int, T_map_from_ego: Float, sight: Sight | None, used: Sequence[Message],
        watched: Sequence[Message] = (),
    ) -> list[Verdict]:  # fmt: skip
        """Judges the messages of a frame; sight: own, None if there is none; watched: of quarantined agents.

        Returns what has changed; `quarantined` holds from the next message on.
        """
        messages = [*used, *watched]
        contradicted = self._witnesses.contradicted(stamp_ns, messages, self.quarantined)
        changes = []
        for message in messages:
            standing = self._standing(message.agent_id)
            found = Counter(standing.physics.judge(message))
            if contradicted.get(message.agent_id):
                found["contradicted"] += contradicted[message.agent_id]
            if sight is not None:
                view = self._look(stamp_ns, T_map_from_ego, sight, message, standing)
                found.update(evidence_of(view, self._recall, self._scale))
            change = self._update(stamp_ns, message, standing, found)
            if change is not None:
                changes.append(change)
        if sight is not None:
            self._coverage.add(sight.center_m[sight.track_id > 0], T_map_from_ego)
        return changes

    def _look(self, stamp_ns: int, T_map: Float, sight: Sight, message: Message, standing: Standing) -> View:
        assert message.T_map_from_sensor is not None, "admission refuses messages without a pose"
        reported, _ = align(message, stamp_ns, T_map, self._late)
        return standing.sight.look(
            stamp_ns / 1e9, T_map, message.T_map_from_sensor, reported, sight, self._coverage, self._scale.bound_m(),
        )  # fmt: skip

    def _update(
        self, stamp_ns: int, message: Message, standing: Standing, found: Counter[str]
    ) -> Verdict | None:  # fmt: skip
        stamp_s = message.stamp_ns / 1e9
        step_s = 0.0 if standing.stamp_s is None else min(max(stamp_s - standing.stamp_s, 0.0), _LONGEST_STEP_S)
        standing.stamp_s = stamp_s
        standing.evidence.update(found)
        cost = min(_MOST_AT_ONCE, sum(WEIGHTS[name] * count for name, count in found.items()))
        gain = self._config.recovery_per_s * step_s if not cost else 0.0
        standing.log_odds = min(_MOST, max(_LEAST, standing.log_odds + gain - cost))
        recent = self._recent.setdefault(message.agent_id, deque(maxlen=40))
        recent.extend(found.elements())
        if not standing.quarantined and standing.trust < self._config.quarantine_below:
            standing.quarantined = True
            cause = Counter(recent).most_common(1)[0][0] if recent else ""
            return Verdict(stamp_ns, message.agent_id, True, cause)
        if standing.quarantined and standing.trust > self._config.return_above:
            standing.quarantined = False
            recent.clear()
            return Verdict(stamp_ns, message.agent_id, False, "")
        return None

    def _standing(self, agent_id: str) -> Standing:
        standing = self._standings.pop(agent_id, None) or Standing()
        self._standings[agent_id] = standing  # the last heard comes last
        if len(self._standings) > _AGENTS:
            # Who makes up names must not push a quarantined one out.
            honest = [name for name, item in self._standings.items() if not item.quarantined]
            gone = honest[0] if honest and honest[0] != agent_id else next(iter(self._standings))
            del self._standings[gone]
            self._recent.pop(gone, None)
        return standing


__all__ = ["WEIGHTS", "Standing", "TrustMonitor", "Verdict"]
