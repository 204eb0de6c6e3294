"""The agents in the bird's-eye view: where they are, and, where there are several, which of them feed each track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.visualization import palette
from cooptrack_core.visualization.canvas import Canvas
from cooptrack_core.visualization.scene import Box, Scene

if TYPE_CHECKING:
    from cooptrack_core.visualization.bev import View

Float = NDArray[np.float64]

EGO_SIZE_M = (4.6, 1.9)
_SIGN_PX = 5.0


def colors_of(scene: Scene) -> Mapping[str, palette.RGB]:
    """Colour of every agent. A single other one is green, as what the roadside tells is everywhere."""
    others = {agent: palette.AGENTS[k % len(palette.AGENTS)] for k, agent in enumerate(scene.roadside)}
    return {scene.vehicle: palette.EGO} | others


def draw_agents(canvas: Canvas, scene: Scene, view: View, index: int) -> None:
    """The vehicle, and the others with a line from those whose message the frame used."""
    frame, colors = scene.frames[index], colors_of(scene)
    T = frame.T_world_from_lidar
    used = {str(message["agent"]) for message in frame.messages}
    ego_px = view.pixels(T[:2, 3])
    for agent in scene.roadside:
        position = scene.position(agent, frame.stamp_ns)
        if position is None:
            continue
        at, color = view.pixels(position), colors[agent]
        if agent in used:
            canvas.dashed([at, ego_px], palette.mix(color, palette.BACKGROUND, 0.45), 1, dash=3)
        if agent in scene.ways:
            _draw_body(canvas, view, scene.T_world_from_agent(agent, frame.stamp_ns), color)
            canvas.label(at, agent, color, palette.BACKGROUND, size=13, gap=22)
            continue
        canvas.circle(at, 9, palette.BACKGROUND)
        canvas.circle(at, 9, color, 2)
        canvas.circle(at, 4, color)
        canvas.label(at, agent, color, palette.BACKGROUND, size=13, gap=16)
    _draw_body(canvas, view, T, palette.EGO)
    canvas.label(ego_px, scene.vehicle, palette.EGO, palette.BACKGROUND, size=13, gap=22)


def _draw_body(canvas: Canvas, view: View, T_world_from_lidar: Float, color: palette.RGB) -> None:
    length, width = EGO_SIZE_M
    side = np.array([[0.5, -0.3], [0.42, -0.5], [-0.46, -0.5], [-0.5, -0.4]])
    body = np.vstack([side, side[::-1] * [1, -1]])
    glass = np.array([[0.28, -0.4], [0.1, -0.34], [0.1, 0.34], [0.28, 0.4]])

    def place(points: Float) -> Float:
        local = points * [length, width]
        return view.pixels(local @ T_world_from_lidar[:2, :2].T + T_world_from_lidar[:2, 3])

    canvas.fill(place(body), color)
    canvas.line(place(body), palette.TEXT, 1.5, closed=True)
    canvas.fill(place(glass), palette.BACKGROUND, 0.85)


def draw_feeders(canvas: Canvas, scene: Scene, view: View, box: Box) -> None:
    """A row of signs beside a track, one for each agent that measured it in this frame: in the order of the legend."""
    names = ([scene.vehicle] if box.seen in ("both", "ego") else []) + [
        agent for agent in scene.roadside if agent in (box.source.get("agents") or ())
    ]
    step = 2.5 * _SIGN_PX * canvas.scale
    at = view.pixels(box.center_m)
    first = at + np.array([-(len(names) - 1) / 2 * step, (float(max(box.size_m[:2])) * view.px_per_m / 2 + 3) * 0.6])
    for k, agent in enumerate(names):
        draw_agent_sign(canvas, scene, first + np.array([k * step, 0.0]), agent)


def draw_agent_sign(canvas: Canvas, scene: Scene, at: Float, agent: str) -> None:
    """A square for what drives, a diamond for what stands, in the colour of the agent."""
    r = _SIGN_PX * canvas.scale
    drives = agent == scene.vehicle or agent in scene.ways
    square, diamond = [[-1, -1], [1, -1], [1, 1], [-1, 1]], [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]]
    shape = np.array(square if drives else diamond) * r * 0.9
    canvas.fill(at + shape, colors_of(scene)[agent])
    canvas.line(at + shape, palette.BACKGROUND, 1, closed=True)


__all__ = ["EGO_SIZE_M", "colors_of", "draw_agent_sign", "draw_agents", "draw_feeders"]
