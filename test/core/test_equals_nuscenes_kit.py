"""Detection and tracking scores equal those of the nuScenes development kit, which `make oracle` re-creates."""

from __future__ import annotations

from pathlib import Path

import pytest
from submission_files import ORACLE, ORACLE_CASES, differences, oracle

from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.kit_report import kit_scores
from cooptrack_core.evaluation.submission import read_submission
from cooptrack_core.evaluation.tracking import curves_of, track_classes

METRICS = (
    "amota", "amotp", "mota", "motp", "motar", "recall", "faf", "gt", "tp", "fp", "fn", "ids", "frag", "mt", "ml",
    "tid", "lgd",
)  # fmt: skip


@pytest.mark.parametrize("case", ORACLE_CASES)
def test_detection_and_tracking_equal_the_kit(case: str) -> None:
    gt, pred, kit = oracle(case)
    scores = kit_scores(read_submission(gt, pred))
    assert differences(scores["detection"], kit["detection"]) == []
    tracking = {key: kit["tracking"][key] for key in ("label_metrics", "mean")}
    assert differences(scores["tracking"], tracking) == []
    assert set(scores["tracking"]["mean"]) == set(METRICS)


@pytest.mark.parametrize("case", ORACLE_CASES)
def test_tracking_equals_the_kit_at_every_recall_point(case: str) -> None:
    gt, pred, kit = oracle(case)
    curves = curves_of(track_classes(read_submission(gt, pred).in_range()))
    for name, theirs in kit["tracking"]["curves"].items():
        for metric, values in theirs.items():
            ours = without_nan(curves[name]["threshold" if metric == "confidence" else metric])
            assert differences(dict(enumerate(ours)), dict(enumerate(values)), f"{name}.{metric}") == []


def test_the_comparisons_cover_what_is_hard_to_get_right() -> None:
    kits = {case: oracle(case)[2] for case in ORACLE_CASES}
    means = {case: kit["tracking"]["mean"] for case, kit in kits.items()}
    curves = [curve for kit in kits.values() for curve in kit["tracking"]["curves"].values()]
    assert kits["no_ground_truth"]["tracking"]["label_metrics"]["mota"]["car"] is None
    assert means["no_predictions"]["amota"] == means["all_false"]["amota"] == means["low_recall"]["amota"] == 0
    assert means["realistic"]["amota"] > 0.7 and means["realistic"]["ids"] > 0 and means["realistic"]["frag"] > 0
    guard = kits["unknown_velocities"]["detection"]
    assert guard["car"]["vel_err"] == 1 != guard["car"]["trans_err"] and guard["pedestrian"]["vel_err"] != 1
    assert any(len(set(curve["confidence"])) == 40 for curve in curves), "as many thresholds as recall points"
    assert any(None in curve["confidence"] and curve["confidence"][-1] is not None for curve in curves)
    size_bytes = sum(path.stat().st_size for path in Path(ORACLE).iterdir())
    assert len(ORACLE_CASES) >= 25 and size_bytes < 1_000_000
