"""Where an agent's camera looks: camera_info and the mounting on /tf, as a CameraView."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from cooptrack_core.types import CameraView
from cooptrack_ros.poses import PoseSource


class Cameras:
    """Camera views of an agent. The mounting of a camera does not change: it is looked up once."""

    def __init__(self, node: Any, poses: PoseSource) -> None:
        """node: the AgentNode, whose names, log and settings are used."""
        self._node, self._poses = node, poses
        self._mounts: dict[str, Any] = {}  # camera frame -> T_camera_from_sensor
        self._waited: set[str] = set()  # in vain, for these frames
        self._distortion_told = False

    def view(self, info: Any, frame_id: str, give_up: threading.Event) -> CameraView | str:
        """The view, or what is wrong in words. Waits for /tf once: worker thread only."""
        frame = frame_id or info.header.frame_id or self._node.own_frame("camera")
        T = self._mount(frame, give_up)
        if isinstance(T, str):
            return T
        self._tell_distortion(info)
        return CameraView(np.asarray(info.k, np.float64).reshape(3, 3), T, int(info.width), int(info.height))

    def _mount(self, frame: str, give_up: threading.Event) -> Any:
        if frame not in self._mounts:
            T, problem = self._poses.fixed(frame, self._node.sensor_frame, give_up, wait=frame not in self._waited)
            if T is None:
                self._waited.add(frame)
                return (
                    f"no transform from {self._node.sensor_frame} to {frame} on /tf_static ({problem}); publish it, or "
                    "mend the frame_id of the images"
                )
            self._mounts[frame] = T
        return self._mounts[frame]

    def _tell_distortion(self, info: Any) -> None:
        if self._distortion_told or not any(info.d):
            return
        self._distortion_told = True
        numbers = ", ".join(f"{value:g}" for value in info.d)
        self._node.get_logger().warning(
            f"{self._node.resolve_topic_name('camera_info')}: lens distortion {info.distortion_model} ({numbers}) is "
            "ignored: the network was trained without; send rectified images with distortion zero"
        )
