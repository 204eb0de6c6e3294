"""Never worse than ego: a matrix of impairments is run, and at every point invariants are checked.

No exception, every number finite, tracks for every frame, every refusal named, AMOTA not below that of the vehicle
alone beyond a tolerance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE, Disturbance
from cooptrack_core.cooperation.refusals import RULES
from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.channel_statistics import channel_statistics
from cooptrack_core.evaluation.conventions import Convention
from cooptrack_core.evaluation.matrix_points import Point, full_matrix, reduced_matrix
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.evaluation.robustness import BASELINE, Condition, claim_points, point_path, scores, stored_point
from cooptrack_core.evaluation.run import SequenceRunner
from cooptrack_core.evaluation.run_options import RunOptions, fingerprint
from cooptrack_core.progress import progress_bar
from cooptrack_core.report import save_json
from cooptrack_core.types import CooptrackError

SCHEMA = "cooptrack/robustness-matrix/1"
SCORES = ("AMOTA", "AMOTA_car")
_TRACK_NUMBERS = ("center_m", "size_m", "heading_rad", "velocity_mps", "score", "time_since_update_s")
Result = dict[str, Any]


@dataclass(frozen=True)
class MatrixPlan:
    """What is run. tolerance: AMOTA that a point may lie below the vehicle alone."""

    options: RunOptions
    modes: tuple[str, ...]
    tolerance: float = 0.02
    seed: int = 0
    reduced: bool = False

    @property
    def points(self) -> list[Point]:
        """Of the matrix."""
        return reduced_matrix(self.seed) if self.reduced else full_matrix(self.seed)

    def baseline(self, mode: str) -> Condition:
        """The vehicle alone, as this mode tracks: a network in mode late tracks objects, in mode ego by itself."""
        own = mode == "late" and self.options.vehicle.detector == "network"
        return Condition(mode, Disturbance(loss=1.0)) if own else Condition(BASELINE, NO_DISTURBANCE)

    def conditions(self) -> list[Condition]:
        """All runs, each once, those of the vehicle alone first."""
        alone = [self.baseline(mode) for mode in self.modes]
        return list(dict.fromkeys([*alone, *(Condition(m, p.disturbance) for m in self.modes for p in self.points)]))


def run_matrix(plan: MatrixPlan, out: Path, *, overwrite: bool = False, runner: SequenceRunner | None = None) -> Result:
    """Runs the plan and gives the content of matrix.json; points that are there from a run before are not run again.

    Raises CooptrackError if the folder holds a run of other options.
    """
    runner = runner or SequenceRunner(plan.options)
    options = replace(
        plan.options, vehicle=replace(plan.options.vehicle, mode=BASELINE), disturbance=NO_DISTURBANCE
    )  # fmt: skip
    claim_points(out, {"robustness": SCHEMA, **fingerprint(options, runner.sequences, runner.updates)}, overwrite)
    conditions = plan.conditions()
    found = {item: stored_point(point_path(out, item)) for item in conditions}
    left = [item for item in conditions if found[item] is None]
    with progress_bar(total=len(left) * len(runner.sequences), desc="matrix", unit="sequence") as bar:
        for item in left:
            bar.set_description(f"matrix {item.mode}")
            found[item] = point = _run_point(item, plan, runner, bar)
            save_json(point, point_path(out, item))
    return _result(plan, runner, {item: point for item, point in found.items() if point is not None})


def _run_point(item: Condition, plan: MatrixPlan, runner: SequenceRunner, bar: Any) -> Result:
    """Runs all sequences of a point. What is wrong with a sequence is noted, the others are run all the same."""
    vehicle = replace(plan.options.vehicle, mode=item.mode)
    recordings, wrong = [], []
    for sequence_id in runner.sequences:
        try:
            recording = runner.run(sequence_id, vehicle, plan.options.roadside, item.disturbance)
        except CooptrackError:
            raise  # the user's to mend
        except Exception as error:
            wrong.append(f"{sequence_id}: {type(error).__name__}: {' '.join(str(error).split())}")
        else:
            recordings.append(recording)
            wrong += [f"{sequence_id}: {text}" for text in violations(recording, runner.frame_count(sequence_id))]
        bar.update()
    scored = scores(recordings, plan.options.convention) if recordings else dict.fromkeys(SCORES)
    point: Result = without_nan(
        {
            "mode": item.mode,
            "disturbance": asdict(item.disturbance),
            "scores": scored,
            "objects": _objects(recordings, plan.options.convention) if recordings else dict.fromkeys(SCORES, 0),
            "messages": channel_statistics(recordings),
            "violations": wrong,
        }
    )
    return point


def violations(recording: Mapping[str, Any], frames: int) -> list[str]:
    """What a run must not do, in words; frames: how many the vehicle got."""
    found = []
    rows = recording["frames"]
    if len(rows) != frames:
        found.append(f"tracks for {len(rows)} of {frames} frames")
    stamps = [row["stamp_ns"] for row in rows]
    if any(b <= a for a, b in itertools.pairwise(stamps)):
        found.append("frames out of order")
    for row in rows:
        for track in row["tracks"]:
            if wrong := [name for name in _TRACK_NUMBERS if not _finite(track[name])]:
                found.append(f"frame {row['frame_index']}: track {track['id']}: not finite: {', '.join(wrong)}")
        if not _finite([row["associations"], row["messages"]]):
            found.append(f"frame {row['frame_index']}: associations not finite")
        names = [item["reason"] for item in row["refused"] if item["reason"] not in RULES]
        found += [f"frame {row['frame_index']}: refusal without a name: {name!r}" for name in names]
    return found


def _objects(recordings: Sequence[Mapping[str, Any]], convention: Convention) -> dict[str, int]:
    """Boxes of the ground truth that each score is of: without any it is undefined, and rightly so."""
    near = evaluation_set(recordings, convention).in_range()
    cars = near.truth.class_index == list(near.class_names).index("car")
    return {"AMOTA": len(near.truth), "AMOTA_car": int(cars.sum())}


def _finite(value: Any) -> bool:
    """A recording has null where a number was not finite."""
    if isinstance(value, Mapping):
        return all(_finite(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_finite(item) for item in value)
    return value is not None and (not isinstance(value, float) or math.isfinite(value))


def _result(plan: MatrixPlan, runner: SequenceRunner, points: Mapping[Condition, Result]) -> Result:
    about = runner.about(plan.options)
    for name in ("mode", "disturbance", "cooperative_deletions"):
        about.pop(name, None)
    modes = {}
    for mode in plan.modes:
        alone = points[plan.baseline(mode)]
        rows = [_row(point, points[Condition(mode, point.disturbance)], alone, plan.tolerance) for point in plan.points]
        modes[mode] = {"alone": alone, "points": rows}
    result: Result = without_nan(
        {
            "schema": SCHEMA,
            "run": about | {"modes": list(plan.modes), "disturbance_seed": plan.seed, "reduced": plan.reduced},
            "tolerance": plan.tolerance,
            "modes": modes,
        }
    )
    return result


def _row(point: Point, stored: Result, alone: Result, tolerance: float) -> Result:
    margins = {name: _difference(stored["scores"].get(name), alone["scores"].get(name)) for name in SCORES}
    texts = {name: f"{name} {_written(stored, name)}, alone {_written(alone, name)}" for name in SCORES}
    wrong = [texts[name] for name, margin in margins.items() if margin is not None and margin < -tolerance]
    wrong += [texts[name] for name, margin in margins.items() if margin is None and _scorable(stored, alone, name)]
    return {
        "group": point.group,
        "text": point.disturbance.describe(),
        **stored,
        "above_alone": margins,
        "violations": [*stored["violations"], *wrong],
    }


def _written(point: Result, name: str) -> str:
    score = point["scores"].get(name)
    return "undefined" if score is None else f"{score:.3f}"


def _scorable(stored: Result, alone: Result, name: str) -> bool:
    """Whether there is anything that a score could be of; a point of an older version does not say."""
    return any(point.get("objects", {}).get(name, 1) > 0 for point in (stored, alone))


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def all_violations(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(mode, disturbance, what is wrong) of every point, those of the vehicle alone too."""
    found: list[tuple[str, str, str]] = []
    for mode, block in result["modes"].items():
        found += [(mode, "alone", text) for text in block["alone"]["violations"]]
        found += [(mode, point["text"], text) for point in block["points"] for text in point["violations"]]
    return found


__all__ = ["SCORES", "MatrixPlan", "all_violations", "run_matrix", "violations"]
