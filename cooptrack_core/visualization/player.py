"""The recording as one HTML file that needs nothing else: 3D view, camera images, timeline.

The page is the built JavaScript of `player/` (assets/player.js), the recording in the world frame as JSON and the
images as base64 JPEG. A content security policy in the page forbids every request to anything outside it.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from cooptrack_core.config import MODE_NAMES
from cooptrack_core.geometry.transforms import yaw_of
from cooptrack_core.visualization import palette
from cooptrack_core.visualization.bev import bounds_of
from cooptrack_core.visualization.canvas import Float, Image, decode
from cooptrack_core.visualization.compose import ground_of
from cooptrack_core.visualization.scene import Box, FrameView, Images, Scene, build_scene, finite
from cooptrack_core.visualization.stills import telling_frame

IMAGE_WIDTH_PX = 800
JPEG_QUALITY = 70
IMAGE_BUDGET_BYTES = 9_000_000  # of all JPEGs together; more frames get smaller images
GROUND_PX_PER_M = 8.0

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<title>{title}</title>
<style>html,body{{margin:0;height:100%;background:{background};color:{text};font-family:system-ui,sans-serif}}</style>
</head>
<body>
<noscript>This player needs JavaScript.</noscript>
<script type="application/json" id="recording">{recording}</script>
<script type="application/json" id="images">{images}</script>
<script>{script}</script>
</body>
</html>
"""  # noqa: E501


def write_player(
    recording: dict[str, Any], images: Images, path: Path, *, title: str = "cooptrack: cooperative 3D tracking",
    faint_below_score: float | None = None,
) -> None:  # fmt: skip
    """Writes the player of a recording. Tracks of a lower score than faint_below_score are drawn as outlines alone.

    images(agent, stamp_ns) gives an encoded image or None. Raises CooptrackError for a recording that is not one.
    """
    scene = build_scene(recording, faint_below_score)
    pictures, rows = _embed_images(scene, images)
    payload = _payload(scene, rows, title)
    payload["start"] = telling_frame(scene) if scene.frames else 0  # what is seen before anyone presses play
    ground = ground_of(scene, images, GROUND_PX_PER_M)
    if ground is not None:
        payload["ground"] = {"bounds": _numbers(ground.bounds_m), "image": _base64(_jpeg(ground.rgb, 82))}
    script = (files("cooptrack_core.visualization") / "assets" / "player.js").read_text(encoding="utf-8")
    page = _PAGE.format(
        title=html.escape(title), background=palette.BACKGROUND_HEX, text=palette.TEXT_HEX,
        recording=script_json(payload), images=script_json(pictures), script=script,
    )  # fmt: skip
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no '<' in it can end the element or open a comment."""
    text = json.dumps(_strict(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _strict(value: Any) -> Any:
    """The value with null for NaN and infinity, which JSON does not have, and no more digits than anyone sees."""
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value


def _embed_images(scene: Scene, images: Images) -> tuple[list[str], dict[tuple[str, int], int]]:
    """Base64 JPEGs, each image once, and the index of (agent, stamp_ns)."""
    wanted = sorted({(agent, stamp) for frame in scene.frames for agent, stamp in frame.image_stamps_ns.items()})
    share = IMAGE_BUDGET_BYTES / max(len(wanted), 1)
    pictures: list[str] = []
    rows: dict[tuple[str, int], int] = {}
    quality = JPEG_QUALITY
    for agent, stamp in tqdm(wanted, desc="player images", unit="image", disable=None):
        camera = scene.cameras.get(agent)
        picture = decode(images(agent, stamp), camera.width if camera else 0, IMAGE_WIDTH_PX)
        if picture is None:
            continue
        width = min(IMAGE_WIDTH_PX, picture.shape[1])
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        data = _jpeg(np.asarray(small, np.uint8), quality)
        while len(data) > 1.25 * share and quality > 40:
            quality -= 6
            data = _jpeg(np.asarray(small, np.uint8), quality)
        rows[agent, stamp] = len(pictures)
        pictures.append(_base64(data))
    return pictures, rows


def _payload(scene: Scene, images: dict[tuple[str, int], int], title: str) -> dict[str, Any]:
    return {
        "title": title,
        "mode": MODE_NAMES.get(scene.mode, scene.mode),
        "detector": scene.detector,
        "vehicle": scene.vehicle,
        "roadside": list(scene.roadside),
        "origin_map_m": _numbers(scene.origin_map_m),
        "bounds": _numbers(bounds_of(scene)),
        "palette": {
            "tracks": palette.TRACK_HEX, "ego": palette.EGO_HEX, "remote": palette.REMOTE_HEX, "both": palette.PAIR_HEX,
            "predicted": palette.PREDICTED_HEX, "pair": palette.PAIR_HEX, "truth": palette.TRUTH_HEX,
            "background": palette.BACKGROUND_HEX, "panel": palette.PANEL_HEX, "line": palette.LINE_HEX,
            "text": palette.TEXT_HEX, "muted": palette.MUTED_HEX, "warning": palette.WARNING_HEX,
        },
        "positions": {
            agent: _numbers(position)
            for agent in scene.roadside
            if agent not in scene.ways and (position := scene.roadside_position(agent)) is not None
        },
        "cameras": {
            agent: {
                "K": _numbers([camera.K[0, 0], camera.K[0, 1], camera.K[0, 2], camera.K[1, 1], camera.K[1, 2]]),
                "width": camera.width, "height": camera.height,
            }
            for agent, camera in scene.cameras.items()
        },
        "frames": [_frame(scene, index, images) for index in range(len(scene.frames))],
        "ground": None,
    }  # fmt: skip


def _frame(scene: Scene, index: int, images: dict[tuple[str, int], int]) -> dict[str, Any]:
    frame = scene.frames[index]
    row: dict[str, Any] = {
        "t": scene.time_s(index),
        "ego": _numbers(frame.T_world_from_lidar.ravel()),
        "pose_known": frame.pose_known,
        "predicted_only": frame.predicted_only,
        "tracks": [_track(box) for box in frame.tracks],
        "truth": [_truth(box) for box in frame.truth],
        "pairs": [[_numbers(a), _numbers(b), track, finite(affinity)] for a, b, track, affinity in frame.pairs],
        "unmatched_ego": [[_numbers(center), track] for center, track in frame.unmatched_ego],
        "unmatched_remote": [[_numbers(center), track] for center, track in frame.unmatched_remote],
        "messages": [dict(message) for message in frame.messages],
        "refused": [dict(refusal) for refusal in frame.refused],
        "cameras": _camera_rows(scene, frame, images),
        "positions": {agent: _place(scene.T_world_from_agent(agent, frame.stamp_ns)) for agent in scene.ways},
    }
    return row


def _camera_rows(scene: Scene, frame: FrameView, images: dict[tuple[str, int], int]) -> dict[str, Any]:
    rows = {}
    for agent, camera in scene.cameras.items():
        if camera.T_world_from_lidar is None and agent != scene.vehicle and agent not in scene.ways:
            continue  # agent of unknown place
        stamp = frame.image_stamps_ns.get(agent, frame.stamp_ns)
        rows[agent] = {
            "T": _numbers(scene.T_camera_from_world(agent, stamp).ravel(), 5),
            "dt": (stamp - frame.stamp_ns) * 1e-9,
            "image": images.get((agent, stamp)),
        }
    return rows


def _place(T_world_from_lidar: Float) -> list[float]:
    """x, y, z and heading of an agent that moves."""
    return _numbers([*T_world_from_lidar[:3, 3], yaw_of(T_world_from_lidar)])


def _base(box: Box) -> dict[str, Any]:
    return {
        "id": box.id, "cls": box.class_name, "c": _numbers(box.center_m), "s": _numbers(box.size_m),
        "h": round(box.heading_rad, 4), "v": _numbers(box.velocity_mps),
    }  # fmt: skip


def _track(box: Box) -> dict[str, Any]:
    source = box.source
    return _base(box) | {
        "seen": box.seen, "hidden": box.only_remote, "faint": box.faint, "score": source.get("score"),
        "agents": list(source.get("agents") or ()), "age": source.get("age_frames"), "hits": source.get("hits"),
        "since": source.get("time_since_update_s"), "std": source.get("position_std_m"),
    }  # fmt: skip


def _truth(box: Box) -> dict[str, Any]:
    return _base(box) | {"view": box.source.get("view", "unknown"), "visible": box.source.get("visible_fraction")}


def _numbers(values: Float | list[float] | tuple[float, ...], digits: int = 3) -> list[float]:
    return [round(finite(value), digits) for value in values]


def _jpeg(rgb: Image, quality: int) -> bytes:
    return bytes(cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
