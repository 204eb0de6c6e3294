"""What a node knows about its own health, published on /diagnostics at 1 Hz."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from cooptrack_core.cooperation.sender_pose import PoseCorrection

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
PERIOD_S = 1.0
_REPEAT_S = 5.0
_MEMORY = 300
_DISTRIBUTIONS = 200
_ERROR_SHOWN_S = _RECENT_S = 10.0
_STALE_AFTER_S = 2.0


class Health:
    """Counters, distributions and the last error of one node; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drops: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._last_s: dict[str, float] = {}  # monotonic clock, by the name of a drop or event
        self._samples: dict[str, deque[float]] = {}
        self._arrivals: deque[float] = deque(maxlen=_MEMORY)
        self._last_error = ("", -_ERROR_SHOWN_S)

    def drop(self, reason: str, count: int = 1) -> None:
        """Counts input that was not used."""
        with self._lock:
            self._drops[reason] += count
            self._last_s[reason] = time.monotonic()

    def event(self, name: str, count: int = 1) -> None:
        """Counts something that is no loss."""
        with self._lock:
            self._events[name] += count
            self._last_s[name] = time.monotonic()

    def is_recent(self, name: str) -> bool:
        """Whether a drop or event of this name is of the last seconds."""
        with self._lock:
            return time.monotonic() - self._last_s.get(name, -math.inf) < _RECENT_S

    def sample(self, name: str, value: float) -> None:
        """Adds a value to a distribution over the last frames."""
        with self._lock:
            if name not in self._samples and len(self._samples) >= _DISTRIBUTIONS:
                return  # names come from other agents, too
            self._samples.setdefault(name, deque(maxlen=_MEMORY)).append(value)

    def frame_done(self) -> None:
        """Counts a processed frame for the rate."""
        with self._lock:
            self._events["frames"] += 1
            self._arrivals.append(time.monotonic())

    def error(self, text: str) -> None:
        """Keeps the last error."""
        with self._lock:
            self._last_error = (text, time.monotonic())

    def recent_error(self) -> str:
        """The last error while it is recent, else an empty string."""
        with self._lock:
            text, when = self._last_error
        return text if time.monotonic() - when < _ERROR_SHOWN_S else ""

    def drops(self) -> dict[str, int]:
        """Unused input by reason."""
        with self._lock:
            return dict(self._drops)

    def events(self) -> dict[str, int]:
        """Other counters."""
        with self._lock:
            return dict(self._events)

    def rate_hz(self, window_s: float = 5.0) -> float:
        """Processed frames per second of wall time over the last seconds."""
        now = time.monotonic()
        with self._lock:
            recent = [t for t in self._arrivals if now - t <= window_s]
        return len(recent) / min(window_s, max(now - recent[0], 0.1)) if recent else 0.0

    def percentiles(self, prefix: str = "") -> dict[str, tuple[float, float]]:
        """Median and 99th percentile of the distributions whose names begin so."""
        with self._lock:
            samples = {name: list(v) for name, v in self._samples.items() if v and name.startswith(prefix)}
        for ordered in samples.values():
            ordered.sort()  # once for both
        return {name: (percentile(v, 50), percentile(v, 99)) for name, v in samples.items()}

    def restart(self) -> None:
        """Forgets the distributions (time jumped back); the counters go on."""
        with self._lock:
            self._samples.clear()


def percentile(ordered: list[float], percent: float) -> float:
    """Nearest-rank percentile of sorted numbers; of a few hundred much cheaper than numpy's."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def values(items: dict[str, object]) -> list[KeyValue]:
    """Key-value pairs of a status."""
    texts = {key: f"{item:.3f}" if isinstance(item, float) else str(item) for key, item in items.items()}
    return [KeyValue(key=key, value=text) for key, text in texts.items()]


def status(name: str, level: bytes, message: str, hardware_id: str, items: dict[str, object]) -> DiagnosticStatus:
    """One status."""
    return DiagnosticStatus(name=name, level=level, message=message, hardware_id=hardware_id, values=values(items))


def frames_status(health: Health, silent_s: float, topic: str) -> tuple[bytes, str, dict[str, object]]:
    """Level, text and items of what a node says about its frames; silent_s: since the last one came on the topic."""
    drops = health.drops()
    level, text = OK, "frames arrive"
    if silent_s > _STALE_AFTER_S:
        level, text = WARN, f"no frame on {topic} for {silent_s:.0f} s"
    elif health.is_recent("deadline_missed"):
        level, text = WARN, "tracks come later than deadline_ms"
    if drops:
        text += "; dropped: " + ", ".join(f"{k} {v}" for k, v in sorted(drops.items()))
    items: dict[str, object] = {"rate_hz": health.rate_hz(), **health.events()}
    items |= {f"dropped.{reason}": count for reason, count in drops.items()}
    for name, (p50, p99) in health.percentiles().items():
        items |= {f"{name}.p50": p50, f"{name}.p99": p99}
    return level, text, items


def pose_items(found: PoseCorrection | None) -> dict[str, object]:
    """What is believed of an agent's pose error: estimate, standard deviation and the part that is taken away."""
    if found is None:
        return {}
    yaw, x, y = (list(row) for row in zip(found.values, found.std, found.applied, strict=True))
    rows = {"pose_error_yaw_rad": yaw, "pose_error_x_m": x, "pose_error_y_m": y}
    kinds = ("", ".std", ".applied")
    items: dict[str, object] = {
        f"{name}{kind}": float(value) for name, row in rows.items() for kind, value in zip(kinds, row, strict=True)
    }
    return items | {"pose_error_pairs": found.pairs}


class DiagnosticsPublisher:
    """Asks for the statuses once a second of wall time (a stopped /clock must not silence them) and publishes them."""

    def __init__(self, node: Node, statuses: Callable[[], list[DiagnosticStatus]]) -> None:
        self._node, self._statuses = node, statuses
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publishes now."""
        message = DiagnosticArray(status=self._statuses())
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


class ThrottledLog:
    """Logs a line per key at most every few seconds and says how many were left out."""

    def __init__(self, node: Node, repeat_s: float = _REPEAT_S) -> None:
        self._logger, self._repeat_s = node.get_logger(), repeat_s
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._silenced: Counter[str] = Counter()

    def warning(self, key: str, text: str) -> None:
        """A warning line."""
        if (line := self._admit(key, text)) is not None:
            self._logger.warning(line)

    def error(self, key: str, text: str) -> None:
        """An error line."""
        if (line := self._admit(key, text)) is not None:
            self._logger.error(line)

    def _admit(self, key: str, text: str) -> str | None:
        now = time.monotonic()
        with self._lock:
            last = self._last.get(key)
            if last is not None and now - last < self._repeat_s:
                self._silenced[key] += 1
                return None
            self._last[key] = now
            silenced = self._silenced.pop(key, 0)
        return f"{text} ({silenced} more since)" if silenced else text
