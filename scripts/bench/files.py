"""Frames and messages as files, so that the process whose time and memory count does not have to make them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cooptrack_core.timing.agents import Sent
from cooptrack_core.types import CameraView, Frame


def save_frames(path: Path, frames: Sequence[Frame]) -> None:
    """Frames that have an encoded image, a camera and a pose."""
    arrays = {
        "stamp_ns": np.array([frame.stamp_ns for frame in frames]),
        "image_stamp_ns": np.array([frame.image_stamp_ns or frame.stamp_ns for frame in frames]),
        "T_map_from_sensor": np.stack([frame.T_map_from_sensor for frame in frames]),
        "K": np.stack([frame.camera.K for frame in frames]),
        "T_camera_from_sensor": np.stack([frame.camera.T_camera_from_sensor for frame in frames]),
        "size_px": np.array([(frame.camera.width, frame.camera.height) for frame in frames]),
    }
    images = {f"image_{i}": np.frombuffer(bytes(frame.image), np.uint8) for i, frame in enumerate(frames)}
    np.savez(path, **arrays, **images)


def load_frames(path: Path) -> list[Frame]:
    """Those that were saved."""
    with np.load(path, allow_pickle=False) as kept:
        columns = {name: kept[name] for name in kept.files}
    frames = []
    for i, (width, height) in enumerate(columns["size_px"].tolist()):
        camera = CameraView(columns["K"][i], columns["T_camera_from_sensor"][i], width, height)
        stamp_ns, image_stamp_ns = int(columns["stamp_ns"][i]), int(columns["image_stamp_ns"][i])
        image = columns[f"image_{i}"].tobytes()
        pose = columns["T_map_from_sensor"][i]
        frames.append(Frame(stamp_ns, pose, image=image, camera=camera, image_stamp_ns=image_stamp_ns))
    return frames


def save_messages(path: Path, messages: Sequence[Sent | None]) -> None:
    """The message of each frame, where there was one."""
    arrays: dict[str, Any] = {"count": np.array(len(messages))}
    for i, sent in enumerate(messages):
        if sent is None:
            continue
        fields = vars(sent.fields)
        pose, stamp = fields["pose"], fields["header"].stamp
        arrays[f"{i}/size_bytes"] = np.array(sent.size_bytes)
        arrays[f"{i}/stamp"] = np.array([stamp.sec, stamp.nanosec])
        arrays[f"{i}/frame_id"] = np.array(fields["header"].frame_id)
        arrays[f"{i}/position"] = np.array([getattr(pose.position, axis) for axis in "xyz"])
        arrays[f"{i}/orientation"] = np.array([getattr(pose.orientation, axis) for axis in "xyzw"])
        for name in fields.keys() - {"pose", "header"}:
            arrays[f"{i}/field/{name}"] = np.array(fields[name])
    np.savez(path, **arrays)


def load_messages(path: Path) -> list[Sent | None]:
    """Those that were saved, or None, by frame."""
    with np.load(path, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files}
    return [_message(arrays, i) if f"{i}/stamp" in arrays else None for i in range(int(arrays["count"]))]


def _message(arrays: dict[str, Any], i: int) -> Sent:
    prefix = f"{i}/field/"
    fields = {name.removeprefix(prefix): _field(value) for name, value in arrays.items() if name.startswith(prefix)}
    position, orientation = arrays[f"{i}/position"].tolist(), arrays[f"{i}/orientation"].tolist()
    pose = SimpleNamespace(
        position=SimpleNamespace(**dict(zip("xyz", position, strict=True))),
        orientation=SimpleNamespace(**dict(zip("xyzw", orientation, strict=True))),
    )
    sec, nanosec = arrays[f"{i}/stamp"].tolist()
    stamp = SimpleNamespace(sec=sec, nanosec=nanosec)
    header = SimpleNamespace(stamp=stamp, frame_id=str(arrays[f"{i}/frame_id"]))
    return Sent(SimpleNamespace(**fields, header=header, pose=pose), int(arrays[f"{i}/size_bytes"]))


def _field(value: Any) -> Any:
    """A number, a text, or an array as rclpy has them."""
    return value.item() if value.ndim == 0 else array(value.dtype.char, value.tobytes())
