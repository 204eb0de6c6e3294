"""Robustness: a split is run under every disturbance of the sweeps, by every mode, against the vehicle alone."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE, Disturbance
from cooptrack_core.data.files import expect_object, read_json
from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.channel_statistics import channel_statistics, together
from cooptrack_core.evaluation.conventions import Convention
from cooptrack_core.evaluation.detection import detection_scores, match_detections
from cooptrack_core.evaluation.disturbance_sweeps import Sweep, seeds_of
from cooptrack_core.evaluation.hidden import hidden_recall
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.evaluation.run import SequenceRunner, claim
from cooptrack_core.evaluation.run_options import RunOptions, fingerprint
from cooptrack_core.evaluation.stored_recordings import store_recording, stored_recording
from cooptrack_core.evaluation.tracking import tracking_scores
from cooptrack_core.progress import progress_bar
from cooptrack_core.report import save_json
from cooptrack_core.types import CooptrackError

SCHEMA = "cooptrack/robustness/1"
MOST_REPEATS = 1000  # stored ones are not looked for beyond
BASELINE = "ego"  # uses no messages, so nothing disturbs it
Recording = Mapping[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class Condition:
    """One run over the split: a mode under a disturbance."""

    mode: str
    disturbance: Disturbance

    @property
    def name(self) -> str:
        """Of its files: the mode and every value that is not zero."""
        d = self.disturbance
        values = [f"{item.name}={getattr(d, item.name):g}" for item in fields(d) if getattr(d, item.name)]
        return f"{self.mode}/{','.join(values) or 'undisturbed'}"


@dataclass(frozen=True)
class Plan:
    """What is to be run. common: seed and noise correlation of every disturbance; repeats: seeds per point."""

    options: RunOptions
    modes: tuple[str, ...]
    sweeps: tuple[Sweep, ...]
    common: Disturbance = NO_DISTURBANCE
    repeats: int = 1

    @property
    def cooperative(self) -> tuple[str, ...]:
        """The modes that use messages."""
        return tuple(mode for mode in self.modes if mode != BASELINE)

    def conditions_of(self, mode: str, sweep: Sweep, value: float) -> list[Condition]:
        """The runs behind one point: one for every seed."""
        return self._with_seeds(mode, sweep, value, self.repeats)

    def more_seeds(self, mode: str, sweep: Sweep, value: float) -> list[Condition]:
        """Those with the seeds after these, which a run with more repeats may have left; none if nothing is random."""
        return self._with_seeds(mode, sweep, value, MOST_REPEATS)[self.repeats :]

    def _with_seeds(self, mode: str, sweep: Sweep, value: float, repeats: int) -> list[Condition]:
        return [Condition(mode, made) for made in seeds_of(sweep.disturbance(value, self.common), repeats)]

    def conditions(self) -> list[Condition]:
        """All runs, each once, the undisturbed ones first."""
        found = [Condition(mode, NO_DISTURBANCE) for mode in (BASELINE, *self.cooperative)]
        for sweep in self.sweeps:
            for value in sweep.values:
                for mode in self.cooperative:
                    found += self.conditions_of(mode, sweep, value)
        return list(dict.fromkeys(found))


def run_robustness(
    plan: Plan, out: Path, *, overwrite: bool = False, runner: SequenceRunner | None = None
) -> Result:  # fmt: skip
    """Runs the plan and gives the content of robustness.json.

    Every condition is stored in out/points as soon as it is done, every sequence of the current one too; what is
    there from a run of the same options is not run again. Raises CooptrackError if the folder holds other options;
    overwrite begins anew.
    """
    runner = runner or SequenceRunner(plan.options)
    claim_points(out, _fingerprint(plan, runner), overwrite)
    conditions = plan.conditions()
    stored = {item: stored_point(point_path(out, item)) for item in conditions}
    left = [item for item in conditions if stored[item] is None]
    with progress_bar(total=len(left) * len(runner.sequences), desc="robustness", unit="sequence") as bar:
        for item in left:
            bar.set_description(item.name)
            stored[item] = _run_condition(item, plan, runner, out, bar)
    found = {item: point for item, point in stored.items() if point is not None}
    found |= _left_by_more_repeats(plan, out)
    result: Result = without_nan(_result(plan, runner, found))
    return result


def scores(recordings: Sequence[Recording], convention: Convention) -> Result:
    """The numbers of the curves, by name; NaN where one does not exist.

    hidden_recall: of all hidden objects, or of its proxy roadside_only_recall where the views are unknown.
    """
    data = evaluation_set(recordings, convention)
    hidden = hidden_recall(data)["all"]
    near = data.in_range()
    detection, tracking = detection_scores(match_detections(near), errors=False), tracking_scores(near)
    proxy = bool(np.isnan(hidden["hidden"]))  # real data: how the vehicle sees an object is not known
    return {
        "AMOTA": tracking["mean"]["amota"],
        "AMOTA_car": tracking["label_metrics"]["amota"]["car"],
        "mAP": detection["mAP"],
        "AP_car": detection["car"]["ap"],
        "ids": tracking["mean"]["ids"],
        "hidden_recall": hidden["roadside_only" if proxy else "hidden"],
        "outside_view_recall": hidden["outside_view"],
        "occluded_recall": hidden["occluded"],
        "roadside_only_recall": hidden["roadside_only"],
    }


def _left_by_more_repeats(plan: Plan, out: Path) -> dict[Condition, Result]:
    """Stored runs of points of the plan with further seeds: what was made with more repeats stays part of its point."""
    found: dict[Condition, Result] = {}
    for sweep in plan.sweeps:
        for mode, value in itertools.product(plan.cooperative, sweep.values):
            for item in plan.more_seeds(mode, sweep, value):
                point = stored_point(point_path(out, item))
                if point is None:
                    break
                found[item] = point
    return found


def _run_condition(item: Condition, plan: Plan, runner: SequenceRunner, out: Path, bar: Any) -> Result:
    """Runs all sequences, scores them and stores the point; the recordings of the sequences go once it is there."""
    vehicle = replace(plan.options.vehicle, mode=item.mode)
    path = point_path(out, item)
    partial = path.with_suffix("")
    recordings = []
    for sequence_id in runner.sequences:
        kept = partial / f"{sequence_id}.json"
        recording = stored_recording(kept)
        if recording is None:
            made = runner.run(sequence_id, vehicle, plan.options.roadside, item.disturbance)
            recording = store_recording(made, kept)
        recordings.append(recording)
        bar.update()
    point: Result = without_nan(
        {
            "mode": item.mode,
            "disturbance": asdict(item.disturbance),
            "scores": scores(recordings, plan.options.convention),
            "messages": channel_statistics(recordings),
        }
    )
    save_json(point, path)
    shutil.rmtree(partial, ignore_errors=True)
    return point


def _result(plan: Plan, runner: SequenceRunner, points: Mapping[Condition, Result]) -> Result:
    about = runner.about(plan.options)
    deletions = about.pop("cooperative_deletions")
    for name in ("mode", "disturbance"):
        del about[name]
    about |= {
        "modes": [BASELINE, *plan.cooperative],
        "disturbance_seed": plan.common.seed,
        "noise_correlation_s": plan.common.noise_correlation_s,
    }
    undisturbed = {mode: points[Condition(mode, NO_DISTURBANCE)] for mode in (BASELINE, *plan.cooperative)}
    sweeps = [_curves(plan, sweep, points) for sweep in plan.sweeps]
    runs = [len(point["seeds"]) for sweep in sweeps for found in sweep["modes"].values() for point in found]
    return {
        "schema": SCHEMA,
        "run": about | {"repeats": max([plan.repeats, *runs])},
        "convention": plan.options.convention.describe(about["label_updates"], plan.options.full_rate, deletions),
        "undisturbed": {mode: _joined([point]) for mode, point in undisturbed.items()},
        "sweeps": sweeps,
    }


def _curves(plan: Plan, sweep: Sweep, points: Mapping[Condition, Result]) -> Result:
    return {
        "name": sweep.name,
        "parameter": sweep.parameter,
        "title": sweep.title,
        "unit": sweep.unit,
        "fixed": dict(sweep.fixed),
        "modes": {mode: list(_curve(plan, sweep, mode, points)) for mode in plan.cooperative},
    }


def _curve(plan: Plan, sweep: Sweep, mode: str, points: Mapping[Condition, Result]) -> Iterator[Result]:
    for value in sorted(sweep.values):
        more = (item for item in plan.more_seeds(mode, sweep, value) if item in points)
        runs = [points[item] for item in (*plan.conditions_of(mode, sweep, value), *more)]
        text = sweep.disturbance(value, plan.common).describe()
        yield {"value": value, "place": sweep.place(value), "label": sweep.label(value), "text": text, **_joined(runs)}


def _joined(runs: Sequence[Result]) -> Result:
    """One point of runs with several seeds: mean and extremes of every score."""
    names = runs[0]["scores"]
    columns = {n: [np.nan if run["scores"][n] is None else float(run["scores"][n]) for run in runs] for n in names}
    return {
        "scores": {name: float(np.mean(values)) for name, values in columns.items()},
        "spread": {name: [float(np.min(values)), float(np.max(values))] for name, values in columns.items()},
        "seeds": [run["disturbance"]["seed"] for run in runs],
        "messages": together([run["messages"] for run in runs]),
    }


# Files.


def point_path(out: Path, item: Condition) -> Path:
    """File of a condition's point."""
    # Values hold dots, which are no suffix.
    return out / "points" / f"{item.name}.json"


def stored_point(path: Path) -> Result | None:
    """A stored point; None where there is none or a broken one, which is made again."""
    if not path.is_file():
        return None
    try:
        point = expect_object(read_json(path), path)
    except CooptrackError:
        return None
    return point if {"scores", "messages", "disturbance"} <= point.keys() else None


def _fingerprint(plan: Plan, runner: SequenceRunner) -> Result:
    """What every point depends on besides its own mode and disturbance."""
    options = replace(plan.options, vehicle=replace(plan.options.vehicle, mode=BASELINE), disturbance=NO_DISTURBANCE)
    return {"robustness": SCHEMA, **fingerprint(options, runner.sequences, runner.updates)}


def claim_points(out: Path, content: Result, overwrite: bool) -> None:
    """Makes the folder that of this run; points of another one go."""
    anew = overwrite or not (out / "run.json").exists()
    claim(out, content, overwrite=overwrite)
    if anew:
        shutil.rmtree(out / "points", ignore_errors=True)


__all__ = [
    "BASELINE",
    "SCHEMA",
    "Condition",
    "Plan",
    "claim_points",
    "point_path",
    "run_robustness",
    "scores",
    "stored_point",
]
