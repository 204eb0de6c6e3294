"""Frames to take the time of: those of a dataset, again and again, as long as they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cooptrack_core.data.frame_messages import SequenceOptions
from cooptrack_core.data.image_events import image_events
from cooptrack_core.data.sequence_messages import SequenceMessages
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.types import CooptrackError, Frame

STEP_NS = 100_000_000
SYNTHETIC_SEED = 7


@dataclass(frozen=True)
class TimedFrames:
    """Frames of one moment after the other, images as the bytes of their files."""

    vehicle: tuple[Frame, ...]
    roadside: tuple[Frame, ...]


def frames_of(root: Path, sequence: str | None = None, count: int | None = None) -> TimedFrames:
    """The first frames of a sequence, without one of the first. Raises CooptrackError where there are none."""
    dataset = Dataset(root)
    names = dataset.sequences
    if not names:
        raise CooptrackError(f"{root}: sequence: the dataset has none; give one that has frames")
    name = names[0] if sequence is None else sequence
    events = list(image_events(SequenceSource(SequenceMessages(dataset, name, SequenceOptions(max_frames=count)))))
    found = [tuple(e.frame for e in events if e.agent_id == agent) for agent in ("vehicle", "rsu")]
    for side, frames in zip(("vehicle", "roadside"), found, strict=True):
        if not frames:
            raise CooptrackError(f"{root}: images: sequence {name} has no frames of the {side}; choose another")
    return TimedFrames(*(frames[:count] for frames in found))


def synthesize(root: Path, pairs: int) -> None:
    """A synthetic scene of so many pairs of images, 1920x1080, at `root`; the same that is there already stays."""
    from cooptrack_core.data.synthetic import generate, renderers
    from cooptrack_core.data.synthetic.options import SceneOptions

    renderer, _ = renderers.choose("auto")
    options = SceneOptions(
        seed=SYNTHETIC_SEED, duration_s=pairs / 10, renderer=renderer, point_clouds="none", split="val"
    )  # fmt: skip
    generate.generate(root, options, 1, overwrite=True)  # unless it is of these options and this program


def frame_at(frames: Sequence[Frame], number: int) -> Frame:
    """The frame of 0.1 s times `number`: forward and back again, so that nothing jumps; images come as late as ever."""
    last = len(frames) - 1
    turn = number % max(1, 2 * last)
    frame = frames[turn if turn <= last else 2 * last - turn]
    stamp_ns = frames[0].stamp_ns + number * STEP_NS
    taken_ns = None if frame.image_stamp_ns is None else stamp_ns + frame.image_stamp_ns - frame.stamp_ns
    return replace(frame, stamp_ns=stamp_ns, image_stamp_ns=taken_ns)


__all__ = ["STEP_NS", "TimedFrames", "frame_at", "frames_of", "synthesize"]
