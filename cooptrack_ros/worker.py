"""One thread that does the work of a node: messages as they come, of the waiting frames only the newest in full."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Worker:
    """Runs frames and messages in one thread, away from the executor.

    Messages are handed over before frames. When frames arrive faster than they are done, all but the
    newest waiting one are processed as lost (`lost=True`): their number is what load has cost, and the
    agent still predicts its tracks for each of them, in order. A frame is lost, and emptied, as soon as a
    newer one comes: one whole frame waits at most. What the callables raise goes to `on_error`; the thread
    lives on.
    """

    def __init__(
        self,
        on_frame: Callable[[Any, bool], None],
        on_message: Callable[[Any], None],
        on_error: Callable[[Exception], None],
        name: str,
        max_messages: int = 256,
        emptied: Callable[[Any], Any] = lambda frame: frame,
    ) -> None:
        """on_frame(frame, lost), on_message(message) and on_error(exception) run in the worker thread.

        emptied(frame): what is left of a frame that is lost; called wherever a newer one is submitted.
        """
        self._on_frame, self._on_message, self._on_error = on_frame, on_message, on_error
        self._messages: deque[Any] = deque()
        self._frames: deque[tuple[Any, bool]] = deque()  # and whether it is lost
        self._urgent: deque[Callable[[], None]] = deque()
        self._max_messages, self._emptied = max_messages, emptied
        self._busy = False
        self._condition = threading.Condition()
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the present item; waiting items are dropped."""
        self.stopping.set()
        with self._condition:
            self._condition.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def submit_frame(self, frame: Any) -> None:
        """Adds a frame; the one before it is lost if it still waits."""
        with self._condition:
            if self._frames and not self._frames[-1][1]:
                self._frames.append((self._emptied(self._frames.pop()[0]), True))
            self._frames.append((frame, False))
            self._condition.notify_all()

    def submit_message(self, message: Any) -> int:
        """Adds a message; returns how many old ones had to go because the worker does not keep up."""
        with self._condition:
            excess = max(0, len(self._messages) + 1 - self._max_messages)
            for _ in range(excess):
                self._messages.popleft()
            self._messages.append(message)
            self._condition.notify_all()
        return excess

    def restart(self, action: Callable[[], None]) -> int:
        """Drops all that waits and runs the action before anything that comes; returns the number of frames dropped."""
        with self._condition:
            dropped = len(self._frames)
            self._frames.clear()
            self._messages.clear()
            self._urgent.append(action)
            self._condition.notify_all()
        return dropped

    def deliver_messages(self) -> None:
        """Hands over waiting messages now; for a frame that has waited for its pose. Worker thread only."""
        while not self.stopping.is_set():
            with self._condition:
                if not self._messages or self._urgent:
                    return
                message = self._messages.popleft()
            self._guard(self._on_message, message)

    def wait_idle(self, timeout_s: float) -> bool:
        """Waits until nothing is left to do; False if that took too long."""
        with self._condition:
            return self._condition.wait_for(lambda: not (self._waiting() or self._busy), timeout_s)

    def _waiting(self) -> bool:
        return bool(self._urgent or self._messages or self._frames)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._waiting() or self.stopping.is_set())
                if self.stopping.is_set():
                    return
                self._busy = True
                action, arguments = self._next()
            self._guard(action, *arguments)
            del arguments  # no image lives on while nothing is to be done

    def _next(self) -> tuple[Callable[..., None], tuple[Any, ...]]:
        if self._urgent:
            return self._urgent.popleft(), ()
        if self._messages:
            return self._on_message, (self._messages.popleft(),)
        return self._on_frame, self._frames.popleft()

    def _guard(self, action: Callable[..., None], *arguments: Any) -> None:
        try:
            action(*arguments)
        except Exception as error:
            self._on_error(error)
