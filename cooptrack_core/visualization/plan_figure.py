"""The ground plane around the vehicle as matplotlib axes: rings, agents, fields of view, boxes and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cooptrack_core.geometry.boxes import corners
from cooptrack_core.geometry.transforms import yaw_of
from cooptrack_core.visualization import print_palette as colors
from cooptrack_core.visualization.bev import EGO_SIZE_M, ground_view
from cooptrack_core.visualization.label_places import LabelPlaces
from cooptrack_core.visualization.scene import Box, Float, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RANGE_M = 50.0
LABEL_PT = 7.0
_RING_STEP_M = 20.0
_VIEW_M = 100.0
_OUTLINE_M = np.array([[0.5, -0.3], [0.42, -0.5], [-0.5, -0.5], [-0.5, 0.5], [0.42, 0.5], [0.5, 0.3]])  # of 1 x 1


class Plan:
    """Axes in metres around the vehicle of one frame: x to its right, y ahead, up to range_m on each side.

    side_pt: width of the axes on paper, by which text is measured.
    """

    def __init__(self, axes: Axes, scene: Scene, index: int, range_m: float = RANGE_M, side_pt: float = 400.0) -> None:
        self.axes, self.scene, self.frame, self.range_m = axes, scene, scene.frames[index], range_m
        self.m_per_pt = 2 * range_m / side_pt
        self.labels = LabelPlaces((-range_m, -range_m, range_m, range_m), 0.9 * LABEL_PT * self.m_per_pt)
        self._names: list[tuple[Float, str, str]] = []
        self._at = self.frame.T_world_from_lidar[:2, 3]
        yaw = yaw_of(self.frame.T_world_from_lidar)
        self._right_ahead = np.array([[np.sin(yaw), -np.cos(yaw)], [np.cos(yaw), np.sin(yaw)]])
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

    def inside(self, point_m: Float) -> bool:
        """Whether a point of the plan is shown."""
        return bool(np.all(np.abs(point_m) < self.range_m))

    def surroundings(self) -> None:
        """Range rings, fields of view, the vehicle and the roadside units."""
        self._rings()
        for agent, camera in self.scene.cameras.items():
            if agent == self.scene.vehicle or camera.T_world_from_lidar is not None:
                stamp = self.frame.image_stamps_ns.get(agent, self.frame.stamp_ns)
                outline = self.points(ground_view(camera, self.scene.T_camera_from_world(agent, stamp), _VIEW_M))
                color = colors.EGO if agent == self.scene.vehicle else colors.REMOTE
                self.polygon(outline, facecolor=color, alpha=0.07, linewidth=0, zorder=1)
                self.polygon(outline, fill=False, edgecolor=color, alpha=0.45, linewidth=0.7, zorder=1)
        length, width = EGO_SIZE_M
        body = _OUTLINE_M[:, ::-1] * [width, length]
        self.polygon(body, facecolor=colors.EGO, edgecolor="white", linewidth=0.6, zorder=6)
        self.labels.occupy([0.0, 0.0], [width, length / 2 + 0.5])
        self._names.append((np.zeros(2), self.scene.vehicle, colors.EGO))
        for agent in self.scene.roadside:
            position = self.scene.roadside_position(agent)
            if position is not None:
                self._roadside(agent, self.points(position))

    def _rings(self) -> None:
        angle = np.linspace(0, 2 * np.pi, 181)
        circle = np.stack([np.cos(angle), np.sin(angle)], -1)
        for radius in np.arange(_RING_STEP_M, self.range_m * 1.3, _RING_STEP_M):
            self.axes.plot(*(radius * circle).T, color=colors.LINE, linewidth=0.7, zorder=0.5)
            at = radius * np.array([-np.sqrt(0.5), -np.sqrt(0.5)])
            if np.all(np.abs(at) < self.range_m - 8 * self.m_per_pt):
                self._text(at, f"{radius:.0f} m", colors.MUTED, 6.0, zorder=0.8)
                self.labels.occupy(at, np.array([11.0, 4.0]) * self.m_per_pt)

    def _roadside(self, agent: str, at: Float) -> None:
        margin = self.range_m - 7 * self.m_per_pt
        if np.abs(at).max() <= margin:
            self.axes.plot(*at, marker="^", color=colors.REMOTE, markersize=8, markeredgecolor="white", zorder=6)
            self.labels.occupy(at, 5 * self.m_per_pt)
            self._names.append((at, agent, colors.REMOTE))
            return
        edge = at * margin / np.abs(at).max()
        marker: Any = (3, 0, np.degrees(np.arctan2(at[1], at[0])) - 90)  # points to where it stands
        self.axes.plot(*edge, marker=marker, color=colors.REMOTE, markersize=8, zorder=6)
        self.labels.occupy(edge, 5 * self.m_per_pt)
        self._names.append((edge, f"{agent}, {np.hypot(*at):.0f} m away", colors.REMOTE))

    def names(self) -> None:
        """Labels of vehicle and roadside; after the boxes, so that they keep off them."""
        for at, name, color in self._names:
            self.label(at, name, color, bold=True)

    def polygon(self, points_m: ArrayLike, **style: Any) -> None:
        """A closed outline [N, 2] of plan points."""
        from matplotlib.patches import Polygon

        self.axes.add_patch(Polygon(np.asarray(points_m, np.float64), closed=True, joinstyle="round", **style))

    def footprint(self, box: Box, center_m: ArrayLike | None = None) -> Float:
        """[4, 2] of a box, at its own centre or another one: front left, front right, rear right, rear left."""
        center = box.center_m if center_m is None else np.asarray(center_m, np.float64)
        return self.points(corners(center, box.size_m, box.heading_rad)[0, :4])

    def heading(self, footprint: Float, color: str, width: float = 1.0) -> None:
        """Line from the middle of a footprint to its front."""
        ends = np.stack([footprint.mean(axis=0), footprint[:2].mean(axis=0)])
        self.axes.plot(*ends.T, color=color, linewidth=width, solid_capstyle="round", zorder=4)

    def label(self, at: ArrayLike, text: str, color: str, *, bold: bool = False) -> None:
        """Small text beside a point, with a line to it where it had to go further away."""
        point = np.asarray(at, np.float64)
        size = np.array([0.66 * len(text) * LABEL_PT + 3, 1.25 * LABEL_PT]) * self.m_per_pt
        place, far = self.labels.place(point, size)
        if far:
            self.axes.plot(*np.stack([point, place]).T, color=color, linewidth=0.5, alpha=0.8, zorder=7)
        self._text(place, text, color, LABEL_PT, zorder=8, weight="bold" if bold else "normal")

    def _text(self, at: ArrayLike, text: str, color: str, size: float, **style: Any) -> None:
        x, y = np.asarray(at, np.float64)
        white = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
        self.axes.text(x, y, text, color=color, fontsize=size, ha="center", va="center", bbox=white, **style)


__all__ = ["LABEL_PT", "RANGE_M", "Plan"]
