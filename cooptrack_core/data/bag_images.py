"""Compressed images of a bag by agent and stamp."""

from __future__ import annotations

import bisect
from pathlib import Path

from cooptrack_core.data.bag import Bag, stamp_of

_TYPE = "sensor_msgs/msg/CompressedImage"
_SUFFIX = "/image/compressed"
_AHEAD_NS = 500_000_000


class BagImages:
    """`images("vehicle", stamp_ns)` -> JPEG bytes, None without an image of exactly this stamp.

    Opening reads through the bag once for the stamps; the images themselves are read when asked for, with
    those logged in the next half second, since they are usually asked for in order.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._logged: dict[str, list[tuple[int, int]]] = {}  # agent -> (stamp, log time)
        self._kept: dict[tuple[str, int], bytes] = {}
        with Bag(self.path) as bag:
            self._topics = {t: t.removesuffix(_SUFFIX).strip("/") for t in bag.topics if t.endswith(_SUFFIX)}
            for item in bag.messages(list(self._topics), types=[_TYPE]):
                entries = self._logged.setdefault(self._topics[item.topic], [])
                entries.append((stamp_of(item.message), item.log_time_ns))
        for entries in self._logged.values():
            entries.sort()

    @property
    def stamps_ns(self) -> dict[str, list[int]]:
        """Stamps of the images of each agent, in order."""
        return {agent: [stamp for stamp, _ in entries] for agent, entries in self._logged.items()}

    def __call__(self, agent: str, stamp_ns: int) -> bytes | None:
        """The file content of one image."""
        if (agent, stamp_ns) not in self._kept:
            entries = self._logged.get(agent, [])
            at = bisect.bisect_left(entries, (stamp_ns, 0))
            if at == len(entries) or entries[at][0] != stamp_ns:
                return None
            self._load(agent, entries[at][1])
        return self._kept[agent, stamp_ns]

    def _load(self, agent: str, log_time_ns: int) -> None:
        self._kept = {key: value for key, value in self._kept.items() if key[0] != agent}
        topics = [topic for topic, owner in self._topics.items() if owner == agent]
        with Bag(self.path) as bag:
            stop = log_time_ns + _AHEAD_NS
            for item in bag.messages(topics, types=[_TYPE], start_ns=log_time_ns, stop_ns=stop):
                self._kept[agent, stamp_of(item.message)] = bytes(item.message.data)


__all__ = ["BagImages"]
