"""A tiny V2X-Seq-SPD tree written by hand, for tests: one vehicle passing a roadside unit."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

START_US = 1_626_155_123_000_000
PERIOD_US = 100_000
VEHICLE_IMAGE_DELAY_US = 101_000
INFRASTRUCTURE_SHIFT_US = 17_000
INFRASTRUCTURE_ID_SHIFT = 500
OFFSET_M = (-0.7, -0.14)
IMAGE_SIZE = (64, 48)


def rotation_z(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def transform(R: np.ndarray, t: tuple[float, ...]) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


T_NOVATEL_FROM_LIDAR = transform(rotation_z(np.pi / 2), (0.1, 1.2, 0.3))
T_MAP_FROM_VIRTUALLIDAR = transform(rotation_z(-2.1), (3030.0, 2020.0, 25.0))
# Camera axes: right, down, forward of a lidar that looks along x.
AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
T_VEHICLE_CAMERA = transform(AXES, (-0.3, -0.6, -0.5))
SKEWED = np.diag([0.994, 0.827, 0.992]) @ AXES @ rotation_z(0.1)  # as jointly calibrated extrinsics of real data are
T_INFRASTRUCTURE_CAMERA = transform(SKEWED, (-0.2, -6.0, 7.0))
K_VEHICLE = [60.0, 0.0, 32.0, 0.0, 59.0, 24.0, 0.0, 0.0, 1.0]
K_INFRASTRUCTURE = [35.0, 0.0, 31.0, 0.0, 37.0, 23.0, 0.0, 0.0, 1.0]


@dataclass
class Road:
    """One road user in the map: raw type, position, velocity, size l w h, and who sees it."""

    raw_type: str
    position: tuple[float, float, float]
    velocity: tuple[float, float]
    size: tuple[float, float, float]
    sides: tuple[str, ...]
    heading: float = 0.0


ROAD_USERS = (
    Road("Car", (3025.0, 2010.0, 23.8), (8.0, 2.0), (4.4, 1.8, 1.6), ("veh", "inf"), 0.245),
    Road("Pedestrian", (3012.0, 2004.0, 23.85), (0.0, 1.2), (0.6, 0.6, 1.7), ("veh",), 1.57),
    Road("Tricyclist", (3028.0, 2018.0, 23.8), (-3.0, 0.0), (2.4, 1.0, 1.6), ("inf",), 3.1),
)


@dataclass
class TinySpd:
    """What to write."""

    root: Path
    sequences: tuple[str, ...] = ("0010",)
    frames: int = 4
    images: bool = True
    roadside: bool = True
    offset: dict = field(default_factory=lambda: {"delta_x": OFFSET_M[0], "delta_y": OFFSET_M[1]})

    def write(self) -> Path:
        self._veh_rows: list[dict] = []
        self._inf_rows: list[dict] = []
        self._pairs: list[dict] = []
        for index, sequence in enumerate(self.sequences):
            for frame in range(self.frames):
                self._frame(sequence, index * self.frames, frame, START_US + index * 60_000_000)
        dump(self.root / "vehicle-side" / "data_info.json", self._veh_rows)
        if self.roadside:
            dump(self.root / "infrastructure-side" / "data_info.json", self._inf_rows)
            dump(self.root / "cooperative" / "data_info.json", self._pairs)
        return self.root

    def _frame(self, sequence: str, first: int, index: int, start_us: int) -> None:
        veh_id, inf_id = f"{first + index:06d}", f"{first + index + INFRASTRUCTURE_ID_SHIFT:06d}"
        veh_us = start_us + index * PERIOD_US
        inf_us = veh_us + INFRASTRUCTURE_SHIFT_US
        T_map_from_lidar = T_map_from_novatel(veh_us - start_us) @ T_NOVATEL_FROM_LIDAR
        vehicle = self.root / "vehicle-side"
        calib = vehicle / "calib"
        dump(calib / "camera_intrinsic" / f"{veh_id}.json", {"cam_D": [-0.38, 0.33, 0.0, 0.0, 0.0], "cam_K": K_VEHICLE})
        dump(calib / "lidar_to_camera" / f"{veh_id}.json", extrinsic(T_VEHICLE_CAMERA))
        dump(calib / "lidar_to_novatel" / f"{veh_id}.json", {"transform": extrinsic(T_NOVATEL_FROM_LIDAR)})
        dump(calib / "novatel_to_world" / f"{veh_id}.json", extrinsic(T_map_from_novatel(veh_us - start_us)))
        seen = [(i, u) for i, u in enumerate(ROAD_USERS) if "veh" in u.sides]
        T = registered_inverse(T_map_from_lidar)
        veh_labels = [label(u, T, veh_us - start_us, f"{i + 100:06d}", (veh_id, i, "veh")) for i, u in seen]
        dump(vehicle / "label" / "lidar" / f"{veh_id}.json", veh_labels)
        dump(vehicle / "label" / "camera" / f"{veh_id}.json", veh_labels)
        self._files(vehicle, veh_id, index)
        row = frame_row("vehicle", veh_id, sequence, veh_us, veh_us + VEHICLE_IMAGE_DELAY_US)
        last = f"{first + self.frames - 1:06d}"
        self._veh_rows.append(row | {"start_frame_id": f"{first:06d}", "end_frame_id": last, "num_frames": self.frames})
        if self.roadside:
            self._roadside(sequence, inf_id, inf_us, start_us, first, index)
            self._cooperative(sequence, (veh_id, inf_id), (veh_us, inf_us), start_us, T)

    def _roadside(self, sequence: str, inf_id: str, inf_us: int, start_us: int, first: int, index: int) -> None:
        folder = self.root / "infrastructure-side"
        dump(folder / "calib" / "camera_intrinsic" / f"{inf_id}.json", {"cam_K": K_INFRASTRUCTURE})
        dump(folder / "calib" / "virtuallidar_to_camera" / f"{inf_id}.json", extrinsic(T_INFRASTRUCTURE_CAMERA))
        dump(folder / "calib" / "virtuallidar_to_world" / f"{inf_id}.json", extrinsic(T_MAP_FROM_VIRTUALLIDAR))
        seen = [(i, u) for i, u in enumerate(ROAD_USERS) if "inf" in u.sides]
        T = np.linalg.inv(T_MAP_FROM_VIRTUALLIDAR)
        labels = [label(u, T, inf_us - start_us, f"{i + 200:06d}", (inf_id, i, "inf")) for i, u in seen]
        dump(folder / "label" / "virtuallidar" / f"{inf_id}.json", labels)
        dump(folder / "label" / "camera" / f"{inf_id}.json", labels)
        self._files(folder, inf_id, index)
        row = frame_row("infrastructure", inf_id, sequence, inf_us, inf_us - 4_000)
        ends = {
            "start_frame_id": f"{first + INFRASTRUCTURE_ID_SHIFT:06d}",
            "end_frame_id": f"{first + self.frames - 1 + INFRASTRUCTURE_ID_SHIFT:06d}",
        }
        camera = {"camera_ip": "172_18_9_101", "camera_id": "1", "lidar_id": "151"}
        self._inf_rows.append(row | camera | {"valid_frames_splits": [ends], "num_frames": self.frames})

    def _cooperative(
        self, sequence: str, ids: tuple[str, str], stamps_us: tuple[int, int], start_us: int, T: np.ndarray
    ) -> None:
        labels = []
        for i, user in enumerate(ROAD_USERS):
            by_veh, by_inf = "veh" in user.sides, "inf" in user.sides
            box = label(user, T, stamps_us[0] - start_us, f"{i + 1:06d}", (ids[0], i, "coop"))
            labels.append(
                box
                | {
                    "from_side": "coop" if by_veh and by_inf else user.sides[0],
                    "veh_pointcloud_timestamp": str(stamps_us[0]),
                    "inf_pointcloud_timestamp": str(stamps_us[1]),
                    "veh_frame_id": ids[0],
                    "inf_frame_id": ids[1],
                    "veh_track_id": f"{i + 100:06d}" if by_veh else "-1",
                    "inf_track_id": f"{i + 200:06d}" if by_inf else "-1",
                    "veh_token": token(ids[0], i, "veh") if by_veh else "-1",
                    "inf_token": token(ids[1], i, "inf") if by_inf else "-1",
                }
            )
        dump(self.root / "cooperative" / "label" / f"{ids[0]}.json", labels)
        self._pairs.append(
            {
                "vehicle_frame": ids[0],
                "infrastructure_frame": ids[1],
                "vehicle_sequence": sequence,
                "infrastructure_sequence": sequence,
                "system_error_offset": self.offset,
            }
        )

    def _files(self, folder: Path, frame_id: str, index: int) -> None:
        if not self.images:
            return
        image = np.full((IMAGE_SIZE[1], IMAGE_SIZE[0], 3), 40 + 20 * index, np.uint8)
        (folder / "image").mkdir(parents=True, exist_ok=True)
        (folder / "image" / f"{frame_id}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
        (folder / "velodyne").mkdir(parents=True, exist_ok=True)
        (folder / "velodyne" / f"{frame_id}.pcd").write_bytes(pcd_header(2, "ascii") + b"1 2 3 40\n4 5 6 70\n")


def pcd_header(points: int, data: str) -> bytes:
    return (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
        f"WIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {data}\n"
    ).encode()


def T_map_from_novatel(elapsed_us: int) -> np.ndarray:
    seconds = elapsed_us / 1e6
    return transform(rotation_z(-1.2 + 0.1 * seconds), (3000.0 + 10.0 * seconds, 2000.0 + 3.0 * seconds, 25.2))


def registered_inverse(T_map_from_lidar: np.ndarray) -> np.ndarray:
    """E inv(T_map_from_lidar): from the map into the vehicle lidar frame, SPD convention."""
    return transform(np.eye(3), (*OFFSET_M, 0.0)) @ np.linalg.inv(T_map_from_lidar)


def token(frame_id: str, index: int, side: str) -> str:
    return str(uuid.uuid3(uuid.NAMESPACE_DNS, f"{side}/{frame_id}/{index}"))


def label(user: Road, T: np.ndarray, elapsed_us: int, track_id: str, identity: tuple[str, int, str]) -> dict:
    """A label of a road user in the frame that T maps the map into."""
    seconds = elapsed_us / 1e6
    at = np.array([*(np.array(user.position[:2]) + np.array(user.velocity) * seconds), user.position[2], 1.0])
    x, y, z = (T @ at)[:3]
    rotation = float(np.angle(np.exp(1j * (user.heading + np.arctan2(T[1, 0], T[0, 0])))))
    length, width, height = user.size
    return {
        "token": token(*identity),
        "type": user.raw_type,
        "track_id": track_id,
        "truncated_state": 0,
        "occluded_state": 0,
        "alpha": 0.0,
        "2d_box": {"xmin": 10.0, "ymin": 10.0, "xmax": 20.0, "ymax": 20.0},
        "3d_dimensions": {"h": height, "w": width, "l": length},
        "3d_location": {"x": float(x), "y": float(y), "z": float(z)},
        "rotation": rotation,
    }


def frame_row(side: str, frame_id: str, sequence: str, stamp_us: int, image_us: int) -> dict:
    lidar = "lidar" if side == "vehicle" else "virtuallidar"
    extrinsics = (
        ("lidar_to_camera", "lidar_to_novatel", "novatel_to_world")
        if side == "vehicle"
        else ("virtuallidar_to_camera", "virtuallidar_to_world")
    )
    calib = {f"calib_{n}_path": f"calib/{n}/{frame_id}.json" for n in ("camera_intrinsic", *extrinsics)}
    return calib | {
        "image_path": f"image/{frame_id}.jpg",
        "pointcloud_path": f"velodyne/{frame_id}.pcd",
        "label_camera_std_path": f"label/camera/{frame_id}.json",
        "label_lidar_std_path": f"label/{lidar}/{frame_id}.json",
        "intersection_loc": "yizhuang09",
        "image_timestamp": str(image_us),
        "pointcloud_timestamp": str(stamp_us),
        "frame_id": frame_id,
        "sequence_id": sequence,
    }


def extrinsic(T: np.ndarray) -> dict:
    return {"rotation": T[:3, :3].tolist(), "translation": T[:3, 3:].tolist()}


def dump(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def edit(path: Path, change: object) -> None:
    """Rewrites a JSON file through `change(content) -> content | None` (None: changed in place)."""
    content = json.loads(path.read_text())
    changed = change(content)  # type: ignore[operator]
    dump(path, content if changed is None else changed)


def dair_tree(root: Path) -> Path:
    """The tiny tree with the rows, offsets and world labels of DAIR-V2X-C."""
    TinySpd(root, frames=2).write()

    def old_rows(rows: list[dict]) -> list[dict]:
        kept = ("image_path", "pointcloud_path", "image_timestamp", "pointcloud_timestamp", "intersection_loc")
        return [
            {k: v for k, v in row.items() if k in kept or k.startswith(("calib", "label"))} | {"batch_id": "7"}
            for row in rows
        ]

    for side in ("vehicle-side", "infrastructure-side"):
        edit(root / side / "data_info.json", old_rows)
    pair = {
        "infrastructure_image_path": "infrastructure-side/image/000500.jpg",
        "infrastructure_pointcloud_path": "infrastructure-side/velodyne/000500.pcd",
        "vehicle_image_path": "vehicle-side/image/000000.jpg",
        "vehicle_pointcloud_path": "vehicle-side/velodyne/000000.pcd",
        "cooperative_label_path": "cooperative/label_world/000000.json",
        "system_error_offset": {"delta_x": OFFSET_M[0], "delta_y": OFFSET_M[1]},
    }
    untouched = pair | {
        "vehicle_pointcloud_path": "vehicle-side/velodyne/000001.pcd",
        "infrastructure_pointcloud_path": "infrastructure-side/velodyne/000501.pcd",
        "cooperative_label_path": "cooperative/label_world/000001.json",
        "system_error_offset": {"delta_x": "", "delta_y": 0},
    }
    dump(root / "cooperative" / "data_info.json", [pair, untouched])
    points = box_points((3010.0, 2010.0, 23.8), (4.4, 1.8, 1.6), 0.7)
    box = {"type": "car", "world_8_points": points, "rotation": 0.1, "occluded_state": "0"}
    dump(root / "cooperative" / "label_world" / "000000.json", [box])
    return root


def box_points(center: tuple[float, ...], size: tuple[float, ...], heading: float) -> list[list[float]]:
    """world_8_points: bottom ring, then top ring; from corner 0 the width leads to 1 and the length to 3."""
    ring = [(1, 1), (1, -1), (-1, -1), (-1, 1)]
    local = [(sx * size[0] / 2, sy * size[1] / 2, sz * size[2] / 2) for sz in (-1, 1) for sx, sy in ring]
    return (np.array(local) @ rotation_z(heading).T + center).tolist()
