"""A training run that was killed ends as if it had not been; several processes do what one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import equal, kept, lines, options, run
from small_stage import ENTRY, SmallStage

from cooptrack_core.cli import main
from cooptrack_core.training import stages
from cooptrack_core.training.loop import train
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.training.tensor_files import read_tensors
from cooptrack_core.types import CooptrackError

pytestmark = pytest.mark.usefixtures("one_thread")
HERE = Path(__file__).resolve().parent
CLOCK = ("seconds_per_step", "data_ms_per_step")


class Killed(BaseException):
    """Stands for a kill where a process of its own would take too long."""


def killed_at(step: int) -> SmallStage:
    def before(now: int, micro: int) -> None:
        if now == step:
            raise Killed

    return SmallStage(before=before)


def command(*arguments: object, processes: int = 1, **environment: object) -> subprocess.CompletedProcess[str]:
    """`cooptrack` with the small stage in processes of its own."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes] if processes > 1 else []
    paths = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *map(str, [*launcher, HERE / "small_stage.py", *arguments])],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **{k: str(v) for k, v in environment.items()}},
        capture_output=True,
        text=True,
    )


def same_end(folder: Path, other: Path) -> None:
    """Two runs ended with the same bits, and their logs say the same."""
    assert kept(folder) == kept(other)
    for step in kept(folder):
        for stem in ("weights", "ema", "optimizer"):
            assert equal(read_tensors(folder / step, stem), read_tensors(other / step, stem))
    exported = (load_file(path / "weights" / "small_veh.safetensors") for path in (folder, other))
    assert equal(*exported)
    for kind in ("train", "evaluation"):
        assert [timeless(line) for line in lines(folder, kind)] == [timeless(line) for line in lines(other, kind)]


def timeless(line: dict[str, object]) -> dict[str, object]:
    values = {name: value for name, value in line["values"].items() if name not in CLOCK}  # type: ignore[attr-defined]
    return {**line, "time_s": None, "values": values}


def test_a_killed_process_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    arguments = ("train", "small", "--preset", "any", "--data", tmp_path, "--steps", 24, "--accumulate", 2)
    killed = command(*arguments, "--out", tmp_path / "killed", SMALL_STAGE_DIES_AT=14)
    assert killed.returncode == -signal.SIGKILL and kept(tmp_path / "killed") == ["step_00000008", "step_00000012"]
    stages.STAGES["small"] = ENTRY
    try:
        for name in ("killed", "undisturbed"):
            assert main([*map(str, arguments), "--out", str(tmp_path / name)]) == 0
    finally:
        del stages.STAGES["small"]
    same_end(tmp_path / "killed", tmp_path / "undisturbed")


def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    run(tmp_path / "undisturbed")
    for step in (2, 4, 11, 11, 15, 19):
        with pytest.raises(Killed):
            run(tmp_path / "killed", killed_at(step))
    run(tmp_path / "killed")
    same_end(tmp_path / "killed", tmp_path / "undisturbed")


def test_killed_while_it_writes_a_checkpoint_it_goes_on_from_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "undisturbed")
    folder = tmp_path / "killed"
    rename = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if Path(target).name == "step_00000012":
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        patched.setattr("shutil.rmtree", lambda *args, **options: None)  # a killed process cleans nothing up
        with pytest.raises(Killed):
            run(folder)
    assert (folder / ".step_00000012.part" / "state.json").exists() and kept(folder)[-1] == "step_00000008"
    run(folder)
    assert not list(folder.glob(".*.part"))
    same_end(folder, tmp_path / "undisturbed")


def test_killed_in_an_evaluation_it_evaluates_first(tmp_path: Path) -> None:
    class Dying(SmallStage):
        def evaluate(self) -> dict[str, float]:
            raise Killed

    run(tmp_path / "undisturbed")
    with pytest.raises(Killed):
        run(tmp_path / "killed", Dying())
    assert kept(tmp_path / "killed")[-1] == "step_00000008" and not lines(tmp_path / "killed", "evaluation")
    run(tmp_path / "killed")
    same_end(tmp_path / "killed", tmp_path / "undisturbed")


def test_killed_in_the_export_it_exports(tmp_path: Path) -> None:
    class Dying(SmallStage):
        def export(self, *given: object) -> list[Path]:
            raise Killed

    expected = run(tmp_path / "undisturbed")
    with pytest.raises(Killed):
        run(tmp_path / "killed", Dying())
    result = run(tmp_path / "killed")
    assert (result.best_step, result.score, result.already) == (expected.best_step, expected.score, False)
    same_end(tmp_path / "killed", tmp_path / "undisturbed")


def test_half_a_line_of_the_log_does_not_matter(tmp_path: Path) -> None:
    run(tmp_path / "undisturbed")
    with pytest.raises(Killed):
        run(tmp_path / "killed", killed_at(11))
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 12, "kind": "tra')
    run(tmp_path / "killed")
    same_end(tmp_path / "killed", tmp_path / "undisturbed")


def test_a_damaged_checkpoint_is_named_and_without_it_the_run_goes_on(tmp_path: Path) -> None:
    run(tmp_path / "undisturbed")
    with pytest.raises(Killed):
        run(tmp_path / "killed", killed_at(14))
    damaged = tmp_path / "killed" / "step_00000012"
    content = (damaged / "weights.safetensors").read_bytes()
    (damaged / "weights.safetensors").write_bytes(content[:-9])
    with pytest.raises(CooptrackError, match=r"step_00000012/weights\.safetensors: .*; delete this checkpoint"):
        run(tmp_path / "killed")
    for file in damaged.iterdir():
        file.unlink()
    damaged.rmdir()
    run(tmp_path / "killed")
    same_end(tmp_path / "killed", tmp_path / "undisturbed")


def test_device_and_file_size_may_change_while_a_run_goes_on(tmp_path: Path) -> None:
    run(tmp_path / "undisturbed")
    with pytest.raises(Killed):
        run(tmp_path / "killed", killed_at(14))
    run(tmp_path / "killed", device="auto", file_bytes=200)
    same_end(tmp_path / "killed", tmp_path / "undisturbed")


def test_two_processes_do_what_one_does_with_all_the_data(tmp_path: Path) -> None:
    arguments = ("train", "small", "--preset", "plain", "--data", tmp_path, "--batch", 8, "--accumulate", 2)
    weights = tmp_path / "weights"
    weights.mkdir()
    folder = tmp_path / "two"
    done = command(*arguments, "--out", folder, processes=2, SMALL_STAGE_WEIGHTS=weights)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("starts") == 1 and done.stdout.count("weights: ") == 1  # one of them talks
    one = tmp_path / "one"
    result = train(SmallStage(StageOptions(batch=8), plain=True), options(accumulate=2), one)
    assert result.files and kept(folder) == kept(one)
    trained, alone = (read_tensors(path / "step_00000020", "weights") for path in (folder, one))
    assert all(torch.allclose(trained[name], alone[name], atol=1e-5) for name in alone)
    first, second = (load_file(weights / f"{rank}.safetensors") for rank in (0, 1))
    assert equal(second, trained)  # the first ends with the average, which it has exported
    assert first.keys() == second.keys()
    with pytest.raises(CooptrackError, match="number of processes was 2 when the run began and is 1 now"):
        config = json.loads((folder / "config.json").read_text())
        settings = {name: config[name] for name in ("--preset", "--data", "--init", "--roadside", "--batch")}
        train(SmallStage(StageOptions(batch=8), plain=True), options(accumulate=2), folder, settings)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_says_how_to_go_on(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
) -> None:
    monkeypatch.setitem(stages.STAGES, "small", ENTRY)

    def interrupting(options: StageOptions, **given: object) -> SmallStage:
        return SmallStage(options, before=lambda step, micro: os.kill(os.getpid(), number) if step == 10 else None)

    arguments = ["train", "small", "--preset", "any", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    before = signal.getsignal(signal.SIGTERM)
    # Shells start background jobs, such as these tests may be, with Ctrl-C ignored.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr("small_stage.SmallStage", interrupting)
            assert main(arguments) == code
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert signal.getsignal(signal.SIGTERM) is before
    said = capsys.readouterr().err.strip().splitlines()
    assert said == [f"cooptrack train: interrupted ({tmp_path / 'run'} is kept up to step 8); the same command goes on"]
    assert main(arguments) == 0
    assert "goes on after step 8" in capsys.readouterr().out
