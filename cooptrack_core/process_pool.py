"""Processes for work that is cut into pieces; they end with the command that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from cooptrack_core.progress import progress_bar


@contextmanager
def process_pool(work: int, limit: int = 0) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes for `work` pieces: one per core, or `limit` of them, and no more than there are pieces.

    Whoever kills the command leaves none behind: a worker whose parent is gone would otherwise draw or decode on.
    After an error or an interrupt the pieces that have begun are finished and the others left.
    """
    count = max(1, min(work, limit or os.cpu_count() or 1))
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    try:
        yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def work_through(function: Callable[..., object], pieces: Sequence[tuple[Any, ...]], desc: str, unit: str) -> None:
    """Calls function(*piece) for every piece, in processes, with a progress bar. Raises what a call raised."""
    with progress_bar(total=len(pieces), desc=desc, unit=unit) as bar, process_pool(len(pieces)) as pool:
        for future in as_completed([pool.submit(function, *piece) for piece in pieces]):
            future.result()
            bar.update()


def _end_with_parent() -> None:
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


__all__ = ["process_pool", "work_through"]
