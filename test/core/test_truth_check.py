"""What is doubtful in the ground truth of a run is said: updates that match nothing, missing labels, missing pairs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from simulated import SIMULATED, simulated_run
from tiny_spd import TinySpd

from cooptrack_core.cli import main
from cooptrack_core.data import label_updates
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.evaluation.conventions import CONVENTIONS
from cooptrack_core.evaluation.run import SequenceRunner
from cooptrack_core.types import CooptrackError

UNIV2X = CONVENTIONS["univ2x"]


@pytest.fixture
def spd(tmp_path: Path) -> Path:
    """Sequences 0003 (frames 000000 to 000003) and 0007 (000004 to 000007), both of split val."""
    return TinySpd(tmp_path / "spd", sequences=("0003", "0007"), frames=4, images=False).write()


def updated(root: Path, **lists: list[tuple[Any, str]]) -> Path:
    """A file of deletions beside the labels: (frame, token) by side."""
    path = root / label_updates.FILE_NAME
    rows = {
        side: [{"frame": frame, "token": token, "operation": []} for frame, token in entries]
        for side, entries in lists.items()
    }
    path.write_text(json.dumps(rows))
    return path


def runner_of(root: Path, **options: Any) -> SequenceRunner:
    return SequenceRunner(simulated_run(root, **{"sequences": ("0003",), **options}))


def text_of(runner: SequenceRunner) -> str:
    about = runner.about(runner.options)
    return UNIV2X.describe(about["label_updates"], cooperative_deletions=about["cooperative_deletions"])


def test_univ2x_needs_the_list_of_cooperative_deletions(spd: Path) -> None:
    path = updated(spd, vehicle=[])
    with pytest.raises(CooptrackError) as error:
        runner_of(spd, convention=UNIV2X)
    assert str(error.value).startswith(
        f"{path}: cooperative: is missing, convention univ2x deletes labels by this list"
    )
    assert "--label-updates" in str(error.value) and "\n" not in str(error.value)
    assert runner_of(spd).updates is not None  # cooptrack deletes none


def test_operations_that_match_nothing_are_counted_by_side(spd: Path) -> None:
    dataset = Dataset(spd)
    tokens = dataset.cooperative_labels("000001").token
    path = updated(
        spd,
        cooperative=[("000001", tokens[0]), ("000001", "nobody"), ("999999", tokens[0]), ("000005", "not looked at")],
        vehicle=[("000002", dataset.labels("vehicle", "000002").token[0])],
        infrastructure=[("000502", "nobody")],
    )
    runner = runner_of(spd, convention=UNIV2X)
    assert runner.warnings == [
        f"{path}: cooperative: 2 of 4 operations apply to no label (unknown frame or token)",
        f"{path}: infrastructure: 1 of 1 operations apply to no label (unknown frame or token)",
    ]
    assert runner.about(runner.options)["cooperative_deletions"] == 1
    assert "with cooperative deletions" in text_of(runner)


def test_frames_that_are_written_as_numbers_are_found(spd: Path) -> None:
    token = Dataset(spd).cooperative_labels("000001").token[0]
    updated(spd, cooperative=[(1, token)])
    runner = runner_of(spd, convention=UNIV2X)
    assert runner.warnings == [] and len(runner.dataset.cooperative_labels("000001")) == 2


def test_no_deletion_is_claimed_that_did_not_happen(spd: Path, tmp_path: Path) -> None:
    updated(spd, cooperative=[("000001", "nobody")])
    assert "none of them deletes a cooperative label of these sequences" in text_of(runner_of(spd, convention=UNIV2X))
    options = ["--convention", "univ2x", "--sequence", "0003", "--out", str(tmp_path / "out")]
    assert main(["evaluate", str(spd), *SIMULATED, *options]) == 0
    convention = json.loads((tmp_path / "out" / "metrics.json").read_text())["convention"]
    assert "with cooperative deletions" not in convention["text"]


def test_pairs_without_labels_are_counted(spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for frame in ("000001", "000006", "000007"):
        (spd / "cooperative" / "label" / f"{frame}.json").unlink()
    assert main(["evaluate", str(spd), *SIMULATED, "--out", str(tmp_path / "out")]) == 0
    assert "warning: 3 of 8 paired frames have no cooperative labels and are not scored" in capsys.readouterr().err
    assert "1 of 4 paired frames" in runner_of(spd).warnings[0]
    assert runner_of(spd, max_frames=1).warnings == []


def test_a_folder_in_place_of_labels_is_one_line(spd: Path) -> None:
    path = spd / "cooperative" / "label" / "000002.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(CooptrackError) as error:
        runner_of(spd).run("0003")
    assert str(error.value).startswith(f"{path}: file: is a folder, not a file of labels; ")


@pytest.mark.parametrize(
    ("removed", "says"),
    [
        ("infrastructure-side", "infrastructure-side/data_info.json: file: is missing: only paired frames have"),
        ("cooperative", "cooperative/data_info.json: file: is missing: only paired frames have ground truth"),
    ],
)
def test_what_is_missing_of_the_pairs_is_named(spd: Path, removed: str, says: str) -> None:
    shutil.rmtree(spd / removed)
    with pytest.raises(CooptrackError) as error:
        runner_of(spd).run("0003")
    assert says in str(error.value)


def test_a_sequence_without_pairs_is_named(spd: Path) -> None:
    path = spd / "cooperative" / "data_info.json"
    path.write_text(json.dumps([row for row in json.loads(path.read_text()) if row["vehicle_sequence"] == "0007"]))
    with pytest.raises(CooptrackError) as error:
        runner_of(spd).run("0003")
    assert f"{path}: vehicle_frame: no frame of sequence 0003 has a pair that both sides list" in str(error.value)
