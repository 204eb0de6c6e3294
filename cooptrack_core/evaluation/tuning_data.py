"""On which sequences parameters are tuned: never on those that are then scored, unless the split file says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from cooptrack_core.config import RoadsideConfig, VehicleConfig, from_parameters, values_of
from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE
from cooptrack_core.data import splits
from cooptrack_core.evaluation.reported import Reported, reported, truth
from cooptrack_core.evaluation.run import SequenceRunner
from cooptrack_core.evaluation.run_options import RunOptions, is_synthetic
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.tuned_file import text
from cooptrack_core.evaluation.tuning import Tuned, changed, tune
from cooptrack_core.types import CooptrackError

_HELD_OUT = ("val", "test", "test_A")
KEPT_FOR_SCORING = f"belong to splits that are kept for scoring ({', '.join(_HELD_OUT)})"


def held_out(runner: SequenceRunner) -> list[str]:
    """The sequences of a runner that the split file keeps for scoring."""
    path = splits.find(runner.dataset.root)
    lists = (splits.official() if path is None else splits.load(path)).sequences
    kept = {name for split in _HELD_OUT for name in lists.get(split, ())}
    return [name for name in runner.sequences if name in kept]


def check_apart(
    tuned_on: Sequence[str], scored: Sequence[str], *, by_split_file: bool, remedy: str,
    are: str = "are to be scored, too",
) -> str:  # fmt: skip
    """A warning where the split file itself has sequences in both; empty where nothing is shared.

    are: what is wrong with those that are in both, in words.

    Raises CooptrackError where the user has chosen the same sequences for both.
    """
    shared = [name for name in tuned_on if name in set(scored)]
    if not shared:
        return ""
    some = ", ".join(shared[:5]) + (" ..." if len(shared) > 5 else "")
    what = f"{len(shared)} of {len(tuned_on)} sequences to tune on {are} ({some})"
    if not by_split_file:
        raise CooptrackError(f"tuning: sequences: {what}, which makes scores of them worthless; {remedy}")
    return f"{what}: the split file has them in both, so the scores flatter whatever was tuned"


class Tuner:
    """Tunes the agents of a runner on all its sequences, for one mode or several: networks run once over them."""

    def __init__(self, runner: SequenceRunner) -> None:
        self.runner = runner

    @cached_property
    def _heard(self) -> tuple[list[Reported], EvaluationSet]:
        return reported(self.runner), truth(self.runner)

    def tuned(self, mode: str, trials: int, seed: int, command: str) -> tuple[Tuned, str]:
        """The outcome and the text of its parameter file, which names the command."""
        sequences, objects = self._heard
        options = self.runner.options
        found = tune(sequences, objects, options.vehicle, mode, trials=trials, seed=seed)
        if mode == "late" and options.roadside.detector == "simulated":
            found = self._with_roadside(found)
        return found, text(found, self.runner.sequences, _about(options, mode, command))

    def _with_roadside(self, found: Tuned) -> Tuned:
        """Roadside units track as the vehicle was found to track best, and it is tuned to that; or not, if it is worse.

        A roadside network tracks by itself and has no such parameters.
        """
        tracker = {name: value for name, value in found.values.items() if name.startswith("tracker.")}
        own = self.runner.options.roadside
        roadside = from_parameters(RoadsideConfig, values_of(own) | tracker)
        if roadside == own:
            return found
        start = changed(self.runner.options.vehicle, found.values, found.mode)
        heard = reported(self.runner, roadside)
        again = tune(heard, self._heard[1], start, found.mode, trials=found.trials, seed=found.seed)
        if again.after["objective"] <= found.after["objective"]:
            return found
        history = [*found.history, *({**trial, "roadside": tracker} for trial in again.history)]
        return replace(again, given=found.given, before=found.before, history=history, roadside=tracker)


def for_tuning(options: RunOptions, split: str) -> RunOptions:
    """The options of a run with the sequences of another split and nothing that disturbs messages."""
    vehicle: VehicleConfig = replace(options.vehicle, mode="late")  # both sides are heard, whatever is tuned
    return replace(options, split=split, sequences=(), disturbance=NO_DISTURBANCE, vehicle=vehicle)


def _about(options: RunOptions, mode: str, command: str) -> list[str]:
    data = Path(options.dataset).resolve().name
    which = "the sequences below" if options.sequences else f"split {options.split}"
    synthetic = " (SYNTHETIC data)" if is_synthetic(options.dataset) else ""
    detector = options.vehicle.detector
    if detector == "network":
        detector += f" {options.vehicle.network.preset}, weights {options.vehicle.network.weights}"
    lines = [
        f"made by: {command}",
        f"dataset {data}{synthetic}, {which}; detector {detector}; {options.convention.describe()}",
    ]
    return lines


__all__ = ["KEPT_FOR_SCORING", "Tuner", "check_apart", "for_tuning", "held_out"]
