"""Fixtures of the tests without ROS."""

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """More threads than cores are free make small networks many times slower."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
