"""A disturbed channel from senders to one receiver: which messages arrive, when, and with what in them."""

from __future__ import annotations

import heapq
import itertools
import math
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cooptrack_core.cooperation.damage import DAMAGES, Codec, damaged
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.types import CooptrackError, Message, Refusal

Float = NDArray[np.float64]

_LOSS, _JITTER, _INSTANCES, _NOISE, _OUTAGE, _COPY, _HELD, _DAMAGE = range(8)  # each kind draws for itself

Delivered = tuple[Message | Refusal, int]  # a message, or why it cannot be read, and when it arrived


@dataclass(frozen=True)
class _Arrived:
    """A message at the receiver that still waits for the frame which is late enough to use it."""

    order: int  # of its sender's messages, as they arrived
    sent_stamp_ns: int  # by a clock without offset
    arrival_ns: int
    message: Message | Refusal


@dataclass(frozen=True)
class _Sent:
    """A message on the way; its bytes where they are known and say the same."""

    stamp_ns: int  # by a clock without offset
    message: Message
    data: bytes | None = None
    damaged: bool = False  # then the bytes are what arrives


@dataclass
class _Sender:
    """What the channel remembers of one sender."""

    count: int = 0
    lost: bool = False
    noise: Float | None = None  # [4] x, y, z, yaw in standard deviations
    noise_stamp_ns: int = 0
    arrived_stamps_ns: list[int] = field(default_factory=list)
    waiting: list[_Arrived] = field(default_factory=list)
    held: list[tuple[int, _Sent]] = field(default_factory=list)  # with its arrival, if nothing held it back


class Channel:
    """Carries the messages of one sequence to one vehicle.

    The fate of a sender's n-th message depends on the disturbance's seed, key (the sequence), the sender and n
    alone. Kinds of disturbance draw apart, and each draws the same numbers whatever its strength: what is lost at
    loss 0.1 is lost at 0.3 too, noise of 1 m is twice that of 0.5 m. So curves compare like with like.
    """

    def __init__(
        self,
        disturbance: Disturbance,
        key: str = "",
        span_ns: tuple[int, int] | None = None,
        codec: Codec | None = None,
    ) -> None:
        """span_ns: stamps of the first and last message that may be sent; an outage of a part needs it.

        codec: how messages become bytes; damage to their content and due_bytes need it.
        """
        self.disturbance, self.key, self._codec = disturbance, key, codec
        self.counts: Counter[str] = Counter()
        self._span_ns = span_ns
        self._senders: dict[str, _Sender] = {}
        self._on_the_way: list[tuple[int, int, _Sent]] = []
        self._tick = itertools.count()

    @property
    def needs_span(self) -> bool:
        """Whether the times of all messages must be known before the first is sent."""
        return 0.0 < self.disturbance.drop_roadside < 1.0 and self._span_ns is None

    def expect(self, stamps_ns: Iterable[int]) -> None:
        """Tells the stamps of the messages that may be sent."""
        known = list(stamps_ns)
        self._span_ns = (min(known), max(known)) if known else (0, 0)

    def send(self, message: Message, now_ns: int, data: bytes | None = None) -> None:
        """Takes a message that its sender sends now (receiver's clock); data: its bytes, if they are at hand."""
        if self.needs_span:
            raise CooptrackError("disturbance --drop-roadside: the length of the sequence is not known; give span_ns")
        d, stamp_ns = self.disturbance, message.stamp_ns
        sender = self._senders.setdefault(message.agent_id, _Sender())
        sender.count += 1
        self.counts["sent"] += 1
        lost, late_ns = self._is_lost(sender, message), self._delay_ns(sender, message)
        disturbed = self._with_noise(sender, self._with_instance_loss(sender, message))
        if d.clock_offset_ms:
            disturbed = replace(disturbed, stamp_ns=stamp_ns + round(d.clock_offset_ms * 1e6))
        held, sender.held = sender.held, []
        if self._in_outage(stamp_ns):
            self.counts["outage"] += 1
        elif lost:
            self.counts["lost"] += 1
        else:
            sent = self._damaged(sender, _Sent(stamp_ns, disturbed, data if disturbed is message else None))
            self._dispatch(sender, sent, now_ns + late_ns)
        for arrival_ns, item in held:
            self._push(max(arrival_ns, now_ns + late_ns), item)

    def clear(self) -> None:
        """Forgets what is on the way (time jumped back)."""
        self._on_the_way.clear()
        for sender in self._senders.values():
            sender.held.clear()
            sender.waiting.clear()

    def _dispatch(self, sender: _Sender, sent: _Sent, arrival_ns: int) -> None:
        """Puts a message on its way, once or twice, or holds it back until the next one is through."""
        d, agent_id = self.disturbance, sent.message.agent_id
        copies = 1 + self._happens(d.duplicated, _COPY, agent_id, sender.count)
        if copies > 1:
            self.counts["duplicated"] += 1
        for _ in range(copies):
            if self._happens(d.reordered, _HELD, agent_id, sender.count):
                self.counts["reordered"] += 1
                sender.held.append((arrival_ns, sent))
            else:
                self._push(arrival_ns, sent)

    def _push(self, arrival_ns: int, sent: _Sent) -> None:
        heapq.heappush(self._on_the_way, (arrival_ns, next(self._tick), sent))

    def _damaged(self, sender: _Sender, sent: _Sent) -> _Sent:
        """With the damage that the message gets, done to its bytes."""
        d, message = self.disturbance, sent.message
        if not any(getattr(d, kind) for kind in DAMAGES):
            return sent
        rng = self._rng(_DAMAGE, message.agent_id, sender.count)
        drawn = dict(zip(DAMAGES, rng.random(len(DAMAGES)), strict=True))
        kinds = [kind for kind in DAMAGES if drawn[kind] < getattr(d, kind)]
        self.counts.update(kinds)
        if not kinds:
            return sent
        if self._codec is None:
            raise CooptrackError(f"disturbance {kinds[0]}: needs to know how messages become bytes; give a codec")
        return replace(sent, data=damaged(message, kinds, rng, self._codec), damaged=True)

    def due(self, now_ns: int, frame_stamp_ns: int) -> list[Delivered]:
        """What the receiver gets by now, for a frame at frame_stamp_ns, and when each arrived; each once."""
        due: list[Delivered] = []
        while self._on_the_way and self._on_the_way[0][0] <= now_ns:
            arrival_ns, _, sent = heapq.heappop(self._on_the_way)
            message = self._read(sent)
            if not self.disturbance.async_frames:
                due.append((message, arrival_ns))
                continue
            sender = self._senders[sent.message.agent_id]
            sender.waiting.append(_Arrived(len(sender.arrived_stamps_ns), sent.stamp_ns, arrival_ns, message))
            sender.arrived_stamps_ns.append(sent.stamp_ns)
        for sender in self._senders.values():
            due += self._old_enough(sender, frame_stamp_ns)
        self.counts["arrived"] += len(due)
        return due

    def due_bytes(self, now_ns: int) -> list[bytes]:
        """What the receiver gets by now, as bytes; async_frames, which needs its frames, does not count here."""
        due = []
        while self._on_the_way and self._on_the_way[0][0] <= now_ns:
            sent = heapq.heappop(self._on_the_way)[2]
            assert sent.data is not None or self._codec is not None
            due.append(self._codec.write(sent.message) if sent.data is None else sent.data)  # type: ignore[union-attr]
        self.counts["arrived"] += len(due)
        return due

    def _read(self, sent: _Sent) -> Message | Refusal:
        if not sent.damaged:
            return sent.message
        assert self._codec is not None and sent.data is not None
        return self._codec.read(sent.data, sent.message.agent_id)

    def _happens(self, share: float, kind: int, agent_id: str, number: int) -> bool:
        return bool(share) and bool(self._rng(kind, agent_id, number).random() < share)

    def _old_enough(self, sender: _Sender, frame_stamp_ns: int) -> list[Delivered]:
        """What arrived async_frames before the message nearest to the frame, or earlier."""
        if not sender.waiting:
            return []
        partner = int(np.argmin(np.abs(np.asarray(sender.arrived_stamps_ns) - frame_stamp_ns)))
        last = partner - self.disturbance.async_frames
        ready = [item for item in sender.waiting if item.order <= last]
        sender.waiting = [item for item in sender.waiting if item.order > last]
        return [(item.message, item.arrival_ns) for item in ready]

    def _rng(self, kind: int, agent_id: str = "", number: int = 0) -> np.random.Generator:
        names = zlib.crc32(self.key.encode()), zlib.crc32(agent_id.encode())
        return np.random.default_rng([self.disturbance.seed, *names, kind, number])

    def _is_lost(self, sender: _Sender, message: Message) -> bool:
        if not self.disturbance.loss:
            return False
        after_arrived, after_lost = self.disturbance.burst_probabilities()
        if sender.count == 1:
            after_arrived = self.disturbance.loss  # the state before the first message is the usual one
        drawn = self._rng(_LOSS, message.agent_id, sender.count).random()
        sender.lost = bool(drawn < (after_lost if sender.lost else after_arrived))
        return sender.lost

    def _delay_ns(self, sender: _Sender, message: Message) -> int:
        late_ms = self.disturbance.delay_ms
        if self.disturbance.jitter_ms:
            late_ms += self.disturbance.jitter_ms * self._rng(_JITTER, message.agent_id, sender.count).random()
        return round(late_ms * 1e6)

    def _in_outage(self, stamp_ns: int) -> bool:
        share = self.disturbance.drop_roadside
        if share <= 0.0 or share >= 1.0:
            return share >= 1.0
        assert self._span_ns is not None
        first, last = self._span_ns
        start = first + (1.0 - share) * (last - first) * self._rng(_OUTAGE).random()
        return bool(start <= stamp_ns <= start + share * (last - first))

    def _with_instance_loss(self, sender: _Sender, message: Message) -> Message:
        """Without the instances that get lost; the size stays that of what was sent."""
        if not self.disturbance.instance_loss:
            return message
        drawn = self._rng(_INSTANCES, message.agent_id, sender.count).random(len(message.instances))
        kept = drawn >= self.disturbance.instance_loss
        self.counts["instances_sent"] += len(kept)
        self.counts["instances_lost"] += int((~kept).sum())
        return replace(message, instances=message.instances.select(kept))

    def _with_noise(self, sender: _Sender, message: Message) -> Message:
        """With noise on the pose: R <- R_noise R, t <- t + n (spec v2x-seq-spd.md 7), the noise in the map frame."""
        d, T = self.disturbance, message.T_map_from_sensor
        if not (d.position_noise_m or d.yaw_noise_deg):
            return message
        drawn = self._rng(_NOISE, message.agent_id, sender.count).standard_normal(4)
        if sender.noise is not None and d.noise_correlation_s:
            elapsed_s = abs(message.stamp_ns - sender.noise_stamp_ns) / 1e9
            kept = math.exp(-elapsed_s / d.noise_correlation_s)
            drawn = kept * sender.noise + math.sqrt(1.0 - kept**2) * drawn
        sender.noise, sender.noise_stamp_ns = drawn, message.stamp_ns
        if T is None:
            return message
        noisy = T.copy()
        noisy[:3, :3] = Rotation.from_euler("z", d.yaw_noise_deg * drawn[3], degrees=True).as_matrix() @ T[:3, :3]
        noisy[:3, 3] += d.position_noise_m * drawn[:3]
        return replace(message, T_map_from_sensor=noisy)


__all__ = ["Channel", "Delivered"]
