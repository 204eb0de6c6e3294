"""A node that was stopped gives back the shared memory of its transport: else every launch would cost some for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processes import Process

MEMORY = Path("/dev/shm")


def segments() -> set[str]:
    """Shared memory that DDS participants have for what they send; ports and their locks are common to all."""
    return {path.name for path in MEMORY.glob("fast*") if "_port" not in path.name}


@pytest.mark.parametrize(("node", "place"), [("roadside_node", "/rsu"), ("vehicle_node", "/vehicle")])
def test_a_stopped_agent_leaves_no_shared_memory_behind(graph: Any, node: str, place: str) -> None:
    before = segments()
    parameters = [item for text in ("detector:=simulated", "mode:=late") for item in ("-p", text)]
    process = Process(node, *(parameters if node == "vehicle_node" else parameters[:2]), "-r", f"__ns:={place}")
    graph.wait_for(lambda: graph.node.count_subscribers(f"{place}/detections_in") > 0)  # it is active
    its_own = segments() - before
    assert its_own and process.stop() == 0, process.lines
    assert not its_own & segments()
