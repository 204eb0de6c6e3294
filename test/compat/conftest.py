"""What these tests share: the repository's scripts on the path, and a private ROS graph."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT / "scripts", Path(__file__).resolve().parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.fixture
def ros_context() -> Iterator[object]:
    """A ROS context in a domain that nobody else uses."""
    import rclpy
    from free_domain import free_domain_id
    from rclpy.context import Context

    context = Context()
    rclpy.init(context=context, domain_id=free_domain_id())
    yield context
    context.try_shutdown()
