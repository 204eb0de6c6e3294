"""The recorded run of the nodes as something to evaluate: checked against the bag that was played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cooptrack_core.data.files import problem
from cooptrack_core.data.recording import recording_from_bags
from cooptrack_core.evaluation.conventions import AS_IN_BAG, Convention
from cooptrack_core.evaluation.run import claim
from cooptrack_core.report import save_json

Recording = dict[str, Any]


def bag_recording(
    recorded: Path, source: Path, vehicle: str | None, convention: Convention, label_updates: str = "auto"
) -> Recording:
    """The recording of one vehicle of a recorded bag, with the ground truth of the bag that was played.

    Raises CooptrackError where there is no ground truth, several vehicles, a bag played more than once, another
    source, or a convention that deletes labels, which the ground truth of a bag cannot tell.
    """
    if label_updates not in ("auto", "none"):
        what = "the labels of a bag are as to-bag wrote them, updates cannot be applied any more"
        raise problem(source, "--label-updates", what, "make the bag with cooptrack to-bag --label-updates FILE")
    if convention.delete_cooperative and label_updates != "none":
        what = f"convention {convention.name} deletes labels, and the ground truth of a bag does not name its labels"
        remedy = "make the bag with cooptrack to-bag --convention univ2x --label-updates FILE, then give none here"
        raise problem(source, "--label-updates", what, remedy)
    recording = recording_from_bags(recorded, source, vehicle)
    name, frames = recording["vehicle"], recording["frames"]
    if not recording["missed"] and not any(frame["has_ground_truth"] for frame in frames):
        remedy = "give the bag of cooptrack to-bag of a dataset with cooperative labels"
        raise problem(source, f"/{name}/ground_truth", "topic is missing or empty", remedy)
    _check_once(recorded, name, frames)
    if not any(frame["has_ground_truth"] for frame in frames):
        what = f"none of its {len(frames)} frames is a frame with ground truth of {source}"
        raise problem(recorded, f"/{name}/tracks", what, "give the bag that was played as --source")
    return recording


def _check_once(recorded: Path, vehicle: str, frames: list[Recording]) -> None:
    seen: set[int] = set()
    for frame in frames:
        if frame["stamp_ns"] in seen:
            what = f"frame {frame['frame_id'] or frame['stamp_ns']} is there twice: the bag was played more than once"
            raise problem(recorded, f"/{vehicle}/tracks", what, "record one round of a bag")
        seen.add(frame["stamp_ns"])


def store_bag_recording(recording: Recording, out: Path, *, overwrite: bool = False) -> None:
    """Stores it as that of a run is: out/recordings/<sequence>.json; CooptrackError if the folder holds another run."""
    bags = {name: str(Path(recording[name]).resolve()) for name in ("recorded_bag", "source_bag")}
    claim(out, {**bags, "vehicle": recording["vehicle"]}, overwrite=overwrite)
    sequence_id = next((frame["sequence_id"] for frame in recording["frames"]), "")
    save_json(recording, out / "recordings" / f"{sequence_id or 'recording'}.json")


def about_bag(recording: Recording) -> dict[str, Any]:
    """What is known of the run: for metrics["run"]."""
    frames = recording["frames"]
    return {
        "bag": recording["recorded_bag"],
        "dataset": recording["source_bag"],
        "split": None,
        "sequences": sorted({frame["sequence_id"] for frame in frames}),
        "vehicle": recording["vehicle"],
        "detector": recording["detector"],
        "mode": recording["mode"],
        "weights": "as recorded" if recording["detector"] == "network" else None,
        "preset": None,
        "seed": None,
        "params": None,
        "disturbance": None,  # whatever happened then
        "full_rate": True,  # a bag has every frame
        "label_updates": AS_IN_BAG,
    }


__all__ = ["about_bag", "bag_recording", "store_bag_recording"]
