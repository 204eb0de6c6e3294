"""A recording made ready for drawing: everything in one ground-level world frame.

`world` has the axes of the map, its origin at the roadside unit (or where the vehicle starts), z = 0 on the
ground. Map coordinates are large (UTM) and would lose precision in single-precision graphics.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import UNTRAINED
from cooptrack_core.geometry.transforms import apply, interpolate, inverse, rotate_xy, yaw_of
from cooptrack_core.types import SOURCE_EGO, SOURCE_REMOTE, CooptrackError

Float = NDArray[np.float64]
Images = Callable[[str, int], "bytes | None"]

SCHEMA = "cooptrack/recording/1"
SEEN_BY = {0: "predicted", SOURCE_EGO: "ego", SOURCE_REMOTE: "remote", SOURCE_EGO | SOURCE_REMOTE: "both"}
ASSUMED_LIDAR_HEIGHT_M = 1.9
NETWORK_FAINT_BELOW_SCORE = 0.5  # most false tracks of the weights that ship lie below, most true ones above


@dataclass(frozen=True)
class Box:
    """One drawn box in the world frame. seen: "ego", "remote", "both", "predicted"; "" for ground truth."""

    id: int
    class_name: str
    center_m: Float  # [3]
    size_m: Float  # [3]
    heading_rad: float
    velocity_mps: Float  # [2], zeros where unknown
    seen: str
    only_remote: bool  # no measurement of the vehicle's own so far
    source: Mapping[str, Any]  # the row of the recording
    faint: bool = False  # a track of low score: drawn as an outline alone

    def moved(self, seconds: float) -> Float:
        """[3] centre after moving on for a while."""
        return np.asarray(self.center_m + np.array([*(self.velocity_mps * seconds), 0.0]))


@dataclass(frozen=True)
class FrameView:
    """One frame of the recording in the world frame."""

    stamp_ns: int
    T_world_from_lidar: Float
    pose_known: bool
    predicted_only: bool
    tracks: tuple[Box, ...]
    truth: tuple[Box, ...]
    pairs: tuple[tuple[Float, Float, int, float], ...]  # ego [3], remote [3], track id, affinity
    unmatched_ego: tuple[tuple[Float, int], ...]  # [3], track id
    unmatched_remote: tuple[tuple[Float, int], ...]
    messages: tuple[Mapping[str, Any], ...]
    refused: tuple[Mapping[str, Any], ...]
    image_stamps_ns: Mapping[str, int]


@dataclass(frozen=True)
class Camera:
    """Pinhole camera of one agent; T_world_from_lidar is None where the agent moves."""

    K: Float  # [3, 3]
    width: int
    height: int
    T_camera_from_lidar: Float
    T_world_from_lidar: Float | None


@dataclass(frozen=True)
class Scene:
    """The whole recording. origin_map_m: [3] position of the world origin in the map."""

    mode: str
    detector: str
    vehicle: str
    roadside: tuple[str, ...]
    origin_map_m: Float
    cameras: Mapping[str, Camera]
    frames: tuple[FrameView, ...]
    ways: Mapping[str, tuple[tuple[int, Float], ...]] = field(default_factory=dict)  # of other agents that move

    @property
    def crowded(self) -> bool:
        """Whether more than one other agent takes part."""
        return len(self.roadside) > 1

    def time_s(self, index: int) -> float:
        """Seconds since the first frame."""
        return (self.frames[index].stamp_ns - self.frames[0].stamp_ns) * 1e-9

    def T_world_from_vehicle_lidar(self, stamp_ns: int) -> Float:
        """[4, 4] vehicle pose at any time, between (or a little beyond) the frames."""
        return _pose_at([(frame.stamp_ns, frame.T_world_from_lidar) for frame in self.frames], stamp_ns)

    def T_world_from_agent(self, agent: str, stamp_ns: int) -> Float:
        """[4, 4] pose of an agent that moves, at any time, between (or a little beyond) the frames."""
        return (
            self.T_world_from_vehicle_lidar(stamp_ns) if agent == self.vehicle else _pose_at(self.ways[agent], stamp_ns)
        )

    def T_camera_from_world(self, agent: str, stamp_ns: int) -> Float:
        """[4, 4] of an agent's camera at the time of its image."""
        camera = self.cameras[agent]
        T = camera.T_world_from_lidar
        if T is None:
            T = self.T_world_from_agent(agent, stamp_ns)
        return camera.T_camera_from_lidar @ inverse(T)

    def roadside_position(self, agent: str) -> Float | None:
        """[3] position of a roadside unit's camera in the world, None if its calibration is unknown."""
        camera = self.cameras.get(agent)
        if camera is None or camera.T_world_from_lidar is None:
            return None
        position: Float = inverse(self.T_camera_from_world(agent, 0))[:3, 3]
        return position

    def position(self, agent: str, stamp_ns: int) -> Float | None:
        """[3] where another agent is: its camera, or its lidar if it moves; None if that is unknown."""
        if agent in self.ways:
            place: Float = self.T_world_from_agent(agent, stamp_ns)[:3, 3]
            return place
        return self.roadside_position(agent)


def _pose_at(way: Sequence[tuple[int, Float]], stamp_ns: int) -> Float:
    """[4, 4] between the poses of a way, by their stamps."""
    stamps = [at_ns for at_ns, _ in way]
    after = min(max(bisect_right(stamps, stamp_ns), 1), len(stamps) - 1)
    (a_ns, a), (b_ns, b) = way[max(after - 1, 0)], way[after]
    if b_ns <= a_ns:
        return a
    return interpolate(a, b, min(max((stamp_ns - a_ns) / (b_ns - a_ns), -1.0), 2.0))


def no_images(agent: str, stamp_ns: int) -> None:
    """Images of a recording that has none."""


def faint_below(recording: Mapping[str, Any]) -> float:
    """The score below which tracks are doubtful, unless somebody says otherwise: of a network's, others have few."""
    return NETWORK_FAINT_BELOW_SCORE if recording.get("detector") == "network" else 0.0


def build_scene(recording: Mapping[str, Any], faint_below_score: float | None = None) -> Scene:
    """The recording in the world frame; tracks with a lower score are marked as faint: None as faint_below has it.

    Raises CooptrackError for another schema or a missing field.
    """
    schema = recording.get("schema")
    if schema != SCHEMA:
        raise CooptrackError(f"recording: schema: {schema!r} is not {SCHEMA!r}; write it again with cooptrack from-bag")
    try:
        return _build(recording, faint_below(recording) if faint_below_score is None else faint_below_score)
    except KeyError as error:
        raise CooptrackError(
            f"recording: {error.args[0]}: field missing; write the recording again with cooptrack from-bag"
        ) from error


def _build(recording: Mapping[str, Any], faint_below_score: float) -> Scene:
    rows = list(recording["frames"])
    poses = _poses(rows)
    origin = _origin(recording, rows, poses)
    cameras = {
        agent: _camera(row, origin, moves=agent == recording["vehicle"])
        for agent, row in recording.get("cameras", {}).items()
    }
    untrained = "untrained " if recording.get("weights") == UNTRAINED else ""
    return Scene(
        mode=str(recording["mode"]),
        detector=untrained + str(recording["detector"]),
        vehicle=str(recording["vehicle"]),
        roadside=tuple(str(agent) for agent in recording.get("roadside", ())),
        origin_map_m=origin,
        cameras=cameras,
        frames=tuple(_frame(row, _shifted(T, origin), faint_below_score) for row, T in zip(rows, poses, strict=True)),
        ways=_ways(rows, origin),
    )


def _ways(rows: list[Mapping[str, Any]], origin: Float) -> dict[str, tuple[tuple[int, Float], ...]]:
    """Poses of other agents that move, by their names."""
    found: dict[str, list[tuple[int, Float]]] = {}
    for row in rows:
        for agent, T in (row.get("poses") or {}).items():
            found.setdefault(agent, []).append((int(row["stamp_ns"]), _shifted(np.asarray(T, np.float64), origin)))
    return {agent: tuple(way) for agent, way in found.items()}


def _poses(rows: list[Mapping[str, Any]]) -> list[Float]:
    """Pose of every frame; a frame without one is drawn where the vehicle was last (or first) known to be."""
    known = [None if (T := row.get("T_map_from_lidar")) is None else np.asarray(T, np.float64) for row in rows]
    last = next((T for T in known if T is not None), np.eye(4))
    poses = []
    for T in known:
        last = last if T is None else T
        poses.append(last)
    return poses


def _origin(recording: Mapping[str, Any], rows: list[Mapping[str, Any]], poses: list[Float]) -> Float:
    """[3] in the map: xy of the first roadside camera, else of the first pose; z of the ground under the objects."""
    origin = poses[0][:3, 3].copy() if poses else np.zeros(3)
    bottoms = [
        (apply(T, np.asarray(o["center_m"], float))[2] - o["size_m"][2] / 2)
        for row, T in zip(rows, poses, strict=True)
        for o in (row.get("ground_truth") or row["tracks"])
    ]
    ground = float(np.median(bottoms)) if bottoms else origin[2] - ASSUMED_LIDAR_HEIGHT_M
    for agent in recording.get("roadside", ()):
        camera = recording.get("cameras", {}).get(agent)
        if camera and camera.get("T_map_from_lidar") is not None:
            T_lidar_from_camera = inverse(np.asarray(camera["T_camera_from_lidar"], np.float64))
            origin = apply(np.asarray(camera["T_map_from_lidar"], np.float64), T_lidar_from_camera[:3, 3])
            break
    return np.array([float(origin[0]), float(origin[1]), ground])


def _shifted(T_map: Float, origin: Float) -> Float:
    T: Float = T_map.copy()
    T[:3, 3] -= origin
    return T


def _camera(row: Mapping[str, Any], origin: Float, *, moves: bool) -> Camera:
    T_map = None if moves else row.get("T_map_from_lidar")
    return Camera(
        K=np.asarray(row["K"], float).reshape(3, 3),
        width=int(row["width"]),
        height=int(row["height"]),
        T_camera_from_lidar=np.asarray(row["T_camera_from_lidar"], float),
        T_world_from_lidar=None if T_map is None else _shifted(np.asarray(T_map, float), origin),
    )


def _frame(row: Mapping[str, Any], T: Float, faint_below_score: float) -> FrameView:
    links = row.get("associations") or {}

    def points(items: Iterable[Mapping[str, Any]]) -> tuple[tuple[Float, int], ...]:
        return tuple((apply(T, item["center_m"]), int(item.get("track_id") or 0)) for item in items)

    return FrameView(
        stamp_ns=int(row["stamp_ns"]),
        T_world_from_lidar=T,
        pose_known=bool(row.get("pose_known", True)),
        predicted_only=bool(row.get("predicted_only", False)),
        tracks=tuple(_box(track, T, is_track=True, faint_below_score=faint_below_score) for track in row["tracks"]),
        truth=tuple(_box(item, T, is_track=False) for item in row.get("ground_truth") or ()),
        pairs=tuple(
            (apply(T, p["ego_center_m"]), apply(T, p["remote_center_m"]), int(p.get("track_id") or 0), p["affinity"])
            for p in links.get("pairs", ())
        ),
        unmatched_ego=points(links.get("unmatched_ego", ())),
        unmatched_remote=points(links.get("unmatched_remote", ())),
        messages=tuple(row.get("messages") or ()),
        refused=tuple(row.get("refused") or ()),
        image_stamps_ns={
            agent: int(image["stamp_ns"]) for agent, image in (row.get("images") or {}).items() if image is not None
        },
    )


def _box(row: Mapping[str, Any], T: Float, *, is_track: bool, faint_below_score: float = 0.0) -> Box:
    velocity = np.array([finite(v) for v in row.get("velocity_mps") or (0.0, 0.0)])
    return Box(
        id=int(row["id"]),
        class_name=str(row["class"]),
        center_m=apply(T, row["center_m"]),
        size_m=np.asarray(row["size_m"], float),
        heading_rad=float(row["heading_rad"]) + yaw_of(T),
        velocity_mps=rotate_xy(T, velocity),
        seen=SEEN_BY.get(int(row["sources"]) & 3, "predicted") if is_track else "",
        only_remote=is_track and int(row.get("sources_ever", row["sources"])) & 3 == SOURCE_REMOTE,
        faint=finite(row.get("score"), 1.0) < faint_below_score,
        source=row,
    )


def finite(value: Any, default: float = 0.0) -> float:
    """The number, or the default where the recording holds null or NaN."""
    return float(value) if value is not None and math.isfinite(value) else default
