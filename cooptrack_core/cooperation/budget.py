"""How many bytes a sender may put into its next message: a token bucket, and the limit of one message."""

from __future__ import annotations

from cooptrack_core.config import SendingConfig

_BURST_S = 0.5  # of the rate may be saved up


class Budget:
    """Bytes to spend. Time is that of the frames, so that a run can be repeated."""

    def __init__(self, config: SendingConfig) -> None:
        self._rate, self._most = config.budget_bytes_per_s, config.max_message_bytes
        self._saved = self._full = self._rate * _BURST_S
        self._stamp_ns: int | None = None

    def reset(self) -> None:
        """Begins with what may be saved up."""
        self._saved, self._stamp_ns = self._full, None

    def allowed(self, stamp_ns: int) -> int:
        """Bytes that a message at this time may have."""
        if not self._rate:
            return self._most
        if self._stamp_ns is not None:
            earned = self._rate * max(0, stamp_ns - self._stamp_ns) / 1e9
            self._saved = min(self._full, self._saved + earned)
        self._stamp_ns = stamp_ns
        return min(self._most, int(self._saved))

    def spend(self, size_bytes: int) -> None:
        """Takes what a message has cost."""
        self._saved -= size_bytes


__all__ = ["Budget"]
