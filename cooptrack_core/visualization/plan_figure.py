"""The ground plane around the vehicle as matplotlib axes: rings, agents, fields of view, boxes and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import ArrayLike

from cooptrack_core.geometry.boxes import corners
from cooptrack_core.geometry.transforms import inverse, yaw_of
from cooptrack_core.visualization import print_palette as colors
from cooptrack_core.visualization.agents import EGO_SIZE_M
from cooptrack_core.visualization.bev import ground_view
from cooptrack_core.visualization.label_places import LabelPlaces
from cooptrack_core.visualization.scene import Box, Float, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RANGE_M = 50.0
LABEL_PT, REMARK_PT = 7.0, 5.8
_RING_PT, _MARKER_PT = 6.0, 9.5
_POINT_PT = 3.0  # of a box that its label may come as near as to a marker
_EDGE_PT = 7.0  # from the edge to the middle of a marker
_RING_STEP_M = 20.0
_VIEW_M = 100.0
_OUTLINE_M = np.array([[0.5, -0.3], [0.42, -0.5], [-0.5, -0.5], [-0.5, 0.5], [0.42, 0.5], [0.5, 0.3]])  # of 1 x 1
_GRID = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, 9)]), -1).reshape(-1, 2)  # of points of a footprint


class Plan:
    """Axes in metres around the vehicle of one frame: x to its right, y ahead, up to range_m on each side.

    colors_of: of the tracks by id; side_pt: width of the axes on paper, by which text is measured; remote_color: of
    the roadside and its field of view.
    """

    def __init__(
        self, axes: Axes, scene: Scene, index: int, colors_of: Mapping[int, str], range_m: float = RANGE_M, *,
        side_pt: float = 400.0, remote_color: str = colors.REMOTE,
    ) -> None:  # fmt: skip
        self.axes, self.scene, self.frame, self.range_m = axes, scene, scene.frames[index], range_m
        self._colors_of, self._remote_color = colors_of, remote_color
        self.m_per_pt = 2 * range_m / side_pt
        edge = range_m - 2 * self.m_per_pt
        self.labels = LabelPlaces((-edge, -edge, edge, edge), 0.9 * LABEL_PT * self.m_per_pt)
        self._at = self.frame.T_world_from_lidar[:2, 3]
        yaw = yaw_of(self.frame.T_world_from_lidar)
        self._right_ahead = np.array([[np.sin(yaw), -np.cos(yaw)], [np.cos(yaw), np.sin(yaw)]])
        self._radii = np.arange(_RING_STEP_M, range_m * 1.3, _RING_STEP_M)
        self._roadside = {} if scene.mode == "ego" else {
            agent: self.points(position)
            for agent in scene.roadside if (position := scene.roadside_position(agent)) is not None
        }  # fmt: skip
        axes.set_xlim(-range_m, range_m)
        axes.set_ylim(-range_m, range_m)
        axes.set_aspect("equal", adjustable="box")
        axes.grid(visible=False)
        ticks = np.arange(-range_m // _RING_STEP_M * _RING_STEP_M, range_m + 0.1, _RING_STEP_M)
        ticks = ticks[np.abs(ticks) <= range_m]
        axes.set(xticks=ticks, yticks=ticks, xlabel="to the right (m)", ylabel="ahead (m)")
        for spine in axes.spines.values():
            spine.set_visible(True)

    def points(self, world_m: ArrayLike) -> Float:
        """[..., 2] right, ahead in m of points [..., 2+] of the world frame."""
        offset = np.asarray(world_m, np.float64)[..., :2] - self._at
        return np.asarray(offset @ self._right_ahead.T)

    def color(self, track_id: int) -> str:
        """Colour of a track; a grey one for what has none."""
        return self._colors_of.get(track_id, colors.MUTED)

    def inside(self, point_m: Float) -> bool:
        """Whether a point of the plan is shown."""
        return bool(np.all(np.abs(point_m) < self.range_m))

    def shown(self, footprint: Float) -> Float | None:
        """[2] middle of the part of a footprint that the plan shows; None where it shows none."""
        front_left, front_right, rear_right, rear_left = footprint
        along, across = _GRID[:, :1], _GRID[:, 1:]
        points = (1 - along) * ((1 - across) * front_left + across * front_right)
        points = points + along * ((1 - across) * rear_left + across * rear_right)
        points = points[np.all(np.abs(points) < self.range_m, axis=1)]
        return points.mean(axis=0) if len(points) else None

    def surroundings(self) -> None:
        """Range rings, fields of view, the vehicle and the roadside units; a vehicle alone has none of these."""
        angle = np.linspace(0, 2 * np.pi, 181)
        for radius in self._radii:
            ring = radius * np.stack([np.cos(angle), np.sin(angle)])
            self.axes.plot(*ring, color=colors.LINE, linewidth=0.7, zorder=0.5)
        for agent in self.scene.cameras:
            if agent in (self.scene.vehicle, *self._roadside):
                self._field_of_view(agent, colors.EGO if agent == self.scene.vehicle else self._remote_color)
        length, width = EGO_SIZE_M
        body = _OUTLINE_M[:, ::-1] * [width, length]
        self.polygon(body, facecolor=colors.EGO, edgecolor="white", linewidth=0.6, zorder=6)
        self.labels.occupy([0.0, 0.0], [width, length / 2 + 0.5])
        for at in self._roadside.values():
            if self._on_plan(at):
                self.axes.plot(
                    *at, marker="^", color=self._remote_color, markersize=_MARKER_PT, markeredgecolor="white", zorder=6
                )
                self.labels.occupy(at, 5 * self.m_per_pt)

    def _field_of_view(self, agent: str, color: str) -> None:
        """What a camera sees of the ground, from where it stands: nearer objects are seen too, as far as they rise."""
        T = self.scene.T_camera_from_world(agent, self.frame.image_stamps_ns.get(agent, self.frame.stamp_ns))
        ground = ground_view(self.scene.cameras[agent], T, _VIEW_M)
        rim = self.points(np.vstack([ground, inverse(T)[:2, 3]])).astype(np.float32)
        outline = cv2.convexHull(rim)[:, 0]
        self.polygon(outline, facecolor=color, alpha=0.08, linewidth=0, zorder=1)
        self.polygon(outline, fill=False, edgecolor=color, alpha=0.5, linewidth=0.7, zorder=1)

    def names(self) -> None:
        """Labels of rings, vehicle and roadside; after the boxes, so that they keep off them."""
        outside = {agent: at for agent, at in self._roadside.items() if not self._on_plan(at)}
        edges = [(agent, at, self._at_edge(at)) for agent, at in outside.items()]
        self._ring_names()
        self.label(np.zeros(2), self.scene.vehicle, colors.EGO, bold=True)
        for agent, at in self._roadside.items():
            if agent not in outside:
                self.label(at, agent, self._remote_color, bold=True)
        for agent, at, edge in edges:
            self.label(edge, f"{agent}, {np.hypot(*at):.0f} m away", self._remote_color, bold=True)

    def _ring_names(self) -> None:
        turns = np.radians(225 + np.array([sign * step for step in range(0, 181, 3) for sign in (1, -1)]))
        for radius in self._radii:
            text = f"{radius:.0f} m"
            size = self._text_size(text, _RING_PT)
            at = radius * np.stack([np.cos(turns), np.sin(turns)], -1)
            at = at[np.all(np.abs(at) + size / 2 < self.range_m - 2 * self.m_per_pt, axis=1)]
            if len(at):
                self._text(self.labels.choose(at, size), text, colors.MUTED, _RING_PT, zorder=0.8)

    def _on_plan(self, at: Float) -> bool:
        return float(np.abs(at).max()) <= self.range_m - _EDGE_PT * self.m_per_pt

    def _at_edge(self, at: Float) -> Float:
        """[2] at the edge, near the line to a unit outside, where a triangle points to it and covers nothing."""
        margin = self.range_m - _EDGE_PT * self.m_per_pt
        nearest = at * margin / np.abs(at).max()
        along = np.array([0.0, 1.0]) if abs(at[0]) > abs(at[1]) else np.array([1.0, 0.0])
        shifts = np.array([sign * step for step in range(20) for sign in (1, -1)]) * 4 * self.m_per_pt
        edge = self.labels.choose(np.clip(nearest + shifts[:, None] * along, -margin, margin), 2 * [10 * self.m_per_pt])
        x, y = at - edge
        marker: Any = (3, 0, np.degrees(np.arctan2(y, x)) - 90)  # points to where it stands
        self.axes.plot(
            *edge, marker=marker, color=self._remote_color, markersize=_MARKER_PT, markeredgecolor="white", zorder=6
        )
        return edge

    def polygon(self, points_m: ArrayLike, **style: Any) -> None:
        """A closed outline [N, 2] of plan points."""
        from matplotlib.patches import Polygon

        self.axes.add_patch(Polygon(np.asarray(points_m, np.float64), closed=True, joinstyle="round", **style))

    def footprint(self, box: Box, center_m: ArrayLike | None = None) -> Float:
        """[4, 2] of a box, at its own centre or another one: front left, front right, rear right, rear left."""
        center = box.center_m if center_m is None else np.asarray(center_m, np.float64)
        return self.points(corners(center, box.size_m, box.heading_rad)[0, :4])

    def occupy(self, footprint: Float) -> None:
        """Keeps labels off a footprint."""
        self.labels.occupy((footprint.min(axis=0) + footprint.max(axis=0)) / 2, np.ptp(footprint, axis=0) / 2)

    def heading(self, footprint: Float, color: str, width: float = 1.0) -> None:
        """Line from the middle of a footprint to its front."""
        ends = np.stack([footprint.mean(axis=0), footprint[:2].mean(axis=0)])
        self.axes.plot(*ends.T, color=color, linewidth=width, solid_capstyle="round", zorder=4)

    def label(
        self, at: ArrayLike, text: str, color: str, *, bold: bool = False, beside: Float | None = None
    ) -> None:  # fmt: skip
        """Small text beside a point or its footprint, with a line to it where it had to go further away."""
        point = np.asarray(at, np.float64)
        place, far = self.labels.place(point, self._text_size(text, LABEL_PT), self._extent(beside))
        if far:
            self.axes.plot(*np.stack([point, place]).T, color=color, linewidth=0.5, alpha=0.8, zorder=7)
        self._text(place, text, color, LABEL_PT, zorder=8, weight="bold" if bold else "normal")

    def remark(self, at: ArrayLike, text: str, beside: Float | None = None) -> None:
        """Smaller grey text right beside a point or its footprint, left out where there is no room."""
        place = self.labels.room(at, self._text_size(text, REMARK_PT), self._extent(beside))
        if place is not None:
            self._text(place, text, colors.MUTED, REMARK_PT, zorder=7.5)

    def _extent(self, footprint: Float | None) -> Float:
        """[2] by which a whole footprint reaches further than the marker of a point."""
        if footprint is None or np.abs(footprint).max() > self.range_m:
            return np.zeros(2)
        return np.asarray(np.maximum(np.ptp(footprint, axis=0) / 2 - _POINT_PT * self.m_per_pt, 0))

    def _text_size(self, text: str, size_pt: float) -> Float:
        return np.array([0.66 * len(text) * size_pt + 3, 1.25 * size_pt]) * self.m_per_pt

    def _text(self, at: ArrayLike, text: str, color: str, size: float, **style: Any) -> None:
        x, y = np.asarray(at, np.float64)
        white = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
        self.axes.text(x, y, text, color=color, fontsize=size, ha="center", va="center", bbox=white, **style)


__all__ = ["LABEL_PT", "RANGE_M", "REMARK_PT", "Plan"]
