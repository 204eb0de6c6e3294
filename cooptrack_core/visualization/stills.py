"""Single pictures worth a place in a README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cooptrack_core.types import CooptrackError
from cooptrack_core.visualization.bev import draw_bev
from cooptrack_core.visualization.camera import project_box
from cooptrack_core.visualization.compose import draw_frame, ground_of
from cooptrack_core.visualization.scene import Images, Scene, build_scene
from cooptrack_core.visualization.video import save_image


def write_stills(
    recording: Mapping[str, Any], images: Images, directory: Path, *, faint_below_score: float | None = None
) -> list[Path]:
    """Writes overview.png (everything, 1920x1080) and bev.png (1080x1080) of the most telling frame.

    Raises CooptrackError for a recording without frames.
    """
    scene = build_scene(recording, faint_below_score)
    if not scene.frames:
        raise CooptrackError("recording: frames: empty, there is nothing to show; record a bag that has frames")
    directory = Path(directory)
    ground = ground_of(scene, images)
    index = telling_frame(scene)
    return [
        save_image(directory / "overview.png", draw_frame(scene, index, images, (1920, 1080), ground)),
        save_image(directory / "bev.png", draw_bev(scene, index, (1080, 1080), 1.0, ground=ground)),
    ]


def telling_frame(scene: Scene) -> int:
    """Index of the frame that shows most of what cooperation adds.

    Counts tracks known only through the roadside, twice those inside the vehicle's picture, and associated pairs;
    frames without an image of the vehicle count less.
    """

    def score(index: int) -> float:
        frame = scene.frames[index]
        stamp = frame.image_stamps_ns.get(scene.vehicle)
        camera = scene.cameras.get(scene.vehicle)
        tracks = [box for box in frame.tracks if not box.faint]
        hidden = [box for box in tracks if box.only_remote]
        value = 2.0 * len(hidden) + len(frame.pairs) + 0.5 * len(tracks)
        if camera is not None and stamp is not None:
            T = scene.T_camera_from_world(scene.vehicle, stamp)
            outlines = [outline for box in tracks if (outline := project_box(camera, T, box)) is not None]
            near = [outline.box for outline in outlines if outline.distance_m < 45]
            value += 6.0 + sum(6.0 if box.only_remote else 1.0 for box in near)
        return value

    return max(range(len(scene.frames)), key=score)
