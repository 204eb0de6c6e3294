"""A bag as a list, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cooptrack_core.data.bag import Bag


def everything(path: Path) -> list[tuple[str, int, Any]]:
    with Bag(path) as bag:
        return [(item.topic, item.log_time_ns, item.message) for item in bag.messages()]
