"""The recording as a film: H.264 in MP4, or numbered pictures where no encoder is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from cooptrack_core.types import CooptrackError
from cooptrack_core.visualization.bev import Orientation
from cooptrack_core.visualization.canvas import Image
from cooptrack_core.visualization.compose import draw_frame, ground_of
from cooptrack_core.visualization.scene import Images, Scene, build_scene


def write_video(
    recording: Mapping[str, Any], images: Images, path: Path, *, size: tuple[int, int] = (1920, 1080),
    fps: float | None = None, orientation: Orientation = "map", faint_below_score: float | None = None,
) -> Path:  # fmt: skip
    """Writes a film of all frames and returns its path.

    images(agent, stamp_ns) gives an encoded image or None. size: width and height in pixels, made even.
    fps: frames per second of the film, default the recording's own rate. Without imageio-ffmpeg the frames become
    numbered PNG files in a directory beside `path`, whose path is returned. Raises CooptrackError for a recording
    without frames.
    """
    scene = build_scene(recording, faint_below_score)
    if not scene.frames:
        raise CooptrackError("recording: frames: empty, there is nothing to film; record a bag that has frames")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = _frames(scene, images, (size[0] // 2 * 2, size[1] // 2 * 2), orientation)
    try:
        import imageio_ffmpeg
    except ImportError:
        return _write_pictures(frames, path)
    rate = fps or frame_rate(scene)
    options = ["-preset", "veryfast", "-crf", "20", "-movflags", "+faststart"]
    encoder = imageio_ffmpeg.write_frames(
        str(path), (size[0] // 2 * 2, size[1] // 2 * 2), fps=rate, codec="libx264", pix_fmt_out="yuv420p",
        macro_block_size=2, quality=None, output_params=options, ffmpeg_log_level="error",
    )  # fmt: skip
    encoder.send(None)
    for frame in frames:
        encoder.send(frame)
    encoder.close()
    return path


def frame_rate(scene: Scene) -> float:
    """Frames per second of the recording, from the median distance of its frames; 10 where it has only one."""
    steps = np.diff([frame.stamp_ns for frame in scene.frames])
    typical = float(np.median(steps)) if len(steps) else 0.0
    return round(1e9 / typical, 3) if typical > 0 else 10.0


def save_image(path: Path, image: Image) -> Path:
    """Writes an RGB image as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 7]):
        raise CooptrackError(f"{path}: image: could not be written; check that the disk has room")
    return path


def _frames(scene: Scene, images: Images, size: tuple[int, int], orientation: Orientation) -> Iterator[Image]:
    ground = ground_of(scene, images)
    for index in tqdm(range(len(scene.frames)), desc="video", unit="frame", disable=None):
        yield draw_frame(scene, index, images, size, ground, orientation=orientation)


def _write_pictures(frames: Iterator[Image], path: Path) -> Path:
    directory = path.with_suffix("")
    note = f"imageio-ffmpeg is not installed: writing numbered PNG files into {directory}/ instead of {path.name}"
    print(note, file=sys.stderr)
    for index, frame in enumerate(frames):
        save_image(directory / f"{index:05d}.png", frame)
    return directory
