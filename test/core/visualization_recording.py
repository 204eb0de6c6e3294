"""A small invented recording with painted images, for the tests of the pictures."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

ORIGIN_MAP_M = np.array([415837.0, 4730400.0, 21.5])
START_NS = 1_626_155_123_000_000_000
WIDTH, HEIGHT = 960, 540
LIDAR_HEIGHT_M = 1.9
IMAGE_DELAY_NS = 100_000_000


def pose(x: float, y: float, z: float, yaw_rad: float) -> np.ndarray:
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


def optical(pitch_down_rad: float) -> np.ndarray:
    """T_camera_from_lidar of a camera at the lidar, looking along +x and down."""
    c, s = math.cos(pitch_down_rad), math.sin(pitch_down_rad)
    forward, right, down = np.array([c, 0, -s]), np.array([0, -1.0, 0]), np.array([-s, 0, -c])
    T = np.eye(4)
    T[:3, :3] = np.stack([right, down, forward])
    return T


def intrinsics(focal_px: float) -> list[list[float]]:
    return [[focal_px, 0, WIDTH / 2], [0, focal_px, HEIGHT / 2], [0, 0, 1]]


class FakeWorld:
    """A crossing, a vehicle driving north into it, a roadside unit in its north-east corner."""

    def __init__(self, frames: int = 12, road_users: int = 24, seed: int = 3) -> None:
        self.frames = frames
        rng = np.random.default_rng(seed)
        self.users = []
        for number in range(1, road_users + 1):
            kind = ("car", "car", "car", "bicycle", "pedestrian")[number % 5]
            size = {"car": (4.5, 1.85, 1.55), "bicycle": (1.8, 0.6, 1.7), "pedestrian": (0.6, 0.6, 1.72)}[kind]
            heading = (number % 4) * math.pi / 2
            lane = {"car": 2.0 + 3.2 * (number % 2), "bicycle": 8.5, "pedestrian": 10.5}[kind]
            speed = {"car": rng.uniform(2, 10), "bicycle": 4.0, "pedestrian": 1.3}[kind]
            along = rng.uniform(-45, 20)
            self.users.append((number, kind, size, heading, lane, along, speed))
        self.T_rsu = pose(13.0, 13.0, 6.2, -2.35)
        self.rsu_camera = optical(0.22)
        self.vehicle_camera = optical(0.03)

    def ego(self, seconds: float) -> np.ndarray:
        return pose(2.0, -34.0 + 5.0 * seconds, LIDAR_HEIGHT_M, math.pi / 2)

    def user(self, row: tuple[Any, ...], seconds: float) -> tuple[np.ndarray, float, float]:
        _, _, size, heading, lane, along, speed = row
        d = along + speed * seconds
        c, s = math.cos(heading), math.sin(heading)
        return np.array([c * d + s * lane, s * d - c * lane, size[2] / 2]), heading, speed

    def camera_of(self, agent: str, seconds: float) -> np.ndarray:
        """T_camera_from_world."""
        if agent == "vehicle":
            return self.vehicle_camera @ np.linalg.inv(self.ego(seconds))
        return self.rsu_camera @ np.linalg.inv(self.T_rsu)

    def recording(self) -> dict[str, Any]:
        T_map = np.eye(4)
        T_map[:3, 3] = ORIGIN_MAP_M
        return {
            "schema": "cooptrack/recording/1", "mode": "late", "detector": "simulated", "vehicle": "vehicle",
            "roadside": ["rsu"], "source_bag": "bag",
            "frames": [self._frame(index) for index in range(self.frames)],
            "cameras": {
                "vehicle": {
                    "K": intrinsics(1100.0), "width": WIDTH, "height": HEIGHT,
                    "T_camera_from_lidar": self.vehicle_camera.tolist(),
                },
                "rsu": {
                    "K": intrinsics(700.0), "width": WIDTH, "height": HEIGHT,
                    "T_camera_from_lidar": self.rsu_camera.tolist(), "T_map_from_lidar": (T_map @ self.T_rsu).tolist(),
                },
            },
        }  # fmt: skip

    def _frame(self, index: int) -> dict[str, Any]:
        seconds = index * 0.1
        T = self.ego(seconds)
        T_lidar = np.linalg.inv(T)
        tracks, truth, pairs, only_ego, only_remote = [], [], [], [], []
        for row in self.users:
            number, kind, size, *_ = row
            world, heading, speed = self.user(row, seconds)
            center = (T_lidar @ [*world, 1])[:3]
            relative = heading - math.pi / 2
            velocity = [speed * math.cos(relative), speed * math.sin(relative)]
            bearing = abs(math.atan2(center[1], center[0]))
            ego = bearing < 0.42 and np.hypot(*center[:2]) < 45 and number % 4 != 1
            remote = bool(number % 7) and np.hypot(*(world[:2] - [13, 13])) < 55
            truth.append(
                {
                    "id": 1000 + number, "class": kind, "center_m": center.tolist(), "size_m": list(size),
                    "heading_rad": relative, "velocity_mps": velocity,
                    "view": "visible" if ego else "occluded" if bearing < 0.42 else "outside",
                    "visible_fraction": 0.9 if ego else 0.0,
                }
            )  # fmt: skip
            if not (ego or remote):
                continue
            wobble = 0.2 * np.array([math.sin(number + seconds), math.cos(number * 2 + seconds), 0])
            sources = int(ego) | int(remote) << 1
            tracks.append(
                {
                    "id": number, "class": kind, "score": 0.8, "center_m": (center + wobble).tolist(),
                    "size_m": list(size), "heading_rad": relative, "velocity_mps": velocity,
                    "sources": sources if (index + number) % 11 else 0, "sources_ever": sources,
                    "agents": ["rsu"] if remote else [], "age_frames": index + 1, "hits": index + 1,
                    "time_since_update_s": 0.0, "position_std_m": [0.3, 0.2] if number % 2 else None,
                }
            )  # fmt: skip
            ego_at, remote_at = (center + wobble * 2).tolist(), (center - wobble * 3).tolist()
            if ego and remote:
                pairs.append(
                    {
                        "agent": "rsu", "ego_index": number, "instance_index": number, "affinity": 0.8,
                        "track_id": number, "ego_center_m": ego_at, "remote_center_m": remote_at,
                    }
                )  # fmt: skip
            elif ego:
                only_ego.append({"index": number, "track_id": number, "center_m": ego_at})
            else:
                alone = {"agent": "rsu", "instance_index": number, "track_id": number, "center_m": remote_at}
                only_remote.append(alone)
        T_map = T.copy()
        T_map[:3, 3] += ORIGIN_MAP_M
        stamp = START_NS + index * 100_000_000
        heard = index % 9 != 5
        age_ms = 35.0 + index % 5 * 6
        message = {"agent": "rsu", "session": 1, "sequence": index, "age_ms": age_ms, "bytes": 5200 + index}
        return {
            "stamp_ns": stamp, "frame_index": index, "sequence_id": "0000", "frame_id": f"{index:06d}",
            "predicted_only": False, "pose_known": True, "T_map_from_lidar": T_map.tolist(), "tracks": tracks,
            "associations": {"pairs": pairs, "unmatched_ego": only_ego, "unmatched_remote": only_remote},
            "messages": [message] if heard else [],
            "refused": [] if heard else [{"agent": "rsu", "sequence": index, "reason": "stale"}],
            "ground_truth": truth,
            "images": {
                "vehicle": {"topic": "/vehicle/image/compressed", "stamp_ns": stamp + IMAGE_DELAY_NS},
                "rsu": {"topic": "/rsu/image/compressed", "stamp_ns": stamp - 20_000_000},
            },
            "timings_ms": {"perceive": 0.4, "cooperate": 0.9, "advance": 0.6},
        }  # fmt: skip

    def image(self, agent: str, stamp_ns: int) -> bytes:
        """JPEG of a painted view."""
        seconds = (stamp_ns - START_NS) * 1e-9
        T = self.camera_of(agent, seconds)
        K = np.array(intrinsics(1100.0 if agent == "vehicle" else 700.0))
        picture = np.full((HEIGHT, WIDTH, 3), (120, 130, 118), np.uint8)
        roads = [((-70, -8, 70, 8), (92, 88, 86)), ((-8, -70, 8, 70), (92, 88, 86))]
        roads += [((k, -0.1, k + 3, 0.1), (220, 220, 220)) for k in range(-70, 70, 6) if abs(k) > 8]
        roads += [((-0.1, k, 0.1, k + 3), (220, 220, 220)) for k in range(-70, 70, 6) if abs(k) > 8]
        roads += [((-7 + 2 * k, -13, -6 + 2 * k, -9), (230, 230, 230)) for k in range(7)]
        for (x0, y0, x1, y1), color in roads:
            xs, ys = np.linspace(x0, x1, 40), np.linspace(y0, y1, 40)
            ring = [(x, y0) for x in xs] + [(x1, y) for y in ys]
            ring += [(x, y1) for x in xs[::-1]] + [(x0, y) for y in ys[::-1]]
            _paint(picture, K, T, np.array([[x, y, 0.0] for x, y in ring]), color)
        horizon = K @ T[:3, :3] @ (np.linalg.inv(T)[:3, :3] @ [0, 0, 1] * [1, 1, 0])
        if horizon[2] > 0:
            picture[: int(np.clip(horizon[1] / horizon[2], 0, HEIGHT))] = (225, 205, 180)
        boxes = [(row, *self.user(row, seconds)) for row in self.users]
        boxes.sort(key=lambda item: -float(np.linalg.norm((T @ [*item[1], 1])[:3])))
        for (number, _, size, *_), center, heading, _ in boxes:
            c, s = math.cos(heading), math.sin(heading)
            local = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
            turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            points = local @ turn.T + center
            p = points @ T[:3, :3].T + T[:3, 3]
            if np.all(p[:, 2] > 0.5):
                pixels = (p @ K.T)[:, :2] / p[:, 2:]
                tone = 60 + number * 37 % 150
                hull = cv2.convexHull(pixels.astype(np.float32)).astype(np.int32)
                cv2.fillConvexPoly(picture, hull, (tone, 70, 200 - tone))
        return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def _paint(picture: np.ndarray, K: np.ndarray, T: np.ndarray, points: np.ndarray, color: tuple[int, int, int]) -> None:
    p = points @ T[:3, :3].T + T[:3, 3]
    p = p[p[:, 2] > 0.3]
    if len(p) > 2:
        pixels = (p @ K.T)[:, :2] / p[:, 2:]
        cv2.fillPoly(picture, [np.clip(pixels, -4000, 4000).astype(np.int32)], color)
