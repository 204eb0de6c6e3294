"""The table of the networks, a case at a time, and the same as rows for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.cases import STRAIGHTFORWARD, Case

from cooptrack_core.timing.table import WHOLE

_HEAD = (
    f"{'network':14} {'agent':24} {'engine':16} {'stage':24}{'p50':>9}{'p90':>9}{'p99':>9}{'share':>7}{'plain/':>8}"
    f"{'official/':>10}{'peak MB':>9}{'start s':>9}  goal"
)
HEADS = (
    "ms; plain/: how many times longer the same takes with engine eager in fp32, official/: the whole frame with "
    f"{STRAIGHTFORWARD}, eager, fp32, CPU",
    _HEAD, "-" * len(_HEAD),
)  # fmt: skip


class NetworkTable:
    """Prints rows and keeps them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._plain: dict[tuple[str, ...], float] = {}  # p50 by preset, agent, mode, device and stage
        self._official: dict[str, float] = {}  # p50 of whole frames by agent

    def add(self, case: Case, done: dict[str, Any]) -> None:
        """The rows of a case, or why there are none."""
        if "skipped" in done:
            self.skip(case, done["skipped"])
            return
        for index, row in enumerate(done["rows"]):
            whole = index == 0
            key = (case.preset, case.agent, case.mode, case.device, row["what"])
            if (case.engine, case.precision) == ("eager", "fp32"):
                self._plain[key] = row["p50_ms"]
                if whole and case.preset == STRAIGHTFORWARD and case.device == "cpu":
                    self._official[case.agent] = row["p50_ms"]
            plain, official = self._plain.get(key), self._official.get(case.agent) if whole else None
            extra = {"plain_ratio": _ratio(plain, row["p50_ms"]), "official_ratio": _ratio(official, row["p50_ms"])}
            if whole:
                extra |= {"goal": case.goal} | {name: value for name, value in done.items() if name != "rows"}
            self.rows.append(case.facts() | row | extra)
            _print(case, self.rows[-1], whole)

    def skip(self, case: Case, reason: str) -> None:
        """A case that was not measured."""
        self.rows.append(case.facts() | {"what": WHOLE, "skipped": reason})
        print(f"{_names(case)} not measured: {reason}", flush=True)

    def leave_out(self, cases: Sequence[Case], reason: str) -> None:
        """Cases of one preset and device that nobody asked for: a line for all."""
        self.rows += [case.facts() | {"what": WHOLE, "skipped": reason} for case in cases]
        kinds = dict.fromkeys(f"{case.engine} {case.precision} {case.mode or case.agent}" for case in cases)
        print(f"{cases[0].preset:14} not measured: {', '.join(kinds)}: {reason}", flush=True)

    def note(self, name: str, agent: str, engine: str, what: str, text: str, **facts: Any) -> None:
        """A row of something else."""
        self.rows.append({"preset": name, "agent": agent, "engine": engine, "what": what, **facts})
        print(f"{name:14} {agent:24} {engine:16} {what:24} {text}", flush=True)


def _print(case: Case, row: dict[str, Any], whole: bool) -> None:
    name = _names(case) if whole else " " * 56
    times = "".join(f"{row[key]:>9.2f}" for key in ("p50_ms", "p90_ms", "p99_ms"))
    ratios = _number(row["plain_ratio"], 8) + _number(row["official_ratio"], 10)
    what = row["what"] if whole else "  " + row["what"]
    line = f"{name} {what:24}{times}{row['share']:>7.1%}{ratios}"
    if whole:
        started = "-" if row["start_s"] is None else f"{row['start_s']:.1f}"
        line += f"{row['peak_mb']:>9.0f}{started:>9}  {row['goal']}"
        if row["device_mb"] is not None:
            line += f"  GPU memory {row['device_mb']:.0f} MB"
    print(line.rstrip(), flush=True)


def _names(case: Case) -> str:
    engine = case.engine + ("" if case.precision == "fp32" else f" {case.precision}")
    if engine:  # else there is no network
        engine += " GPU" if case.device == "cuda" else f" {case.threads} thr"
    return f"{case.preset:14} {' '.join((case.agent, case.mode)):24} {engine:16}"


def _ratio(before: float | None, now: float) -> float | None:
    return None if before is None or now < 0.01 else before / now


def _number(value: float | None, width: int) -> str:
    return " " * width if value is None else f"{value:>{width}.2f}"
