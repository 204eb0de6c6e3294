"""Robustness as pictures: a score against every disturbance, a line per mode, the vehicle alone dashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cooptrack_core.evaluation.plots import COLORS, MODE_COLORS, plot_style, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Result = Mapping[str, Any]
PANELS_IN_A_ROW = 5
_MARKERS = ("o", "s", "^", "D")


def curves(result: Result, scores: Sequence[tuple[str, str]]) -> Figure:
    """One column of panels per disturbance, one row per score (name in `scores`, words on the axis).

    Vertical axes of a score are the same everywhere, so that disturbances can be compared. Where a point was run with
    several seeds, a band shows their extremes.
    """
    sweeps = result["sweeps"]
    columns = min(PANELS_IN_A_ROW, len(sweeps))
    blocks = -(-len(sweeps) // columns)
    with plot_style():
        rows = blocks * len(scores)
        width, height = max(2.25 * columns, 4.5) + 0.4, 1.75 * rows + 0.7
        figure: Figure
        figure, axes = subplots(rows, columns, width=width, height=height)
        limits = {name: _limits(result, name) for name, _ in scores}
        for place in range(blocks * columns):
            block, column = divmod(place, columns)
            for k, (name, words) in enumerate(scores):
                panel = axes[block * len(scores) + k, column]
                if place >= len(sweeps):
                    panel.axis("off")
                    continue
                _panel(panel, result, sweeps[place], name, limits[name])
                panel.set_title(_capital(sweeps[place]["title"]) if k == 0 else "")
                panel.set_xlabel(sweeps[place]["unit"] if k == len(scores) - 1 else "")
                panel.set_ylabel(words if column == 0 else "")
                panel.tick_params(labelbottom=k == len(scores) - 1, labelleft=column == 0)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _panel(panel: Axes, result: Result, sweep: Result, name: str, limits: tuple[float, float]) -> None:
    ego = result["undisturbed"]["ego"]["scores"].get(name)
    for number, (mode, points) in enumerate(sweep["modes"].items()):
        shown = [point for point in points if point["scores"].get(name) is not None]
        x = [point["place"] for point in shown]
        color = MODE_COLORS.get(mode, COLORS[number])
        panel.plot(x, [point["scores"][name] for point in shown], color=color, label=mode,
                   marker=_MARKERS[number % len(_MARKERS)], clip_on=False, zorder=3)  # fmt: skip
        low, high = ([point["spread"][name][side] for point in shown] for side in (0, 1))
        if low != high:
            panel.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    if ego is not None:
        panel.axhline(ego, color=MODE_COLORS["ego"], linestyle=(0, (4, 2)), linewidth=1.3, label="ego (no messages)")
    panel.set_ylim(*limits)
    panel.margins(x=0.04)


def _limits(result: Result, name: str) -> tuple[float, float]:
    """From a little below the lowest point to a little above the highest, of all panels."""
    points = [p for sweep in result["sweeps"] for mode in sweep["modes"].values() for p in mode]
    values = [v for point in points for v in point["spread"].get(name, ())]
    values += [point["scores"].get(name) for point in result["undisturbed"].values()]
    known = [value for value in values if value is not None]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    margin = 0.08 * max(high - low, 0.05)
    return max(0.0, low - margin), min(1.0, high + margin) if high <= 1 else high + margin


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


__all__ = ["curves"]
