"""A hostile sender: what attackers put into messages, as seeded changes to those of an honest unit.

After the attacks of Zhang et al., USENIX Security 2024 (arXiv 2309.12955: objects inserted and removed), and arXiv
2605.01301 (objects that exist moved by a little).
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config_fields import parameter
from cooptrack_core.cooperation.late_fusion import concatenate
from cooptrack_core.cooperation.latency import propagate, reported_motion
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.ranges import inside
from cooptrack_core.geometry.transforms import apply, inverse, rotate_xy, yaw_of
from cooptrack_core.types import CLASS_ID, CooptrackError, Features, Instances, Message

Float = NDArray[np.float64]

ATTACKS = {
    "insert": "cars that are not there, ahead of the vehicle on its way",
    "remove": "the objects nearest to the vehicle are left out",
    "shift": "objects stand elsewhere, each displaced by the same way all the time",
    "accelerate": "objects run away from where they are, ever faster",
    "drift": "objects creep aside, their reported speeds stay",
    "replay": "messages of some seconds ago with new stamps and sequence numbers",
    "resend": "messages of some seconds ago byte for byte, among the true ones",
}
_HISTORY = 400
_GHOST_ID = 2**40  # beyond what a unit counts to


@dataclass(frozen=True)
class Attack:
    """What an attacker does to all messages of one sender; name '': nothing.

    Raises CooptrackError for a name that is unknown or a value out of range.
    """

    name: str = parameter("", "what is done", choices=("", *ATTACKS))
    start_s: float = parameter(
        2.0, "time from the first message of the sequence until it begins, s", minimum=0.0, maximum=1e6
    )
    objects: int = parameter(
        3, "objects that are inserted, removed, shifted or accelerated; those nearest to the vehicle", minimum=1,
        maximum=100,
    )  # fmt: skip
    shift_m: float = parameter(3.0, "way of shifted objects, m", minimum=0.0, maximum=50.0)
    shift_mps: float = parameter(
        1.0, "speed with which they are moved there, so that nothing jumps, m/s", minimum=0.01, maximum=1e6
    )
    acceleration_mps2: float = parameter(20.0, "of accelerated objects, m/s^2", minimum=0.0, maximum=1000.0)
    drift_mps: float = parameter(3.0, "of drifting objects, m/s", minimum=0.0, maximum=100.0)
    replay_s: float = parameter(2.0, "age of what is replayed or sent again, s", minimum=0.1, maximum=60.0)
    seed: int = parameter(0, "seed of places and directions", minimum=0, maximum=2**31 - 1)

    def __post_init__(self) -> None:
        for item in fields(self):
            value, known = getattr(self, item.name), item.metadata
            if known["choices"] is not None and value not in known["choices"]:
                names = ", ".join(ATTACKS)
                raise CooptrackError(f"attack {item.name}: {value!r} is unknown; choose one of {names}")
            if known["minimum"] is not None and not known["minimum"] <= value <= known["maximum"]:
                allowed = f"{known['minimum']:g} .. {known['maximum']:g}"
                raise CooptrackError(f"attack {item.name}: {value!r} is outside {allowed}; choose a value in between")

    def describe(self) -> str:
        """In words, for tables and reports; 'none' if it is none."""
        if not self.name:
            return "none"
        strength = {
            "insert": f"{self.objects} objects", "remove": f"{self.objects} objects",
            "shift": f"{self.objects} objects by {self.shift_m:g} m",
            "accelerate": f"{self.objects} objects by {self.acceleration_mps2:g} m/s^2",
            "drift": f"{self.objects} objects by {self.drift_mps:g} m/s",
            "replay": f"{self.replay_s:g} s old", "resend": f"{self.replay_s:g} s old",
        }[self.name]  # fmt: skip
        return f"{self.name} ({strength}) from {self.start_s:g} s, seed {self.seed}"


NO_ATTACK = Attack()


class Attacker:
    """Changes the messages of the senders of one sequence. It knows where the victim is: T_map_from_victim.

    What it does depends on the attack, the sequence's key and the messages alone.
    """

    def __init__(self, attack: Attack, key: str = "") -> None:
        self.attack = attack
        self._key = key
        self._past: dict[str, deque[Message]] = {}
        self._first_ns: dict[str, int] = {}
        self.began_ns: dict[str, int] = {}  # stamp of each sender's first attacked message
        self._ghosts: dict[str, Instances] = {}  # in the map, at the beginning of the attack
        self._victims: dict[str, list[int]] = {}  # ids of the objects that are changed
        self._since: dict[str, dict[int, int]] = {}  # stamp from which each is shifted
        self.counts: Counter[str] = Counter()

    def send(self, message: Message, T_map_from_victim: Float | None) -> list[Message]:
        """What goes on the air instead of a message that its sender sends."""
        past = self._past.setdefault(message.agent_id, deque(maxlen=_HISTORY))
        past.append(message)
        first_ns = self._first_ns.setdefault(message.agent_id, message.stamp_ns)
        self.counts["sent"] += 1
        begun = message.stamp_ns >= first_ns + round(self.attack.start_s * 1e9)
        if not self.attack.name or not begun or message.T_map_from_sensor is None:
            return [message]
        self.began_ns.setdefault(message.agent_id, message.stamp_ns)
        if self.attack.name in ("replay", "resend"):
            sent = self._again(message, past)
        else:
            changed = self._changed(message, T_map_from_victim)
            sent = [message if changed is None else replace(message, instances=changed)]
        self.counts["attacked"] += len(sent) > 1 or sent[0] is not message
        return sent

    def _again(self, message: Message, past: deque[Message]) -> list[Message]:
        """Old content as if it were new, or the old message beside the new one."""
        wanted_ns = message.stamp_ns - round(self.attack.replay_s * 1e9)
        old = min(past, key=lambda earlier: abs(earlier.stamp_ns - wanted_ns))
        if old is message:
            return [message]
        if self.attack.name == "resend":
            return [message, old]
        return [replace(old, stamp_ns=message.stamp_ns, sequence=message.sequence)]

    def _changed(self, message: Message, T_map_from_victim: Float | None) -> Instances | None:
        if T_map_from_victim is None:
            return None
        instances, since_s = message.instances, (message.stamp_ns - self.began_ns[message.agent_id]) / 1e9
        assert message.T_map_from_sensor is not None
        T_sensor_from_map = inverse(message.T_map_from_sensor)
        if self.attack.name == "insert":
            ghosts = self._ghosts.get(message.agent_id)
            if ghosts is None:
                ghosts = self._ghosts[message.agent_id] = self._make_ghosts(message, T_map_from_victim)
            return _with(
                instances, move(propagate(ghosts, since_s, reported_motion(ghosts, 0.0)), T_sensor_from_map), message
            )
        rows = self._rows(message, T_sensor_from_map @ T_map_from_victim)
        if self.attack.name == "remove":
            return instances.select(~rows)
        ways, velocities = self._ways(message, instances, rows, since_s)
        center, velocity = instances.center_m.copy(), instances.velocity_mps.copy()
        center[rows, :2] += ways[rows]
        velocity[rows] += velocities[rows]
        return replace(instances, center_m=center, velocity_mps=velocity)

    def _rows(self, message: Message, T_sensor_from_victim: Float) -> NDArray[np.bool_]:
        """[N] the objects that are changed: those nearest to the victim when it began, by their ids, as long as they
        are there; others take their place."""
        instances = message.instances
        chosen = [i for i in self._victims.get(message.agent_id, []) if i in set(instances.instance_id.tolist())]
        gap = np.hypot(*(instances.center_m - T_sensor_from_victim[:3, 3])[:, :2].T)
        for row in np.argsort(gap, kind="stable").tolist():
            if len(chosen) >= self.attack.objects:
                break
            own_self = gap[row] < 3.0  # the victim would not believe itself gone
            if int(instances.instance_id[row]) not in chosen and not own_self:
                chosen.append(int(instances.instance_id[row]))
        self._victims[message.agent_id] = chosen
        return np.isin(instances.instance_id, chosen)

    def _ways(
        self, message: Message, instances: Instances, rows: NDArray[np.bool_], since_s: float
    ) -> tuple[Float, Float]:
        """[N, 2] displacement and added velocity of every object, along the sensor's axes."""
        attack = self.attack
        angle = np.array([self._rng(message.agent_id, i).uniform(-np.pi, np.pi) for i in instances.instance_id])
        direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if attack.name == "shift":
            chosen = self._since.setdefault(message.agent_id, {})
            began = [chosen.setdefault(int(i), message.stamp_ns) if row else message.stamp_ns
                     for i, row in zip(instances.instance_id, rows, strict=True)]  # fmt: skip
            age_s = (message.stamp_ns - np.array(began, np.int64)) / 1e9
            way = np.minimum(attack.shift_m, attack.shift_mps * age_s)
            return direction * way[:, None], np.zeros_like(direction)
        if attack.name == "drift":
            return direction * min(attack.drift_mps * since_s, 4 * attack.drift_mps), np.zeros_like(direction)
        heading = np.stack([np.cos(instances.heading_rad), np.sin(instances.heading_rad)], axis=1)
        phase_s = since_s % 2.0  # again and again, so that they stay where they are believed
        return heading * attack.acceleration_mps2 * phase_s**2 / 2, heading * attack.acceleration_mps2 * phase_s

    def _make_ghosts(self, message: Message, T_map_from_victim: Float) -> Instances:
        """Cars on the way ahead of the victim, standing or driving slowly, in the map frame."""
        rng, n = self._rng(message.agent_id, 0), self.attack.objects
        x = 12.0 + 10.0 * np.arange(n) + rng.uniform(-2.0, 2.0, n)
        place = np.stack([x, rng.uniform(-1.5, 1.5, n), np.full(n, -1.0)], axis=1)
        speed = np.stack([rng.uniform(0.0, 3.0, n), np.zeros(n)], axis=1)
        return Instances.create(
            apply(T_map_from_victim, place), np.tile([4.5, 1.8, 1.6], (n, 1)),
            np.full(n, yaw_of(T_map_from_victim)), np.full(n, CLASS_ID["car"]), rng.uniform(0.7, 0.95, n),
            velocity_mps=rotate_xy(T_map_from_victim, speed), instance_id=_GHOST_ID + np.arange(n),
            position_variance_m2=np.full((n, 2), 0.05), velocity_variance_m2ps2=np.full((n, 2), 0.2),
            age_frames=np.full(n, 20),
        )  # fmt: skip

    def _rng(self, agent_id: str, number: int) -> np.random.Generator:
        names = zlib.crc32(self._key.encode()), zlib.crc32(agent_id.encode())
        return np.random.default_rng([self.attack.seed, *names, int(number) & 0xFFFFFFFF])


def _with(instances: Instances, ghosts: Instances, message: Message) -> Instances:
    """Both; a ghost has the features of the object that is most alike, the car nearest to it."""
    ghosts = ghosts.select(inside(ghosts.center_m, message.point_range_m))
    features = instances.features
    joined = concatenate(instances, ghosts)
    if features is None or not len(ghosts):
        return replace(joined, features=features)
    if not len(instances):
        return instances  # nothing to copy features from
    gap = np.hypot(*(ghosts.center_m[:, None] - instances.center_m[None])[..., :2].transpose(2, 0, 1))
    gap = gap + 1000.0 * (instances.class_id[None] != ghosts.class_id[:, None])
    rows = np.concatenate([np.arange(len(instances)), gap.argmin(axis=1)])
    copied: Features = features.select(rows)
    return replace(joined, features=copied)


__all__ = ["ATTACKS", "NO_ATTACK", "Attack", "Attacker"]
