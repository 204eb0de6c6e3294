"""What only a GPU can show: its graphs give the plain modules' numbers, and half-length numbers keep the score.

Skipped where torch finds none; what can be tested without one is in test_fixed_shapes.py and test_engines.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_engines import drive, message

from cooptrack_core import cli
from cooptrack_core.config import NetworkConfig
from cooptrack_core.model.loading import load_network

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch finds none")
LARGEST_LOSS = 0.01  # of AMOTA, relative


def tracks_of(engine: str, role: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(ids, centres) of the shipped network on the GPU, frame by frame."""
    network = load_network(NetworkConfig(engine=engine, device="cuda"), role)
    found = []
    for index, frame in enumerate(drive()):
        given = [message(network, index)] if role == "coop" else []
        tracks = network.step(frame, frame.T_map_from_sensor, given).tracks
        found.append((tracks.track_id, tracks.center_m))
    return found


@pytest.mark.parametrize("role", ["inf", "coop"])
def test_a_recorded_frame_gives_the_tracks_of_the_plain_modules(role: str) -> None:
    for (ids, centers), (other_ids, other_centers) in zip(
        tracks_of("torch", role), tracks_of("eager", role), strict=True
    ):
        np.testing.assert_array_equal(ids, other_ids)
        np.testing.assert_allclose(centers, other_centers, atol=1e-2)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rendered sequences of the benchmark's kind of scene."""
    root = tmp_path_factory.mktemp("gpu") / "scenes"
    options = ["--sequences", "2", "--duration-s", "5", "--image-size", "320x180", "--split", "val", "--seed", "5"]
    assert cli.main(["synthesize", str(root), *options]) == 0
    return root


def amota(scenes: Path, out: Path, precision: str, device: str = "cuda") -> float:
    given = ["evaluate", str(scenes), "--detector", "network", "--mode", "learned", "--out", str(out)]
    assert cli.main([*given, "--precision", precision, "--device", device]) == 0
    found = json.loads((out / "metrics.json").read_text())
    return float(found["tracking"]["mean"]["amota"])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_length_numbers_keep_the_score(scenes: Path, tmp_path: Path, precision: str) -> None:
    exact, rough = amota(scenes, tmp_path / "exact", "fp32"), amota(scenes, tmp_path / precision, precision)
    assert exact > 0.0 and rough >= (1.0 - LARGEST_LOSS) * exact
