"""`cooptrack compare`: a folder for each method, one table, differences, tuned parameters that are kept."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_networks import fake_networks
from simulated import SIMULATED, simulated_run
from tiny_spd import TinySpd

from cooptrack_core.cli import main
from cooptrack_core.config import NetworkConfig, RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.evaluation.comparison import Method, compare
from cooptrack_core.evaluation.comparison_report import (
    difference_tables,
    error_table,
    methods_table,
    notes_of,
    print_comparison,
)
from cooptrack_core.evaluation.report import text_table

FRAMES = 10
RANDOM = NetworkConfig(weights="untrained")


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences each of the official train and val splits, with images."""
    root = tmp_path_factory.mktemp("data") / "spd"
    return TinySpd(root, sequences=("0000", "0001", "0003", "0007"), frames=FRAMES).write()


@pytest.fixture(scope="module")
def done(spd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison of all that a simulated detector allows."""
    out = tmp_path_factory.mktemp("comparison")
    assert main(["compare", str(spd), *SIMULATED, "--trials", "4", "--out", str(out)]) == 0
    return out


def result_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "compare.json").read_text())
    return content


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["compare", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return str(lines[0])


def test_every_method_has_a_row_and_a_folder_like_that_of_evaluate(spd: Path, done: Path, tmp_path: Path) -> None:
    result = result_of(done)
    assert [row["title"] for row in result["rows"]] == ["Late Fusion + AB3DMOT", "No Fusion"]
    assert all("tuned" in row["parameters"] for row in result["rows"])
    assert result["run"]["sequences"] == ["0003", "0007"] and result["data"]["frames"] == 2 * FRAMES
    assert result["convention"]["name"] == "cooptrack"
    late = [*SIMULATED, "--mode", "late", "--params", str(done / "tuned.yaml")]
    assert main(["evaluate", str(spd), *late, "--out", str(tmp_path)]) == 0
    for name in ("detection", "tracking", "hidden_recall", "by_sequence"):
        own, evaluated = (
            json.loads((folder / "metrics.json").read_text())[name] for folder in (done / "late", tmp_path)
        )
        assert own == evaluated, name
    row = result["rows"][0]["metrics"]
    metrics = json.loads((done / "late" / "metrics.json").read_text())
    assert row["AMOTA car"] == metrics["tracking"]["label_metrics"]["amota"]["car"]
    assert row["AVE car"] == metrics["detection"]["car"]["vel_err"] > 0
    assert row["AOE car"] == metrics["detection"]["car"]["orient_err"]
    assert row["association recall"] == metrics["association"]["recall"] and metrics["association"]["pairs"] > 0
    assert row["bytes per second"] == metrics["bandwidth"]["encoded"]["per_second"] > 0
    assert result["rows"][1]["metrics"]["bytes per second"] == 0
    assert (done / "ego" / "recordings" / "0007.json").is_file()


def test_differences_are_those_of_the_rows_with_an_interval_around(done: Path) -> None:
    result = result_of(done)
    (pair,) = result["differences"]
    assert (pair["of"], pair["minus"]) == ("late", "ego")
    late, ego = (row["metrics"] for row in result["rows"])
    for name in ("mAP", "AP car", "AMOTA", "AMOTA car", "MOTA", "HOTA"):
        item = pair["metrics"][name]
        assert item["difference"] == pytest.approx(late[name] - ego[name], abs=1e-9), name
        assert item["low"] <= item["high"]
        assert item["excludes_zero"] is None  # two sequences are too few to say so
    assert result["bootstrap"] | {"over": ""} == {
        "resamples": 1000, "seed": 0, "confidence": 0.95, "sequences": 2, "over": "",
        "caution": "Only 2 sequences: the intervals mean little, so none is said to exclude 0.",
    }  # fmt: skip


def test_the_second_time_nothing_is_tuned_or_run(spd: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted([*done.glob("tuned*"), *done.glob("*/recordings/*.json")])
    assert len(files) == 4 + 4  # parameters and record of each mode; two sequences of each
    before = [path.stat().st_mtime_ns for path in files]
    first = result_of(done)
    assert main(["compare", str(spd), *SIMULATED, "--trials", "4", "--out", str(done)]) == 0
    assert [path.stat().st_mtime_ns for path in files] == before
    assert result_of(done) == first
    told = capsys.readouterr().out
    assert "best of" not in told and "Late Fusion + AB3DMOT - No Fusion" in told


def test_other_options_in_the_same_folder_are_an_error(
    spd: Path, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "trials" in error_of(capsys, spd, *SIMULATED, "--trials", "5", "--out", done)
    assert "--overwrite" in error_of(capsys, spd, *SIMULATED, "--trials", "4", "--no-tune", "--out", done)


def test_csv_has_a_line_for_every_number(done: Path) -> None:
    with (done / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    result = result_of(done)
    expected = sum(len(row["metrics"]) for row in result["rows"]) + len(result["differences"][0]["metrics"])
    assert len(rows) == expected
    found = next(row for row in rows if row["what"] == "late - ego" and row["metric"] == "AMOTA")
    item = result["differences"][0]["metrics"]["AMOTA"]
    assert float(found["value"]) == item["difference"] and float(found["low"]) == item["low"]
    assert found["detector"] == "simulated"


def test_page_needs_nothing_but_itself(done: Path) -> None:
    page = (done / "compare.html").read_text()
    assert "Late Fusion + AB3DMOT" in page and "<svg" in page and 'href="late/metrics.html"' in page
    assert "default-src 'none'" in page and "http:" not in page and "https:" not in page


def test_tables_fit_120_characters(done: Path) -> None:
    result = result_of(done)
    widest = dict.fromkeys(result["rows"][0]["metrics"], 0.999) | {
        "MOTA": -0.999, "IDS": 12_345.0, "bytes per second": 1_234_567.0, "recall roadside only": None,
    }  # fmt: skip
    shown = methods_table(result | {"rows": [row | {"metrics": widest} for row in result["rows"]]})
    tables = [
        text_table(shown),
        text_table(error_table(result)),
        *(text_table(item) for item in difference_tables(result)),
    ]
    assert max(len(line) for table in tables for line in table.splitlines()) <= 120


def test_parameters_of_a_file_go_before_tuning(spd: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["compare", str(spd), *SIMULATED, "--params", str(done / "tuned.yaml"), "--out", str(out)]) == 0
    assert not (out / "tuned.yaml").exists()
    result = result_of(out)
    assert result["rows"][0]["metrics"] == result_of(done)["rows"][0]["metrics"]
    assert all("tuned.yaml" in row["parameters"] for row in result["rows"])


def test_parameters_tuned_on_what_is_scored_are_warned_of(
    spd: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--params", str(done / "tuned.yaml"), "--modes", "ego", "--out", str(tmp_path)]
    assert main(["compare", str(spd), *SIMULATED, "--split", "train", *options]) == 0
    assert "was tuned on 2 of the sequences that are scored (0000, 0001)" in capsys.readouterr().err


def test_parameters_that_only_concern_the_nodes_are_named_once(
    spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text("/**:\n  ros__parameters:\n    tf_timeout_ms: 90.0\n")
    options = [*SIMULATED, "--params", str(path), "--frames", "2"]
    assert main(["compare", str(spd), *options, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count("tf_timeout_ms") == 1


def test_one_method_needs_no_differences(spd: Path, tmp_path: Path) -> None:
    assert main(["compare", str(spd), *SIMULATED, "--modes", "ego", "--no-tune", "--out", str(tmp_path)]) == 0
    result = result_of(tmp_path)
    assert result["differences"] == [] and result["rows"][0]["parameters"] == "default parameters, not tuned"


def test_one_sequence_gets_no_intervals_and_no_plot_and_is_told_why(
    spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--sequence", "0003", "--no-tune", "--out", str(tmp_path)]
    assert main(["compare", str(spd), *SIMULATED, *options]) == 0
    told = capsys.readouterr().out
    assert "One sequence: resampling it changes nothing, so intervals would be meaningless and are left out." in told
    assert "excludes" not in told and "<svg" not in (tmp_path / "compare.html").read_text()
    for item in result_of(tmp_path)["differences"][0]["metrics"].values():
        assert item["low"] is item["high"] is item["excludes_zero"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--modes", "late,learned"], "learned shares features, which only a network has"),
        (["--modes", "alone"], "alone is what ego does there"),
        (["--modes", "late,magic"], "'magic' is unknown"),
        (["--modes", ","], "names no mode"),
        (["--tune-on", "val"], "2 of 2 sequences to tune on are to be scored"),
        (["--sequence", "0000", "0003"], "1 of 2 sequences to tune on"),
        (["--trials", "0"], "--trials"),
        (["--tune-on", "nowhere"], "or take --no-tune"),
    ],
)
def test_what_cannot_be_compared_gets_one_line(
    spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert words in error_of(capsys, spd, *SIMULATED, *options, "--out", tmp_path / "out")


def test_networks_are_compared_by_what_they_share(
    spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roadside = RoadsideConfig(detector="network", network=RANDOM)
    options = simulated_run(spd, roadside=roadside)

    def method(key: str, mode: str, precision: str = "fp16", **changes: Any) -> Method:
        own = replace(options, vehicle=VehicleConfig(mode=mode, detector="network", network=RANDOM),
                      roadside=replace(roadside, feature_precision=precision), **changes)  # fmt: skip
        return Method(key, own, "as they are")

    methods = [
        method("learned", "learned"), method("late", "late", "none"),
        method("alone", "late", "none", disturbance=Disturbance(drop_roadside=1.0)), method("ego", "ego", "none"),
    ]  # fmt: skip
    result = compare(methods, tmp_path, resamples=20, networks=fake_networks)
    rate = {row["method"]: row["metrics"]["bytes per second"] for row in result["rows"]}
    assert rate["learned"] > rate["late"] > rate["alone"] == rate["ego"] == 0
    assert len(result["differences"]) == 6
    assert result["run"]["disturbance"] == "none"
    assert any("MEANINGLESS" in note for note in notes_of(result))
    print_comparison(result)
    assert "MEANINGLESS" in capsys.readouterr().out
