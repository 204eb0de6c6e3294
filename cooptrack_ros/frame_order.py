"""Keeps the frames of an agent in the order of their stamps and notices when time has jumped back."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration


class FrameOrder:
    """Judges stamps, and listens to jumps of the node's clock (a bag that loops)."""

    def __init__(self, clock: Clock, tolerance_ms: float, on_jump: Callable[[float], None]) -> None:
        """on_jump(milliseconds) is called in the executor thread, once per jump."""
        self._clock, self._tolerance_ns, self._on_jump = clock, round(tolerance_ms * 1e6), on_jump
        self._last_ns: int | None = None
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        self._handle = clock.create_jump_callback(threshold, post_callback=self._on_clock_jump)

    def close(self) -> None:
        """Stops listening."""
        self._handle.unregister()

    def behind_ms(self, stamp_ns: int) -> float | None:
        """None if a frame may be processed, else by how much it comes too late.

        A frame far in the past is no late one but the first after a jump: it may.
        """
        if self._last_ns is not None and stamp_ns <= self._last_ns:
            behind_ns = self._last_ns - stamp_ns
            if behind_ns <= self._tolerance_ns:
                return behind_ns / 1e6
            self._jumped(behind_ns)
        self._last_ns = stamp_ns
        return None

    def _on_clock_jump(self, jump: TimeJump) -> None:
        behind_ns = -jump.delta.nanoseconds
        if behind_ns <= self._tolerance_ns:
            return
        # If a frame of the new round came before /clock, all is done already.
        now_ns = self._clock.now().nanoseconds
        if self._last_ns is not None and self._last_ns > now_ns + self._tolerance_ns:
            self._jumped(behind_ns)

    def _jumped(self, behind_ns: int) -> None:
        self._last_ns = None
        self._on_jump(behind_ns / 1e6)
