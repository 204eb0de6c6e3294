"""The plots of a report, from metrics["curves"] and metrics["by_sequence"]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.page import Html, figure, figure_svg
from cooptrack_core.evaluation.plots import CLASS_COLORS, COLORS, plot_style, subplots
from cooptrack_core.evaluation.report_tables import value_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Metrics = Mapping[str, Any]
Float = NDArray[np.float64]

# From the strictest threshold to the most lenient: one hue, so that their order is seen.
_THRESHOLD_COLORS = ("#08306b", "#2171b5", "#6baed6", "#b3cde3")
# Metrics shown by sequence: their colour, and where in the metrics their value over all sequences is.
_SEQUENCE_METRICS = {
    "mAP": (COLORS[0], ("detection", "mAP")), "AMOTA": (COLORS[1], ("tracking", "mean", "amota")),
}  # fmt: skip


def curve_figures(metrics: Metrics) -> list[Html]:
    """Figures with captions for all curves that there are."""
    with plot_style():
        made = [_precision(metrics), _tracking(metrics), _distance(metrics), _sequences(metrics)]
    return [item for item in made if item is not None]


def _precision(metrics: Metrics) -> Html | None:
    recall = value_of(metrics, "curves", "detection", "recall")
    classes = value_of(metrics, "curves", "detection", "precision")
    if not recall or not classes:
        return None
    fig, axes = subplots(1, len(classes), height=3.0, sharey=True)
    for ax, (name, curves) in zip(axes[0], classes.items(), strict=True):
        for (threshold, values), color in zip(curves.items(), _THRESHOLD_COLORS, strict=False):
            ap = value_of(metrics, "detection", name, f"ap_{threshold}")
            label = f"{float(threshold):g} m" + ("" if ap is None else f", AP {ap:.3f}")
            ax.plot(recall, _numbers(values), color=color, label=label)
        ax.set(title=name, xlabel="recall", xlim=(0, 1.02), ylim=(0, 1.04))
        _empty(ax, list(curves.values()))
        ax.legend(loc="lower left", title="centre distance", title_fontsize=8, alignment="left")
    axes[0][0].set_ylabel("precision")
    words = "Detection: precision over recall at four match distances; a curve ends at the highest recall reached."
    return figure(figure_svg(fig, "precision over recall per class"), words)


def _tracking(metrics: Metrics) -> Html | None:
    classes = value_of(metrics, "curves", "tracking")
    if not classes:
        return None
    fig, axes = subplots(1, 3, height=3.0)
    panels = (("motar", "MOTAR"), ("mota", "MOTA"), ("ids", "identity switches"))
    for ax, (key, title) in zip(axes[0], panels, strict=True):
        for name, curve in classes.items():
            aimed, values = _numbers(curve.get("recall")), _numbers(curve.get(key))
            if len(aimed) == len(values) and len(values):
                ax.plot(aimed, values, color=CLASS_COLORS.get(name), label=name, marker=".")
        ax.set(title=title, xlabel="recall", xlim=(0, 1.02))
        if key == "ids":
            top = max([1.0, *(float(v) for c in classes.values() for v in _numbers(c.get(key)) if np.isfinite(v))])
            ax.set_ylim(-0.04 * top, 1.08 * top)
            ax.yaxis.get_major_locator().set_params(integer=True)
        else:
            ax.set_ylim(-0.03, 1.04)
        _empty(ax, [curve.get(key) for curve in classes.values()])
    axes[0][0].legend(loc="lower left")
    words = (
        "Tracking at the recalls that AMOTA averages over: MOTAR (its mean, with 0 where a recall is not reached, is "
        "AMOTA), MOTA and identity switches."
    )
    return figure(figure_svg(fig, "MOTAR, MOTA and identity switches over recall per class"), words)


def _distance(metrics: Metrics) -> Html | None:
    curves = value_of(metrics, "curves", "distance")
    if not curves or len(curves["edges_m"]) < 2:
        return None
    fig, axes = subplots(1, 2, height=3.0)
    edges = np.asarray(curves["edges_m"])
    middle, names = (edges[1:] + edges[:-1]) / 2, list(curves["recall"])
    width = (edges[1] - edges[0]) * 0.8 / max(len(names), 1)
    for k, name in enumerate(names):
        color = CLASS_COLORS.get(name)
        axes[0][0].plot(middle, _numbers(curves["recall"][name]), color=color, marker="o", label=name)
        at = middle + (k - (len(names) - 1) / 2) * width
        axes[0][1].bar(at, curves["objects"][name], width=0.9 * width, color=color, label=name)
    axes[0][0].set(title="Recall of the tracks", ylim=(-0.03, 1.04), ylabel="share of the objects found")
    axes[0][1].set(title="Objects to find", ylabel="boxes of ground truth")
    for ax in axes[0]:
        ax.set(xlabel="distance from the vehicle (m)", xlim=(edges[0], edges[-1]), xticks=edges)
        ax.legend()
    words = f"Objects with a track within {curves['match_m']:g} m in the same frame, by distance from the vehicle."
    return figure(figure_svg(fig, "recall over distance per class"), words)


def _sequences(metrics: Metrics) -> Html | None:
    section = metrics.get("by_sequence") or {}
    shown = [key for key in _SEQUENCE_METRICS if any(key in values for values in section.values())]
    if len(section) < 2 or not shown:
        return None
    fig, axes = subplots(len(shown), 1, height=1.9 * len(shown) + 0.3, sharex=True)
    for ax, key in zip(axes[:, 0], shown, strict=True):
        color, path = _SEQUENCE_METRICS[key]
        values = _numbers([section[name].get(key) for name in section])
        ax.bar(range(len(section)), values, color=color, width=0.7)
        overall = value_of(metrics, *path)
        if overall is not None:
            ax.axhline(overall, color="#1c2530", linewidth=1.0, linestyle="--", label=f"all sequences: {overall:.3f}")
            ax.legend(loc="upper right", bbox_to_anchor=(1.0, 1.22))
        ax.set(title=key, ylim=(0, max(1.0, float(np.nanmax([*values, 0.0])))))
        ax.grid(visible=False, axis="x")
    turned = len(section) > 14
    axes[-1, 0].set_xticks(range(len(section)), list(section), rotation=60 if turned else 0)
    axes[-1, 0].set_xlabel("sequence")
    return figure(figure_svg(fig, "metrics of each sequence"), "Each sequence by itself, mean over the classes.")


def _empty(ax: Axes, curves: Sequence[Any]) -> None:
    """Says where there is nothing to draw."""
    if not any(np.isfinite(_numbers(curve)).any() for curve in curves if curve is not None):
        ax.text(0.5, 0.5, "nothing found", ha="center", transform=ax.transAxes, color="#5b6673")


def _numbers(values: Any) -> Float:
    return np.array([np.nan if value is None else value for value in values or ()], np.float64)


__all__ = ["curve_figures"]
