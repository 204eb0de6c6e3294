"""Attacks by a sender, run one by one with and without the vehicle's defence, beside an honest sender and no sender."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cooptrack_core.cooperation.attack import ATTACKS, NO_ATTACK, Attack
from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.bootstrap import CONFIDENCE, RESAMPLES, differences
from cooptrack_core.evaluation.conventions import Convention
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.evaluation.report_tables import ReportTable
from cooptrack_core.evaluation.run import SequenceRunner, run_split
from cooptrack_core.evaluation.run_options import RunOptions
from cooptrack_core.evaluation.scene_statistics import SceneStatistics
from cooptrack_core.networks import network_of
from cooptrack_core.offline import NetworkMaker
from cooptrack_core.trust_config import TrustConfig

SCHEMA = "cooptrack/attacks/1"
GRACE_S = 3.0  # from the first attacked message until messages have to be refused
HONEST = "honest"
PUBLISHED = "published defence (collaborative anomaly detection, USENIX Security 2024): 91.5 % found, 3 % false alarms"
Recording = Mapping[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One run over the split."""

    name: str  # an attack, 'honest', or 'ego'
    defended: bool
    options: RunOptions

    @property
    def folder(self) -> str:
        """Of its recordings."""
        return self.name if self.name == "ego" else f"{self.name}/{'defended' if self.defended else 'undefended'}"


def undefended(trust: TrustConfig) -> TrustConfig:
    """The same without judging anybody and without a bound on influence."""
    return replace(trust, enabled=False, influence_m=1000.0, influence_per_frame_m=1000.0)


def cases(options: RunOptions, attacks: Sequence[Attack]) -> list[Case]:
    """Nobody, an honest sender, and every attack; those with a sender with and without defence, quarantine included."""
    if options.vehicle.trust.quarantine == "auto":
        acting = replace(options.vehicle.trust, quarantine="always")
        options = replace(options, vehicle=replace(options.vehicle, trust=acting))
    ego = replace(options, vehicle=replace(options.vehicle, mode="ego"), attack=NO_ATTACK)
    found = [Case("ego", True, ego)]
    open_vehicle = replace(options.vehicle, trust=undefended(options.vehicle.trust))
    for attack in (NO_ATTACK, *attacks):
        name = attack.name or HONEST
        found.append(Case(name, True, replace(options, attack=attack)))
        found.append(Case(name, False, replace(options, attack=attack, vehicle=open_vehicle)))
    return found


def compare_attacks(
    options: RunOptions, attacks: Sequence[Attack], out: Path, *, overwrite: bool = False, command: str = "",
    seed: int = 0, networks: NetworkMaker = network_of, warn: Callable[[str], None] = lambda _: None,
) -> Result:  # fmt: skip
    """Runs and scores every case in its own folder; the result is the content of attacks.json.

    What is stored there of the same run is not run again.
    """
    runner = SequenceRunner(options, networks)
    rows: list[Result] = []
    statistics: dict[str, SceneStatistics] = {}
    for case in cases(options, attacks):
        recordings = run_split(case.options, out / case.folder, overwrite=overwrite, runner=runner)
        statistics[case.folder] = _statistics(recordings, options.convention)
        rows.append({"name": case.name, "defended": case.defended, "folder": case.folder, **_detection(recordings)})
    for warning in runner.warnings:
        warn(warning)
    scenes = len(runner.sequences)
    for row in rows:
        found = statistics[row["folder"]](np.ones((1, scenes), np.int64))
        row["metrics"] = {name: float(column[0]) for name, column in found.items()}
    pairs = [(row["folder"], "ego") for row in rows if row["name"] != "ego"]
    against = differences(statistics, pairs, scenes, seed=seed)
    for row in rows:
        if row["name"] != "ego":
            item = against[row["folder"], "ego"]["AMOTA"]
            row["AMOTA minus ego"] = {
                "difference": item.value, "low": item.low if scenes > 1 else None,
                "high": item.high if scenes > 1 else None,
            }  # fmt: skip
    about = runner.about(options)
    result: Result = {
        "schema": SCHEMA, "command": command, "run": about, "grace_s": GRACE_S, "published": PUBLISHED,
        "attacks": {attack.name: attack.describe() for attack in attacks}, "rows": rows,
        "bootstrap": {"resamples": RESAMPLES, "seed": seed, "confidence": CONFIDENCE, "sequences": scenes},
    }  # fmt: skip
    plain: Result = without_nan(result)
    return plain


def _statistics(recordings: Sequence[Recording], convention: Convention) -> SceneStatistics:
    return SceneStatistics.of(evaluation_set(recordings, convention))


def _detection(recordings: Sequence[Recording]) -> Result:
    """Who was quarantined and when: over sequences, and over messages after the grace time."""
    found, late, times_s = 0, [0, 0], []
    attacked, resent, early = 0, [0, 0], 0
    for recording in recordings:
        attack = recording.get("attack", {})
        began_ns = min(attack.get("began_ns", {}).values(), default=None)
        attacked += began_ns is not None
        refused_ns = [
            frame["stamp_ns"] for frame in recording["frames"]
            if any(item["reason"] == "quarantined" for item in frame["refused"])
        ]  # fmt: skip
        begin_ns = recording["frames"][0]["stamp_ns"] if began_ns is None else began_ns
        after = [stamp_ns for stamp_ns in refused_ns if stamp_ns >= begin_ns]
        early += len(after) < len(refused_ns)
        if after:
            found += 1
            times_s.append((after[0] - begin_ns) / 1e9)
        grace_ns = begin_ns + (0 if began_ns is None else round(GRACE_S * 1e9))
        for frame in recording["frames"]:
            if frame["stamp_ns"] >= grace_ns:
                quarantined = sum(item["reason"] == "quarantined" for item in frame["refused"])
                late[0] += quarantined
                late[1] += quarantined + len(frame["messages"])
        if attack.get("attack", "").startswith("resend"):
            resent[1] += attack.get("attacked", 0)
            reasons = [item["reason"] for frame in recording["frames"] for item in frame["refused"]]
            resent[0] += sum(reason in ("stale", "out_of_order", "duplicate") for reason in reasons)
    return {
        "sequences": len(recordings), "attacked": attacked, "quarantined": found, "quarantined_before": early,
        "time_s": {"mean": float(np.mean(times_s)), "max": max(times_s)} if times_s else None,
        "messages_refused": late[0] / late[1] if late[1] else None, "messages": late[1],
        "resent_refused": resent[0] / resent[1] if resent[1] else None,
    }  # fmt: skip


def attack_tables(result: Mapping[str, Any]) -> list[ReportTable]:
    """What was found, and what it was worth."""
    rows = result["rows"]
    found = [row for row in rows if row["defended"] and row["name"] != "ego"]
    detection = tuple(
        (row["name"], _share(row["quarantined"], row["attacked"] or row["sequences"]), _time(row, "mean"),
         _time(row, "max"), _percent(row["messages_refused"]), _percent(row["resent_refused"]))
        for row in found
    )  # fmt: skip
    note = (
        f"honest: false alarms. messages refused: share that quarantine refused, from {result['grace_s']:g} s after "
        "the first attacked message on (honest: of all). resent refused: old messages refused by stamp or sequence. "
        + result["published"]
    )
    columns = ("sender", "sequences quarantined", "mean s", "longest s", "messages refused", "resent refused")
    names = list(dict.fromkeys(row["name"] for row in rows))
    cells: list[tuple[Any, ...]] = []
    for name in names:
        of = {row["defended"]: row for row in rows if row["name"] == name}
        cells.append((name, *(cell for kind in (True, False) for cell in _scores(of.get(kind)))))
    scores = ("sender", "AMOTA", "mAP", "minus ego", "undefended AMOTA", "mAP", "minus ego")
    interval = f"{result['bootstrap']['confidence']:.0%}"
    return [
        ReportTable("Detection", columns, detection, note),
        ReportTable("Tracking with and without defence", scores, tuple(cells),
                    f"minus ego: AMOTA less that of the vehicle alone, {interval} interval over sequences"),
    ]  # fmt: skip


def _scores(row: Mapping[str, Any] | None) -> tuple[Any, ...]:
    if row is None:
        return (None, None, None)
    delta, text = row.get("AMOTA minus ego"), None
    if delta is not None:
        text = f"{delta['difference']:+.3f}"
        if delta["low"] is not None:
            text += f" [{delta['low']:+.3f}, {delta['high']:+.3f}]"
    return row["metrics"]["AMOTA"], row["metrics"]["mAP"], text


def _share(count: int, total: int) -> str:
    return f"{count} of {total}"


def _time(row: Mapping[str, Any], which: str) -> str | None:
    return None if row["time_s"] is None else f"{row['time_s'][which]:.1f}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def named(text: str, strength: Attack) -> list[Attack]:
    """The attacks of a list of names with commas, or all, each as strong as `strength`. Raises CooptrackError."""
    names = list(ATTACKS) if text == "all" else [name for name in text.split(",") if name]
    return [replace(strength, name=name) for name in dict.fromkeys(names)]


__all__ = ["GRACE_S", "HONEST", "SCHEMA", "attack_tables", "compare_attacks", "named", "undefended"]
