"""Tracks in both camera images beside the plan: predictions coloured by id, ground truth outlined in green."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cooptrack_core.evaluation.plots import plot_style
from cooptrack_core.visualization import print_palette as colors
from cooptrack_core.visualization.camera import Outline, project_box, seen_by_camera
from cooptrack_core.visualization.canvas import Image, decode
from cooptrack_core.visualization.figure_sheet import AXIS_IN, EDGE_IN, PT_PER_INCH, Sheet, heading_height
from cooptrack_core.visualization.label_places import LabelPlaces
from cooptrack_core.visualization.plan_figure import LABEL_PT, RANGE_M, Plan
from cooptrack_core.visualization.scene import Float, FrameView, Images, Scene
from cooptrack_core.visualization.track_colors import track_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIL_S = 2.0
_IMAGE_IN, _ONE_IMAGE_IN, _SIDE_IN, _PANEL_IN = 5.3, 7.2, 5.6, 3.7
_DASHES: Any = (0, (2.4, 1.5))
_LABELLED = 2.6  # a box in a small image is numbered if so many times as high as its number


def tracking_figure(
    scene: Scene, index: int, images: Images | None, words: str = "", *, range_m: float = RANGE_M,
    colors_of: Mapping[int, str] | None = None,
) -> Figure:  # fmt: skip
    """One frame. images: None leaves out the place of the camera images, where a run has none.

    colors_of: `track_colors` of the scene, for which many figures of it need not ask again.
    """
    tints = track_colors(scene) if colors_of is None else colors_of
    agents = _agents(scene) if images else []
    with plot_style():
        left, gap = EDGE_IN, 0.34
        width = _IMAGE_IN if len(agents) > 1 else _ONE_IMAGE_IN
        height = width * _height_over_width(scene)
        plan_left = left + (width if agents else 0.0) + AXIS_IN
        pictures = len(agents) * (height + gap) - gap + 0.16  # the plan ends with its axis below them
        side = min(max(pictures - 0.42, _SIDE_IN), 1.3 * _SIDE_IN)
        first = left if agents else plan_left
        across = plan_left + side - first
        top = heading_height(words, across)
        body = max(side + 0.42, pictures)
        sheet = Sheet(plan_left + side + EDGE_IN, top + body + (0.52 if agents else 0.72))
        for k, agent in enumerate(agents):
            axes = sheet.axes(left, top + 0.16 + k * (height + gap), width, height)
            _draw_camera(axes, scene, index, agent, images, tints, width * PT_PER_INCH)
        axes = sheet.axes(plan_left, top, side, side)
        _draw_plan(axes, scene, index, tints, range_m, side * PT_PER_INCH)
        sheet.heading(_title(scene), words, first, across)
        sheet.legend(_legend(scene, bool(agents)), 3 if agents else 2, first)
        return sheet.figure


def tracking_strip(
    scene: Scene, indices: Sequence[int], images: Images | None, words: str = "", *, range_m: float = RANGE_M
) -> Figure:
    """Several frames as columns: the camera images above the plan. images: as in `tracking_figure`."""
    agents, tints = _agents(scene) if images else [], track_colors(scene)
    with plot_style():
        between = 0.30
        height = _PANEL_IN * _height_over_width(scene)
        above = len(agents) * (height + between)
        columns = len(indices)
        across = columns * _PANEL_IN + (columns - 1) * AXIS_IN
        top = heading_height(words, across) + 0.24
        sheet = Sheet(AXIS_IN + across + EDGE_IN, top + above + _PANEL_IN + 0.55 + (0.45 if columns > 2 else 0.8))
        for k, index in enumerate(indices):
            x = AXIS_IN + k * (_PANEL_IN + AXIS_IN)
            for row, agent in enumerate(agents):
                axes = sheet.axes(x, top + row * (height + between), _PANEL_IN, height)
                _draw_camera(axes, scene, index, agent, images, tints, _PANEL_IN * PT_PER_INCH, small=True)
                if row == 0:
                    _set_title(axes, f"t = {scene.time_s(index):.1f} s: {axes.get_title('left')}")
            axes = sheet.axes(x, top + above, _PANEL_IN, _PANEL_IN)
            _draw_plan(axes, scene, index, tints, range_m, _PANEL_IN * PT_PER_INCH)
            if not agents:
                axes.set_title(f"t = {scene.time_s(index):.1f} s", fontsize=8.5, pad=3)
        sheet.heading(_title(scene), words, AXIS_IN, across)
        sheet.legend(_legend(scene, bool(agents)), 3 if columns > 2 else 2, AXIS_IN)
        return sheet.figure


def _title(scene: Scene) -> str:
    return "Tracking by the vehicle alone" if scene.mode == "ego" else "Cooperative tracking"


def _agents(scene: Scene) -> list[str]:
    """Whose images are shown: of vehicle and first roadside unit, if it takes part, those with known cameras."""
    roadside = () if scene.mode == "ego" else scene.roadside[:1]
    return [agent for agent in (scene.vehicle, *roadside) if agent in scene.cameras]


def _height_over_width(scene: Scene) -> float:
    """Of the images of the vehicle's camera; 9 / 16 where it is not known."""
    camera = scene.cameras.get(scene.vehicle)
    return 9 / 16 if camera is None or camera.width < 1 else camera.height / camera.width


def _set_title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=8.5, weight="normal", pad=3)


def _draw_camera(
    axes: Axes, scene: Scene, index: int, agent: str, images: Images | None, tints: Mapping[int, str],
    width_pt: float, *, small: bool = False,
) -> None:  # fmt: skip
    """An agent's image with the projected boxes of all tracks; words instead of the image where there is none.

    small: thin lines, and numbers only of boxes that are large enough for them.
    """
    frame, camera = scene.frames[index], scene.cameras[agent]
    stamp = frame.image_stamps_ns.get(agent)
    picture: Image | None = None if stamp is None or images is None else decode(images(agent, stamp))
    axes.set(xlim=(0, camera.width), ylim=(camera.height, 0), xticks=[], yticks=[], aspect="equal")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, edgecolor=colors.MUTED)
    name = "vehicle camera" if agent == scene.vehicle else f"roadside camera ({agent})"
    if picture is None or stamp is None:
        _set_title(axes, name)
        axes.set_facecolor("#eef1f4")
        axes.text(camera.width / 2, camera.height / 2, "no image of this frame", ha="center", color=colors.MUTED)
        return
    _set_title(axes, f"{name}, {_lateness(stamp - frame.stamp_ns)}")
    axes.imshow(picture, extent=(0, camera.width, camera.height, 0), interpolation="antialiased", zorder=0)
    T, seconds = scene.T_camera_from_world(agent, stamp), (stamp - frame.stamp_ns) * 1e-9
    outlines = [o for box in frame.tracks if (o := project_box(camera, T, box, seconds)) is not None]
    outlines.sort(key=lambda outline: -outline.distance_m)
    for outline in outlines:
        style: Any = "-" if seen_by_camera(outline.box, scene, agent) else _DASHES
        _draw_outline(axes, outline, tints[outline.box.id], style, 0.7 if small else 1.0)
    labels = LabelPlaces((0, 0, camera.width, camera.height), 0.5 * LABEL_PT * camera.width / width_pt)
    for outline in reversed(outlines):  # the nearest first: they get the best places
        _label_outline(axes, outline, tints[outline.box.id], labels, camera.width / width_pt, small)


def _lateness(late_ns: int) -> str:
    """How much later than its frame an image was taken."""
    return f"{late_ns * 1e-6:+.0f} ms".replace("-", "\N{MINUS SIGN}")


def _draw_outline(axes: Axes, outline: Outline, color: str, style: Any, scale: float) -> None:
    from matplotlib.collections import LineCollection

    segments: list[Any] = list(outline.segments)
    wide = scale * (1.3 if outline.distance_m < 40 else 0.9)
    halo = wide + 1.0 * scale
    white = LineCollection(segments, colors="white", linewidths=halo, alpha=0.55, capstyle="round", zorder=2)
    lines = LineCollection(segments, colors=color, linewidths=wide, linestyles=style, zorder=3)
    for collection in (white, lines):
        axes.add_collection(collection, autolim=False)


def _label_outline(
    axes: Axes, outline: Outline, color: str, labels: LabelPlaces, px_per_pt: float, small: bool
) -> None:  # fmt: skip
    text = str(outline.box.id)
    size = np.array([0.68 * len(text) * LABEL_PT + 3, 1.3 * LABEL_PT]) * px_per_pt
    # The axis points down in an image, so "above" is where y is smaller.
    above = np.array([outline.anchor_px[0], outline.anchor_px[1] - 1.3 * size[1]])
    if small:
        room = labels.room(above, size) if np.ptp(outline.segments[..., 1]) > _LABELLED * size[1] else None
        if room is None:
            return
        x, y = room
    else:
        (x, y), far = labels.place(above, size)
        if far:
            axes.plot(*np.stack([outline.anchor_px, [x, y]]).T, color=color, linewidth=0.6, zorder=4)
    ground = {"boxstyle": "round,pad=0.15", "facecolor": color, "edgecolor": "white", "linewidth": 0.4}
    axes.text(x, y, text, color="white", fontsize=LABEL_PT, weight="bold", ha="center", va="center",
              bbox=ground, zorder=5, clip_on=True)  # fmt: skip


def _draw_plan(
    axes: Axes, scene: Scene, index: int, tints: Mapping[int, str], range_m: float, side_pt: float
) -> None:  # fmt: skip
    plan = Plan(axes, scene, index, tints, range_m, side_pt=side_pt, remote_color=colors.QUIET_REMOTE)
    plan.surroundings()
    _draw_trails(plan)
    shown: list[tuple[int, Float, Float]] = []
    for box in plan.frame.tracks:
        color, outline = plan.color(box.id), plan.footprint(box)
        seen = box.seen in ("ego", "both")
        plan.polygon(outline, facecolor=color, alpha=0.35 if seen else 0.15, linewidth=0, zorder=3)
        style = "-" if seen else _DASHES
        plan.polygon(outline, fill=False, edgecolor=color, linewidth=1.2, linestyle=style, zorder=3.5)
        plan.heading(outline, color)
        plan.occupy(outline)
        at = plan.shown(outline)
        if at is not None:
            shown.append((box.id, at, outline))
    for box in plan.frame.truth:
        plan.polygon(plan.footprint(box), fill=False, edgecolor=colors.TRUTH, linewidth=0.9, zorder=3.8)
        plan.occupy(plan.footprint(box))
    plan.names()
    for track, at, outline in sorted(shown, key=lambda item: float(np.hypot(*item[1]))):
        plan.label(at, str(track), plan.color(track), beside=outline)


def _draw_trails(plan: Plan) -> None:
    """Where each live track was in the last seconds."""
    now, live = plan.frame.stamp_ns, {box.id for box in plan.frame.tracks}
    trails: dict[int, list[Float]] = {}
    earlier: list[FrameView] = [frame for frame in plan.scene.frames if 0 <= now - frame.stamp_ns <= TRAIL_S * 1e9]
    for frame in earlier:
        for box in frame.tracks:
            if box.id in live:
                trails.setdefault(box.id, []).append(box.center_m)
    for track, centers in trails.items():
        points = plan.points(np.array(centers))
        plan.axes.plot(*points.T, color=plan.color(track), linewidth=1.0, alpha=0.65, zorder=2)
        plan.labels.occupy(points, 0.5 * plan.m_per_pt)


def _legend(scene: Scene, with_images: bool) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    track, alone = colors.TRACKS[0], scene.mode == "ego"
    where = "the vehicle, in an image not by its camera" if with_images and not alone else "the vehicle"
    views = [Patch(facecolor=colors.EGO, alpha=0.25, label="field of view, vehicle")]
    if not alone:
        views.append(Patch(facecolor=colors.QUIET_REMOTE, alpha=0.3, label="field of view, roadside"))
    return [
        Patch(facecolor=track + "55", edgecolor=track, label="track, one colour and number per id"),
        Patch(facecolor=track + "22", edgecolor=track, linestyle=_DASHES, label=f"track not measured now by {where}"),
        Line2D([], [], color=track, alpha=0.65, linewidth=1.0, label=f"its path in the last {TRAIL_S:.0f} s"),
        Patch(fill=False, edgecolor=colors.TRUTH, label="ground truth"),
        *views,
    ]


__all__ = ["tracking_figure", "tracking_strip"]
