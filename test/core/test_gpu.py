"""What only a GPU can show: its graphs give the plain modules' numbers. (Their scores: test_half_precision.py.)

Skipped where torch finds none; what can be tested without one is in test_fixed_shapes.py and test_engines.py.
"""

from __future__ import annotations

import pytest
import torch
from full_size import assert_same_queries, official_frames
from test_engines import assert_same_frames, drive, steps

from cooptrack_core.config import NetworkConfig
from cooptrack_core.model.loading import load_network
from cooptrack_core.model.session import Step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch finds none")
ATOL = 1e-3


def frames_of(engine: str, role: str, device: str) -> list[Step]:
    """Of the network that ships, with its frames recorded."""
    return steps(load_network(NetworkConfig(engine=engine, device=device), role), drive())


@pytest.mark.parametrize("role", ["inf", "coop"])
def test_recorded_frames_of_the_shipped_networks_are_those_of_the_plain_modules(
    role: str, device: str = "cuda"
) -> None:
    expected = frames_of("eager", role, device)
    assert expected[-1].advanced.live.any() and (role == "inf" or len(expected[2].cooperation.ego_index) > 0)
    assert_same_frames(frames_of("torch", role, device), expected, ATOL)


def test_recorded_frames_of_the_official_network_are_those_of_the_plain_modules(device: str = "cuda") -> None:
    for expected, found in official_frames(torch.device(device)):
        assert_same_queries(found, expected, ATOL)
