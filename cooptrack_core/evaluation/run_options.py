"""What is run for an evaluation: options, the sequences and label updates that they mean, and how they are recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cooptrack_core
from cooptrack_core import __version__
from cooptrack_core.config import UNTRAINED, RoadsideConfig, VehicleConfig, changed_values
from cooptrack_core.cooperation.attack import NO_ATTACK, Attack
from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE, Disturbance
from cooptrack_core.data import label_updates, splits
from cooptrack_core.data.files import problem
from cooptrack_core.data.label_updates import LabelUpdates
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.evaluation.conventions import CONVENTIONS, DEFAULT, Convention

# What tells that a dataset has become another one; of its labels and images nothing is read for that.
_LISTS = (
    "vehicle-side/data_info.json", "infrastructure-side/data_info.json", "cooperative/data_info.json", "synthetic.json"
)  # fmt: skip
_WITHOUT_INFLUENCE = (
    "cli.py", "commands", "demo.py", "evaluation", "progress.py", "report.py", "training", "visualization"
)  # fmt: skip


@dataclass(frozen=True)
class RunOptions:
    """What is run: the sequences of a split of a dataset (or those named), by these agents, under a convention.

    label_updates: a file, 'auto' (found in or beside the dataset) or 'none'. full_rate: the system sees every frame,
    whatever the convention scores.
    """

    dataset: Path
    split: str = "val"
    sequences: tuple[str, ...] = ()
    vehicle: VehicleConfig = field(default_factory=VehicleConfig)
    roadside: RoadsideConfig = field(default_factory=RoadsideConfig)
    seed: int = 0
    convention: Convention = CONVENTIONS[DEFAULT]
    full_rate: bool = False
    label_updates: str = "auto"
    disturbance: Disturbance = NO_DISTURBANCE
    attack: Attack = NO_ATTACK
    max_frames: int | None = None
    skip_broken: bool = False


def sequences_of(dataset: Dataset, options: RunOptions) -> tuple[str, ...]:
    """The sequences named, else those of the split that the dataset has; CooptrackError if there is none."""
    if options.sequences:
        unknown = [name for name in options.sequences if name not in dataset.sequences]
        if unknown:
            some = ", ".join(dataset.sequences[:10]) + (" ..." if len(dataset.sequences) > 10 else "")
            what = f"{', '.join(unknown)}: no such sequence with vehicle frames"
            raise problem(dataset.root, "sequence", what, f"choose among {some}")
        return tuple(dict.fromkeys(options.sequences))
    where, listed = _split(dataset, options.split)
    found = tuple(name for name in sorted(listed) if name in dataset.sequences)
    if not found:
        what = f"the dataset has no sequence of split {options.split!r}"
        raise problem(where, f"batch_split.{options.split}", what, "choose another --split, or name --sequence ID")
    return found


def absent_sequences(dataset: Dataset, options: RunOptions) -> tuple[str, ...]:
    """Sequences of the split that the dataset does not have, as in a partial download."""
    if options.sequences:
        return ()
    return tuple(name for name in sorted(_split(dataset, options.split)[1]) if name not in dataset.sequences)


def _split(dataset: Dataset, name: str) -> tuple[str, tuple[str, ...]]:
    """Where the split is defined, and its sequences."""
    path = splits.find(dataset.root)
    lists = (splits.official() if path is None else splits.load(path)).sequences
    where = f"{dataset.root} (official split)" if path is None else str(path)
    if name not in lists:
        raise problem(where, "batch_split", f"has no split {name!r}", f"choose one of {', '.join(lists)}")
    return where, lists[name]


def updates_of(dataset: Path, wanted: str, convention: Convention) -> LabelUpdates | None:
    """The label updates that the convention applies; wanted: a file, 'auto' (in or beside the dataset) or 'none'.

    Raises CooptrackError where the convention deletes labels and no file, or no list of deletions, is found.
    """
    if wanted == "none":
        return None
    path = label_updates.find(dataset) if wanted == "auto" else Path(wanted)
    if path is None:
        if convention.delete_cooperative:
            what = f"convention {convention.name} deletes labels by this file, which is missing"
            remedy = "give it with --label-updates FILE, or --label-updates none to go without"
            raise problem(dataset / label_updates.FILE_NAME, "file", what, remedy)
        return None
    found = label_updates.load(path)
    if convention.delete_cooperative and "cooperative" not in found.operations:
        what = f"is missing, convention {convention.name} deletes labels by this list"
        raise problem(path, "cooperative", what, "give another file with --label-updates, or none to go without")
    return found if convention.delete_cooperative else found.without_cooperative()


def fingerprint(options: RunOptions, sequences: Sequence[str], updates: LabelUpdates | None) -> dict[str, Any]:
    """Everything that the recordings of a run depend on, as in run.json."""
    content: dict[str, Any] = asdict(options) | {
        "version": __version__,
        "code": _code(),
        "dataset": str(options.dataset.resolve()),
        "data": _digest_of(options.dataset / name for name in _LISTS),
        "sequences": list(sequences),
        "label_updates": None if updates is None else _digest_of([updates.path]),
        "weights": {name: _digest(config.network.weights, name) for name, config in _networks(options).items()},
    }
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain


def about_run(
    options: RunOptions,
    sequences: Sequence[str],
    updates: LabelUpdates | None,
    cooperative_deletions: int | None = None,
) -> dict[str, Any]:
    """What was run, for metrics["run"]; cooperative_deletions: how many of the updates apply, None: not known."""
    networks = _networks(options)
    return {
        "dataset": str(options.dataset),
        "split": None if options.sequences else options.split,
        "sequences": list(sequences),
        "detector": options.vehicle.detector,
        "mode": options.vehicle.mode,
        "weights": options.vehicle.network.weights if networks else None,
        "roadside_weights": options.roadside.network.weights if networks else None,
        "preset": options.vehicle.network.preset if networks else None,
        "seed": options.seed,
        "parameters": {"vehicle": changed_values(options.vehicle), "roadside": changed_values(options.roadside)},
        "disturbance": options.disturbance.describe(),
        "attack": options.attack.describe(),
        "max_frames": options.max_frames,
        "synthetic": is_synthetic(options.dataset),
        "full_rate": options.full_rate,
        "label_updates": "none" if updates is None else str(updates.path),
        "cooperative_deletions": cooperative_deletions,
    }


def is_synthetic(dataset: Path) -> bool:
    """Whether `cooptrack synthesize` made the dataset."""
    return (dataset / "synthetic.json").is_file()


def _networks(options: RunOptions) -> Mapping[str, VehicleConfig | RoadsideConfig]:
    agents: dict[str, VehicleConfig | RoadsideConfig] = {"vehicle": options.vehicle, "roadside": options.roadside}
    return {name: config for name, config in agents.items() if config.detector == "network"}


def _code() -> str:
    """Digest of the sources that tracks depend on: numbers of an older state are not taken for those of this one."""
    root = Path(cooptrack_core.__file__).parent
    sources = sorted(root.rglob("*.py"))
    return _digest_of(path for path in sources if path.relative_to(root).parts[0] not in _WITHOUT_INFLUENCE)


def _digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 over the content of the files that exist."""
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(weights: str, agent: str) -> str:
    """Of the file that is meant, so that what was recorded with another one of that name is not taken for its work."""
    if weights == UNTRAINED:
        return weights
    from cooptrack_core.checkpoints import store

    shipped = store.shipped(weights, "inf" if agent == "roadside" else "coop")
    path = shipped if shipped.is_file() else Path(weights)
    return _digest_of([path]) if path.is_file() else weights


__all__ = ["RunOptions", "about_run", "absent_sequences", "fingerprint", "is_synthetic", "sequences_of", "updates_of"]
