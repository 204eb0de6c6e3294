"""What stops a training run, and that nothing is lost then."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import equal, kept, options, run
from small_stage import SmallStage

from cooptrack_core.training import disk
from cooptrack_core.training.loop import train
from cooptrack_core.training.run_store import RunStore
from cooptrack_core.training.stage import LoopOptions, TrainingStopped
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.training.tensor_files import read_tensors
from cooptrack_core.types import CooptrackError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("change", "named"),
    [({"learning_rate": 0.5}, "--lr was 0.01"), ({"precision": "bf16"}, "--precision"), ({"seed": 3}, "--seed was 0")],
)
def test_a_run_of_other_options_is_not_continued_and_the_option_named(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    run(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CooptrackError, match=named) as error:
        run(tmp_path, **change)
    assert "\n" not in str(error.value) and sorted(tmp_path.rglob("*")) == before


def test_other_settings_or_steps_are_named_as_well(tmp_path: Path) -> None:
    train(SmallStage(), options(), tmp_path, {"--data": "/here"})
    with pytest.raises(CooptrackError, match='--data was "/here" when the run began and is "/there" now'):
        train(SmallStage(), options(), tmp_path, {"--data": "/there"})
    with pytest.raises(CooptrackError, match="--steps was 20 when the run began and is 24 now"):
        train(SmallStage(StageOptions(steps=24)), options(), tmp_path, {"--data": "/here"})


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"1")
    with pytest.raises(CooptrackError, match="choose another --out"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_run_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    with RunStore(tmp_path, {}, 1).opened(), pytest.raises(CooptrackError, match="another process"):
        run(tmp_path)


def test_losses_that_are_no_numbers_stop_before_they_reach_the_weights(tmp_path: Path) -> None:
    for bad in (math.nan, math.inf):
        stage, folder = SmallStage(), tmp_path / str(bad)
        stage.network.spoil = lambda step, micro, bad=bad: bad if (step, micro) == (13, 1) else 1.0
        with pytest.raises(TrainingStopped, match=rf"step 14, micro-batch 2, .*points 13\.1.*: loss first is {bad}"):
            run(folder, stage, accumulate=2)
        assert kept(folder) == ["step_00000008", "step_00000012"]
        assert all(value.isfinite().all() for value in stage.network.state_dict().values())
        assert all(value.isfinite().all() for value in read_tensors(folder / "step_00000012", "weights").values())


def test_a_gradient_that_is_no_number_stops_before_it_reaches_the_weights(tmp_path: Path) -> None:
    stage = SmallStage()
    stage.network.layers[0].weight.register_hook(lambda gradient: gradient * math.nan)
    before = stage.network.layers[0].weight.detach().clone()
    with pytest.raises(TrainingStopped, match=r"step 1, .* the gradient is nan"):
        run(tmp_path, stage)
    assert torch.equal(stage.network.layers[0].weight, before)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_one_line_with_what_helps(tmp_path: Path, error: Exception) -> None:
    def before(step: int, micro: int) -> None:
        if step == 6:
            raise error

    with pytest.raises(TrainingStopped, match=r"step 7: out of memory; .*--batch.*--accumulate") as stopped:
        run(tmp_path, SmallStage(before=before))
    assert "\n" not in str(stopped.value) and kept(tmp_path) == ["step_00000004"]


def test_other_errors_are_not_taken_for_too_little_memory(tmp_path: Path) -> None:
    def before(step: int, micro: int) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(tmp_path, SmallStage(before=before))


@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    undisturbed = run(tmp_path / "undisturbed")
    folder, whole = tmp_path / "run", disk.write_synced

    def full(path: Path, content: bytes) -> None:
        if path.parent.name == ".step_00000012.part" and path.name == file:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, content)

    with monkeypatch.context() as patched:
        for module in ("run_store", "tensor_files"):
            patched.setattr(f"cooptrack_core.training.{module}.write_synced", full)
        with pytest.raises(CooptrackError, match=r"step_00000012: cannot be written \(No space left") as error:
            run(folder)
    assert "\n" not in str(error.value)
    assert kept(folder) == ["step_00000004", "step_00000008"] and not list(folder.glob(".*.part"))
    assert equal(load_file(run(folder).files[0]), load_file(undisturbed.files[0]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0), ("learning_rate", math.nan), ("weight_decay", -1.0), ("warm_up_from", 2.0),
        ("ema_decay", 1.0), ("accumulate", 0), ("keep_every", 0), ("evaluate_every", -1), ("precision", "fp8"),
        ("seed", -1), ("device", "abacus"), ("max_gradient_norm", 0.0),
    ],
)  # fmt: skip
def test_impossible_options_are_one_line_with_option_and_value(field: str, value: object) -> None:
    with pytest.raises(CooptrackError, match=rf"--[a-z-]+: {value} is not possible; give ") as error:
        LoopOptions(**{field: value})  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_bad_data_in_a_step_is_one_line_with_the_step(tmp_path: Path) -> None:
    def before(step: int, micro: int) -> None:
        if step == 6:
            raise CooptrackError("image/7.jpg: cannot be read; restore it")

    with pytest.raises(TrainingStopped, match=r"^step 7: image/7.jpg: cannot be read; restore it$"):
        run(tmp_path, SmallStage(before=before))
    assert kept(tmp_path) == ["step_00000004"]
