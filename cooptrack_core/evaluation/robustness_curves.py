"""Robustness as pictures: a score against every disturbance, a line per mode, the vehicle alone dashed."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cooptrack_core.evaluation.channel_statistics import fates
from cooptrack_core.evaluation.plots import COLORS, MODE_COLORS, plot_style, subplots
from cooptrack_core.evaluation.robustness_tables import short_about

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Result = Mapping[str, Any]
PANELS_IN_A_ROW = 5
_LETTER_SHARE = 0.034  # of the axis that a letter of a label takes
_MARKERS = ("o", "s", "^", "D")
_FATE_COLORS = {
    "used": COLORS[0], "not used": "#9aa6b3", "lost": "#3d4753", "stale": COLORS[1], "out_of_order": COLORS[5],
    "from_future": COLORS[3],
}  # fmt: skip
_FATE_ORDER = {"used": 0, "not used": 2, "lost": 3}  # refusals between


def curves(result: Result, scores: Sequence[tuple[str, str]]) -> Figure:
    """One column of panels per disturbance, one row per score (name in `scores`, words on the axis).

    Vertical axes of a score are the same everywhere, so that disturbances can be compared. Where a point was run with
    several seeds, a band shows their extremes.
    """
    sweeps = result["sweeps"]
    with plot_style():
        figure, axes = _grid(len(sweeps), len(scores), 1.75)
        blocks, columns = axes.shape[0] // len(scores), axes.shape[1]
        limits = {name: _limits(result, name) for name, _ in scores}
        for place in range(blocks * columns):
            block, column = divmod(place, columns)
            for k, (name, words) in enumerate(scores):
                panel = axes[block * len(scores) + k, column]
                if place >= len(sweeps):
                    panel.axis("off")
                    continue
                _panel(panel, result, sweeps[place], name, limits[name])
                panel.set_title(capital(sweeps[place]["title"]) if k == 0 else "")
                panel.set_xlabel(sweeps[place]["unit"] if k == len(scores) - 1 else "")
                panel.set_ylabel(words if column == 0 else "")
                panel.tick_params(labelbottom=k == len(scores) - 1, labelleft=column == 0)
        _finish(figure, axes[0, 0], result)
    return figure


def message_fates(result: Result) -> Figure:
    """What became of the messages sent, at every point of every disturbance: shares of the first cooperative mode."""
    sweeps = result["sweeps"]
    points = {sweep["name"]: next(iter(sweep["modes"].values())) for sweep in sweeps}
    shares = {name: [fates(point["messages"]) for point in found] for name, found in points.items()}
    kinds = list(dict.fromkeys(kind for found in shares.values() for share in found for kind in share))
    kinds = [kind for kind in kinds if any(share.get(kind) for found in shares.values() for share in found)]
    kinds.sort(key=lambda kind: (_FATE_ORDER.get(kind, 1), kind))
    with plot_style():
        figure, axes = _grid(len(sweeps), 1, 1.9)
        for place, panel in enumerate(axes.flat):
            if place >= len(sweeps):
                panel.axis("off")
                continue
            sweep = sweeps[place]
            found = shares[sweep["name"]]
            bottom = [0.0] * len(found)
            for kind in kinds:
                values = [share.get(kind, 0.0) for share in found]
                panel.bar(range(len(found)), values, 0.82, bottom, color=_FATE_COLORS.get(kind, "#222222"), label=kind)
                bottom = [low + value for low, value in zip(bottom, values, strict=True)]
            labels = [point["label"].split(" ")[0] for point in points[sweep["name"]]]
            panel.set_xticks(range(len(found)), labels, fontsize=_label_size(len(labels)))
            panel.set(title=capital(sweep["title"]), xlabel=sweep["unit"], ylim=(0, 1))
            panel.tick_params(labelleft=place % axes.shape[1] == 0)
            panel.grid(visible=False)
        axes[0, 0].set_ylabel("share of messages sent")
        _finish(figure, axes[0, 0], result)
    return figure


def _grid(sweeps: int, panels: int, panel_height: float) -> tuple[Figure, Any]:
    """A figure for some panels (one below the other) per sweep and its axes [rows, columns]; heights in inches."""
    columns = min(PANELS_IN_A_ROW, sweeps)
    rows = -(-sweeps // columns) * panels
    width = max(2.25 * columns, 4.5) + 0.4
    figure, axes = subplots(rows, columns, width=width, height=panel_height * rows + 0.7)
    return figure, axes


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
    places = [(point["place"], point["label"].split(" ")[0]) for point in next(iter(sweep["modes"].values()))]
    ticks = _apart(places)
    panel.set_xticks([place for place, _ in ticks], [label for _, label in ticks], fontsize=_label_size(len(ticks)))
    if ego is not None:
        panel.axhline(ego, color=MODE_COLORS["ego"], linestyle=(0, (4, 2)), linewidth=1.3, label="ego (no messages)")
    panel.set_ylim(*limits)
    panel.margins(x=0.04)


def _label_size(labels: int) -> float:
    """Of the ticks of a panel, in points."""
    return 8 if labels < 7 else 6.5


def _apart(places: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Ticks at the measured points; the label of one that is too near to the one before is left out."""
    span = places[-1][0] - places[0][0] or 1.0
    found: list[tuple[float, str]] = []
    end = -math.inf
    for place, label in places:
        half = _LETTER_SHARE * span * len(label) / 2
        clear = place - half >= end
        found.append((place, label if clear else ""))
        end = place + half if clear else end
    return found


def _finish(figure: Figure, first: Axes, result: Result) -> None:
    """Legend, and what the numbers are of, so that the picture says it also on its own."""
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    letters = round(16 * figure.get_figwidth())  # that fit at this size
    figure.suptitle(textwrap.fill(short_about(result), letters), x=0.01, ha="left", fontsize=8, color="#5b6673")


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


def capital(text: str) -> str:
    """The text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


__all__ = ["capital", "curves", "message_fates"]
