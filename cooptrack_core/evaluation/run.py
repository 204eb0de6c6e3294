"""Runs of the pipeline over the sequences of a split: stored one by one, resumed after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cooptrack_core import __version__
from cooptrack_core.config import UNTRAINED, RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.data import label_updates, splits
from cooptrack_core.data.files import problem, read_json
from cooptrack_core.data.frame_messages import SequenceOptions
from cooptrack_core.data.recording import load_recording
from cooptrack_core.data.sequence_messages import SequenceMessages
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.evaluation.conventions import CONVENTIONS, DEFAULT, Convention
from cooptrack_core.networks import network_of
from cooptrack_core.offline import NetworkMaker
from cooptrack_core.offline_bag import Drive, drive_of, track_drive
from cooptrack_core.report import save_json
from cooptrack_core.types import CooptrackError

Recording = dict[str, Any]


@dataclass(frozen=True)
class RunOptions:
    """What is run: the sequences of a split of a dataset (or those named), by these agents, under a convention.

    label_updates: a file, 'auto' (found in or beside the dataset) or 'none'. full_rate: the system sees every frame,
    whatever the convention scores. disturbance: None for a perfect channel.
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
    disturbance: Disturbance | None = None
    max_frames: int | None = None
    skip_broken: bool = False


class SequenceRunner:
    """Runs sequences of a dataset, again and again.

    What a simulated detector makes of a sequence is kept, so that another run of it (other modes, parameters or
    disturbances) costs no more than the steps of the agents. `runner.run` is deterministic: its recording depends on
    the options, the sequence and its arguments only.
    """

    def __init__(self, options: RunOptions, networks: NetworkMaker = network_of) -> None:
        """Raises CooptrackError for a dataset, split or label updates that cannot be used."""
        self.options, self._networks = options, networks
        self.updates = _updates(options)
        self.dataset = Dataset(options.dataset, self.updates)
        self.sequences = sequences_of(self.dataset, options)
        self._drives: dict[str, Drive] = {}
        self._spans_ns: dict[str, tuple[int, int] | None] = {}  # stamps of the first and last roadside frame

    @property
    def label_updates(self) -> str:
        """The file that was applied, or 'none'."""
        return "none" if self.updates is None else str(self.updates.path)

    @cached_property
    def synthetic(self) -> bool:
        """Whether `cooptrack synthesize` made the dataset."""
        return (self.dataset.root / "synthetic.json").is_file()

    def run(
        self,
        sequence_id: str,
        vehicle: VehicleConfig | None = None,
        roadside: RoadsideConfig | None = None,
        disturbance: Disturbance | None = None,
        *,
        progress: bool = False,
    ) -> Recording:
        """The recording of one sequence; agents and disturbance are those of the options unless given."""
        options = self.options
        config, units = vehicle or options.vehicle, roadside or options.roadside
        drive = self._drive(sequence_id, config.detector)
        channel = None
        if disturbance is not None and not disturbance.is_none:
            channel = Channel(disturbance, sequence_id, self._spans_ns[sequence_id])
        return track_drive(
            drive, config, roadside_config=units, networks=self._networks, channel=channel, progress=progress
        )

    def _drive(self, sequence_id: str, detector: str) -> Drive:
        key = f"{detector} {sequence_id}"
        if key not in self._drives:
            self._check_truth(sequence_id)
            sequence = SequenceMessages(self.dataset, sequence_id, self._sequence_options(sequence_id, detector))
            stamps = [row.stamp_ns for row in sequence.roadside_rows]
            self._spans_ns[sequence_id] = (min(stamps), max(stamps)) if stamps else None
            # Images would fill the memory; what a simulated detector says does not.
            self._drives[key] = drive_of(SequenceSource(sequence), detector, keep=detector == "simulated")
        return self._drives[key]

    def _sequence_options(self, sequence_id: str, detector: str) -> SequenceOptions:
        return SequenceOptions(
            seed=self.options.seed,
            labels=detector == "simulated",
            skip_broken=self.options.skip_broken,
            max_frames=self.options.max_frames,
            only=self._seen(sequence_id),
        )

    def _seen(self, sequence_id: str) -> frozenset[str] | None:
        """The frames that the system gets, None for all: below 10 Hz only those that are scored."""
        if self.options.full_rate or self.options.convention.step == 1:
            return None
        paired = [row for row in self.dataset.frames("vehicle", sequence_id) if row.frame_id in self.dataset.pairs]
        kept = self.options.convention.kept([row.frame_id for row in paired], [row.stamp_ns for row in paired])
        return frozenset(paired[n].frame_id for n in kept)

    def _check_truth(self, sequence_id: str) -> None:
        rows = self.dataset.frames("vehicle", sequence_id)
        if rows and not any(self.dataset.has_cooperative_labels(row.frame_id) for row in rows):
            what = f"no frame of sequence {sequence_id} has cooperative labels, which are the ground truth"
            remedy = "choose a split whose labels are public (train, val), or restore the labels"
            raise problem(self.dataset.root / "cooperative" / "label", "file", what, remedy)


def sequences_of(dataset: Dataset, options: RunOptions) -> tuple[str, ...]:
    """The sequences named, else those of the split that the dataset has; CooptrackError if there is none."""
    if options.sequences:
        unknown = [name for name in options.sequences if name not in dataset.sequences]
        if unknown:
            some = ", ".join(dataset.sequences[:10]) + (" ..." if len(dataset.sequences) > 10 else "")
            what = f"{', '.join(unknown)}: no such sequence with vehicle frames"
            raise problem(dataset.root, "sequence", what, f"choose among {some}")
        return tuple(dict.fromkeys(options.sequences))
    path = splits.find(dataset.root)
    lists = (splits.official() if path is None else splits.load(path)).sequences
    where = path or f"{dataset.root} (official split)"
    if options.split not in lists:
        raise problem(where, "batch_split", f"has no split {options.split!r}", f"choose one of {', '.join(lists)}")
    found = tuple(name for name in sorted(lists[options.split]) if name in dataset.sequences)
    if not found:
        what = f"the dataset has no sequence of split {options.split!r}"
        raise problem(where, f"batch_split.{options.split}", what, "choose another --split, or name --sequence ID")
    return found


def _updates(options: RunOptions) -> label_updates.LabelUpdates | None:
    if options.label_updates == "none":
        return None
    path = label_updates.find(options.dataset) if options.label_updates == "auto" else Path(options.label_updates)
    if path is None:
        if options.convention.delete_cooperative:
            what = f"convention {options.convention.name} deletes labels by this file, which is missing"
            remedy = "give it with --label-updates FILE, or --label-updates none to go without"
            raise problem(options.dataset / label_updates.FILE_NAME, "file", what, remedy)
        return None
    found = label_updates.load(path)
    return found if options.convention.delete_cooperative else found.without_cooperative()


def fingerprint(options: RunOptions, runner: SequenceRunner) -> dict[str, Any]:
    """Everything that the recordings of a run depend on, as in run.json."""
    content: dict[str, Any] = asdict(options) | {
        "version": __version__,
        "dataset": str(options.dataset.resolve()),
        "sequences": list(runner.sequences),
        "label_updates": None if runner.updates is None else _digest(str(runner.updates.path)),
        "disturbance": None if options.disturbance is None else asdict(options.disturbance),
        "weights": {name: _digest(config.network.weights) for name, config in _networks(options).items()},
    }
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain


def _networks(options: RunOptions) -> Mapping[str, VehicleConfig | RoadsideConfig]:
    agents: dict[str, VehicleConfig | RoadsideConfig] = {"vehicle": options.vehicle, "roadside": options.roadside}
    return {name: config for name, config in agents.items() if config.detector == "network"}


def _digest(weights: str) -> str:
    path = Path(weights)
    if weights == UNTRAINED or not path.is_file():
        return weights
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_split(
    options: RunOptions, out: Path, *, overwrite: bool = False, networks: NetworkMaker = network_of,
    runner: SequenceRunner | None = None,
) -> list[Recording]:  # fmt: skip
    """Runs every sequence and stores each at once in out/recordings/<sequence>.json.

    What a run of the same options (out/run.json) has stored there is not run again. Raises CooptrackError if the
    folder holds a run of other options, unless overwrite says that it may go.
    """
    runner = runner or SequenceRunner(options, networks)
    _claim(out, fingerprint(options, runner), overwrite)
    recordings = []
    bar = tqdm(runner.sequences, desc=f"{options.vehicle.mode}", unit="sequence", disable=None, leave=False)
    for sequence_id in bar:
        path = out / "recordings" / f"{sequence_id}.json"
        stored = _stored(path)
        if stored is None:
            stored = runner.run(sequence_id, disturbance=options.disturbance)
            save_json(stored, path)
        recordings.append(stored)
    return recordings


def _claim(out: Path, content: dict[str, Any], overwrite: bool) -> None:
    """Makes the folder that of this run."""
    path = out / "run.json"
    if path.exists():
        try:
            then = read_json(path)
        except CooptrackError:
            then = None
        if then == content:
            return
        if not overwrite:
            changed = sorted(key for key in content if not isinstance(then, dict) or then.get(key) != content[key])
            what = f"the folder holds a run of other options ({', '.join(changed)})"
            raise problem(path, "options", what, "choose another --out, or replace it with --overwrite")
    for recording in (out / "recordings").glob("*.json"):
        recording.unlink()
    save_json(content, path)


def _stored(path: Path) -> Recording | None:
    """A stored recording; None where there is none or a broken one, which is made again."""
    if not path.is_file():
        return None
    try:
        return load_recording(path)
    except CooptrackError:
        return None


__all__ = ["RunOptions", "SequenceRunner", "fingerprint", "run_split", "sequences_of"]
