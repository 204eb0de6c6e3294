"""The official network in full size, untrained: frames on two engines, each from the same past."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from test_engines import assert_near, drive, message
from torch import Tensor

from cooptrack_core.model.engine import engine_of
from cooptrack_core.model.loading import untrained_network
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.runtime import NetworkRuntime
from cooptrack_core.model.session import Step
from cooptrack_core.types import Frame


def official_frames(device: torch.device, count: int = 2) -> Iterator[tuple[Step, Step]]:
    """Steps of engines `eager` and `torch`, with a message each.

    Before a frame both get the past of `eager`: where queries score alike, rounding decides in which order they go on.
    """
    model, identity = untrained_network("official_r50_coop", 0)
    plain, fast = (
        NetworkRuntime(engine_of(model, name, "fp32", device), identity, device) for name in ("eager", "torch")
    )
    for index, frame in enumerate(drive()[:count]):
        fast._session.memory, fast._session.next_id = plain._session.memory, plain._session.next_id
        yield _step(plain, index, frame), _step(fast, index, frame)


def _step(network: NetworkRuntime, index: int, frame: Frame) -> Step:
    given = network._input(frame, frame.T_map_from_sensor)
    with torch.inference_mode():
        remote = network._remote(message(network, index), 0, frame.stamp_ns, frame.T_map_from_sensor)
        return network._session.step(given, [remote])


def assert_same_queries(found: Step, expected: Step, atol: float) -> None:
    """Logits and boxes of every query, and who was paired; in whatever order queries go on."""
    assert found.cooperation is not None and expected.cooperation is not None
    assert len(expected.cooperation.ego_index) > 0
    assert torch.equal(found.cooperation.ego_index, expected.cooperation.ego_index)
    assert torch.equal(found.cooperation.remote_index, expected.cooperation.remote_index)
    for part in ("decoded", "queries"):
        _assert_near(getattr(found.perception, part), getattr(expected.perception, part), atol, part)
    _assert_near(*(step.refined.select(_in_order(step)) for step in (found, expected)), atol, "refined")


def _assert_near(found: Queries, expected: Queries, atol: float, name: str) -> None:
    assert_near(found.logits, expected.logits, atol, f"{name} logits")
    assert_near(found.boxes, expected.boxes, atol, f"{name} boxes")


def _in_order(step: Step) -> Tensor:
    """Rows by the own query that they were before cooperation, then by instance."""
    assert step.cooperation is not None
    fused = step.cooperation.fused
    return (fused.ego_row * 10_000 + fused.remote_row).argsort()
