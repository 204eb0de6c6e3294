"""Robustness as tables: on the terminal and as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cooptrack_core.data.files import write_file
from cooptrack_core.evaluation.caveats import caveats, is_untrained
from cooptrack_core.evaluation.channel_statistics import fates
from cooptrack_core.evaluation.page import DASH, number
from cooptrack_core.evaluation.report_tables import aligned
from cooptrack_core.evaluation.run_words import unusual

Result = Mapping[str, Any]

# Name in the tables and in `scores`.
COLUMNS = {
    "AMOTA": "AMOTA", "car": "AMOTA_car", "mAP": "mAP", "AP car": "AP_car", "hidden": "hidden_recall",
}  # fmt: skip
HEADER = ("value", *COLUMNS, "gain kept", "lost", "frames with msg", "age ms", "refused (per run)")


def rows_of(result: Result, sweep: Result, mode: str) -> list[list[str]]:
    """One row per point: the columns of HEADER."""
    return [[point["label"], *_cells(result, point, mode)] for point in sweep["modes"][mode]]


def reference_rows(result: Result) -> list[list[str]]:
    """The modes without disturbance."""
    return [[mode, *_cells(result, point, mode)] for mode, point in result["undisturbed"].items()]


def gain_kept(result: Result, point: Result, mode: str) -> float | None:
    """Share of the mode's AMOTA advantage over ego that is left; None where there was none."""
    ego, best = (result["undisturbed"][name]["scores"]["AMOTA"] for name in ("ego", mode))
    now = point["scores"]["AMOTA"]
    if ego is None or best is None or now is None or mode == "ego" or best - ego < 1e-3:
        return None
    return float((now - ego) / (best - ego))


def print_tables(result: Result) -> None:
    """Every sweep of every mode, below the undisturbed runs."""
    print()
    print(about(result))
    print(f"convention: {result['convention']}")
    _print_rows(("mode", *HEADER[1:]), reference_rows(result), "undisturbed")
    for sweep in result["sweeps"]:
        for mode in sweep["modes"]:
            counts = sorted({len(point["seeds"]) for point in sweep["modes"][mode]})
            seeds = f", means of up to {counts[-1]} seeds" if counts[-1] > 1 else ""
            _print_rows(HEADER, rows_of(result, sweep, mode), f"{sweep['title']} ({sweep['unit']}), mode {mode}{seeds}")
    print(f"\n{textwrap.fill(explanation(result), 120)}")
    for line in notes_of(result):
        print(textwrap.fill(line, 120))


NOTE = (
    "hidden: recall of objects that the vehicle's camera does not see (on real data the proxy: those annotated from "
    "the roadside alone); gain kept: share of the AMOTA advantage over ego that is left; lost: of the messages sent; "
    "frames with msg: that used a message; age: mean of these, by their stamps; refused: by the vehicle's own rules"
)
NEGATIVE_AGE = (
    "An age below 0: the roadside frame that was used has a later stamp than the vehicle's frame, as pairs of frames "
    "are only nearest in time (and a sender's clock may be ahead)."
)


def explanation(result: Result) -> str:
    """What the columns mean, and what would puzzle in these numbers."""
    points = [*result["undisturbed"].values()]
    points += [point for sweep in result["sweeps"] for found in sweep["modes"].values() for point in found]
    ages = [point["messages"]["age_ms"]["mean"] for point in points]
    return f"{NOTE}. {NEGATIVE_AGE}" if any(age is not None and age < 0 for age in ages) else NOTE


def about(result: Result) -> str:
    """One line on data and detector; synthetic ones are called so."""
    run = result["run"]
    data = "synthetic dataset" if run["synthetic"] else "dataset"
    part = f"split {run['split']}" if run["split"] else "sequences named"
    what = f"{data} {run['dataset']}, {part}: {_counted(run)}, detector {run['detector']}"
    return "; ".join([what, *unusual(run)])


def notes_of(result: Result) -> list[str]:
    """What would mislead a reader who does not know it."""
    run = result["run"]
    found = caveats(run, synthetic=run["synthetic"])
    if run["detector"] == "network" and "late" in run["modes"]:
        found.append(
            "Mode late tracks what the network detects with Kalman filters, mode ego is the tracking of the network "
            "itself; so without messages late does not become ego."
        )
    return found


def short_about(result: Result) -> str:
    """The same for pictures."""
    run = result["run"]
    untrained = ", UNTRAINED networks: meaningless" if is_untrained(run) else ""
    what = f"{_counted(run, 'synthetic ' if run['synthetic'] else '')}, detector {run['detector']}{untrained}"
    return "; ".join([what, *unusual(run), f"convention {result['convention']}"])


def _counted(run: Result, kind: str = "") -> str:
    """`1 synthetic sequence`."""
    return f"{len(run['sequences'])} {kind}sequence{'' if len(run['sequences']) == 1 else 's'}"


def write_csv(result: Result, path: Path) -> None:
    """One line per point, with all scores, their extremes over the seeds, and the messages."""
    out = io.StringIO()
    lines = list(_lines(result))
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_file(path, out.getvalue())


def _lines(result: Result) -> Iterator[dict[str, Any]]:
    for mode, point in result["undisturbed"].items():
        yield {"sweep": "undisturbed", "mode": mode, "value": 0, "unit": "", "disturbance": "none", **_line(point)}
    for sweep in result["sweeps"]:
        for mode, points in sweep["modes"].items():
            for point in points:
                first = {"sweep": sweep["name"], "mode": mode, "value": point["value"], "unit": sweep["unit"]}
                yield {**first, "disturbance": point["text"], **_line(point)}


def _line(point: Result) -> dict[str, Any]:
    messages = point["messages"]
    counts = {name: value for name, value in messages.items() if name not in ("refused", "age_ms")}
    return {
        **point["scores"],
        **{f"{name}_min": low_high[0] for name, low_high in point["spread"].items() if name in COLUMNS.values()},
        **{f"{name}_max": low_high[1] for name, low_high in point["spread"].items() if name in COLUMNS.values()},
        **counts,
        **{f"age_{name}_ms": value for name, value in messages["age_ms"].items()},
        **{f"refused_{reason}": count for reason, count in messages["refused"].items()},
    }


def _cells(result: Result, point: Result, mode: str) -> list[str]:
    scores, messages = point["scores"], point["messages"]
    kept, age = gain_kept(result, point, mode), messages["age_ms"]["mean"]
    return [
        *(number(scores.get(name)) for name in COLUMNS.values()),
        DASH if kept is None else f"{100 * kept:.0f} %",
        f"{100 * fates(messages)['lost']:.0f} %",
        f"{100 * messages['frames_with_message'] / max(messages['frames'], 1):.0f} %",
        number(age, 0),
        _refusals(messages),
    ]


def _refusals(messages: Result) -> str:
    """`12 stale, 3 out_of_order` of one run on average, or a dash."""
    runs = max(messages["runs"], 1)
    return ", ".join(f"{count / runs:.3g} {reason}" for reason, count in messages["refused"].items()) or DASH


def _print_rows(header: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    print("\n".join(["", title, *aligned([header, *rows])]))


__all__ = [
    "COLUMNS", "HEADER", "about", "explanation", "gain_kept", "notes_of", "print_tables", "reference_rows", "rows_of",
    "short_about", "write_csv",
]  # fmt: skip
