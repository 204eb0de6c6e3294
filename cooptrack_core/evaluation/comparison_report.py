"""What a user sees of a comparison: tables on the terminal, a CSV file, one page."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.data.files import write_file
from cooptrack_core.evaluation.caveats import MEANINGLESS, caveats, missing_objects
from cooptrack_core.evaluation.page import (
    Html,
    code,
    figure,
    figure_svg,
    number,
    page,
    paragraph,
    section,
    table,
    write_page,
)
from cooptrack_core.evaluation.plots import COLORS, plot_style, subplots
from cooptrack_core.evaluation.report import describe, table_section, text_table
from cooptrack_core.evaluation.report_tables import ASSOCIATION, ReportTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = Mapping[str, Any]

# Columns of the table of methods: 120 characters with the longest title.
_COLUMNS = {
    "mAP": ("mAP", 3), "AP car": ("AP car", 3), "AMOTA": ("AMOTA", 3), "AMOTA car": ("AMOTA car", 3),
    "AMOTP": ("AMOTP m", 3), "MOTA": ("MOTA", 3), "HOTA": ("HOTA", 3), "IDS": ("IDS", 0),
    "recall outside view": ("outside", 3), "recall occluded": ("occluded", 3),
    "recall roadside only": ("rsu only", 3), "bytes per second": ("B/s", 0),
}  # fmt: skip
_ERRORS = {"ATE car": "place m", "ASE car": "size", "AOE car": "heading rad", "AVE car": "velocity m/s"}
_OPTIONAL = ("recall outside view", "recall occluded", "recall roadside only", "HOTA")


def notes_of(result: Result) -> list[str]:
    """What would mislead a reader who does not know it."""
    found = caveats(result["run"], synthetic=result["data"]["synthetic"]) + missing_objects(result["data"])
    found += [f"{row['title']}: {row['parameters']}." for row in result["rows"]]
    if result["bootstrap"]["caution"]:
        found.append(result["bootstrap"]["caution"])
    return found


def methods_table(result: Result) -> ReportTable:
    """One row per method."""
    rows = result["rows"]
    shown = [
        name for name in _COLUMNS
        if name not in _OPTIONAL or any(row["metrics"].get(name) is not None for row in rows)
    ]  # fmt: skip
    cells = tuple(
        (row["title"], *(number(row["metrics"].get(name), _COLUMNS[name][1]) for name in shown)) for row in rows
    )
    notes = []
    if "recall outside view" in shown or "recall occluded" in shown:
        notes.append("outside, occluded: recall of objects outside the vehicle's view, and occluded inside it")
    if "recall roadside only" in shown:
        notes.append("rsu only: recall of what the roadside alone annotated, a proxy for hidden objects")
    note = "; ".join([*notes, "B/s: encoded messages at the actual rate, of methods that use them"])
    return ReportTable("Methods", ("method", *(_COLUMNS[name][0] for name in shown)), cells, note)


def error_table(result: Result) -> ReportTable:
    """How far off the cars are that each method finds."""
    cells = tuple((row["title"], *(number(row["metrics"].get(name), 3) for name in _ERRORS)) for row in result["rows"])
    note = "mean errors of the cars found within 2 m, as nuScenes has them (ATE, ASE, AOE, AVE); less is better"
    return ReportTable("Errors of cars", ("method", *_ERRORS.values()), cells, note)


def association_tables(result: Result) -> list[ReportTable]:
    """Whether what was paired is one object: one row per method that pairs anything; no table where none does."""
    found = [(row["title"], row["association"]) for row in result["rows"]]
    rows = tuple(
        (title, *(counts[key] for key in ASSOCIATION))
        for title, counts in found if counts["pairs"] or counts["possible"]
    )  # fmt: skip
    if not rows:
        return []
    return [ReportTable("Association", ("method", *ASSOCIATION.values()), rows, found[0][1]["definition"])]


def difference_tables(result: Result) -> list[ReportTable]:
    """One table for each pair of methods; of one sequence, without intervals."""
    bootstrap, titles = result["bootstrap"], {row["method"]: row["title"] for row in result["rows"]}
    share = f"{bootstrap['confidence']:.0%}"
    columns: tuple[str, ...] = ("metric", "difference", f"{share} interval", "excludes 0")
    note = f"{share} percentile intervals of {bootstrap['resamples']} paired resamples of the sequences, "
    note += f"seed {bootstrap['seed']}"
    if bootstrap["sequences"] < 2:
        columns, note = columns[:2], bootstrap["caution"]
    found = []
    for pair in result["differences"]:
        rows = tuple(
            (name, _signed(item["difference"]), _interval(item), _verdict(item))[: len(columns)]
            for name, item in pair["metrics"].items()
        )
        title = f"{titles[pair['of']]} - {titles[pair['minus']]}"
        found.append(ReportTable(title, columns, rows, note))
    return found


def print_comparison(result: Result) -> None:
    """Prints the methods and every difference."""
    print(describe(result))
    for note in notes_of(result):
        print(f"note: {note}")
    methods = methods_table(result)
    print(f"\n{text_table(methods)}\n{textwrap.fill(methods.note, 118)}")
    for item in (error_table(result), *association_tables(result)):
        print(f"\n{item.title}\n{text_table(item)}\n{textwrap.fill(item.note, 118)}")
    tables = difference_tables(result)
    for item in tables:
        print(f"\n{item.title}\n{text_table(item)}")
    if tables:
        print(tables[0].note)


def write_csv(result: Result, path: Path) -> None:
    """One row per number: method or difference, metric, value, and the interval of a difference."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    about = [result["run"]["detector"], result["convention"]["name"], int(result["data"]["synthetic"])]
    writer.writerow(
        ["what", "metric", "value", "low", "high", "excludes_zero", "detector", "convention", "synthetic"]
    )  # fmt: skip
    for row in result["rows"]:
        for name, value in row["metrics"].items():
            writer.writerow([row["method"], name, value, "", "", "", *about])
    for pair in result["differences"]:
        for name, item in pair["metrics"].items():
            excludes = "" if item["excludes_zero"] is None else int(item["excludes_zero"])
            numbers = [item["difference"], item["low"], item["high"], excludes]
            writer.writerow([f"{pair['of']} - {pair['minus']}", name, *numbers, *about])
    write_file(path, out.getvalue())


def write_html(result: Result, path: Path) -> None:
    """One page: notes, the methods, the differences with their intervals as plot and tables."""
    serious = (MEANINGLESS, result["bootstrap"]["caution"])
    parts: list[object] = [paragraph(note, "warning" if note in serious else "note") for note in notes_of(result)]
    parts += [table_section(item) for item in (methods_table(result), error_table(result), *association_tables(result))]
    links = ", ".join(f'<a href="{row["folder"]}/metrics.html">{row["title"]}</a>' for row in result["rows"])
    parts.append(paragraph(Html(f"Every metric of each method: {links}.")))
    reach = _reach(result["differences"])
    for pair, item in zip(result["differences"], difference_tables(result), strict=True):
        inside: list[Html] = []
        if result["bootstrap"]["sequences"] > 1:
            plot = figure_svg(_intervals_figure(pair["metrics"], reach), f"{item.title} with intervals")
            inside.append(figure(plot, f"Dots: differences; bars: {item.note}."))
        parts.append(section(item.title, *inside, table(item.columns, item.rows, digits=item.digits)))
    parts.append(section("How this was made", paragraph(code(result["command"]))))
    write_page(path, page("Comparison of methods", parts, lead=describe(result)))


def _reach(pairs: Sequence[Result]) -> tuple[float, float]:
    """The range of all differences and intervals, 0 included: the same for all plots of a page."""
    items = [item for pair in pairs for item in pair["metrics"].values() if item["difference"] is not None]
    ends = [0.0, *(item[key] for item in items for key in ("difference", "low", "high") if item[key] is not None)]
    margin = 0.04 * (max(ends) - min(ends)) or 0.1
    return min(ends) - margin, max(ends) + margin


def _intervals_figure(metrics: Mapping[str, Result], reach: tuple[float, float]) -> Figure:
    """Differences with their intervals, metrics below each other; blue where the interval leaves 0 out."""
    fig: Figure
    with plot_style():
        fig, axes = subplots(height=0.6 + 0.26 * len(metrics))
        panel = axes[0, 0]
        for row, item in enumerate(metrics.values()):
            if item["difference"] is not None:
                color = COLORS[0] if item["excludes_zero"] else "#8a949f"
                panel.plot([item["low"], item["high"]], [row, row], color=color, linewidth=2.5, solid_capstyle="butt")
                panel.plot(item["difference"], row, "o", color=color, markersize=5)
        panel.axvline(0.0, color="#5b6673", linewidth=0.8)
        panel.set_yticks(range(len(metrics)), list(metrics))
        panel.set_xlim(*reach)
        panel.invert_yaxis()
        panel.grid(visible=False, axis="y")
        panel.spines["left"].set_visible(False)
    return fig


def _signed(value: float | None) -> str:
    text = number(value)
    return f"+{text}" if value is not None and value > 0 else text


def _interval(item: Result) -> str:
    if item["low"] is None:
        return number(None)
    return f"[{_signed(item['low'])}, {_signed(item['high'])}]"


def _verdict(item: Result) -> str:
    if item["low"] is None or item["excludes_zero"] is None:
        return number(None)
    return "yes" if item["excludes_zero"] else "no"


__all__ = [
    "difference_tables",
    "error_table",
    "methods_table",
    "notes_of",
    "print_comparison",
    "write_csv",
    "write_html",
]
