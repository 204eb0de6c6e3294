"""Association as the field draws it: seen from above, pairs in one colour, unmatched instances blue and green."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cooptrack_core.evaluation.plots import plot_style
from cooptrack_core.visualization import print_palette as colors
from cooptrack_core.visualization.figure_sheet import AXIS_IN, EDGE_IN, PT_PER_INCH, Sheet, heading_height
from cooptrack_core.visualization.plan_figure import RANGE_M, Plan
from cooptrack_core.visualization.scene import Box, Float, FrameView, Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "Association of vehicle and roadside"
_SIDE_IN, _PANEL_IN = 5.6, 3.7
_CIRCLE: dict[str, Any] = {"marker": "o", "markersize": 4.2, "markeredgecolor": "white", "markeredgewidth": 0.5}
_DIAMOND: dict[str, Any] = {"marker": "D", "markersize": 7.0, "markerfacecolor": "none", "markeredgewidth": 1.3}


def association_figure(scene: Scene, index: int, words: str = "", *, range_m: float = RANGE_M) -> Figure:
    """One frame. words: what the second line of the heading says of run and frame."""
    with plot_style():
        top = heading_height(words, _SIDE_IN)
        sheet = Sheet(AXIS_IN + _SIDE_IN + EDGE_IN, top + _SIDE_IN + 1.16)
        axes = sheet.axes(AXIS_IN, top, _SIDE_IN, _SIDE_IN)
        _draw(Plan(axes, scene, index, range_m, _SIDE_IN * PT_PER_INCH))
        sheet.heading(_TITLE, words, AXIS_IN, _SIDE_IN)
        sheet.legend(_legend(scene.frames[index]), 2, AXIS_IN)
        return sheet.figure


def association_strip(scene: Scene, indices: Sequence[int], words: str = "", *, range_m: float = RANGE_M) -> Figure:
    """Several frames side by side, four in a row."""
    with plot_style():
        columns = min(4, len(indices))
        rows = -(-len(indices) // columns)
        across = columns * _PANEL_IN + (columns - 1) * AXIS_IN
        top = heading_height(words, across) + 0.24
        sheet = Sheet(AXIS_IN + across + EDGE_IN, top + rows * (_PANEL_IN + AXIS_IN) + 0.44)
        for k, index in enumerate(indices):
            x, y = k % columns * (_PANEL_IN + AXIS_IN), k // columns * (_PANEL_IN + AXIS_IN)
            axes = sheet.axes(AXIS_IN + x, top + y, _PANEL_IN, _PANEL_IN)
            _draw(Plan(axes, scene, index, range_m, _PANEL_IN * PT_PER_INCH))
            axes.set_title(f"t = {scene.time_s(index):.1f} s", fontsize=9, pad=4)
        sheet.heading(_TITLE, words, AXIS_IN, across)
        sheet.legend(_legend(None), 4 if columns > 2 else 2, AXIS_IN)
        return sheet.figure


def _draw(plan: Plan) -> None:
    frame = plan.frame
    for box in frame.truth:
        plan.polygon(plan.footprint(box), fill=False, edgecolor=colors.FAINT_TRUTH, linewidth=0.7, zorder=1.5)
    plan.surroundings()
    tracks = {box.id: box for box in frame.tracks}
    for center, track in frame.unmatched_remote:
        _instance(plan, center, tracks.get(track), colors.REMOTE, _DIAMOND, dashed=True)
    for center, track in frame.unmatched_ego:
        _instance(plan, center, tracks.get(track), colors.EGO, _CIRCLE, dashed=False)
    for ego, remote, track, _ in frame.pairs:
        color = colors.track_color(track)
        plan.axes.plot(*plan.points([ego, remote]).T, color=color, linewidth=1.8, zorder=4.5)
        _instance(plan, remote, tracks.get(track), color, _DIAMOND, dashed=True)
        _instance(plan, ego, tracks.get(track), color, _CIRCLE, dashed=False)
    plan.names()
    for ego, _, track, _ in frame.pairs:
        at = plan.points(ego)
        if plan.inside(at):
            plan.label(at, str(track), colors.track_color(track), bold=True)


def _instance(plan: Plan, center: Float, box: Box | None, color: str, marker: dict[str, Any], *, dashed: bool) -> None:
    """One instance: a marker where its own side puts it, around it the extent of the track that it belongs to."""
    at = plan.points(center)
    if not plan.inside(at):
        return
    if box is not None:
        style = (0, (2.2, 1.4)) if dashed else "-"
        outline = plan.footprint(box, [*np.asarray(center)[:2], box.center_m[2]])
        plan.polygon(outline, facecolor=color, alpha=0.10, linewidth=0, zorder=2)
        plan.polygon(outline, fill=False, edgecolor=color, linewidth=0.9, linestyle=style, zorder=2.5)
        plan.labels.occupy(outline.mean(axis=0), np.ptp(outline, axis=0) / 2)
    plan.axes.plot(*at, linestyle="none", **{"color": color, **marker}, zorder=5)
    plan.labels.occupy(at, 4 * plan.m_per_pt)


def _legend(frame: FrameView | None) -> list[Any]:
    """What the signs mean; with a frame also how many there are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def count(items: Sequence[object]) -> str:
        return "" if frame is None else f": {len(items)}"

    pairs = count(frame.pairs if frame else ())
    ego, remote = count(frame.unmatched_ego if frame else ()), count(frame.unmatched_remote if frame else ())
    pair = colors.TRACKS[0]
    joined = {**_CIRCLE, "markersize": 5.0}
    return [
        Line2D([], [], color=pair, linewidth=1.8, **joined, label=f"associated, colour and number by id{pairs}"),
        Line2D([], [], linestyle="none", **{"color": colors.EGO, **_CIRCLE}, label=f"unmatched, vehicle{ego}"),
        Line2D([], [], linestyle="none", **{"color": colors.REMOTE, **_DIAMOND}, label=f"unmatched, roadside{remote}"),
        Patch(fill=False, edgecolor=colors.FAINT_TRUTH, label="ground truth"),
        Line2D([], [], linestyle="none", **{"color": colors.MUTED, **_CIRCLE}, label="position by the vehicle"),
        Line2D([], [], linestyle="none", **{"color": colors.MUTED, **_DIAMOND}, label="position by the roadside"),
        Patch(facecolor=colors.EGO, alpha=0.25, label="field of view, vehicle"),
        Patch(facecolor=colors.REMOTE, alpha=0.25, label="field of view, roadside"),
    ]


__all__ = ["association_figure", "association_strip"]
