"""`cooptrack evaluate --bag`: what the nodes published scores exactly as the offline run of the same sequence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from processes import launch

from cooptrack_core import cli

FRAMES = 30


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic sequence of 3 s without images, and its bag beside it."""
    folder = tmp_path_factory.mktemp("scene")
    assert cli.main(["synthesize", str(folder / "scene"), "--renderer", "none", "--duration-s", "3"]) == 0
    assert cli.main(["to-bag", str(folder / "scene"), str(folder / "bag")]) == 0
    return folder / "scene"


def metrics_of(folder: Path, *options: str) -> dict[str, Any]:
    """What `cooptrack evaluate` writes, without what was run and how long its steps took."""
    assert cli.main(["evaluate", *options, "--out", str(folder)]) == 0
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return {name: part for name, part in metrics.items() if name not in ("run", "timings")}


@pytest.mark.parametrize("mode", ["late", "ego"])
def test_a_lockstep_replay_scores_exactly_as_the_offline_run(scene: Path, tmp_path: Path, mode: str) -> None:
    recorded, bag = tmp_path / "recorded", scene.parent / "bag"
    result = launch(f"bag:={bag}", f"record:={recorded}", "lockstep:=true", f"mode:={mode}")
    assert result.returncode == 0, result.stdout + result.stderr
    nodes = metrics_of(tmp_path / "nodes", "--bag", str(recorded), "--source", str(bag))
    sequence = next(iter(nodes["by_sequence"]))
    offline = metrics_of(tmp_path / "offline", str(scene), "--sequence", sequence, "--mode", mode)
    assert nodes["data"]["frames"] == FRAMES
    assert nodes == offline
