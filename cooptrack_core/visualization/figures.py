"""Association and tracking figures of a recording as files: frames one by one, or several on one strip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from cooptrack_core.config import MODE_NAMES
from cooptrack_core.evaluation.plots import save_figure
from cooptrack_core.types import CooptrackError
from cooptrack_core.visualization.association_figure import association_figure, association_strip
from cooptrack_core.visualization.plan_figure import RANGE_M
from cooptrack_core.visualization.scene import Images, Scene, build_scene
from cooptrack_core.visualization.stills import telling_frame
from cooptrack_core.visualization.track_colors import track_colors
from cooptrack_core.visualization.tracking_figure import tracking_figure, tracking_strip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("association", "tracking")
FORMATS = ("png", "pdf", "svg")
STRIP_FRAMES = 4


class NothingToDraw(CooptrackError):
    """A recording without frames, or with none of those asked for; another of the same run may have them."""


@dataclass(frozen=True)
class FigureOptions:
    """What is drawn. frames: A:B of the recording from 0, without B, None for the one that shows most.

    strip: a strip of up to four of the frames instead of each by itself, None for frames spread over the time in
    which there are tracks; note: what else the heading must say.
    """

    kinds: tuple[str, ...] = KINDS
    frames: slice | None = None
    strip: bool = False
    format: str = "png"
    range_m: float = RANGE_M
    note: str = ""


def parse_frames(text: str) -> slice:
    """Frames "A:B" (A, ..., B - 1), "A:", ":B", ":", with ":STEP", or "A" alone; CooptrackError for another text."""
    parts = text.split(":")
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or (len(numbers) == 1 and numbers[0] is None):
        raise CooptrackError(f"--frames: {text!r} is no range; give A:B, or A:B:STEP, counted from 0 without B")
    if any(number is not None and number < 0 for number in numbers) or (len(numbers) == 3 and numbers[2] == 0):
        raise CooptrackError(f"--frames: {text!r} counts backwards; give A:B with 0 <= A < B")
    if len(numbers) == 1 and numbers[0] is not None:
        return slice(numbers[0], numbers[0] + 1)
    if numbers[1] is not None and (numbers[0] or 0) >= numbers[1]:
        raise CooptrackError(f"--frames: {text!r} holds no frame; give A:B with 0 <= A < B")
    return slice(*numbers)


def write_figures(
    recording: Mapping[str, Any], images: Images | None, out: Path, options: FigureOptions, *, where: str = "recording"
) -> list[Path]:
    """Writes out/<kind>_<frame>.png (or the strip) and gives the paths. images: None where the run has none.

    where: what an error calls the recording. Raises NothingToDraw for one that has none of the frames.
    """
    scene = build_scene(recording)
    if not scene.frames:
        raise NothingToDraw(f"{where}: frames: empty, there is nothing to show; run on a source that has frames")
    chosen = _chosen(scene, options, where)
    figures = _figures(recording, scene, chosen, images, options)
    return [save_figure(figure, out / f"{name}.{options.format}") for name, figure in figures]


def _figures(
    recording: Mapping[str, Any], scene: Scene, chosen: Sequence[int], images: Images | None, options: FigureOptions
) -> Iterator[tuple[str, Figure]]:
    """Name and figure, one at a time: a figure takes much memory."""
    if options.strip:
        words = run_words(recording, scene, options.note)
        for kind in options.kinds:
            if kind == "association":
                yield "association_strip", association_strip(scene, chosen, words, range_m=options.range_m)
            else:
                yield "tracking_strip", tracking_strip(scene, chosen, images, words, range_m=options.range_m)
        return
    drawn: dict[str, Any] = {"range_m": options.range_m, "colors_of": track_colors(scene)}
    for index in tqdm(chosen, desc="figures", unit="frame", disable=None, leave=False):
        words = frame_words(recording, scene, index, options.note)
        for kind in options.kinds:
            if kind == "association":
                yield f"association_{index:05d}", association_figure(scene, index, words, **drawn)
            else:
                yield f"tracking_{index:05d}", tracking_figure(scene, index, images, words, **drawn)


def _chosen(scene: Scene, options: FigureOptions, where: str) -> Sequence[int]:
    count = len(scene.frames)
    if options.frames is None:
        return telling_frames(scene, STRIP_FRAMES) if options.strip else [telling_frame(scene)]
    chosen = range(count)[options.frames]
    if not chosen:
        start, stop = options.frames.start, options.frames.stop
        wanted = ":".join("" if n is None else str(n) for n in (start, stop))
        raise NothingToDraw(f"{where}: frames: has 0 to {count - 1}, none of {wanted}; choose within 0:{count}")
    return [chosen[k] for k in spread(len(chosen), STRIP_FRAMES)] if options.strip else chosen


def telling_frames(scene: Scene, most: int) -> list[int]:
    """Up to `most` frames that have tracks, each in the middle of an equal part of all that have; else any."""
    tracked = [index for index, frame in enumerate(scene.frames) if frame.tracks] or list(range(len(scene.frames)))
    middles = (np.arange(most) + 0.5) / most * len(tracked)
    return sorted({tracked[int(k)] for k in middles})


def spread(count: int, most: int) -> list[int]:
    """Up to `most` of `count` positions, evenly spread, with the first and the last."""
    return sorted({int(k) for k in np.linspace(0, count - 1, min(most, count)).round()}) if count else []


def run_words(recording: Mapping[str, Any], scene: Scene, note: str = "") -> str:
    """Sequence, mode, detector and disturbance of a run, for headings."""
    sequence = str(recording["frames"][0].get("sequence_id") or "") if recording["frames"] else ""
    run = f"{MODE_NAMES.get(scene.mode, scene.mode)}, {scene.detector} detector"
    disturbed = str((recording.get("channel") or {}).get("disturbance") or "")
    parts = [f"sequence {sequence}" if sequence else "", run, f"disturbed: {disturbed}" if disturbed else "", note]
    return "; ".join(part for part in parts if part)


def frame_words(recording: Mapping[str, Any], scene: Scene, index: int, note: str = "") -> str:
    """What run and which frame this is, and how much older than it the message used is."""
    row, frame = recording["frames"][index], scene.frames[index]
    name = f"frame {row['frame_id']}" if row.get("frame_id") else f"frame {index}"
    ages = [message["age_ms"] for message in frame.messages if message.get("age_ms") is not None]
    if scene.mode == "ego":
        heard = ""
    elif not ages:
        heard = "no message used"
    else:
        heard = f"roadside {abs(max(ages)):.0f} ms {'older' if max(ages) >= 0 else 'newer'}"
    sequence, *rest = run_words(recording, scene, note).split("; ")
    if not sequence.startswith("sequence"):
        sequence, rest = "", [sequence, *rest]
    when = ", ".join(part for part in (sequence, name, f"t = {scene.time_s(index):.1f} s") if part)
    return "; ".join(part for part in (when, *rest, heard) if part)


def has_images(recording: Mapping[str, Any], lookup: Any) -> bool:
    """Whether the lookup has an image of any frame of the recording."""
    known = {(agent, stamp) for agent, stamps in lookup.stamps_ns.items() for stamp in stamps}
    wanted = {
        (agent, int(image["stamp_ns"]))
        for frame in recording["frames"]
        for agent, image in (frame.get("images") or {}).items()
        if image is not None
    }
    return bool(known & wanted)


__all__ = [
    "FORMATS", "KINDS", "FigureOptions", "NothingToDraw", "frame_words", "has_images", "parse_frames", "run_words",
    "spread", "telling_frames", "write_figures",
]  # fmt: skip
