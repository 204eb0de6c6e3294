"""Processes for work that is cut into pieces; they end with the command that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def process_pool(work: int, limit: int = 0) -> ProcessPoolExecutor:
    """Fresh processes for `work` pieces: one per core, or `limit` of them, and no more than there are pieces.

    Whoever kills the command leaves none behind: a worker whose parent is gone would otherwise draw or decode on.
    """
    count = max(1, min(work, limit or os.cpu_count() or 1))
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


__all__ = ["process_pool"]
