"""Frames to train on and frames to measure on, of one dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cooptrack_core.data import splits
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.training.frames import FrameSet, load_frames
from cooptrack_core.types import CooptrackError

CACHE_FOLDER = ".cooptrack_frames"
VAL_SEQUENCES = 5  # of the val split, for the evaluations during training; others are left for the results


@dataclass(frozen=True)
class TrainingData:
    """Both agents' clips of the train split and of some sequences of the val split."""

    train: FrameSet
    val: FrameSet


def load_data(root: Path, config: ModelConfig, cache: Path | None = None) -> TrainingData:
    """Frames of a dataset in the V2X-Seq-SPD layout, decoded into `cache` (by default a folder of the dataset)."""
    dataset = Dataset(root)
    folder = root / CACHE_FOLDER if cache is None else cache
    return TrainingData(
        load_frames(dataset, names_of_split(dataset, "train"), config, folder),
        load_frames(dataset, names_of_split(dataset, "val")[:VAL_SEQUENCES], config, folder),
    )


def names_of_split(dataset: Dataset, split: str) -> list[str]:
    """Sequences of a split that the dataset has. Raises CooptrackError if there is none."""
    file = splits.find(dataset.root)
    lists = (splits.official() if file is None else splits.load(file)).sequences
    present = set(dataset.sequences)
    names = [name for name in lists.get(split, ()) if name in present]
    if not names:
        raise CooptrackError(
            f"{file or dataset.root}: split {split}: none of its sequences is in {dataset.root}; "
            "give a dataset that has train and val"
        )
    return names


__all__ = ["TrainingData", "load_data", "names_of_split"]
