"""Guarantees of the report: every metric is in the CSV, what is unknown is never a number, what misleads is said."""

from __future__ import annotations

import csv
import html
import re
from pathlib import Path
from typing import Any

import pytest
from evaluation_recordings import frame, recording, track, truth

from cooptrack_core.evaluation.conventions import CONVENTIONS
from cooptrack_core.evaluation.evaluate import evaluate
from cooptrack_core.evaluation.page import DASH
from cooptrack_core.evaluation.report import describe, print_metrics, text_table, warnings_of, write_csv, write_html
from cooptrack_core.evaluation.report_tables import ReportTable, leaves, report_tables

MINUS = "\N{MINUS SIGN}"
RUN = {
    "dataset": "somewhere", "split": "val", "detector": "simulated", "mode": "late", "weights": None,
    "seed": 3, "max_frames": 9, "disturbance": "none", "params": "tuned.yaml",
    "parameters": {"vehicle": {"mode": "ego", "min_score": 0.3}, "roadside": {"rate_hz": 5.0}},
    "label_updates": "none", "command": "cooptrack evaluate somewhere --split val",
}  # fmt: skip


def run_of(sequences: int = 2, **changes: Any) -> dict[str, Any]:
    """Metrics of two cars of which one is tracked; there are no bicycles and no pedestrians."""
    recordings = []
    for sequence in range(sequences):
        rows = [
            frame(n, [truth(1, 10.0 + n), truth(2, 30.0)], [track(5, 10.1 + n, score=0.9)], sequence=f"000{sequence}")
            for n in range(6)
        ]
        recordings.append(recording(rows))
    return evaluate(recordings, CONVENTIONS["cooptrack"], RUN | changes)


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return run_of()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_metric_is_in_the_csv_with_its_value(metrics: dict[str, Any], tmp_path: Path) -> None:
    rows = {row["metric"]: row["value"] for row in rows_of(write_csv(metrics, tmp_path / "metrics.csv"))}
    sections = {
        key: value for key, value in metrics.items() if key not in ("schema", "run", "convention", "data", "curves")
    }
    expected = {".".join(path): value for path, value in leaves(sections) if not isinstance(value, str)}
    assert {"detection.car.ap", "detection.mAP", "tracking.mean.amota", "by_sequence.0001.mAP"} <= set(expected)
    assert set(rows) == set(expected)
    for name, value in expected.items():
        if value is None:
            assert rows[name] == ""
        elif isinstance(value, float):
            assert float(rows[name]) == value
        else:
            assert rows[name] == str(value)


def test_every_row_of_the_csv_says_what_it_is_of(metrics: dict[str, Any], tmp_path: Path) -> None:
    for row in rows_of(write_csv(metrics, tmp_path / "metrics.csv")):
        assert (row["mode"], row["detector"], row["split"], row["convention"]) == (
            "late",
            "simulated",
            "val",
            "cooptrack",
        )
        assert row["synthetic"] == "0"
        assert (row["dataset"], row["seed"], row["disturbance"]) == ("somewhere", "3", "none")
        assert (row["max_frames"], row["parameters"]) == ("9", "tuned.yaml: vehicle min_score 0.3, roadside rate_hz 5")


def test_nothing_is_said_of_what_disturbed_a_recorded_run(tmp_path: Path) -> None:
    metrics = run_of(1, bag="recorded", disturbance=None)
    assert {row["disturbance"] for row in rows_of(write_csv(metrics, tmp_path / "metrics.csv"))} == {""}


def test_changed_parameters_and_a_limit_of_frames_are_in_the_first_line(metrics: dict[str, Any]) -> None:
    assert "parameters of tuned.yaml; ONLY the first 9 vehicle frames of each sequence" in describe(metrics)
    assert "changed parameters: vehicle min_score 0.3, roadside rate_hz 5" in describe(run_of(1, params=None))
    assert "parameters" not in describe(run_of(1, params=None, parameters={"vehicle": {"mode": "ego"}}))


def test_the_values_that_puzzle_are_explained_below_the_printed_tables(
    metrics: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = [recording([frame(n, [truth(1, 10.0)], []) for n in range(3)])]
    print_metrics(evaluate(nothing, CONVENTIONS["cooptrack"], RUN | {"mode": "ego"}))
    told = " ".join(capsys.readouterr().out.split())
    assert "IDS is the sum over the classes" in told and "any: all objects together" in told
    assert "AMOTP 2, MOTP 2, TID 20, LGD 20, FAF 500: the kit's worst values" in told
    assert f"LocA {DASH}: nothing was matched" in told and "Bandwidth messages no messages By sequence" in told
    print_metrics(metrics)
    assert "worst values" not in capsys.readouterr().out


def test_metrics_of_a_class_without_objects_are_dashes(metrics: dict[str, Any]) -> None:
    assert metrics["tracking"]["label_metrics"]["amota"]["bicycle"] is None
    tracking = next(table for table in report_tables(metrics) if table.title == "Tracking")
    lines = text_table(tracking).splitlines()
    assert lines[0].split() == ["car", "bicycle", "pedestrian", "mean"]
    amota = lines[1].split()
    assert amota[0] == "AMOTA" and amota[3:5] == [DASH, DASH] and float(amota[2]) > 0.4


def test_a_class_that_the_ground_truth_does_not_have_is_named(
    metrics: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    print_metrics(metrics)
    told = capsys.readouterr().out
    for name in ("bicycle", "pedestrian"):
        what = f"No {name} in range in the ground truth: its AP counts as 0 in mAP, as in the nuScenes kit."
        assert f"note: {what}\n" in told
    assert "No car" not in told


def test_labels_of_which_none_is_in_range_explain_the_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    far = recording([frame(n, [truth(1, 90.0)], [track(5, 90.0)]) for n in range(3)])
    print_metrics(evaluate([far], CONVENTIONS["cooptrack"], RUN))
    told = capsys.readouterr().out
    ranges = "car 50 m, bicycle 40 m, pedestrian 40 m"
    assert f"note: No labelled object is in range ({ranges}): there is nothing to find, hence the dashes.\n" in told
    assert "No bicycle" not in told


def test_a_dash_stands_for_what_is_unknown_and_zero_for_zero() -> None:
    table = ReportTable("t", ("", "a", "b", "c"), (("row", None, 0.0, 0), ("longer row", float("nan"), -0.5, 12)))
    assert text_table(table).splitlines() == [
        "              a       b   c",
        f"  row         {DASH}   0.000   0",
        f"  longer row  {DASH}  {MINUS}0.500  12",
    ]


def test_the_page_shows_every_table_and_the_convention(metrics: dict[str, Any], tmp_path: Path) -> None:
    write_html(metrics, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    titles = [table.title for table in report_tables(metrics)]
    assert {"Headline", "Detection", "Tracking", "By sequence"} <= set(titles)
    for title in titles:
        assert f"<h2>{html.escape(title)}</h2>" in text
    assert "convention cooptrack (10 Hz" in text and "cooptrack evaluate somewhere --split val" in text
    assert text.count("<svg") == 4
    assert not re.search(r"https?:|//|<script", text)
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.S).lower().replace("dominant", "")


def test_the_page_of_the_same_metrics_is_the_same(metrics: dict[str, Any], tmp_path: Path) -> None:
    write_html(metrics, tmp_path / "a.html")
    write_html(metrics, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_synthetic_data_and_simulated_detectors_are_called_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    metrics = run_of(1, synthetic=True)
    assert "SYNTHETIC data" in describe(metrics) and "simulated detector" in describe(metrics)
    assert any("Synthetic data" in words for words in warnings_of(metrics))
    print_metrics(metrics)
    printed = capsys.readouterr().out
    assert "SYNTHETIC data" in printed and "note: Simulated detector" in printed
    write_html(metrics, tmp_path / "page.html")
    assert "Synthetic data" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_disturbed_run_is_called_so() -> None:
    assert "disturbed: delay 200 ms" in describe(run_of(1, disturbance="delay 200 ms"))
    assert "disturbed" not in describe(run_of(1, disturbance="none"))


def test_untrained_networks_make_numbers_meaningless() -> None:
    def meaningless(**run: Any) -> bool:
        return any(
            "MEANINGLESS" in words for words in warnings_of({"run": {"detector": "network", "mode": "late"} | run})
        )

    assert meaningless(weights="untrained")
    assert meaningless(weights="w.safetensors", roadside_weights="untrained")
    assert not meaningless(weights="w.safetensors", roadside_weights="untrained", mode="ego")
    assert not meaningless(weights="w.safetensors", roadside_weights="w.safetensors")
    assert not meaningless(weights="w.safetensors") and not meaningless(weights="untrained", detector="simulated")


def test_a_metric_that_cannot_be_had_is_reported_with_its_reason(
    metrics: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    without = {**metrics, "hota": {"missing": "TrackEval is missing; pip install it"}}
    print_metrics(without)
    assert "hota: TrackEval is missing; pip install it" in capsys.readouterr().out
    write_html(without, tmp_path / "page.html")
    assert "TrackEval is missing" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_run_that_found_nothing_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [frame(n, [truth(1, 10.0)], []) for n in range(3)]
    metrics = evaluate([recording(rows)], CONVENTIONS["cooptrack"], RUN)
    print_metrics(metrics)
    assert "Headline" in capsys.readouterr().out
    write_html(metrics, tmp_path / "page.html")
    write_csv(metrics, tmp_path / "metrics.csv")
    assert {row["metric"]: row["value"] for row in rows_of(tmp_path / "metrics.csv")}["detection.car.ap"] == "0.0"
    car = text_table(report_tables(metrics)[0]).splitlines()[1].split()
    assert car[:5] == ["car", "0.000", "0.000", "2.000", "0.000"] and car[5] == DASH
