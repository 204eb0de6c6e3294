"""`cooptrack evaluate --bag`: what the nodes published scores exactly as the offline run of the same sequence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from processes import launch

from cooptrack_core import cli
from cooptrack_core.data.v2x_seq import Dataset

FRAMES = {"simulated": 20, "network": 8}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic sequence of 2 s; noise in place of pictures, in which a network finds something, too."""
    scene = tmp_path_factory.mktemp("scene") / "scene"
    assert cli.main(["synthesize", str(scene), "--renderer", "none", "--duration-s", "2"]) == 0
    rng, dataset = np.random.default_rng(5), Dataset(scene)
    for row in (*dataset.frames("vehicle"), *dataset.frames("infrastructure")):
        row.image_path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (90, 160, 3), np.uint8)
        row.image_path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    return scene


def metrics_of(folder: Path, *options: str) -> dict[str, Any]:
    """What `cooptrack evaluate` writes, without what was run and where the labels came from."""
    assert cli.main(["evaluate", *options, "--out", str(folder)]) == 0
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    del metrics["run"], metrics["convention"]["label_updates"], metrics["convention"]["text"]
    return metrics


@pytest.mark.parametrize(("detector", "mode"), [("simulated", "late"), ("network", "learned")])
def test_a_lockstep_replay_scores_exactly_as_the_offline_run(
    scene: Path, tmp_path: Path, detector: str, mode: str
) -> None:
    bag, recorded, frames = tmp_path / "bag", tmp_path / "recorded", str(FRAMES[detector])
    assert cli.main(["to-bag", str(scene), str(bag), "--frames", frames]) == 0
    random = {"network": "untrained"}.get(detector)
    agents = [f"mode:={mode}", f"detector:={detector}", "device:=cpu", *([f"weights:={random}"] if random else [])]
    result = launch(f"bag:={bag}", f"record:={recorded}", "lockstep:=true", *agents)
    assert result.returncode == 0, result.stdout + result.stderr
    nodes = metrics_of(tmp_path / "nodes", "--bag", str(recorded), "--source", str(bag))
    (sequence,) = nodes["by_sequence"]
    options = ["--sequence", sequence, "--frames", frames, "--mode", mode, "--detector", detector, "--device", "cpu"]
    options += ["--weights", random] if random else []
    offline = metrics_of(tmp_path / "offline", str(scene), *options)
    assert nodes["data"]["frames"] == FRAMES[detector] <= nodes["bandwidth"]["messages"]
    for part in nodes.keys() | offline.keys():
        assert nodes[part] == offline[part], part
