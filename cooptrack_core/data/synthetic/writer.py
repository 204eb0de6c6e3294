"""The V2X-Seq-SPD tree of one dataset: lists, calibration, labels, maps, split and sidecars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.splits import official
from cooptrack_core.data.synthetic import labels
from cooptrack_core.data.synthetic.coopsynth.plan import sequence_plan
from cooptrack_core.data.synthetic.files import write_json
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.scene import Scene
from cooptrack_core.data.synthetic.sensors import Stamps
from cooptrack_core.data.synthetic.visibility import Sight
from cooptrack_core.geometry.transforms import apply

Float = NDArray[np.float64]
Rows = list[dict[str, Any]]

FIRST_INFRASTRUCTURE_ID = 2000  # the two sides count separately
CAMERA_IP, CAMERA_ID, LIDAR_ID = "172_18_9_101", "1", "151"


def vehicle_frame_id(options: SceneOptions, sequence: int, frame: int) -> str:
    """Id of a vehicle frame, which is also that of the pair."""
    return f"{options.first_frame_of(sequence) + frame:06d}"


def infrastructure_frame_id(options: SceneOptions, sequence: int, frame: int) -> str:
    """Id of an infrastructure frame."""
    return f"{FIRST_INFRASTRUCTURE_ID + options.first_frame_of(sequence) + frame:06d}"


def split_of_sequences(options: SceneOptions) -> tuple[list[str], dict[str, list[str]]]:
    """Sequence ids and the split lists.

    With `auto`, every third sequence is val and the others train; a single one is listed under both, as
    converters need one of each. Ids are taken from the official lists as long as these last.
    """
    n = options.total
    if options.benchmark:
        names = [sequence_plan(i).split for i in range(n)]
    else:
        names = ["val" if i % 3 == 0 else "train" for i in range(n)] if options.split == "auto" else [options.split] * n
    pools = {name: list(official().sequences[name]) for name in ("train", "val", "test")}
    extra = iter(range(95, 95 + n))
    ids = [pools[name].pop(0) if pools[name] else f"{next(extra):04d}" for name in names]
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": [], "test_A": []}
    for number in options.numbers:
        lists[names[number]].append(ids[number])
    if n == 1 and options.split == "auto":
        lists["train"] = lists["val"] = list(ids)
    return ids, lists


def write_split(root: Path, options: SceneOptions) -> None:
    """cooperative-split-data-spd.json."""
    ids, lists = split_of_sequences(options)
    content: dict[str, Any] = {"batch_split": lists}
    for key, name in (
        ("vehicle_split", vehicle_frame_id),
        ("infrastructure_split", infrastructure_frame_id),
        ("cooperative_split", vehicle_frame_id),
    ):
        content[key] = {
            part: [name(options, n, f) for n in map(ids.index, members) for f in range(options.frames_of(n))]
            for part, members in lists.items()
        }
    write_json(root, root / "cooperative-split-data-spd.json", content)


def write_lists(root: Path, scenes: list[Scene]) -> None:
    """The three data_info.json."""
    options = scenes[0].options
    ids, _ = split_of_sequences(options)
    vehicle: Rows = []
    infrastructure: Rows = []
    cooperative: Rows = []
    for scene in scenes:
        n, count, sequence = scene.number, options.frames_of(scene.number), ids[scene.number]
        dx, dy = scene.rig.offset_m
        for frame, stamps in enumerate(scene.rig.stamps):
            v, i = vehicle_frame_id(options, n, frame), infrastructure_frame_id(options, n, frame)
            ends = (vehicle_frame_id(options, n, 0), vehicle_frame_id(options, n, count - 1))
            vehicle.append(_vehicle_row(v, stamps, scene.rig.location, ends, count, sequence))
            ends = (infrastructure_frame_id(options, n, 0), infrastructure_frame_id(options, n, count - 1))
            infrastructure.append(_infrastructure_row(i, stamps, scene.rig.location, ends, count, sequence))
            cooperative.append(
                {
                    "vehicle_frame": v, "infrastructure_frame": i, "vehicle_sequence": sequence,
                    "infrastructure_sequence": sequence, "system_error_offset": {"delta_x": dx, "delta_y": dy},
                }
            )  # fmt: skip
    for side, rows in (
        ("vehicle-side", vehicle),
        ("infrastructure-side", infrastructure),
        ("cooperative", cooperative),
    ):
        write_json(root, root / side / "data_info.json", rows, indent=1)


def _vehicle_row(
    frame: str, stamps: Stamps, location: str, ends: tuple[str, str], count: int, sequence: str
) -> dict[str, Any]:
    calib = ("camera_intrinsic", "lidar_to_camera", "lidar_to_novatel", "novatel_to_world")
    return {
        "image_path": f"image/{frame}.jpg",
        "pointcloud_path": f"velodyne/{frame}.pcd",
        **{f"calib_{name}_path": f"calib/{name}/{frame}.json" for name in calib},
        "label_camera_std_path": f"label/camera/{frame}.json",
        "label_lidar_std_path": f"label/lidar/{frame}.json",
        "intersection_loc": location,
        "image_timestamp": str(stamps.vehicle_image_us),
        "pointcloud_timestamp": str(stamps.vehicle_us),
        "frame_id": frame,
        "start_frame_id": ends[0],
        "end_frame_id": ends[1],
        "num_frames": count,
        "sequence_id": sequence,
    }


def _infrastructure_row(
    frame: str, stamps: Stamps, location: str, ends: tuple[str, str], count: int, sequence: str
) -> dict[str, Any]:
    calib = ("camera_intrinsic", "virtuallidar_to_camera", "virtuallidar_to_world")
    return {
        "image_path": f"image/{frame}.jpg",
        "pointcloud_path": f"velodyne/{frame}.pcd",
        **{f"calib_{name}_path": f"calib/{name}/{frame}.json" for name in calib},
        "label_camera_std_path": f"label/camera/{frame}.json",
        "label_lidar_std_path": f"label/virtuallidar/{frame}.json",
        "intersection_loc": location,
        "camera_ip": CAMERA_IP,
        "camera_id": CAMERA_ID,
        "lidar_id": LIDAR_ID,
        "image_timestamp": str(stamps.infrastructure_image_us),
        "pointcloud_timestamp": str(stamps.infrastructure_us),
        "frame_id": frame,
        "valid_frames_splits": [{"start_frame_id": ends[0], "end_frame_id": ends[1]}],
        "num_frames": count,
        "sequence_id": sequence,
    }


def _extrinsic(T: Float) -> dict[str, Any]:
    return {"rotation": T[:3, :3].tolist(), "translation": T[:3, 3:].tolist()}


def _intrinsic(K: Float, options: SceneOptions) -> dict[str, Any]:
    return {
        "cam_K": K.reshape(-1).tolist(), "cam_D": [0.0] * 5, "width": options.width_px, "height": options.height_px,
    }  # fmt: skip


def write_frames(root: Path, scene: Scene, sights: list[dict[str, dict[int, Sight]]]) -> list[labels.FrameLabels]:
    """Calibration, labels and visibility of every frame of a sequence; sights by frame, side and road user."""
    options, rig, ids = scene.options, scene.rig, labels.track_ids(scene)
    written = []
    for frame, stamps in enumerate(rig.stamps):
        v, i = vehicle_frame_id(options, scene.number, frame), infrastructure_frame_id(options, scene.number, frame)
        pose = rig.T_world_from_novatel(scene.ego, stamps.scene_s(stamps.vehicle_us))
        content = labels.frame_labels(scene, frame, ids, (v, i), sights[frame])
        written.append(content)
        files = {
            f"vehicle-side/calib/camera_intrinsic/{v}": _intrinsic(rig.vehicle_K, options),
            f"vehicle-side/calib/lidar_to_camera/{v}": _extrinsic(rig.T_camera_from_lidar),
            f"vehicle-side/calib/lidar_to_novatel/{v}": {"transform": _extrinsic(rig.T_novatel_from_lidar)},
            f"vehicle-side/calib/novatel_to_world/{v}": _extrinsic(pose),
            f"vehicle-side/label/lidar/{v}": content.vehicle_lidar,
            f"vehicle-side/label/camera/{v}": content.vehicle_camera,
            f"infrastructure-side/calib/camera_intrinsic/{i}": _intrinsic(rig.infrastructure_K, options),
            f"infrastructure-side/calib/virtuallidar_to_camera/{i}": _extrinsic(rig.T_camera_from_virtuallidar),
            f"infrastructure-side/calib/virtuallidar_to_world/{i}": _extrinsic(
                rig.T_world_from_scene @ rig.T_scene_from_virtuallidar
            ),
            f"infrastructure-side/label/virtuallidar/{i}": content.infrastructure_lidar,
            f"infrastructure-side/label/camera/{i}": content.infrastructure_camera,
            f"cooperative/label/{v}": content.cooperative,
            f"visibility/{v}": content.visibility,
        }
        for name, data in files.items():
            write_json(root, root / f"{name}.json", data)
    return written


def write_maps(root: Path, scenes: list[Scene]) -> None:
    """maps/<location>.json: lanes, bike lanes, junctions and crosswalks in the world, of all that is filed there."""
    contents: dict[str, dict[str, dict[str, Any]]] = {}
    known = set()
    for scene in scenes:
        T = scene.rig.T_world_from_scene
        content = contents.setdefault(scene.rig.location, {"LANE": {}, "JUNCTION": {}, "CROSSWALK": {}})
        if (scene.rig.location, T.tobytes()) not in known:
            known.add((scene.rig.location, T.tobytes()))
            _add_to_map(content, scene)
    for location, content in contents.items():
        write_json(root, root / "maps" / f"{location}.json", content)


def _add_to_map(content: dict[str, dict[str, Any]], scene: Scene) -> None:
    """Adds the place at which a sequence plays."""

    def text(points: Float) -> list[str]:
        world = apply(scene.rig.T_world_from_scene, np.column_stack([points, np.zeros(len(points))]))
        return [f"({x:.3f}, {y:.3f})" for x, y in world[:, :2]]

    def add(layer: str, item: dict[str, Any]) -> None:
        content[layer][f"{len(content[layer]):04d}"] = item

    lanes, junctions, crosswalks = scene.maps()
    for lane in lanes:
        item = {
            "lane_type": lane.kind, "turn_direction": lane.turn, "has_traffic_control": str(lane.controlled),
            "is_intersection": str(lane.inside), "centerline": text(lane.centre_m), "left_boundary": text(lane.left_m),
            "right_boundary": text(lane.right_m), "l_neighbor_id": "None", "r_neighbor_id": "None",
            "predecessors": [], "successors": [],
        }  # fmt: skip
        add("LANE", item)
    for layer, polygons in (("JUNCTION", junctions), ("CROSSWALK", crosswalks)):
        for polygon in polygons:
            add(layer, {"polygon": text(polygon)})


__all__ = [
    "infrastructure_frame_id",
    "split_of_sequences",
    "vehicle_frame_id",
    "write_frames",
    "write_lists",
    "write_maps",
    "write_split",
]
