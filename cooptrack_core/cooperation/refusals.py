"""Names of refused messages: what each means, how serious it is, and how often each sender earned it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass

OK, WARN, ERROR = "ok", "warn", "error"
_RECENT = 50  # messages of a sender that its level is judged by
_SENDERS = 64  # with counters of their own; somebody who makes up names must not fill the memory


@dataclass(frozen=True)
class Rule:
    """One reason to refuse a message."""

    level: str  # of the diagnostics while it happens often
    meaning: str


# In the order in which they are checked. `share` of the last messages from which the level counts: SHARE.
RULES: dict[str, Rule] = {
    "too_large": Rule(ERROR, "more bytes or instances than the limits"),
    "schema_version": Rule(ERROR, "a version of the message that this receiver does not read"),
    "malformed": Rule(ERROR, "cannot be deserialised, or lengths and values do not agree"),
    "not_finite": Rule(ERROR, "a number is not finite"),
    "from_future": Rule(ERROR, "stamp ahead of the receiver's clock by more than the tolerance"),
    "stale": Rule(WARN, "perception time too long ago for any frame to come"),
    "duplicate": Rule(OK, "sequence number of the message before"),
    "out_of_order": Rule(WARN, "sequence number, or stamp of a new session, behind what was admitted"),
    "unknown_frame": Rule(WARN, "pose in another map frame than the receiver's"),
    "no_pose": Rule(WARN, "no pose, or one that is not finite"),
    "out_of_range": Rule(WARN, "an instance outside the range that the sender declares, or farther than any sees"),
    "impossible": Rule(ERROR, "a size or speed that no road user of its class has"),
    "repeated_id": Rule(ERROR, "an id of an object stands twice"),
    "overlapping": Rule(ERROR, "most of many vehicles lie where another one does"),
    "too_often": Rule(WARN, "more messages per second than allowed"),
    "quarantined": Rule(ERROR, "the sender has lost the vehicle's trust; it is still watched"),
    "too_many_agents": Rule(WARN, "the sender was forgotten because more than 32 others were heard since"),
}
SHARE = {WARN: 0.05, ERROR: 0.02}
_ORDER = (OK, WARN, ERROR)


class RefusalBook:
    """Counts refusals, in total and by sender, and judges how a sender does by its last messages."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._by_agent: dict[str, Counter[str]] = {}
        self._recent: dict[str, deque[str]] = {}
        self._recent_of_all: deque[str] = deque(maxlen=_RECENT)

    def refused(self, agent_id: str, reason: str) -> None:
        """Counts a refusal."""
        self.total[reason] += 1
        self._recent_of_all.append(reason)
        self.also(agent_id, reason)

    def also(self, agent_id: str, reason: str) -> None:
        """Charges one more sender with a refusal that is counted already: the message may lie about its own."""
        self._note(agent_id, reason)
        self._by_agent[agent_id][reason] += 1

    def admitted(self, agent_id: str) -> None:
        """Notes that a message was admitted."""
        self._recent_of_all.append("")
        self._note(agent_id, "")

    def of(self, agent_id: str) -> dict[str, int]:
        """Refusals of one sender by reason."""
        return dict(self._by_agent.get(agent_id, {}))

    def level(self, agent_id: str) -> tuple[str, str]:
        """The level of a sender, and the reason for it, by the shares among its last messages; 'ok' and ''."""
        return _judged(self._recent.get(agent_id, ()))

    def level_of_all(self) -> tuple[str, str]:
        """The same by the last messages of all senders together."""
        return _judged(self._recent_of_all)

    def _note(self, agent_id: str, reason: str) -> None:
        if agent_id not in self._recent and len(self._recent) >= _SENDERS:
            forgotten = next(iter(self._recent))
            del self._recent[forgotten]
            self._by_agent.pop(forgotten, None)
        self._by_agent.setdefault(agent_id, Counter())
        self._recent.setdefault(agent_id, deque(maxlen=_RECENT)).append(reason)


def _judged(recent: Collection[str]) -> tuple[str, str]:
    """The worst level that enough of these messages earn, and its reason; '' stands for one that was admitted."""
    worst, cause = OK, ""
    for reason, count in sorted(Counter(recent).items()):
        level = RULES[reason].level if reason in RULES else OK
        if level != OK and count / len(recent) > SHARE[level] and _ORDER.index(level) > _ORDER.index(worst):
            worst, cause = level, reason
    return worst, cause


__all__ = ["ERROR", "OK", "RULES", "SHARE", "WARN", "RefusalBook", "Rule"]
