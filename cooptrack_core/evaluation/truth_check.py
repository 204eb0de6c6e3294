"""What is doubtful in the ground truth of a run: label updates that match nothing, pairs without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cooptrack_core.data.files import problem
from cooptrack_core.data.label_updates import Family, LabelUpdates, Operation
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.types import CooptrackError


@dataclass(frozen=True)
class UpdateUse:
    """What label updates find in a dataset. deletions: of cooperative labels of the run, None without updates."""

    warnings: tuple[str, ...] = ()
    deletions: int | None = None


def update_use(dataset: Dataset, sequences: Sequence[str], updates: LabelUpdates | None) -> UpdateUse:
    """Looks the operations up: their frames in the whole dataset, their tokens in the labels of these sequences."""
    if updates is None:
        return UpdateUse()
    warnings, deletions = [], 0
    for family, frames in updates.operations.items():
        unmatched, deleted = _looked_up(dataset, family, frames, _frame_ids(dataset, family, sequences))
        count = sum(map(len, frames.values()))
        if unmatched:
            what = f"{unmatched} of {count} operations apply to no label (unknown frame or token)"
            warnings.append(f"{updates.path}: {family}: {what}")
        deletions += deleted if family == "cooperative" else 0
    return UpdateUse(tuple(warnings), deletions)


def unlabelled_pairs(dataset: Dataset, sequences: Sequence[str], max_frames: int | None = None) -> list[str]:
    """A warning if cooperative labels of some paired frames are missing."""
    rows = [row for name in sequences for row in dataset.frames("vehicle", name)[:max_frames]]
    paired = [row.frame_id for row in rows if row.frame_id in dataset.pairs]
    missing = sum(not dataset.has_cooperative_labels(name) for name in paired)
    return [f"{missing} of {len(paired)} paired frames have no cooperative labels and are not scored"] * bool(missing)


def require_truth(dataset: Dataset, sequence_id: str) -> None:
    """Raises CooptrackError, naming what is missing, if no frame of the sequence has cooperative labels."""
    names = [row.frame_id for row in dataset.frames("vehicle", sequence_id)]
    if not names or any(dataset.has_cooperative_labels(name) for name in names):
        return
    label_remedy = "choose a split whose labels are public (train, val), or restore the labels"
    if any(name in dataset.pairs for name in names):
        what = f"no frame of sequence {sequence_id} has cooperative labels, which are the ground truth"
        raise problem(dataset.root / "cooperative" / "label", "file", what, label_remedy)
    what, remedy = "is missing: only paired frames have ground truth", "restore it from the dataset archive"
    for folder in ("infrastructure-side", "cooperative"):
        path = dataset.root / folder / "data_info.json"
        if not path.is_file():
            raise problem(path, "file", what, remedy)
    what = f"no frame of sequence {sequence_id} has a pair that both sides list, and only pairs have ground truth"
    raise problem(dataset.root / "cooperative" / "data_info.json", "vehicle_frame", what, "restore the missing rows")


def _looked_up(
    dataset: Dataset, family: Family, frames: Mapping[str, Mapping[str, Operation]], own: frozenset[str]
) -> tuple[int, int]:
    """How many operations match nothing, and how many delete a label of a run's own frames."""
    unmatched = deleted = 0
    known = dataset.pairs if family == "cooperative" else {row.frame_id for row in dataset.frames(family)}
    for frame_id, operations in frames.items():
        if frame_id not in known:
            unmatched += len(operations)
        elif frame_id in own:
            try:
                tokens = dataset.label_tokens(family, frame_id)
            except CooptrackError:
                continue  # a broken file is told by whoever needs its labels
            unmatched += sum(token not in tokens for token in operations)
            deleted += sum(token in tokens and done == Operation() for token, done in operations.items())
    return unmatched, deleted


def _frame_ids(dataset: Dataset, family: Family, sequences: Sequence[str]) -> frozenset[str]:
    """Ids of the frames of the sequences, as the operations of a family name them."""
    rows = dataset.infrastructure_frames if family == "infrastructure" else lambda name: dataset.frames("vehicle", name)
    return frozenset(row.frame_id for name in sequences for row in rows(name))


__all__ = ["UpdateUse", "require_truth", "unlabelled_pairs", "update_use"]
