"""All methods over the same sequences: one row each, and the intervals of every difference."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE
from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.bootstrap import CONFIDENCE, FEW_SEQUENCES, RESAMPLES, Resampled, caution, differences
from cooptrack_core.evaluation.evaluate import evaluate
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.evaluation.report import write_csv, write_html
from cooptrack_core.evaluation.run import SequenceRunner, run_split
from cooptrack_core.evaluation.run_options import RunOptions
from cooptrack_core.evaluation.scene_statistics import SceneStatistics
from cooptrack_core.evaluation.tables import EvaluationSet, FrameTable
from cooptrack_core.networks import network_of
from cooptrack_core.offline import NetworkMaker
from cooptrack_core.report import save_json
from cooptrack_core.types import CooptrackError

SCHEMA = "cooptrack/comparison/1"
Result = dict[str, Any]

# From the one that shares most to the one that shares nothing: differences read "what sharing brings".
TITLES = {
    "learned": "CoopTrack",
    "distance": "Distance matching",
    "late": "Late Fusion + AB3DMOT",
    "alone": "No Fusion + AB3DMOT",
    "ego": "No Fusion",
}
_RUN = ("dataset", "split", "sequences", "detector", "weights", "roadside_weights", "preset", "seed", "max_frames")
SHARES_NOTHING = ("alone", "ego")
# Column of a row and where it is in metrics.json.
ROW = {
    "mAP": ("detection", "mAP"),
    "AP car": ("detection", "car", "ap"),
    "ATE car": ("detection", "car", "trans_err"),
    "ASE car": ("detection", "car", "scale_err"),
    "AOE car": ("detection", "car", "orient_err"),
    "AVE car": ("detection", "car", "vel_err"),
    "AMOTA": ("tracking", "mean", "amota"),
    "AMOTA car": ("tracking", "label_metrics", "amota", "car"),
    "AMOTP": ("tracking", "mean", "amotp"),
    "MOTA": ("tracking", "mean", "mota"),
    "HOTA": ("hota", "mean", "hota"),
    "IDS": ("tracking", "mean", "ids"),
    "recall outside view": ("hidden_recall", "all", "outside_view"),
    "recall occluded": ("hidden_recall", "all", "occluded"),
    "recall roadside only": ("hidden_recall", "all", "roadside_only"),
    "bytes per second": ("bandwidth", "encoded", "per_second"),
    "association precision": ("association", "precision"),
    "association recall": ("association", "recall"),
}


@dataclass(frozen=True)
class Method:
    """A row: what is run, and in words where its parameters come from."""

    key: str  # name of its folder
    options: RunOptions
    parameters: str
    named: str = ""  # a key that TITLES does not have gets its title here

    @property
    def title(self) -> str:
        """Name as in the papers' tables."""
        return self.named or TITLES[self.key]


def compare(
    methods: Sequence[Method], out: Path, *, overwrite: bool = False, seed: int = 0, command: str = "",
    resamples: int = RESAMPLES, networks: NetworkMaker = network_of, warn: Callable[[str], None] = lambda _: None,
) -> Result:  # fmt: skip
    """Runs and scores every method in its own folder out/<key>, and compares them pair by pair.

    What is stored there of the same run is not run again. `warn` hears what is doubtful in the data. The result is
    the content of compare.json.
    """
    runner = SequenceRunner(methods[0].options, networks)
    scored = {method.key: _scored(method, runner, out / method.key, overwrite, command) for method in methods}
    for warning in runner.warnings:
        warn(warning)
    frames = [data.frames for _, data in scored.values()]
    _check_same_frames(methods, frames)
    statistics = {key: SceneStatistics.of(data) for key, (_, data) in scored.items()}
    sequences = len(frames[0].scene_names)
    about, _ = scored[methods[0].key]
    result: Result = {
        "schema": SCHEMA,
        "command": command,
        "convention": about["convention"],
        "data": about["data"],
        "run": {key: about["run"].get(key) for key in _RUN} | {"disturbance": _disturbance(methods)},
        "rows": [_row(method, scored[method.key][0]) for method in methods],
        "bootstrap": {
            "resamples": resamples, "seed": seed, "confidence": CONFIDENCE, "sequences": sequences,
            "caution": caution(sequences), "over": "sequences, the same resamples for all methods",
        },
        "differences": _differences(statistics, sequences, resamples, seed),
    }  # fmt: skip
    plain: Result = without_nan(result)
    return plain


def _scored(
    method: Method, runner: SequenceRunner, out: Path, overwrite: bool, command: str
) -> tuple[Result, EvaluationSet]:
    """The metrics of a method, stored as `cooptrack evaluate` does, and its boxes."""
    options = method.options
    recordings = run_split(options, out, overwrite=overwrite, runner=runner)
    about = runner.about(options) | {"command": command}
    metrics = evaluate(recordings, options.convention, about)
    save_json(metrics, out / "metrics.json")
    write_csv(metrics, out / "metrics.csv")
    write_html(metrics, out / "metrics.html")
    return metrics, evaluation_set(recordings, options.convention)


def _row(method: Method, metrics: Mapping[str, Any]) -> Result:
    """What the table prints of a method; bytes are those a method uses, whatever else is on the air."""
    values: Result = {}
    for name, path in ROW.items():
        value: Any = metrics
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        values[name] = value
    if method.key in SHARES_NOTHING:
        values["bytes per second"] = 0.0
    return {
        "method": method.key, "title": method.title, "mode": method.options.vehicle.mode, "folder": method.key,
        "parameters": method.parameters, "weights": metrics["run"].get("weights"),
        "roadside_weights": metrics["run"].get("roadside_weights"), "metrics": values,
        "association": metrics["association"],
    }  # fmt: skip


def _disturbance(methods: Sequence[Method]) -> str:
    """What disturbs the messages of those that share any."""
    found = [method.options.disturbance for method in methods if method.key not in SHARES_NOTHING]
    return found[0].describe() if found else NO_DISTURBANCE.describe()


def _check_same_frames(methods: Sequence[Method], frames: Sequence[FrameTable]) -> None:
    for method, own in zip(methods, frames, strict=True):
        if own.token != frames[0].token or own.scene_names != frames[0].scene_names:
            what = f"{method.title} and {methods[0].title} were scored on different frames"
            raise CooptrackError(f"compare: frames: {what}; run both anew with --overwrite")


def _differences(
    statistics: Mapping[str, Resampled], sequences: int, resamples: int, seed: int
) -> list[Result]:  # fmt: skip
    """Of every pair of methods, in their order; None where so few sequences say nothing."""
    pairs = list(itertools.combinations(statistics, 2))
    found = differences(statistics, pairs, sequences, resamples=resamples, seed=seed)
    return [
        {
            "of": a,
            "minus": b,
            "metrics": {
                name: {
                    "difference": item.value, "low": item.low if sequences > 1 else None,
                    "high": item.high if sequences > 1 else None,
                    "excludes_zero": item.excludes_zero if sequences >= FEW_SEQUENCES else None,
                    "defined": item.defined,
                }
                for name, item in metrics.items()
            },
        }
        for (a, b), metrics in found.items()
    ]  # fmt: skip


__all__ = ["SCHEMA", "SHARES_NOTHING", "TITLES", "Method", "compare"]
