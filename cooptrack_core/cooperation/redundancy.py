"""What a receiver can foresee is not sent again: the sender lists it as held, the receiver moves on what it has.

A held instance moves with the velocity that was sent, in the sender's sensor frame; so only a sender that stands
still holds. Its features are those received last. Both sides forget after HOLD_LIMIT_NS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import RedundancyConfig
from cooptrack_core.cooperation.latency import propagate, reported_motion
from cooptrack_core.cooperation.senders import LastHeard
from cooptrack_core.types import Instances, Message

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

HOLD_LIMIT_NS = 1_000_000_000
_SAME_PLACE_M, _SAME_ROTATION = 0.05, 0.005  # by which a pose may differ while the sender stands still
_GOLDEN = 0.6180339887498949  # spreads the refreshes of neighbouring ids
_SPREAD = 0.5  # share of the refresh interval over which they are spread


@dataclass(frozen=True)
class _State:
    """Where one row was received or sent."""

    instances: Instances
    row: int
    stamp_ns: int


@dataclass(frozen=True)
class Foreseen:
    """What the receiver has of N instances, beside what is seen now. known: [N] it has anything that still counts."""

    known: Bool
    age_s: Float  # [N] since it was sent, inf: never
    error: Float  # [N] largest of the deviations, in tolerances
    due: Bool  # [N] to be refreshed


class States:
    """The last state of every id, on either side of the air."""

    def __init__(self) -> None:
        self._of_id: dict[int, _State] = {}

    def store(self, instances: Instances, stamp_ns: int) -> None:
        """Takes rows as the newest of their ids, and forgets what is too old."""
        for row, key in enumerate(instances.instance_id.tolist()):
            self._of_id[key] = _State(instances, row, stamp_ns)
        self._of_id = {key: state for key, state in self._of_id.items() if stamp_ns - state.stamp_ns <= HOLD_LIMIT_NS}

    def foresee(self, ids: Iterable[int], stamp_ns: int) -> tuple[Instances, list[int]]:
        """The known ones of some ids, moved to another time, and the ids of those rows."""
        chunks: dict[int, list[_State]] = {}
        for key in ids:
            state = self._of_id.get(key)
            if state is not None and 0 <= stamp_ns - state.stamp_ns <= HOLD_LIMIT_NS:
                chunks.setdefault(id(state.instances), []).append(state)
        parts = [_moved(states, stamp_ns) for states in chunks.values()]
        if not parts:
            return Instances.empty(), []
        moved = Instances.concatenate(parts)
        return moved, moved.instance_id.tolist()

    def age_s(self, key: int, stamp_ns: int) -> float:
        """Since the state of an id was stored; inf: there is none."""
        state = self._of_id.get(key)
        return float("inf") if state is None else (stamp_ns - state.stamp_ns) / 1e9

    def clear(self) -> None:
        """Forgets everything."""
        self._of_id.clear()


def _moved(states: list[_State], stamp_ns: int) -> Instances:
    """Rows of one message, moved to another time."""
    rows = states[0].instances.select(np.array([state.row for state in states]))
    return propagate(rows, (stamp_ns - states[0].stamp_ns) / 1e9, reported_motion(rows, 0.0))


class SentStates:
    """The sender's side: what its receivers can foresee of the instances that it sees now."""

    def __init__(self, config: RedundancyConfig) -> None:
        self._config = config
        self._states = States()
        self._T_map: Float | None = None

    def reset(self) -> None:
        """Forgets what was sent."""
        self._states.clear()

    def compare(self, instances: Instances, stamp_ns: int, T_map_from_sensor: Float) -> Foreseen:
        """[N] instances against what was sent of them; nothing is foreseen where the sender has moved."""
        if self._T_map is not None and not _stands_still(self._T_map, T_map_from_sensor):
            self._states.clear()
        self._T_map = T_map_from_sensor
        n = len(instances)
        known, error = np.zeros(n, bool), np.full(n, np.inf)
        moved, ids = self._states.foresee(instances.instance_id.tolist(), stamp_ns)
        place = {key: row for row, key in enumerate(ids)}
        rows = np.array([row for row, key in enumerate(instances.instance_id.tolist()) if key in place], np.int64)
        if len(rows):
            then = moved.select(np.array([place[int(key)] for key in instances.instance_id[rows]]))
            known[rows], error[rows] = True, self._error(instances.select(rows), then)
        age_s = np.array([self._states.age_s(int(key), stamp_ns) for key in instances.instance_id])
        phase = (instances.instance_id * _GOLDEN) % 1.0
        due = age_s * 1000.0 >= self._config.refresh_ms * (1.0 - _SPREAD * phase) - 1e-6
        return Foreseen(known, age_s, error, due)

    def sent(self, instances: Instances, stamp_ns: int) -> None:
        """Remembers what a message carries."""
        self._states.store(instances, stamp_ns)

    def _error(self, now: Instances, then: Instances) -> Float:
        config = self._config
        turn = np.abs((now.heading_rad - then.heading_rad + np.pi) % (2 * np.pi) - np.pi)
        deviations = [
            np.linalg.norm(now.center_m - then.center_m, axis=1) / config.position_m,
            turn / config.heading_rad,
            np.abs(now.score - then.score) / config.score,
            np.where(now.class_id == then.class_id, 0.0, np.inf),
        ]
        return np.asarray(np.max(deviations, axis=0), np.float64)


def _stands_still(then: Float, now: Float) -> bool:
    turned = np.abs(now[:3, :3] - then[:3, :3]).max()
    return bool(np.linalg.norm(now[:3, 3] - then[:3, 3]) <= _SAME_PLACE_M and turned <= _SAME_ROTATION)


@dataclass(frozen=True)
class _Origin:
    """What rows must share to stand in one message: session, and kind of the features."""

    session_id: int
    kind: tuple[object, ...]


class ReceivedStates:
    """The receiver's side: makes whole messages of those that hold instances, for every sender and session."""

    def __init__(self) -> None:
        self._of_sender: LastHeard[str, tuple[_Origin, States]] = LastHeard()
        self.counters: Counter[str] = Counter()  # held, held_unknown: instances

    def reset(self) -> None:
        """Forgets all senders; the counters go on."""
        self._of_sender.clear()

    def expand(self, message: Message) -> Message:
        """The message with its held instances behind those sent, as far as they are known; to be called once for
        each admitted message, in the order of arrival. What is not known is missing until it is sent again."""
        sent = message.instances
        before, states = self._of_sender.get(message.agent_id, (None, States()))
        origin = before if before is not None and not len(sent) else _origin(message)
        if before is not None and (before != origin or before.session_id != message.session_id):
            states = States()
        self._of_sender.keep(message.agent_id, (origin, states))
        states.store(sent, message.stamp_ns)
        if not len(message.held_id):
            return message
        listed = set(sent.instance_id.tolist())
        moved, ids = states.foresee(sorted(set(message.held_id.tolist()) - listed), message.stamp_ns)
        self.counters["held"] += len(ids)
        self.counters["held_unknown"] += len(message.held_id) - len(ids)
        if not ids:
            return message
        return replace(message, instances=Instances.concatenate([sent, moved]) if len(sent) else moved)


def _origin(message: Message) -> _Origin:
    f = message.instances.features
    if f is None:
        return _Origin(message.session_id, ())
    streams = f.embedding is not None, f.motion is not None, None if f.codes is None else f.codes.shape[1:]
    return _Origin(message.session_id, (f.fingerprint, f.codebook, f.query.shape[1], f.channels, *streams))


__all__ = ["HOLD_LIMIT_NS", "Foreseen", "ReceivedStates", "SentStates", "States"]
