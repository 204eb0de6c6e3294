"""What a user sees of an evaluation: tables on the terminal, a CSV file, one page with tables and plots."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cooptrack_core.config import MODE_NAMES
from cooptrack_core.data.files import write_file
from cooptrack_core.evaluation.caveats import caveats, missing_objects
from cooptrack_core.evaluation.page import Html, code, formatted, page, paragraph, section, table, write_page
from cooptrack_core.evaluation.report_tables import ReportTable, aligned, leaves, report_tables, value_of
from cooptrack_core.evaluation.run_words import all_parameters, disturbance, unusual

Metrics = Mapping[str, Any]

_LINE = 118  # characters of a line below a table
_NO_METRICS = ("schema", "run", "convention", "data", "curves")


def describe(metrics: Metrics) -> str:
    """One line that belongs to every number: what ran on what, under which convention; also of a comparison."""
    run, data = metrics.get("run") or {}, metrics.get("data") or {}
    split = f"split {run['split']}: " if run.get("split") else ""
    sequences = f"{data.get('sequences')} sequence{'' if data.get('sequences') == 1 else 's'}"
    parts = [f"{run.get('detector')} detector", f"{split}{sequences}, {data.get('frames')} frames"]
    if "mode" in run:
        parts.insert(0, MODE_NAMES.get(run["mode"], str(run["mode"])))
    if run.get("bag"):
        parts.append("recorded by the nodes")
    parts += unusual(run)
    if data.get("synthetic"):
        parts.append("SYNTHETIC data")
    return f"{'; '.join(parts)}; convention {value_of(metrics, 'convention', 'text')}"


def warnings_of(metrics: Metrics) -> list[str]:
    """What would mislead a reader who does not know it."""
    run, data = metrics.get("run") or {}, metrics.get("data") or {}
    return [*caveats(run, synthetic=bool(data.get("synthetic"))), *missing_objects(data)]


def print_metrics(metrics: Metrics) -> None:
    """Prints all tables, what was run above them."""
    print(describe(metrics))
    for warning in warnings_of(metrics):
        print(f"note: {warning}")
    for item in report_tables(metrics):
        print(f"\n{item.title}\n{text_table(item)}")
        for line in item.note.splitlines():
            print(textwrap.fill(line, _LINE, initial_indent="  ", subsequent_indent="  "))
    for name, reason in _reasons(metrics).items():
        print(f"\n{name}: {reason}")


def text_table(item: ReportTable) -> str:
    """The table as lines with aligned columns."""
    rows = [[str(formatted(cell, item.digits)) for cell in row] for row in item.rows]
    return "\n".join(aligned([item.columns, *rows]))


def write_csv(metrics: Metrics, path: Path) -> Path:
    """One row per number: metric (its path in metrics.json), value, and what it is of. A value that is None is empty.

    Rows of several runs can be put below each other. Curves and explanations are left to metrics.json.
    """
    run = metrics.get("run") or {}
    about = {
        "mode": run.get("mode"), "detector": run.get("detector"), "weights": run.get("weights"),
        "dataset": run.get("dataset"), "split": run.get("split"), "sequences": " ".join(run.get("sequences") or ()),
        "max_frames": run.get("max_frames"), "convention": value_of(metrics, "convention", "name"),
        "seed": run.get("seed"), "parameters": all_parameters(run),
        "disturbance": "" if run.get("bag") else disturbance(run),
        "synthetic": int(bool(value_of(metrics, "data", "synthetic"))),
    }  # fmt: skip
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["metric", "value", *about])
    for where, value in leaves({key: item for key, item in metrics.items() if key not in _NO_METRICS}):
        if isinstance(value, str):
            continue
        shown = "" if value is None or value != value else value
        writer.writerow([".".join(where), shown, *("" if item is None else item for item in about.values())])
    write_file(path, out.getvalue())
    return path


def write_html(metrics: Metrics, path: Path) -> Path:
    """The page: warnings, tables, plots, and how the run can be repeated. It needs nothing but itself."""
    from cooptrack_core.evaluation.curve_plots import curve_figures

    parts: list[object] = [paragraph(warning, "warning") for warning in warnings_of(metrics)]
    tables = report_tables(metrics)
    for item in tables[:1]:
        parts.append(table_section(item))
    figures = curve_figures(metrics)
    if figures:
        parts.append(section("Curves", *figures))
    parts += [table_section(item) for item in tables[1:]]
    parts += [section(name, paragraph(reason, "warning")) for name, reason in _reasons(metrics).items()]
    parts.append(_how(metrics))
    write_page(path, page("Evaluation: " + _title(metrics), parts, lead=describe(metrics)))
    return path


def _title(metrics: Metrics) -> str:
    mode = str(value_of(metrics, "run", "mode"))
    return f"{MODE_NAMES.get(mode, mode)}, {value_of(metrics, 'run', 'detector')} detector"


def table_section(item: ReportTable) -> Html:
    """The table under its title on a page, its note below it."""
    notes = [paragraph(line, "note") for line in (*item.note.splitlines(), *item.details.splitlines())]
    return section(item.title, table(item.columns, item.rows, digits=item.digits), *notes)


def _how(metrics: Metrics) -> Html:
    run = metrics.get("run") or {}
    rows = [(key.replace("_", " "), code(words)) for key, value in run.items() if (words := _words(value))]
    rows = [row for row in rows if row[0] != "command"]
    rows.append(("convention", code(value_of(metrics, "convention", "text"))))
    rows.append(("label updates", code(value_of(metrics, "convention", "label_updates"))))
    boxes = value_of(metrics, "data", "boxes") or {}
    rows.append(("objects in range", code(", ".join(f"{count} {name}" for name, count in boxes.items()))))
    command = run.get("command")
    parts = [paragraph(code(command))] if command else []
    return section("How this was made", *parts, table(("what", "value"), rows))


def _words(value: Any) -> str:
    """A setting in words, "" where it says nothing."""
    found = [(".".join(path), item) for path, item in leaves(value) if item is not None and item != ""]
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in found)
    return " ".join(str(item) for _, item in found)


def _reasons(metrics: Metrics) -> dict[str, str]:
    """Sections that are missing, and why."""
    return {
        name: str(value["missing"])
        for name, value in metrics.items()
        if isinstance(value, Mapping) and isinstance(value.get("missing"), str)
    }


__all__ = ["describe", "print_metrics", "table_section", "text_table", "warnings_of", "write_csv", "write_html"]
