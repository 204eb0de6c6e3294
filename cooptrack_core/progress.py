"""How far a long command is: a bar on a terminal, elsewhere (log files, CI) a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from tqdm import tqdm

PERIOD_S = 10.0  # between two lines


class ProgressLines:
    """Has what is used of tqdm here, and prints `late: sequence 3 of 20` to stderr every PERIOD_S."""

    def __init__(self, iterable: Iterable[Any] = (), *, total: int | None, initial: int, desc: str, unit: str) -> None:
        self._iterable, self._total, self._done, self._desc, self._unit = iterable, total, initial, desc, unit
        self._last_s = time.monotonic()

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable:
            yield item
            self.update()

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def set_description(self, desc: str) -> None:
        """What is being done."""
        self._desc = desc

    def update(self, steps: int = 1) -> None:
        """So many more are done."""
        self._done += steps
        now_s = time.monotonic()
        if now_s - self._last_s >= PERIOD_S:
            self._last_s = now_s
            whole = "" if self._total is None else f" of {self._total}"
            print(f"{self._desc}: {self._unit} {self._done}{whole}", file=sys.stderr, flush=True)


def progress_bar(
    iterable: Iterable[Any] | None = None, *, total: int | None = None, initial: int = 0, desc: str, unit: str
) -> Any:
    """An iterable that shows how far it is, or without one something to `update` by steps, in a `with`."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if sys.stderr is not None and sys.stderr.isatty():
        return tqdm(iterable, total=total, initial=initial, desc=desc, unit=unit, leave=False)
    return ProgressLines(iterable or (), total=total, initial=initial, desc=desc, unit=unit)


__all__ = ["PERIOD_S", "ProgressLines", "progress_bar"]
