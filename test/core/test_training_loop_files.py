"""What a training run leaves on the disk: checkpoints, its log, finished weights."""

from __future__ import annotations

import math
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import equal, kept, lines, run
from small_stage import SmallStage

from cooptrack_core.stage_clock import stage
from cooptrack_core.training import event_file
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.training.tensor_files import read_tensors, write_tensors
from cooptrack_core.types import CooptrackError

pytestmark = pytest.mark.usefixtures("one_thread")


class Scripted(SmallStage):
    """Its scores are given, by evaluation."""

    def __init__(self, *scores: float, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]
        self.scores = list(scores)

    def evaluate(self) -> dict[str, float]:
        return {"score": self.scores.pop(0)}


def test_the_last_two_checkpoints_and_the_best_are_kept(tmp_path: Path) -> None:
    stage = Scripted(0.2, 0.7, 0.3, 0.7, math.nan, 0.1, options=StageOptions(steps=24))
    result = run(tmp_path, stage, evaluate_every=4)
    assert kept(tmp_path) == ["step_00000008", "step_00000020", "step_00000024"]
    assert (result.best_step, result.score) == (8, 0.7)
    averages = read_tensors(tmp_path / "step_00000008", "ema")
    exported = load_file(result.files[0])
    assert all(torch.equal(exported[name], averages[name]) for name in averages)


def test_checkpoints_are_only_where_streams_start_anew(tmp_path: Path) -> None:
    run(tmp_path, SmallStage(StageOptions(steps=18)), keep_every=5, evaluate_every=9)
    assert kept(tmp_path) == ["step_00000016", "step_00000018"]  # rounded up to 8, and the end
    assert [line["step"] for line in lines(tmp_path, "evaluation")] == [16, 18]


def test_the_log_says_how_much_of_a_step_goes_into_its_data(tmp_path: Path) -> None:
    def load(step: int, micro: int) -> None:
        with stage("data"):
            time.sleep(0.003)

    run(tmp_path, SmallStage(before=load))
    values = [line["values"] for line in lines(tmp_path, "train")]
    assert values and all(3.0 <= v["data_ms_per_step"] < 1e3 * v["seconds_per_step"] for v in values)  # type: ignore


def test_a_finished_run_does_nothing_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def fail(step: int, micro: int) -> None:
        raise AssertionError

    again = run(tmp_path, SmallStage(before=fail))
    assert again == replace(first, already=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_large_files_of_a_checkpoint_are_split(tmp_path: Path) -> None:
    whole, split = run(tmp_path / "whole"), run(tmp_path / "split", file_bytes=100)
    folder = tmp_path / "split" / "step_00000020"
    parts = sorted(path.name for path in folder.glob("weights-*.safetensors"))
    assert len(parts) > 2 and parts[0] == f"weights-00001-of-{len(parts):05}.safetensors"
    assert not (folder / "weights.safetensors").exists()
    for stem in ("weights", "ema", "optimizer"):
        assert equal(read_tensors(folder, stem), read_tensors(tmp_path / "whole" / "step_00000020", stem))
    assert equal(load_file(whole.files[0]), load_file(split.files[0]))
    (folder / parts[1]).unlink()
    with pytest.raises(CooptrackError, match=parts[1]):
        read_tensors(folder, "weights")


def test_tensors_that_share_memory_are_written_and_large_ones_stay_whole(tmp_path: Path) -> None:
    shared = torch.arange(100.0)
    write_tensors(tmp_path, "some", {"a": shared, "b": shared[10:], "c": torch.tensor(3)}, file_bytes=64)
    found = read_tensors(tmp_path, "some")
    assert torch.equal(found["a"], shared) and torch.equal(found["b"], shared[10:]) and found["c"] == 3
    assert len(list(tmp_path.glob("some-*"))) == 3


def test_log_has_every_loss_averaged_over_its_steps(tmp_path: Path) -> None:
    stage = SmallStage()
    losses = []
    stage.network.register_forward_hook(lambda module, given, out: losses.append({k: v.item() for k, v in out.items()}))
    run(tmp_path, stage)
    found = lines(tmp_path, "train")
    assert [line["step"] for line in found] == [3, 4, 6, 8, 9, 12, 15, 16, 18, 20]  # every 3, and checkpoints
    starts = [0, *(line["step"] for line in found)]
    for start, line in zip(starts, found, strict=False):
        values, taken = line["values"], losses[start : line["step"]]
        for name in ("first", "second", "third"):
            if f"loss/{name}" in values:
                assert values[f"loss/{name}"] == pytest.approx(sum(loss.get(name, 0.0) for loss in taken) / len(taken))
        assert values["loss"] == pytest.approx(sum(sum(loss.values()) for loss in taken) / len(taken))
        assert values["gradient_norm"] > 0 and values["learning_rate"] > 0


def records(path: Path) -> list[bytes]:
    """The contents of a TensorBoard file, checksums checked."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert content[: 16 + length] == event_file.record(content[12 : 12 + length])
        found.append(content[12 : 12 + length])
        content = content[16 + length :]
    return found


def test_tensorboard_gets_all_lines_of_the_log(tmp_path: Path) -> None:
    run(tmp_path)
    (path,) = tmp_path.glob("events.out.tfevents.*")
    found = records(path)
    assert event_file.VERSION.encode() in found[0]
    assert len(found) == 1 + len(lines(tmp_path, "train")) + len(lines(tmp_path, "evaluation"))
    assert b"train/loss/second" in found[1] and b"evaluation/score" in b"".join(found)


def test_event_records_are_those_that_tensorboard_writes() -> None:
    assert event_file.crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert event_file.file_head(1700000000.25) == bytes.fromhex(WRITTEN_BY_TENSORBOARD[0])
    values = {"train/loss": 1.25, "train/learning_rate": 2e-4}
    assert event_file.scalars(1700000001.5, 300, values) == bytes.fromhex(WRITTEN_BY_TENSORBOARD[1])
    for odd in (math.nan, math.inf, 1e300):
        assert event_file.scalars(0.0, 1, {"a": odd})


# By RecordWriter of TensorBoard.
WRITTEN_BY_TENSORBOARD = (
    "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9",
    "3d000000000000006049f1ec0900006040fc54d94110ac022a2f0a110a0a747261696e2f6c6f7373"
    "150000a03f0a1a0a13747261696e2f6c6561726e696e675f726174651517b75139e4df435d",
)
