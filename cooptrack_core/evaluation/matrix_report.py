"""The robustness matrix on the terminal, as CSV and as pictures: a heat map of delay and loss, bars of the rest."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cooptrack_core.data.files import write_file
from cooptrack_core.evaluation.matrix_points import DELAYS_MS, LOSSES
from cooptrack_core.evaluation.page import DASH, number
from cooptrack_core.evaluation.plots import MODE_COLORS, plot_style, save_figure, subplots
from cooptrack_core.evaluation.report_tables import aligned
from cooptrack_core.evaluation.robustness_matrix import SCORES, all_violations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]
_WIDTH = 78  # of a disturbance in words


def print_matrix(result: Result) -> None:
    """Delay against loss, the other points, and every violation."""
    for mode, block in result["modes"].items():
        alone = block["alone"]["scores"]
        print(f"\nmode {mode}; vehicle alone: AMOTA {number(alone['AMOTA'])}, car {number(alone['AMOTA_car'])}")
        _print_grid(block["points"])
        rows = [[_short(p["text"]), *_cells(p)] for p in block["points"] if p["group"] != "grid"]
        for line in aligned([["impairment", "AMOTA", "above alone", "car", "refused"], *rows]):
            print(line)
    found = all_violations(result)
    points = sum(len(block["points"]) for block in result["modes"].values())
    print(f"\n{points} points, tolerance {result['tolerance']:g} AMOTA: {len(found)} violations")
    counted = Counter((mode, text) for mode, text, _ in found)
    for line in (
        aligned([["mode", "impairment", "what"], *([m, _short(t), w] for m, t, w in found[:40])]) if found else []
    ):
        print(line)
    if len(found) > 40:
        print(f"... at {len(counted)} points; all are in matrix.json")


def _print_grid(points: list[Result]) -> None:
    cells = _grid(points, "AMOTA")
    rows = [["delay ms", *(f"loss {100 * loss:g} %" for loss in LOSSES)]]
    rows += [[f"{delay:g}", *(number(cells.get((delay, loss))) for loss in LOSSES)] for delay in DELAYS_MS]
    for line in aligned([row for row in rows if row is rows[0] or any(cell != DASH for cell in row[1:])]):
        print(line)
    print()


def _cells(point: Result) -> list[str]:
    refused = str(sum(point["messages"]["refused"].values()))
    above = point["above_alone"]["AMOTA"]
    return [
        number(point["scores"]["AMOTA"]), DASH if above is None else f"{above:+.3f}",
        number(point["scores"]["AMOTA_car"]), refused,
    ]  # fmt: skip


def _short(text: str, width: int = _WIDTH) -> str:
    text = text.rsplit(", seed", 1)[0].replace(" % of messages ", " % ").replace(" on average", "")
    return text if len(text) <= width else f"{text[: width - 4]} ..."


def _grid(points: list[Result], score: str) -> dict[tuple[float, float], float | None]:
    found = {}
    for point in points:
        if point["group"] == "grid":
            d = point["disturbance"]
            found[d["delay_ms"], d["loss"]] = point["scores"][score]
    return found


def write_csv(result: Result, path: Path) -> None:
    """One row per mode and point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["mode", "group", "disturbance", *SCORES, *(f"{n}_above_alone" for n in SCORES), "violations"])
    for mode, block in result["modes"].items():
        for p in block["points"]:
            scores = [p["scores"][n] for n in SCORES] + [p["above_alone"][n] for n in SCORES]
            writer.writerow([mode, p["group"], p["text"], *scores, "; ".join(p["violations"])])
    write_file(path, text.getvalue().encode())


def write_figures(result: Result, out: Path) -> list[Path]:
    """matrix_<mode>.svg and .png: how far above the vehicle alone; below 0 is worse."""
    files = []
    for mode, block in result["modes"].items():
        with plot_style():
            rest = sorted((p for p in block["points"] if p["group"] != "grid"), key=_above)
            figure, axes = subplots(1, 3, width=13.0, height=max(3.6, 0.12 * len(rest) + 1.2))
            _heat_map(figure, axes[0, 0], block)
            _curves(axes[0, 1], block)
            _bars(axes[0, 2], rest, mode, result["tolerance"])
            figure.suptitle(f"Mode {mode}: AMOTA above the vehicle alone", x=0.01, ha="left", fontsize=9)
            files += [save_figure(figure, out / f"matrix_{mode}.{kind}") for kind in ("svg", "png")]
    return files


def _above(point: Result) -> float:
    value = point["above_alone"]["AMOTA"]
    return float("nan") if value is None else float(value)


def _heat_map(figure: Any, panel: Axes, block: Result) -> None:
    alone, cells = block["alone"]["scores"]["AMOTA"] or 0.0, _grid(block["points"], "AMOTA")
    delays = [d for d in DELAYS_MS if any((d, loss) in cells for loss in LOSSES)]
    losses = [loss for loss in LOSSES if any((d, loss) in cells for d in DELAYS_MS)]
    values = np.array([[(cells.get((d, x)) or np.nan) - alone for x in losses] for d in delays], float)
    limit = max(0.05, float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.05)
    image = panel.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        color = "white" if abs(value) > 0.6 * limit else "#1c2530"
        panel.text(column, row, f"{value:+.3f}", ha="center", va="center", fontsize=8, color=color)
    panel.set_xticks(range(len(losses)), [f"{100 * loss:g} %" for loss in losses])
    panel.set_yticks(range(len(delays)), [f"{delay:g}" for delay in delays])
    panel.set(title="Delay and loss", xlabel="messages lost", ylabel="delay, ms")
    panel.grid(visible=False)
    figure.colorbar(image, ax=panel, shrink=0.8)


def _curves(panel: Axes, block: Result) -> None:
    cells = _grid(block["points"], "AMOTA")
    for loss in LOSSES:
        known = {d: value for d in DELAYS_MS if (value := cells.get((d, loss))) is not None}
        if known:
            panel.plot(list(known), list(known.values()), marker="o", label=f"loss {100 * loss:g} %")
    alone = block["alone"]["scores"]["AMOTA"]
    if alone is not None:
        panel.axhline(alone, color=MODE_COLORS["ego"], linestyle=(0, (4, 2)), label="vehicle alone")
    panel.set(title="AMOTA against delay", xlabel="delay, ms")
    panel.legend()


def _bars(panel: Axes, points: list[Result], mode: str, tolerance: float) -> None:
    places = range(len(points))
    panel.barh(places, [_above(p) for p in points], color=MODE_COLORS.get(mode))
    panel.set_yticks(places, [_short(p["text"], 60) for p in points], fontsize=5.5)
    panel.axvline(-tolerance, color="#3d4753", linestyle=(0, (4, 2)), linewidth=1)
    panel.set(title="Other impairments", xlabel="AMOTA above the vehicle alone")


__all__ = ["print_matrix", "write_csv", "write_figures"]
