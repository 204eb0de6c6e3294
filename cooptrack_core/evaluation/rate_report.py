"""What a user sees of a rate curve: a table on the terminal, a CSV file, a picture."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.data.files import write_file
from cooptrack_core.evaluation.caveats import caveats
from cooptrack_core.evaluation.page import DASH, number
from cooptrack_core.evaluation.plots import COLORS, plot_style, save_figure, subplots
from cooptrack_core.evaluation.report_tables import aligned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]

HEADER = (
    "what is sent", "B/s", "B/msg p50", "p99", "B/inst", "held", "withheld", "AMOTA car", "AMOTA", "mAP",
    "AMOTA car against fp32", "AMOTA against fp32",
)  # fmt: skip
NOTE = (
    "B/s: bytes of serialised messages per second, headers included; B/inst: bytes that an instance sent adds; held: "
    "share of instances that the receiver moves on by itself; withheld: share that found no room; against: difference "
    "to fp32 with the 95 % interval of a paired bootstrap over sequences"
)


def about(result: Result) -> str:
    """One line on data, mode and detector."""
    run = result["run"]
    data = "synthetic dataset" if run["synthetic"] else "dataset"
    part = f"split {run['split']}" if run["split"] else f"sequences {' '.join(run['sequences'])}"
    disturbed = "" if run["disturbance"] in ("none", "") else f"; messages disturbed: {run['disturbance']}"
    return f"{data} {run['dataset']}, {part}, mode {run['mode']}, detector {run['detector']}{disturbed}"


def print_table(result: Result) -> None:
    """The table and what it means."""
    print(about(result))
    print("\n".join(["", *aligned([HEADER, *(_cells(point) for point in result["points"])]), ""]))
    notes = [NOTE, *caveats(result["run"], synthetic=result["run"]["synthetic"])]
    for line in [*notes, *filter(None, [result["bootstrap"]["caution"]])]:
        print(textwrap.fill(line, 120))


def write_csv(result: Result, path: Path) -> None:
    """One line per point."""
    out = io.StringIO()
    lines = [_line(point) for point in result["points"]]
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_file(path, out.getvalue())


def write_figure(result: Result, paths: Sequence[Path]) -> None:
    """Scores against bytes per second, one panel per score, the interval of the difference to fp32 as a bar."""
    panels = (("AMOTA_car", "AMOTA car", "AMOTA, car"), ("AMOTA", "AMOTA", "AMOTA"), ("mAP", "mAP", "mAP"))
    with plot_style():
        figure, axes = subplots(1, len(panels), height=3.8)
        for ax, (score, metric, title) in zip(axes[0], panels, strict=True):
            _panel(ax, result, score, metric)
            ax.set(title=title, xlabel="bytes per second", xscale="log")
        figure.suptitle(about(result), fontsize=7, x=0.01, ha="left")
        for path in paths:
            save_figure(figure, path)


def _panel(ax: Axes, result: Result, score: str, metric: str) -> None:
    reference = next(p for p in result["points"] if p["name"] == result["reference"])["scores"][score]
    for place, point in enumerate(result["points"]):
        rate, value = point["rate"]["bytes_per_second"], point["scores"][score]
        if rate is None or value is None:
            continue
        item = point["differences"].get(metric)
        color = COLORS[place % len(COLORS)]
        if item is not None and item["low"] is not None and reference is not None:
            ax.plot([rate, rate], [reference + item["low"], reference + item["high"]], color=color, linewidth=1.0)
        ax.plot(rate, value, "o", color=color)
        ax.annotate(point["name"], (rate, value), xytext=(4, 3), textcoords="offset points", fontsize=6)
    if reference is not None:
        ax.axhline(reference, color="#9aa6b3", linewidth=0.8, linestyle="--")


def _cells(point: Result) -> list[str]:
    rate, scores = point["rate"], point["scores"]
    seen = rate["instances"] + rate["held"]
    return [
        point["name"],
        number(rate["bytes_per_second"], 0),
        number(rate["bytes_per_message"]["p50"], 0),
        number(rate["bytes_per_message"]["p99"], 0),
        number(rate["bytes_per_instance"], 1),
        _share(rate["held"], seen),
        _share(rate["withheld"], seen + rate["withheld"]),
        number(scores["AMOTA_car"]),
        number(scores["AMOTA"]),
        number(scores["mAP"]),
        _difference(point["differences"].get("AMOTA car")),
        _difference(point["differences"].get("AMOTA")),
    ]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else DASH


def _difference(item: Result | None) -> str:
    if item is None or item["difference"] is None:
        return DASH
    if item["low"] is None:
        return f"{item['difference']:+.3f}"
    return f"{item['difference']:+.3f} [{item['low']:+.3f}, {item['high']:+.3f}]"


def _line(point: Result) -> dict[str, Any]:
    rate = point["rate"]
    row = {"name": point["name"], "changes": " ".join(f"{k}={v}" for k, v in point["changes"].items())}
    row |= {name: value for name, value in rate.items() if name != "bytes_per_message"}
    row |= {f"bytes_per_message_{name}": value for name, value in rate["bytes_per_message"].items()}
    row |= point["scores"]
    for metric, item in point["differences"].items():
        row |= {f"{metric} {name}": item[name] for name in ("difference", "low", "high")}
    return row


__all__ = ["HEADER", "NOTE", "about", "print_table", "write_csv", "write_figure"]
