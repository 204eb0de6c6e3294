"""Association as the field draws it: seen from above, pairs in one colour, unmatched instances blue and green."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cooptrack_core.evaluation.plots import plot_style
from cooptrack_core.visualization import print_palette as colors
from cooptrack_core.visualization.figure_sheet import AXIS_IN, EDGE_IN, PT_PER_INCH, Sheet, Together, heading_height
from cooptrack_core.visualization.plan_figure import RANGE_M, Plan
from cooptrack_core.visualization.scene import Box, Float, Scene
from cooptrack_core.visualization.track_colors import track_colors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "Association of vehicle and roadside"
_SIDE_IN, _PANEL_IN = 5.6, 3.7
_CIRCLE: dict[str, Any] = {"marker": "o", "markersize": 4.2, "markeredgecolor": "white", "markeredgewidth": 0.5}
_DIAMOND: dict[str, Any] = {"marker": "D", "markersize": 7.0, "markerfacecolor": "none", "markeredgewidth": 1.3}
_DASHES: Any = (0, (2.2, 1.4))


def association_figure(
    scene: Scene, index: int, words: str = "", *, range_m: float = RANGE_M, colors_of: Mapping[int, str] | None = None
) -> Figure:
    """One frame. words: what the second line of the heading says of run and frame.

    colors_of: `track_colors` of the scene, for which many figures of it need not ask again.
    """
    with plot_style():
        top = heading_height(words, _SIDE_IN)
        sheet = Sheet(AXIS_IN + _SIDE_IN + EDGE_IN, top + _SIDE_IN + 1.34)
        axes = sheet.axes(AXIS_IN, top, _SIDE_IN, _SIDE_IN)
        tints = track_colors(scene) if colors_of is None else colors_of
        plan = Plan(axes, scene, index, tints, range_m, side_pt=_SIDE_IN * PT_PER_INCH)
        _draw(plan)
        sheet.heading(_TITLE, words, AXIS_IN, _SIDE_IN)
        sheet.legend(_legend(plan), 2, AXIS_IN)
        return sheet.figure


def association_strip(scene: Scene, indices: Sequence[int], words: str = "", *, range_m: float = RANGE_M) -> Figure:
    """Several frames side by side, four in a row."""
    with plot_style():
        columns = min(4, len(indices))
        rows = -(-len(indices) // columns)
        across = columns * _PANEL_IN + (columns - 1) * AXIS_IN
        top = heading_height(words, across) + 0.24
        legend = 0.56 if columns > 2 else 1.0
        sheet = Sheet(AXIS_IN + across + EDGE_IN, top + rows * (_PANEL_IN + AXIS_IN) + legend)
        tints = track_colors(scene)
        for k, index in enumerate(indices):
            x, y = k % columns * (_PANEL_IN + AXIS_IN), k // columns * (_PANEL_IN + AXIS_IN)
            axes = sheet.axes(AXIS_IN + x, top + y, _PANEL_IN, _PANEL_IN)
            _draw(Plan(axes, scene, index, tints, range_m, side_pt=_PANEL_IN * PT_PER_INCH))
            axes.set_title(f"t = {scene.time_s(index):.1f} s", fontsize=9, pad=4)
        sheet.heading(_TITLE, words, AXIS_IN, across)
        sheet.legend(_legend(None), 4 if columns > 2 else 2, AXIS_IN)
        return sheet.figure


def _draw(plan: Plan) -> None:
    frame = plan.frame
    for box in frame.truth:
        outline = plan.footprint(box)
        plan.polygon(outline, fill=False, edgecolor=colors.FAINT_TRUTH, linewidth=0.7, zorder=1.5)
        plan.occupy(outline)
    plan.surroundings()
    tracks = {box.id: box for box in frame.tracks}
    for center, track in frame.unmatched_remote:
        _instance(plan, center, tracks.get(track), colors.REMOTE, _DIAMOND, dashed=True)
    for center, track in frame.unmatched_ego:
        _instance(plan, center, tracks.get(track), colors.EGO, _CIRCLE, dashed=False)
    for ego, remote, track, _ in frame.pairs:
        color = plan.color(track)
        plan.axes.plot(*plan.points([ego, remote]).T, color=color, linewidth=1.8, zorder=4.5)
        _instance(plan, remote, tracks.get(track), color, _DIAMOND, dashed=True)
        _instance(plan, ego, tracks.get(track), color, _CIRCLE, dashed=False)
    plan.names()
    _numbers(plan, tracks)


def _numbers(plan: Plan, tracks: Mapping[int, Box]) -> None:
    """Numbers of all pairs; of the unmatched ones, the nearest first, as far as there is room."""
    paired = [(ego, track) for ego, _, track, _ in plan.frame.pairs]
    unmatched = [*plan.frame.unmatched_ego, *plan.frame.unmatched_remote]
    for instances in (paired, unmatched):
        for center, track in sorted(instances, key=lambda item: float(np.hypot(*plan.points(item[0])))):
            at = plan.points(center)
            if track <= 0 or not plan.inside(at):
                continue
            beside = _extent(plan, center, tracks[track]) if track in tracks else None
            if instances is paired:
                plan.label(at, str(track), plan.color(track), bold=True, beside=beside)
            else:
                plan.remark(at, str(track), beside)


def _extent(plan: Plan, center: Float, box: Box) -> Float:
    """[4, 2] footprint of a track's box around an instance of it."""
    return plan.footprint(box, [*np.asarray(center)[:2], box.center_m[2]])


def _instance(plan: Plan, center: Float, box: Box | None, color: str, marker: dict[str, Any], *, dashed: bool) -> None:
    """One instance: a marker where its own side puts it, around it the extent of the track that it belongs to."""
    at = plan.points(center)
    if box is not None:
        style = _DASHES if dashed else "-"
        outline = _extent(plan, center, box)
        plan.polygon(outline, facecolor=color, alpha=0.10, linewidth=0, zorder=2)
        plan.polygon(outline, fill=False, edgecolor=color, linewidth=0.9, linestyle=style, zorder=2.5)
        plan.occupy(outline)
    if plan.inside(at):
        plan.axes.plot(*at, linestyle="none", **{"color": color, **marker}, zorder=5)
        plan.labels.occupy(at, 4 * plan.m_per_pt)


def _legend(plan: Plan | None) -> list[Any]:
    """What the signs mean; with a plan also how many it shows."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def count(centers: Sequence[Float]) -> str:
        return "" if plan is None else f": {sum(plan.inside(plan.points(center)) for center in centers)}"

    frame = None if plan is None else plan.frame
    pairs = count([ego for ego, *_ in frame.pairs] if frame else [])
    ego = count([center for center, _ in frame.unmatched_ego] if frame else [])
    remote = count([center for center, _ in frame.unmatched_remote] if frame else [])
    joined = {**_CIRCLE, "markersize": 5.0}
    grey: dict[str, Any] = {"linestyle": "none", "color": colors.MUTED}
    dot, diamond = Line2D([], [], **{**grey, **_CIRCLE}), Line2D([], [], **{**grey, **_DIAMOND, "markersize": 5.0})
    box: dict[str, Any] = {"facecolor": colors.MUTED + "1a", "edgecolor": colors.MUTED, "linewidth": 0.9}
    return [
        Line2D(
            [], [], color=colors.TRACKS[0], linewidth=1.8, **joined, label=f"associated, colour and number by id{pairs}"
        ),
        Line2D([], [], linestyle="none", **{"color": colors.EGO, **_CIRCLE}, label=f"unmatched, vehicle{ego}"),
        Line2D([], [], linestyle="none", **{"color": colors.REMOTE, **_DIAMOND}, label=f"unmatched, roadside{remote}"),
        Line2D([], [], **grey, marker="$12$", markersize=8, markeredgewidth=0.2, label="number of an unmatched track"),
        Patch(fill=False, edgecolor=colors.FAINT_TRUTH, label="ground truth"),
        Together((Patch(**box), dot), "measured by the vehicle, box of its track"),
        Together((Patch(**box, linestyle=_DASHES), diamond), "measured by the roadside, box of its track"),
        Together((dot, diamond), "without a box: no track is reported yet", apart=True),
        Patch(facecolor=colors.EGO, alpha=0.25, label="field of view, vehicle"),
        Patch(facecolor=colors.REMOTE, alpha=0.25, label="field of view, roadside"),
    ]


__all__ = ["association_figure", "association_strip"]
