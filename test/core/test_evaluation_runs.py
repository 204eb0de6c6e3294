"""Runs over a split: which sequences, what the system sees, resuming, and that a repetition gives the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_networks import fake_networks
from simulated import EGO, LATE, simulated_run
from tiny_spd import TinySpd

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.data import splits
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.evaluation.conventions import CONVENTIONS
from cooptrack_core.evaluation.run import SequenceRunner, run_split
from cooptrack_core.evaluation.run_options import sequences_of
from cooptrack_core.offline_bag import track_bag
from cooptrack_core.types import CooptrackError


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sequences of 12 frames; of the official split 0003 and 0007 are val."""
    root = tmp_path_factory.mktemp("data") / "spd"
    return TinySpd(root, sequences=("0001", "0003", "0007"), frames=12, images=False).write()


def without_times(recording: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in frame.items() if key != "timings_ms"} for frame in recording["frames"]]


def test_without_a_split_file_the_official_split_counts(spd: Path, tmp_path: Path) -> None:
    runner = SequenceRunner(simulated_run(spd))
    assert runner.sequences == ("0003", "0007")
    assert runner.warnings == ["split val: 19 of its 21 sequences are not in the dataset"]
    assert SequenceRunner(simulated_run(spd, split="train")).sequences == ("0001",)
    assert SequenceRunner(simulated_run(spd, sequences=("0007", "0001"))).sequences == ("0007", "0001")


def test_the_split_file_of_the_dataset_counts(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", sequences=("0001", "0003"), frames=2, images=False).write()
    (root / splits.FILE_NAME).write_text(json.dumps({"batch_split": {"train": ["0003"], "val": ["0001", "0099"]}}))
    dataset = Dataset(root)
    assert sequences_of(dataset, simulated_run(root)) == ("0001",)
    with pytest.raises(CooptrackError, match=r"cooperative-split-data-spd.json: batch_split: has no split 'test'"):
        sequences_of(dataset, simulated_run(root, split="test"))


def test_an_empty_split_names_file_and_remedy(spd: Path) -> None:
    with pytest.raises(CooptrackError) as error:
        SequenceRunner(simulated_run(spd, split="test"))
    assert str(error.value) == (
        f"{spd} (official split): batch_split.test: the dataset has no sequence of split 'test'; choose another "
        "--split, or name --sequence ID"
    )
    with pytest.raises(CooptrackError, match="0042: no such sequence with vehicle frames; choose among 0001, 0003"):
        SequenceRunner(simulated_run(spd, sequences=("0042",)))


def test_a_run_is_that_of_the_track_command_and_a_kept_one_is_the_same_again(spd: Path) -> None:
    from cooptrack_core.data.frame_messages import SequenceOptions
    from cooptrack_core.data.sequence_messages import SequenceMessages
    from cooptrack_core.data.sequence_source import SequenceSource

    runner = SequenceRunner(simulated_run(spd, seed=5))
    first = runner.run("0003")
    source = SequenceSource(SequenceMessages(Dataset(spd), "0003", SequenceOptions(seed=5)))
    assert without_times(first) == without_times(track_bag(source, LATE))
    other = runner.run("0003", EGO)
    assert without_times(other) != without_times(first) and other["mode"] == "ego"
    assert without_times(runner.run("0003")) == without_times(first)
    assert json.loads(json.dumps(first)) == first  # as it is when it has been stored


def test_a_disturbance_changes_what_arrives(spd: Path) -> None:
    runner = SequenceRunner(simulated_run(spd))
    used = [len(frame["messages"]) for frame in runner.run("0003")["frames"]]
    lost = runner.run("0003", disturbance=Disturbance(loss=1.0))
    assert sum(used) > 0 and not any(frame["messages"] for frame in lost["frames"])
    assert without_times(runner.run("0003", disturbance=Disturbance())) == without_times(runner.run("0003"))


def test_an_interrupted_run_goes_on_where_it_was(
    spd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    done: list[str] = []
    original = SequenceRunner.run

    def counted(runner: SequenceRunner, sequence_id: str, *args: Any, **more: Any) -> dict[str, Any]:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(sequence_id)
        return original(runner, sequence_id, *args, **more)

    monkeypatch.setattr(SequenceRunner, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        run_split(simulated_run(spd), tmp_path)
    assert [path.name for path in (tmp_path / "recordings").iterdir()] == ["0003.json"]
    done[:] = ["", ""]
    resumed = run_split(simulated_run(spd), tmp_path)
    assert done == ["", "", "0007"]
    assert [recording["frames"][0]["sequence_id"] for recording in resumed] == ["0003", "0007"]
    assert run_split(simulated_run(spd), tmp_path) == resumed and len(done) == 3


@pytest.mark.parametrize("content", ["", "{", '{"schema": "of another time"}'])
def test_a_broken_stored_recording_is_made_again(spd: Path, tmp_path: Path, content: str) -> None:
    options = simulated_run(spd, sequences=("0003",))
    first = run_split(options, tmp_path)
    (tmp_path / "recordings" / "0003.json").write_text(content)
    again = run_split(options, tmp_path)
    assert without_times(again[0]) == without_times(first[0])
    assert json.loads((tmp_path / "recordings" / "0003.json").read_text()) == again[0]


def test_a_shortened_or_changed_stored_recording_is_made_again(spd: Path, tmp_path: Path) -> None:
    options, path = simulated_run(spd, sequences=("0003",)), tmp_path / "recordings" / "0003.json"
    run_split(options, tmp_path)
    complete = json.loads(path.read_text())
    written = path.read_bytes()
    assert run_split(options, tmp_path) == [complete] and path.read_bytes() == written

    for change in ({"frames": complete["frames"][:5]}, {"sent": []}, {"digest": None}):
        path.write_text(json.dumps({**complete, **change}))
        again = run_split(options, tmp_path)[0]
        assert without_times(again) == without_times(complete) and again["sent"] == complete["sent"]
        assert run_split(options, tmp_path) == [again] == [json.loads(path.read_text())]


def test_other_options_need_another_folder_or_overwrite(spd: Path, tmp_path: Path) -> None:
    options = simulated_run(spd, sequences=("0003",))
    run_split(options, tmp_path)
    other = replace(options, vehicle=EGO, seed=3)
    with pytest.raises(CooptrackError) as error:
        run_split(other, tmp_path)
    assert str(error.value) == (
        f"{tmp_path / 'run.json'}: options: the folder holds a run of other options (seed, vehicle.mode); "
        "choose another --out, or replace it with --overwrite"
    )
    assert run_split(other, tmp_path, overwrite=True)[0]["mode"] == "ego"
    assert run_split(other, tmp_path)[0]["mode"] == "ego"


def test_another_dataset_of_the_same_name_is_another_run(tmp_path: Path) -> None:
    options = simulated_run(tmp_path / "spd", sequences=("0003",))
    for frames in (3, 4):
        TinySpd(tmp_path / "spd", sequences=("0003",), frames=frames, images=False).write()
        if frames == 3:
            run_split(options, tmp_path / "out")
    with pytest.raises(CooptrackError, match=r"a run of other options \(data\)"):
        run_split(options, tmp_path / "out")


def test_recordings_of_an_unknown_run_are_not_touched(spd: Path, tmp_path: Path) -> None:
    mine = tmp_path / "recordings" / "mine.json"
    mine.parent.mkdir()
    mine.write_text("{}")
    with pytest.raises(CooptrackError, match="holds recordings and does not say of which run"):
        run_split(simulated_run(spd, sequences=("0003",)), tmp_path)
    assert mine.exists()


def test_overwriting_deletes_nothing_that_is_not_of_a_run(spd: Path, tmp_path: Path) -> None:
    options = simulated_run(spd, sequences=("0003",))
    run_split(options, tmp_path)
    mine = tmp_path / "recordings" / "mine.json"
    mine.write_text('{"schema": "mine"}')
    (tmp_path / "recordings" / "0003.json").write_text("{")  # broken by now, but of a run
    with pytest.raises(CooptrackError) as error:
        run_split(replace(options, seed=3), tmp_path, overwrite=True)
    assert str(error.value) == (
        f"{mine}: file: is no recording of cooptrack, --overwrite would delete it; "
        "move it away, or choose another --out"
    )
    assert mine.exists() and (tmp_path / "recordings" / "0003.json").exists()
    mine.unlink()
    assert run_split(replace(options, seed=3), tmp_path, overwrite=True)[0]["frames"]


@pytest.mark.parametrize("name", ["metrics.json", "metrics.csv", "metrics.html"])
def test_results_of_something_else_are_not_replaced_unasked(spd: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    options = simulated_run(spd, sequences=("0003",))
    with pytest.raises(CooptrackError, match=f"the folder holds {name} and does not say of which run; choose another"):
        run_split(options, tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]
    assert run_split(options, tmp_path, overwrite=True)


@pytest.mark.parametrize(("name", "step"), [("univ2x", 5), ("5hz", 2)])
def test_below_10_hz_the_system_sees_only_what_is_scored(spd: Path, name: str, step: int) -> None:
    options = simulated_run(spd, convention=CONVENTIONS[name], label_updates="none")
    recording = SequenceRunner(options).run("0003")
    expected = [f"{number:06d}" for number in range(12, 24, step)]
    assert [frame["frame_id"] for frame in recording["frames"]] == expected
    assert len(recording["sent"]) == len(expected) and recording["missed"] == []
    every = SequenceRunner(replace(options, full_rate=True)).run("0003")
    assert len(every["frames"]) == 12


def test_a_convention_with_deletions_wants_the_list(spd: Path) -> None:
    options = simulated_run(spd, convention=CONVENTIONS["univ2x"])
    with pytest.raises(CooptrackError) as error:
        SequenceRunner(options)
    assert "update_label_info.json: file: convention univ2x deletes labels by this file" in str(error.value)
    assert "--label-updates FILE, or --label-updates none" in str(error.value)


def test_label_updates_change_ground_truth_by_convention(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", sequences=("0003",), frames=2, images=False).write()
    token = Dataset(root).cooperative_labels("000000").token[0]
    entry = {"frame": "000000", "token": token, "operation": []}
    (root / "update_label_info.json").write_text(json.dumps({"cooperative": [entry]}))

    def objects(name: str, **options: Any) -> int:
        runner = SequenceRunner(simulated_run(root, convention=CONVENTIONS[name], full_rate=True, **options))
        return len(runner.run("0003")["frames"][0]["ground_truth"])

    assert (objects("cooptrack"), objects("univ2x"), objects("univ2x", label_updates="none")) == (3, 2, 3)


def test_a_sequence_without_cooperative_labels_is_one_line(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", sequences=("0003",), frames=2, images=False).write()
    for path in (root / "cooperative" / "label").iterdir():
        path.unlink()
    with pytest.raises(CooptrackError) as error:
        SequenceRunner(simulated_run(root)).run("0003")
    assert "cooperative/label: file: no frame of sequence 0003 has cooperative labels" in str(error.value)
    assert "choose a split whose labels are public" in str(error.value)


@pytest.mark.parametrize("mode", ["ego", "late", "distance", "learned"])
def test_networks_run_in_every_mode(tmp_path: Path, mode: str) -> None:
    root = TinySpd(tmp_path / "spd", sequences=("0003",), frames=3).write()
    options = simulated_run(
        root, vehicle=VehicleConfig(mode=mode, detector="network"), roadside=RoadsideConfig(detector="network")
    )
    recording = SequenceRunner(options, fake_networks).run("0003")
    assert (recording["mode"], recording["detector"]) == (mode, "network")
    assert len(recording["frames"]) == 3 and all(frame["has_ground_truth"] for frame in recording["frames"])
    assert recording["networks"]["vehicle"]["trained"] is False
