"""Guarantees of `cooptrack figures`: images from dataset or bag alike, and what it says where something is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from simulated import LATE
from tiny_spd import TinySpd

from cooptrack_core.cli import main
from cooptrack_core.data.bag_images import BagImages
from cooptrack_core.data.dataset_images import DatasetImages
from cooptrack_core.data.frame_messages import SequenceOptions
from cooptrack_core.data.sequence_messages import SequenceMessages
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.offline_bag import track_bag
from cooptrack_core.types import CooptrackError

SEQUENCE = "0010"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset(TinySpd(tmp_path_factory.mktemp("data") / "spd", frames=6).write())


@pytest.fixture(scope="module")
def recording(dataset: Dataset) -> dict[str, Any]:
    source = SequenceSource(SequenceMessages(dataset, SEQUENCE, SequenceOptions()))
    return track_bag(source, LATE)


@pytest.fixture
def evaluation(recording: dict[str, Any], tmp_path: Path) -> Path:
    """A folder as `cooptrack evaluate` leaves it, with the same run twice."""
    for name in ("0010", "0011"):
        path = tmp_path / "evaluation" / "recordings" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(recording))
    return tmp_path / "evaluation"


def change(evaluation: Path, **fields: Any) -> None:
    for path in (evaluation / "recordings").glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_images_of_a_dataset_are_those_of_its_bag(dataset: Dataset, tmp_path: Path) -> None:
    sequence_to_bag(dataset, SEQUENCE, tmp_path / "bag", BagOptions())
    bag, direct = BagImages(tmp_path / "bag"), DatasetImages(dataset, SEQUENCE)
    assert direct.stamps_ns == bag.stamps_ns and set(bag.stamps_ns) == {"vehicle", "rsu"}
    for agent, stamps in bag.stamps_ns.items():
        assert len(stamps) == 6
        for stamp in stamps:
            assert direct(agent, stamp) == bag(agent, stamp) is not None
        assert direct(agent, stamps[0] + 1) is None
    assert direct("nobody", bag.stamps_ns["rsu"][0]) is None


def test_an_image_that_is_not_there_is_none(tmp_path: Path) -> None:
    dataset = Dataset(TinySpd(tmp_path / "spd", frames=3).write())
    images = DatasetImages(dataset, SEQUENCE)
    stamps = images.stamps_ns["vehicle"]
    dataset.frames("vehicle", SEQUENCE)[1].image_path.unlink()
    assert images("vehicle", stamps[1]) is None and images("vehicle", stamps[2]) is not None
    assert images.stamps_ns["vehicle"] == [stamps[0], stamps[2]]


def test_a_sequence_that_the_dataset_does_not_have_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(CooptrackError, match="sequence: 4711 has no vehicle frames; choose one of 0010"):
        DatasetImages(dataset, "4711")


def test_figures_of_an_evaluation_find_their_images(
    evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures"
    assert main(["figures", str(evaluation), "--out", str(out), "--sequence", SEQUENCE, "--frames", "2:4"]) == 0
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert names == [f"0010/{kind}_{k:05d}.png" for kind in ("association", "tracking") for k in (2, 3)]
    assert "note" not in capsys.readouterr().err


def test_figures_take_their_images_from_a_bag_too(
    dataset: Dataset, evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(evaluation, source_bag="/nowhere/at-all")
    sequence_to_bag(dataset, SEQUENCE, tmp_path / "bag", BagOptions())
    pictures = []
    for place in (["--source", str(tmp_path / "bag")], ["--dataset", str(dataset.root)]):
        command = ["figures", str(evaluation), "--out", str(tmp_path / place[0]), "--sequence", SEQUENCE, *place]
        assert main([*command, "--kind", "tracking", "--frames", "3"]) == 0
        assert "note" not in capsys.readouterr().err
        pictures.append((tmp_path / place[0] / SEQUENCE / "tracking_00003.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_a_recording_by_itself_is_drawn_with_its_player(
    evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = evaluation / "recordings" / "0010.json", tmp_path / "figures"
    assert (
        main(["figures", str(source), "--out", str(out), "--kind", "association", "--format", "svg", "--player"]) == 0
    )
    assert len(list((out / SEQUENCE).glob("association_*.svg"))) == 1
    assert "<script" in (out / SEQUENCE / "player.html").read_text(encoding="utf-8")
    assert "player: " in capsys.readouterr().out


def test_missing_images_are_said_once(evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(evaluation, source_bag="/nowhere/at-all")
    assert main(["figures", str(evaluation), "--out", str(tmp_path / "figures"), "--kind", "tracking"]) == 0
    said = capsys.readouterr()
    assert said.err.count("no camera images") == 1 and "/nowhere/at-all" in said.err
    assert said.out.count("figure: ") == 2


def test_a_dataset_without_images_is_said(
    dataset: Dataset, evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = Dataset(TinySpd(tmp_path / "bare", frames=6).write())
    for side in ("vehicle", "infrastructure"):
        for row in bare.frames(side):
            row.image_path.unlink()
    command = ["figures", str(evaluation), "--out", str(tmp_path / "figures"), "--dataset", str(bare.root)]
    assert main([*command, "--sequence", SEQUENCE]) == 0
    assert "has no image of the recorded frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--sequence", "4711"], "evaluation: sequence: has no 4711; choose among 0010, 0011"),
        (["--frames", "6:99"], "0010.json: frames: has 0 to 5, none of 6:99; choose within 0:6"),
        (["--frames", "x"], "--frames: 'x' is no range"),
        (["--kind", "portrait"], "--kind: portrait: no kind of figure; choose association, tracking"),
        (["--range-m", "0"], "--range-m: 0 is out of range"),
        (["--dataset", "/nowhere"], "/nowhere: dataset: is not a folder"),
    ],
)
def test_mistakes_are_one_line_errors(
    evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], error: str
) -> None:
    assert main(["figures", str(evaluation), "--out", str(tmp_path / "figures"), *options]) == 2
    said = capsys.readouterr().err
    assert error in said and said.count("\n") == 1


def shorten(evaluation: Path, name: str, frames: int) -> None:
    path = evaluation / "recordings" / f"{name}.json"
    recording = json.loads(path.read_text())
    path.write_text(json.dumps({**recording, "frames": recording["frames"][:frames]}))


def test_a_shorter_sequence_does_not_keep_the_others_from_being_drawn(
    evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shorten(evaluation, "0010", 3)
    command = ["figures", str(evaluation), "--out", str(tmp_path / "figures"), "--kind", "association"]
    assert main([*command, "--frames", "2:5"]) == 0
    assert "note" not in capsys.readouterr().err
    assert len(list((tmp_path / "figures" / "0010").iterdir())) == 1
    assert len(list((tmp_path / "figures" / "0011").iterdir())) == 3
    assert main([*command, "--frames", "4:5"]) == 0
    said = capsys.readouterr().err
    assert said.count("note: ") == 1 and "0010.json: frames: has 0 to 2, none of 4:5; choose within 0:3" in said


def test_a_vehicle_alone_has_no_association_figures(
    evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(evaluation, mode="ego")
    command = ["figures", str(evaluation), "--out", str(tmp_path / "figures")]
    assert main([*command, "--frames", "3"]) == 0
    assert capsys.readouterr().err.count("in mode ego nothing is associated") == 1
    drawn = [path.name for path in (tmp_path / "figures").rglob("*.png")]
    assert drawn == ["tracking_00003.png"] * 2
    assert main([*command, "--kind", "association"]) == 2
    assert "choose --kind tracking" in capsys.readouterr().err


def test_a_folder_that_is_no_evaluation_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", str(tmp_path), "--out", str(tmp_path / "figures")]) == 2
    assert "holds no recordings/*.json; give the --out folder of cooptrack evaluate" in capsys.readouterr().err
