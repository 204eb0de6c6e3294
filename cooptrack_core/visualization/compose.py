"""One picture of a frame: bird's-eye view beside the camera images, counters above, a timeline below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cooptrack_core.config import MODE_NAMES
from cooptrack_core.visualization import palette
from cooptrack_core.visualization.agents import draw_agent_sign
from cooptrack_core.visualization.bev import Orientation, bounds_of, draw_bev, draw_marker
from cooptrack_core.visualization.camera import draw_camera
from cooptrack_core.visualization.canvas import Canvas, Image, blank
from cooptrack_core.visualization.ground import Ground, build_ground
from cooptrack_core.visualization.scene import FrameView, Images, Scene, finite

DESIGN_HEIGHT = 1080
SOURCES = (("both", "seen by both"), ("ego", "vehicle only"), ("remote", "roadside only"), ("predicted", "predicted"))
IN_A_CROWD = {"both": "vehicle and others", "remote": "others only"}
SOURCE_COLORS = {
    "both": palette.BOTH, "ego": palette.EGO, "remote": palette.REMOTE, "predicted": palette.PREDICTED,
}  # fmt: skip


def ground_of(scene: Scene, images: Images, px_per_m: float = 8.0) -> Ground | None:
    """Road picture behind the bird's-eye view; None for a recording without frames or cameras."""
    if not scene.frames or not scene.cameras:
        return None
    x0, y0, x1, y1 = bounds_of(scene)
    side = max(x1 - x0, y1 - y0) + 40.0
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    px_per_m = min(px_per_m, 1200 / side)
    return build_ground(scene, images, (cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2), px_per_m)


def counts_of(frame: FrameView) -> Counter[str]:
    """Number of tracks by who measured them in this frame."""
    return Counter(box.seen for box in frame.tracks)


def draw_frame(
    scene: Scene, index: int, images: Images, size: tuple[int, int], ground: Ground | None = None, *,
    orientation: Orientation = "map",
) -> Image:  # fmt: skip
    """Picture (width, height) of one frame."""
    width, height = size
    s = height / DESIGN_HEIGHT
    image = blank(width, height, palette.mix(palette.BACKGROUND, (0, 0, 0), 0.3))
    gap, top = round(14 * s), round(76 * s)
    column = round(min(0.418 * width, (height - top - gap) / 2 * 16 / 9))
    picture = round(min(column * 9 / 16, (height - top - 2 * gap) / 2))
    bev = (width - column - 3 * gap, height - top - gap)
    plan = draw_bev(scene, index, bev, s, orientation=orientation, ground=ground)
    _draw_legend(Canvas(plan, s), scene)
    image[top : top + bev[1], gap : gap + bev[0]] = plan
    x, y = 2 * gap + bev[0], top
    for agents in _camera_rows(scene):
        small = scene.crowded and agents != [scene.vehicle]
        wide = (column - gap) // 2 if small else column
        high = round(wide * 9 / 16) if small else picture
        if scene.frames and y + high <= height:
            for k, agent in enumerate(agents):
                left = x + k * (wide + gap)
                panel = draw_camera(scene, scene.frames[index], agent, images, (wide, high), s)
                image[y : y + high, left : left + wide] = panel
            y += high + round(10 * s)
    canvas = Canvas(image, s)
    _draw_header(canvas, scene, index)
    if height - gap - y > 30 * s:
        _draw_timeline(canvas, scene, index, (x, y, column, height - gap - y))
    return image


def _camera_rows(scene: Scene) -> list[list[str]]:
    """Whose images stand beside each other: the vehicle's alone, of several others two in a row, four at most."""
    others = list(scene.roadside[:4] if scene.crowded else scene.roadside[:1])
    return [[scene.vehicle], *(others[k : k + 2] for k in range(0, len(others), 2))]


def _draw_header(canvas: Canvas, scene: Scene, index: int) -> None:
    s, width = canvas.scale, canvas.image.shape[1]
    x = 20 * s
    x += canvas.text((x, 38 * s), "cooptrack", palette.TEXT, 28, 700) + 14 * s
    canvas.text((20 * s, 60 * s), "cooperative 3D tracking", palette.MUTED, 13)
    chip = f"{MODE_NAMES.get(scene.mode, scene.mode)} · {scene.detector} detector"
    w = canvas.text_width(chip, 14, 600) + 22 * s
    canvas.panel((x, 16 * s, w, 28 * s), palette.LINE, 1.0, radius=14)
    canvas.text((x + 11 * s, 35.5 * s), chip, palette.TEXT, 14, 600)
    if not scene.frames:
        return
    frame = scene.frames[index]
    right = width - 20 * s
    canvas.text((right, 36 * s), f"{scene.time_s(index):.1f} s", palette.TEXT, 26, 700, "right")
    note = f"frame {index + 1} of {len(scene.frames)}"
    warning = "no pose" if not frame.pose_known else "predicted only" if frame.predicted_only else ""
    color = palette.WARNING if warning else palette.MUTED
    canvas.text((right, 60 * s), f"{note} · {warning}" if warning else note, color, 13, anchor="right")
    counts, x = counts_of(frame), right - 150 * s
    for value, name, color in reversed(_statistics(frame, counts, scene.crowded)):
        w = max(canvas.text_width(value, 26, 700), canvas.text_width(name, 13)) + 34 * s
        x -= w
        canvas.text((x, 38 * s), value, color, 26, 700)
        canvas.text((x, 60 * s), name, palette.MUTED, 13)


def _statistics(frame: FrameView, counts: Mapping[str, int], crowded: bool) -> list[tuple[str, str, palette.RGB]]:
    values = [(str(len(frame.tracks)), "tracks", palette.TEXT)]
    named = dict(SOURCES) | (IN_A_CROWD if crowded else {})
    values += [(str(counts.get(key, 0)), named[key], SOURCE_COLORS[key]) for key, _ in SOURCES if key != "both"]
    values.insert(1, (str(counts.get("both", 0)), named["both"], palette.PAIR))
    if frame.messages:
        age = max(finite(message.get("age_ms")) for message in frame.messages)
        size = sum(finite(message.get("bytes")) for message in frame.messages)
        words = f"{age:.0f} ms".replace("-", "\N{MINUS SIGN}")
        values += [(words, "message age", palette.TEXT), (f"{size / 1000:.1f} kB", "message", palette.TEXT)]
    else:
        values += [("none", "message", palette.WARNING), ("", "", palette.TEXT)]
    return values


def _draw_timeline(canvas: Canvas, scene: Scene, index: int, rect: tuple[float, float, float, float]) -> None:
    """Tracks over time, stacked by source, with the current frame marked."""
    x, y, w, h = rect
    s = canvas.scale
    canvas.panel(rect, palette.PANEL, radius=4)
    counts = [counts_of(frame) for frame in scene.frames]
    most = max((sum(count.values()) for count in counts), default=0) or 1
    label = canvas.text_width("tracks by source", 12, 600)
    canvas.text((x + 10 * s, y + 18 * s), "tracks by source", palette.MUTED, 12, 600)
    canvas.text((x + 10 * s, y + 36 * s), f"most {most}", palette.MUTED, 11)
    left, right = x + label + 26 * s, x + w - 10 * s
    base, room = y + h - 8 * s, h - 16 * s
    at = np.linspace(left, right, max(len(counts), 2))
    floor = np.zeros(len(counts))
    for key in ("both", "ego", "remote", "predicted"):
        level = floor + [count.get(key, 0) for count in counts]
        if len(counts) > 1:
            upper = np.stack([at, base - level / most * room], -1)
            lower = np.stack([at, base - floor / most * room], -1)
            color = palette.PAIR if key == "both" else SOURCE_COLORS[key]
            canvas.fill(np.vstack([upper, lower[::-1]]), color, 0.62)
        floor = level
    canvas.line([[at[index], y + 4 * s], [at[index], y + h - 4 * s]], palette.TEXT, 2)


def legend_items(scene: Scene) -> Sequence[tuple[str, str]]:
    """What the signs of the bird's-eye view mean: kind of sign, words. With several others, a row for each agent."""
    other = "others" if scene.crowded else "the roadside"
    items = [
        ("track", "track, colour by id"),
        ("hidden", f"known only through {other}"),
        ("dashed", "not measured by the vehicle now"),
        ("faint", "faint: low score, doubtful"),
        ("pair", f"associated pair, vehicle and {other.removeprefix('the ')}"),
        ("ego", "unmatched, vehicle"),
        ("remote", f"unmatched, {other.removeprefix('the ')}"),
        ("truth", "ground truth"),
        ("(7)", "in an image: not measured by its camera"),
    ]
    if scene.crowded:
        items += [(agent, f"measured by {agent} in this frame") for agent in (scene.vehicle, *scene.roadside)]
    return items


def _draw_legend(canvas: Canvas, scene: Scene) -> None:
    s = canvas.scale
    items = legend_items(scene)
    w = max(canvas.text_width(words, 12.5) for _, words in items) + 54 * s
    h = (len(items) * 21 + 12) * s
    x, y = 12 * s, canvas.image.shape[0] - h - 12 * s
    canvas.panel((x, y, w, h), palette.PANEL, 0.86, palette.LINE)
    for row, (kind, words) in enumerate(items):
        middle = np.array([x + 24 * s, y + (row * 21 + 17) * s])
        if scene.crowded and kind in (scene.vehicle, *scene.roadside):
            draw_agent_sign(canvas, scene, middle, kind)
        else:
            _draw_sign(canvas, middle, kind)
        canvas.text((middle[0] + 20 * s, middle[1] + 4.5 * s), words, palette.TEXT, 12.5)


def _draw_sign(canvas: Canvas, at: Any, kind: str) -> None:
    s = canvas.scale
    box = np.array([[-11, -5], [11, -5], [11, 5], [-11, 5]]) * s
    color = palette.TRACKS[0]
    if kind in ("ego", "remote"):
        draw_marker(canvas, at, "ego" if kind == "ego" else "remote")
    elif kind == "(7)":
        canvas.text((at[0], at[1] + 4.5 * s), kind, color, 12, 600, "center")
    elif kind == "truth":
        canvas.line(at + box, palette.TRUTH, 1, 0.75, closed=True)
    elif kind == "faint":
        canvas.line(at + box, color, 1, 0.5, closed=True)
    elif kind == "pair":
        ends = at + np.array([[-10, 0], [10, 0]]) * s
        canvas.line(ends, palette.PAIR, 2.4)
        canvas.circle(ends[0], 3.2, palette.EGO)
        canvas.circle(ends[1], 3.2, palette.REMOTE)
    else:
        if kind == "hidden":
            canvas.line(at + box * [1.2, 1.55], palette.REMOTE, 2, 0.9, closed=True)
        canvas.fill(at + box, color, 0.5)
        if kind == "track":
            canvas.line(at + box, color, 2, closed=True)
        else:
            canvas.dashed(at + box, color, 2, dash=4, closed=True)
