"""Tuning of the object-level baselines: scores calibrated, then gates and tracker searched for the best tracking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cooptrack_core.config import VehicleConfig, changed_values, from_parameters, values_of
from cooptrack_core.evaluation.calibration import Calibration, fit
from cooptrack_core.evaluation.detection import ERROR_THRESHOLD, detection_scores, match_detections
from cooptrack_core.evaluation.reported import Objects, Reported, with_predictions
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.tracking import tracking_scores
from cooptrack_core.progress import progress_bar
from cooptrack_core.types import CooptrackError

Values = dict[str, Any]
SIDES = ("ego", "remote")
MODES = ("late", "ego")  # what an object-level tracker works for
_EXPLORE = 0.5  # share of the trials that look anywhere; the others look around the best
_DIGITS = 3  # of the parameters, so that a file holds exactly what was tried
OBJECTIVE = "(mean AMOTA + mAP) / 2"


@dataclass(frozen=True)
class Knob:
    """A parameter of the vehicle and the range that is searched, logarithmically where it has no zero."""

    name: str
    low: float
    high: float
    log: bool = True
    whole: bool = False

    def value(self, position: float) -> int | float:
        """The value at a position 0..1 of the range."""
        if self.whole:
            return int(min(self.low + np.floor(position * (self.high - self.low + 1)), self.high))
        if self.log:
            value = self.low * (self.high / self.low) ** position
        else:
            value = self.low + (self.high - self.low) * position
        return float(f"{value:.{_DIGITS}g}")

    def position(self, value: float) -> float:
        """Where in the range 0..1 a value lies; values outside at its ends."""
        if self.whole:
            share = (value - self.low + 0.5) / (self.high - self.low + 1)
        elif self.log:
            share = np.log(max(value, self.low) / self.low) / np.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return float(np.clip(share, 0.0, 1.0))


TRACKER_KNOBS = (
    Knob("min_score", 0.02, 0.5),
    Knob("tracker.birth_hits", 1, 5, whole=True),
    Knob("tracker.max_coast_ms", 100.0, 2500.0),
    Knob("tracker.tentative_coast_ms", 100.0, 1500.0),
    Knob("tracker.gate_m", 1.5, 8.0),
    Knob("tracker.gate_pedestrian_m", 0.7, 4.0),
    Knob("tracker.acceleration_std_mps2", 0.5, 15.0),
    Knob("late.ego_std_m", 0.1, 2.0),  # of every ego box, whether others see it or not
)
LATE_KNOBS = (
    Knob("late.gate_m", 1.0, 6.0),
    Knob("late.gate_pedestrian_m", 0.5, 3.0),
    Knob("late.remote_std_m", 0.1, 2.0),
    Knob("late.min_remote_score", 0.0, 0.7, log=False),
)


@dataclass(frozen=True)
class Tuned:
    """Outcome of a tuning: every parameter that was set, how well either side is calibrated, and what it brought.

    given, before, after: {"objective", "amota", "map"} with the given parameters, with calibrated scores beside
    them, and with the best. roadside: parameters of the roadside units, empty where they keep their own.
    """

    mode: str
    values: Values
    calibrations: dict[str, Calibration]
    given: dict[str, float]
    before: dict[str, float]
    after: dict[str, float]
    trials: int
    seed: int
    history: list[dict[str, Any]] = field(default_factory=list)
    roadside: Values = field(default_factory=dict)


def tune(
    sequences: Sequence[Reported], truth: EvaluationSet, base: VehicleConfig, mode: str = "late", *,
    trials: int = 60, seed: int = 0,
) -> Tuned:  # fmt: skip
    """The best parameters found for a mode on these sequences, starting from those of `base`.

    truth: as `reported.truth` gives it. trials: 1 or more. The first trial has the given parameters with calibrated
    scores; the best is never worse than that on these sequences. The same arguments give the same result.
    """
    calibrations = calibrate(sequences, truth, base)
    fitted: Values = {}
    for side, calibration in calibrations.items():
        fitted[f"late.{side}_score_scale"] = calibration.scale
        fitted[f"late.{side}_score_offset"] = calibration.offset
    knobs = TRACKER_KNOBS + (LATE_KNOBS if mode == "late" else ())
    search = _Search(knobs, base, np.random.default_rng(seed))
    history: list[dict[str, Any]] = []
    best: dict[str, Any] = {}
    for number in progress_bar(range(trials), desc=f"tuning {mode}", unit="trial"):
        values = search.proposal(number, trials, best.get("values"))
        trial = {"trial": number, "values": values, **scored(sequences, truth, changed(base, fitted | values, mode))}
        history.append(trial)
        if not best or trial["objective"] > best["objective"]:
            best = trial
    given = scored(sequences, truth, changed(base, {}, mode))
    values = _unlike_defaults(changed(base, fitted | best["values"], mode)) | fitted
    return Tuned(mode, values, calibrations, given, _scores(history[0]), _scores(best), trials, seed, history)


def calibrate(sequences: Sequence[Reported], truth: EvaluationSet, config: VehicleConfig) -> dict[str, Calibration]:
    """Calibration of what the vehicle detects and of what it receives, by `ego` and `remote`.

    Over all classes: a box is a hit if it is matched with an object of its class within 2 m as in the detection
    metric, in the class ranges.
    """
    boxes: dict[str, list[tuple[str, Iterable[tuple[int, Objects]]]]] = {
        "ego": [(item.sequence_id, item.own(config.min_score)) for item in sequences],
        "remote": [(item.sequence_id, item.received(config.late)) for item in sequences],
    }
    found = {}
    for side in SIDES:
        matches = match_detections(with_predictions(truth, boxes[side]).in_range()).by_class.values()
        score = np.concatenate([item.score for item in matches])
        hit = np.concatenate([item.is_tp[ERROR_THRESHOLD] for item in matches])
        found[side] = fit(score, hit)
    return found


def scored(sequences: Sequence[Reported], truth: EvaluationSet, config: VehicleConfig) -> dict[str, float]:
    """`objective`, mean `amota` and `map` of a vehicle on these sequences; undefined values count as 0."""
    data = with_predictions(truth, [(item.sequence_id, item.tracked(config)) for item in sequences]).in_range()
    amota = float(np.nan_to_num(tracking_scores(data)["mean"]["amota"]))
    mean_ap = float(np.nan_to_num(detection_scores(match_detections(data), errors=False)["mAP"]))
    return {"objective": (amota + mean_ap) / 2, "amota": amota, "map": mean_ap}


def changed(config: VehicleConfig, values: Mapping[str, Any], mode: str) -> VehicleConfig:
    """The configuration with other values by dotted name, in a mode."""
    if mode not in MODES:
        raise CooptrackError(f"mode {mode}: has no object-level tracker to tune; choose one of {', '.join(MODES)}")
    result: VehicleConfig = from_parameters(VehicleConfig, values_of(config) | dict(values) | {"mode": mode})
    return result


def _unlike_defaults(config: VehicleConfig) -> Values:
    """The parameters of detections, tracker and fusion that are not the defaults."""
    groups = ("min_score", "tracker.", "late.")
    return {name: value for name, value in changed_values(config).items() if name.startswith(groups)}


def _scores(trial: Mapping[str, Any]) -> dict[str, float]:
    return {name: trial[name] for name in ("objective", "amota", "map")}


class _Search:
    """Proposals: first what is given, then anywhere (half of the trials), then ever nearer to the best."""

    def __init__(self, knobs: Sequence[Knob], base: VehicleConfig, rng: np.random.Generator) -> None:
        self._knobs, self._rng = knobs, rng
        self._given = {knob.name: values_of(base)[knob.name] for knob in knobs}

    def proposal(self, number: int, trials: int, best: Values | None) -> Values:
        if number == 0 or best is None:
            return dict(self._given)
        draws = self._rng.random((3, len(self._knobs)))  # always as many, whatever becomes of them
        if number <= _EXPLORE * trials:
            return {knob.name: knob.value(float(at)) for knob, at in zip(self._knobs, draws[0], strict=True)}
        left = (trials - number) / (trials * (1 - _EXPLORE))
        reach = 0.05 + 0.3 * left
        moved = draws[1] < 0.3
        moved[int(draws[2].argmin())] = True
        values = dict(best)
        for knob, move, at in zip(self._knobs, moved, draws[0], strict=True):
            if move:
                position = knob.position(best[knob.name]) + reach * (2 * float(at) - 1)
                values[knob.name] = knob.value(float(np.clip(position, 0.0, 1.0)))
        return values


__all__ = [
    "LATE_KNOBS", "OBJECTIVE", "TRACKER_KNOBS", "Knob", "Tuned", "calibrate", "changed", "scored", "tune",
]  # fmt: skip
