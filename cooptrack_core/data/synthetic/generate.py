"""Making a dataset: resumable, over several processes, with the same bytes whatever their number."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2

from cooptrack_core.data.files import expect_object, read_json
from cooptrack_core.data.synthetic import renderers, statistics, writer
from cooptrack_core.data.synthetic.files import WORK_FOLDER, write_bytes, write_json
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.point_clouds import Lidar, pcd_bytes
from cooptrack_core.data.synthetic.scene import SIDES, Scene, make_scene, save_motion
from cooptrack_core.data.synthetic.visibility import Sight, sights
from cooptrack_core.process_pool import process_pool
from cooptrack_core.progress import progress_bar
from cooptrack_core.types import CooptrackError

SCHEMA = "cooptrack/synthetic/1"
MARKER = "synthetic.json"  # written last: its presence means that the dataset is complete


def generate(
    root: Path, options: SceneOptions, jobs: int, *, overwrite: bool = False, shard: tuple[int, int] = (1, 1)
) -> dict[str, Any] | None:
    """Writes the dataset into root, or goes on with one begun there. Returns the content of synthetic.json.

    shard: (i, n) makes the i-th of n parts, 1 <= i <= n. The lists and synthetic.json are written once all parts
    are there; until then the answer is None. Raises CooptrackError if root holds something else, or a dataset of
    other options, and not overwrite.
    """
    done = _prepare(root, options, overwrite)
    if done is not None:
        return done
    write_json(root, root / WORK_FOLDER / "options.json", _identity(options))
    mine = options.numbers[shard[0] - 1 :: shard[1]]
    _simulate(root, options, jobs, mine)
    tasks = [task for number in mine for task in _missing(root, options, number)]
    _draw(root, options, tasks, jobs, sum(2 * options.frames_of(number) for number in mine))
    with progress_bar(total=len(mine), desc="labels", unit="sequence") as bar:
        _spread(bar, jobs, [(finish, (str(root), options, number), 1) for number in mine])
    if any(not _summary_file(root, number).is_file() for number in options.numbers):
        return None
    scenes = [make_scene(options, number, _motion_file(root, number)) for number in options.numbers]
    writer.write_maps(root, scenes)
    writer.write_split(root, options)
    writer.write_lists(root, scenes)
    summaries = [json.loads(_summary_file(root, number).read_bytes()) for number in options.numbers]
    content = statistics.summary(SCHEMA, options, summaries) | _identity(options)
    write_json(root, root / MARKER, content, indent=1)
    shutil.rmtree(root / WORK_FOLDER)
    return content


def _prepare(root: Path, options: SceneOptions, overwrite: bool) -> dict[str, Any] | None:
    """Makes the folder ready; the content of a dataset of these very options that is already complete."""
    if root.exists() and not root.is_dir():
        raise CooptrackError(f"{root}: OUT: is a file; give a new or empty directory")
    for name in (MARKER, f"{WORK_FOLDER}/options.json"):
        path = root / name
        if not path.is_file():
            continue
        content = expect_object(read_json(path), path)
        if {key: content.get(key) for key in ("options", "generator")} == _identity(options):
            if name == MARKER:
                shutil.rmtree(root / WORK_FOLDER, ignore_errors=True)
                return dict(content)
            return None
        if not overwrite:
            state = "a complete scene" if name == MARKER else "an unfinished scene"
            made = "of other options" if content.get("options") != options.to_json() else "of another program version"
            raise CooptrackError(f"{root}: OUT: holds {state} {made}; choose another folder or add --overwrite")
        _clear(root)
        return None
    if root.is_dir() and any(p.name != WORK_FOLDER for p in root.iterdir()):
        raise CooptrackError(f"{root}: OUT: is not empty and holds no synthetic scene; choose another folder")
    return None


def is_complete(root: Path, options: SceneOptions) -> bool:
    """Whether root holds the dataset of these options, made by this very program."""
    path = root / MARKER
    if not path.is_file():
        return False
    content = expect_object(read_json(path), path)
    return {key: content.get(key) for key in ("options", "generator")} == _identity(options)


def _identity(options: SceneOptions) -> dict[str, Any]:
    """What decides the bytes of a dataset: the options and the program that makes it."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    sources = [p for pattern in ("*.py", "coopsynth/*.py", "recordings/*.npz") for p in here.glob(pattern)]
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return {"options": options.to_json(), "generator": digest.hexdigest()[:16]}


def _clear(root: Path) -> None:
    """Removes what a synthetic dataset consists of, nothing else."""
    for name in ("vehicle-side", "infrastructure-side", "cooperative", "maps", "visibility", WORK_FOLDER):
        shutil.rmtree(root / name, ignore_errors=True)
    for name in (MARKER, "cooperative-split-data-spd.json"):
        (root / name).unlink(missing_ok=True)


def _motion_file(root: Path, number: int) -> Path:
    return root / WORK_FOLDER / f"motion_{number:04d}.npz"


def prepare(root_name: str, options: SceneOptions, number: int) -> None:
    """Simulates the traffic of a sequence and keeps its motion, unless that is there."""
    root = Path(root_name)
    file = _motion_file(root, number)
    if not file.is_file() and not options.benchmark:
        write_bytes(root, file, save_motion(make_scene(options, number)))


def _simulate(root: Path, options: SceneOptions, jobs: int, numbers: Sequence[int]) -> None:
    """The motion of these sequences, unless it is recorded."""
    if options.benchmark:
        return
    with progress_bar(total=len(numbers), desc="traffic", unit="sequence") as bar:
        _spread(bar, jobs, [(prepare, (str(root), options, number), 1) for number in numbers])


def _summary_file(root: Path, number: int) -> Path:
    return root / WORK_FOLDER / f"summary_{number:04d}.json"


def finish(root_name: str, options: SceneOptions, number: int) -> None:
    """Writes calibration and labels of a sequence whose looks are all taken, and keeps its summary."""
    root = Path(root_name)
    if _summary_file(root, number).is_file():
        return
    scene = make_scene(options, number, _motion_file(root, number))
    found = [_load_sights(root, scene, frame) for frame in range(options.frames_of(number))]
    frames = writer.write_frames(root, scene, found)
    write_json(root, _summary_file(root, number), statistics.sequence_summary(scene, frames))


def _sights_file(root: Path, number: int, side: str, frame: int) -> Path:
    return root / WORK_FOLDER / f"sights_{number:04d}" / f"{side}_{frame:04d}.json"


def _sensor_file(root: Path, scene: Scene, side: str, frame: int, folder: str, suffix: str) -> Path:
    name = writer.vehicle_frame_id if side == "vehicle" else writer.infrastructure_frame_id
    return root / f"{side}-side" / folder / f"{name(scene.options, scene.number, frame)}.{suffix}"


def _missing(root: Path, options: SceneOptions, number: int) -> list[tuple[int, list[tuple[str, int]]]]:
    """Looks of a sequence still to take, in portions for one process."""
    looks = [
        (side, frame)
        for frame in range(options.frames_of(number))
        for side in SIDES
        if not _sights_file(root, number, side, frame).is_file()
    ]
    portion = 50 if options.benchmark else 4  # where many small images are drawn, setting up a sequence counts
    return [(number, looks[i : i + portion]) for i in range(0, len(looks), portion)]


def _draw(
    root: Path, options: SceneOptions, tasks: list[tuple[int, list[tuple[str, int]]]], jobs: int, total: int
) -> None:
    """Takes all missing looks, of `total`."""
    left = sum(len(looks) for _, looks in tasks)
    with progress_bar(total=total, initial=total - left, desc="images", unit="image") as bar:
        _spread(bar, jobs, [(take, (str(root), options, number, looks), len(looks)) for number, looks in tasks])


def _spread(bar: Any, jobs: int, calls: list[tuple[Callable[..., None], tuple[Any, ...], int]]) -> None:
    """Makes the calls (function, arguments, steps of the progress bar), in several processes if that pays."""
    if jobs <= 1 or len(calls) <= 1:
        for function, arguments, steps in calls:
            function(*arguments)
            bar.update(steps)
        return
    os.environ.setdefault("LP_NUM_THREADS", "1")  # one thread of the software renderer in each process
    with process_pool(len(calls), jobs) as pool:
        steps_of = {pool.submit(function, *arguments): steps for function, arguments, steps in calls}
        try:
            for future in as_completed(steps_of):
                future.result()
                bar.update(steps_of[future])
        except BrokenProcessPool:
            raise CooptrackError(
                "synthesize: --jobs: a drawing process died, perhaps for lack of memory; run again with fewer jobs, "
                "what is done is kept"
            ) from None


class _Studio:
    """Scene, renderer and lidar of the sequence that this process is at."""

    def __init__(self, root: Path, options: SceneOptions, number: int) -> None:
        self.key = (root, options, number)
        self.scene = make_scene(options, number, _motion_file(root, number))
        self.renderer = renderers.create(options.renderer, self.scene)
        self.lidar = Lidar(self.scene, options.point_clouds) if options.point_clouds != "none" else None


_studio: _Studio | None = None


def take(root_name: str, options: SceneOptions, number: int, looks: list[tuple[str, int]]) -> None:
    """Takes looks (side, frame) of a sequence and writes image, point cloud and sights of each."""
    global _studio
    root = Path(root_name)
    if _studio is None or _studio.key != (root, options, number):
        _studio = _Studio(root, options, number)
    for side, frame in looks:
        _take_one(root, _studio, side, frame)


def _take_one(root: Path, studio: _Studio, side: str, frame: int) -> None:
    scene, options = studio.scene, studio.scene.options
    time_s, view = scene.image_time_s(side, frame), scene.view(side, frame)
    placements = scene.placements(time_s, without_ego=side == "vehicle") + scene.fixtures(time_s)
    picture = studio.renderer.look(view, placements, time_s)
    if picture.rgb is not None:
        parameters = [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality]
        rgb = scene.develop(picture.rgb, side, frame)
        _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)
        write_bytes(root, _sensor_file(root, scene, side, frame, "image", "jpg"), data.tobytes())
    if studio.lidar is not None:
        points = studio.lidar.sweep(side, frame)
        write_bytes(root, _sensor_file(root, scene, side, frame, "velodyne", "pcd"), pcd_bytes(points))
    # Recorded last: the record alone says that image and point cloud are there.
    found = {str(i): s.to_json() for i, s in sights(view, placements, picture).items()}
    write_json(root, _sights_file(root, scene.number, side, frame), found)


def _load_sights(root: Path, scene: Scene, frame: int) -> dict[str, dict[int, Sight]]:
    out: dict[str, dict[int, Sight]] = {}
    for side in SIDES:
        content = json.loads(_sights_file(root, scene.number, side, frame).read_bytes())
        out[side] = {
            int(i): Sight(s["visible_px"], s["unoccluded_px"], tuple(s["box_px"]), s["truncated_state"])
            for i, s in content.items()
        }
    return out


__all__ = ["MARKER", "SCHEMA", "finish", "generate", "is_complete", "prepare", "take"]
