"""Ids of a dataset name files of ours: they lead nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_spd import TinySpd

from cooptrack_core.cli import main


@pytest.mark.parametrize("name", ["../../elsewhere", "/tmp/elsewhere", "..", "a\\b"])
def test_a_sequence_that_is_called_like_a_path_is_refused_and_nothing_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TinySpd(tmp_path / "spd", sequences=("0003",), images=False).write()
    path = tmp_path / "spd" / "vehicle-side" / "data_info.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([{**row, "sequence_id": name} for row in rows]))
    before = sorted(tmp_path.iterdir())
    assert main(["evaluate", str(tmp_path / "spd"), "--sequence", name, "--out", str(tmp_path / "out" / "run")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"cooptrack evaluate: error: {path}[0]: sequence_id: is {name!r}, a path; correct the id, or drop the row"
    ]
    assert sorted(tmp_path.iterdir()) == before
