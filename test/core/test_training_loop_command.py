"""`cooptrack train`: what it asks for, what it says, and how it ends."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import small_stage
from small_run import kept
from small_stage import ENTRY, SmallStage

import cooptrack_core.progress
from cooptrack_core.cli import main
from cooptrack_core.training import stages, step_report
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.types import CooptrackError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stages.STAGES, "small", ENTRY)


def arguments(tmp_path: Path, *more: object, stage: str = "small") -> list[str]:
    given = ["train", stage, "--preset", "any", "--data", tmp_path / "data", "--out", tmp_path / "run", *more]
    return [str(argument) for argument in given]


def error_of(capsys: pytest.CaptureFixture[str], given: list[str], code: int = 2) -> str:
    """The one line that a refused or stopped training prints."""
    assert main(given) == code
    said = capsys.readouterr().err
    assert said.startswith("cooptrack train: error: ") and said.count("\n") == 1
    return said


def test_help_explains_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out
    assert "stages:\n" in said
    for name, entry in stages.STAGES.items():
        (line,) = [line for line in said.splitlines() if line.split(maxsplit=1)[:1] == [name]]
        assert line.split(maxsplit=1)[1] == entry.about


def test_help_needs_no_torch() -> None:
    code = "import sys; from cooptrack_core.cli import build_parser; build_parser(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


def test_options_reach_the_stage_and_the_loop_and_the_rest_is_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = []

    def build(stage: str, preset: str, data: Path, options: StageOptions) -> SmallStage:
        built.append((preset, data, options))
        return SmallStage(options)

    monkeypatch.setattr(small_stage, "build", build)
    more = ("--steps", 8, "--batch", 4, "--lr", 0.5, "--ema", 0, "--seed", 5, "--init", "before.safetensors")
    assert main(arguments(tmp_path, *more)) == 0
    expected = StageOptions(8, 4, Path("before.safetensors"), device="cpu", seed=5)
    assert built == [("any", tmp_path / "data", expected)]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["STAGE"], config["--preset"], config["--steps"], config["--batch"]) == ("small", "any", 8, 4)
    assert (config["--lr"], config["--ema"], config["--warm-up"]) == (0.5, 0.0, 3)  # the last of the recipe
    assert config["command"].startswith("cooptrack train small --preset any")
    assert not (tmp_path / "run" / "step_00000008" / "ema.safetensors").exists()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{tmp_path / 'run'}: small of any, 8 steps, starts"
    assert said[1].startswith("small: 8 steps; best after step 8: score -")
    assert said[2] == f"weights: {tmp_path / 'run' / 'weights' / 'small_veh.safetensors'}"


def test_progress_shows_loss_terms_and_the_time_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cooptrack_core.progress, "PERIOD_S", 0.0)
    monkeypatch.setattr(step_report, "_REFRESH_S", 0.0)
    assert main(arguments(tmp_path, "--steps", 4)) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4 and said[-1].endswith("0 min left: step 4 of 4")
    assert all(line.startswith("small veh: loss ") and "first " in line and "second " in line for line in said)


def test_time_that_is_left_is_in_minutes_and_hours() -> None:
    assert [step_report._duration(s) for s in (0.0, 95.0, 3599.0, 7500.0)] == [
        "0 min",
        "2 min",
        "1 h 00 min",
        "2 h 05 min",
    ]


def test_an_unknown_stage_is_one_line_with_those_that_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, arguments(tmp_path, stage="smal"))
    assert "'smal'" in said and "small" in said.replace("'smal'", "") and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "more",
    [("--steps", 0), ("--batch", -2), ("--lr", 0), ("--lr", "nan"), ("--ema", 1), ("--accumulate", 0)],
)
def test_impossible_options_are_one_line_that_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, object]
) -> None:
    assert more[0] in error_of(capsys, arguments(tmp_path, *more))
    assert not (tmp_path / "run").exists()


def test_what_a_stage_says_of_bad_data_or_missing_weights_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(stage: str, preset: str, data: Path, options: StageOptions) -> SmallStage:
        raise CooptrackError(f"{data}: vehicle-side/data_info.json is missing; give another --data")

    monkeypatch.setattr(small_stage, "build", build)
    assert "vehicle-side/data_info.json is missing" in error_of(capsys, arguments(tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_ends_with_1_and_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(stage: str, preset: str, data: Path, options: StageOptions) -> SmallStage:
        stage = SmallStage(options)
        stage.network.spoil = lambda step, micro: math.nan if step == 6 else 1.0
        return stage

    monkeypatch.setattr(small_stage, "build", build)
    said = error_of(capsys, arguments(tmp_path), code=1)
    assert "step 7, micro-batch 1, process 0 (points 6.0): loss first is nan" in said
    assert said.endswith(f"({tmp_path / 'run'} is kept up to step 4)\n")
    assert kept(tmp_path / "run") == ["step_00000004"]


def test_a_run_of_other_options_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path)) == 0
    assert main(arguments(tmp_path)) == 0
    assert "20 steps, all done before; best after step" in capsys.readouterr().out
    assert "--batch was null when the run began and is 4 now" in error_of(capsys, arguments(tmp_path, "--batch", 4))
