"""Rate and accuracy: a split is run with messages of every kind, and each is compared with whole ones in fp32."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cooptrack_core.config import RoadsideConfig, changed_values
from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.bandwidth import bandwidth
from cooptrack_core.evaluation.bootstrap import (
    CONFIDENCE,
    FEW_SEQUENCES,
    RESAMPLES,
    Difference,
    caution,
    differences,
)
from cooptrack_core.evaluation.rate_points import REFERENCE, Point
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.evaluation.remembered import RememberedRoadside
from cooptrack_core.evaluation.robustness import scores
from cooptrack_core.evaluation.run import SequenceRunner, claim
from cooptrack_core.evaluation.run_options import RunOptions, fingerprint
from cooptrack_core.evaluation.scene_statistics import SceneStatistics
from cooptrack_core.evaluation.stored_recordings import store_recording, stored_recording
from cooptrack_core.progress import progress_bar

SCHEMA = "cooptrack/rate-curve/1"
COMPARED = ("AMOTA", "AMOTA car", "mAP")
Recording = Mapping[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class RatePlan:
    """What is to be run: the first point is the reference."""

    options: RunOptions
    points: tuple[Point, ...]

    def roadside(self, point: Point) -> RoadsideConfig:
        """What sends at a point."""
        return point.config(self.options.roadside)


def run_rate_curve(
    plan: RatePlan, out: Path, *, overwrite: bool = False, runner: SequenceRunner | None = None, seed: int = 0,
    resamples: int = RESAMPLES,
) -> Result:  # fmt: skip
    """Runs the plan and gives the content of rate_curve.json.

    Every sequence of every point is stored in out/points/<point>-<digest>/ as soon as it is done, and not run again.
    Raises CooptrackError if the folder holds a run of other options; overwrite begins anew.
    """
    runner = runner or SequenceRunner(plan.options, RememberedRoadside())
    content = {"rate_curve": SCHEMA, **fingerprint(_common(plan.options), runner.sequences, runner.updates)}
    _claim(out, content, overwrite)
    recordings: dict[str, list[Recording]] = {point.name: [] for point in plan.points}
    total = len(plan.points) * len(runner.sequences)
    with progress_bar(total=total, desc="rate curve", unit="sequence") as bar:
        # Sequence by sequence: what the roadside network says to one is remembered for all points.
        for sequence_id in runner.sequences:
            for point in plan.points:
                bar.set_description(f"{sequence_id} {point.name}")
                recordings[point.name].append(_recording(plan, point, sequence_id, runner, out))
                bar.update()
    result: Result = without_nan(_result(plan, runner, recordings, seed, resamples))
    return result


def _recording(plan: RatePlan, point: Point, sequence_id: str, runner: SequenceRunner, out: Path) -> Recording:
    path = out / "points" / point.folder(plan.options.roadside) / f"{sequence_id}.json"
    found = stored_recording(path)
    if found is None:
        made = runner.run(sequence_id, plan.options.vehicle, plan.roadside(point), plan.options.disturbance)
        found = store_recording(made, path)
    return found


def _result(
    plan: RatePlan, runner: SequenceRunner, recordings: Mapping[str, Sequence[Recording]], seed: int, resamples: int
) -> Result:
    options, names = plan.options, [point.name for point in plan.points]
    statistics = {
        name: SceneStatistics.of(evaluation_set(found, options.convention)) for name, found in recordings.items()
    }
    sequences = len(runner.sequences)
    pairs = [(name, REFERENCE) for name in names if name != REFERENCE]
    found = differences(statistics, pairs, sequences, resamples=resamples, seed=seed)
    rows = []
    for point in plan.points:
        against = found.get((point.name, REFERENCE), {})
        rows.append(
            {
                "name": point.name,
                "changes": changed_values(plan.roadside(point)),
                "rate": rate(recordings[point.name]),
                "scores": scores(recordings[point.name], options.convention),
                "differences": {n: _interval(against[n], sequences) for n in COMPARED if n in against},
            }
        )
    about = runner.about(options)
    deletions = about.pop("cooperative_deletions")
    return {
        "schema": SCHEMA,
        "run": about,
        "convention": options.convention.describe(about["label_updates"], options.full_rate, deletions),
        "reference": REFERENCE,
        "bootstrap": {
            "resamples": resamples, "seed": seed, "confidence": CONFIDENCE, "sequences": sequences,
            "caution": caution(sequences),
        },
        "points": rows,
    }  # fmt: skip


def rate(recordings: Sequence[Recording]) -> Result:
    """What was sent: serialised bytes per second, per message (p50, p99, largest) and per instance, headers apart.

    seen: instances that a message tells of, sent or held.
    """
    sent = [row for recording in recordings for row in recording["sent"]]
    sizes = np.array([row["bytes"] for row in sent], np.float64)
    encoded = bandwidth(recordings)["encoded"]
    instances, held = (sum(row.get(name, 0) for row in sent) for name in ("instances", "held"))
    headers = sum(row["header_bytes"] for row in sent)
    return {
        "bytes_per_second": encoded["per_second"],
        "messages": len(sent),
        "bytes_per_message": {
            name: float(np.percentile(sizes, percent)) if len(sizes) else np.nan
            for name, percent in (("p50", 50), ("p99", 99), ("max", 100))
        },
        "header_bytes": headers / max(len(sent), 1),
        "bytes_per_instance": (sizes.sum() - headers) / instances if instances else np.nan,
        "bytes_per_seen_instance": (sizes.sum() - headers) / (instances + held) if instances + held else np.nan,
        "instances": instances,
        "held": held,
        "withheld": sum(row.get("withheld", 0) for row in sent),
    }


def _interval(item: Difference, sequences: int) -> Result:
    return {
        "difference": item.value, "low": item.low if sequences > 1 else None,
        "high": item.high if sequences > 1 else None,
        "excludes_zero": item.excludes_zero if sequences >= FEW_SEQUENCES else None,
    }  # fmt: skip


def _common(options: RunOptions) -> RunOptions:
    """The options that all points share: what is sent is theirs."""
    given, usual = options.roadside, RoadsideConfig()
    sending = (
        "feature_precision", "feature_codes", "feature_streams", "kinematics_precision", "budget_bytes_per_s",
        "max_message_bytes", "redundancy",
    )  # fmt: skip
    return replace(options, roadside=replace(given, **{name: getattr(usual, name) for name in sending}))


def _claim(out: Path, content: Result, overwrite: bool) -> None:
    """Makes the folder that of this run; points of another one go."""
    anew = overwrite or not (out / "run.json").exists()
    claim(out, content, overwrite=overwrite)
    if anew:
        shutil.rmtree(out / "points", ignore_errors=True)


__all__ = ["COMPARED", "SCHEMA", "RatePlan", "rate", "run_rate_curve"]
