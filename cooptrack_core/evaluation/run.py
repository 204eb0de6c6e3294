"""Runs of the pipeline over the sequences of a split: stored one by one, resumed after an interruption."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.attack import NO_ATTACK, Attack
from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE, Disturbance
from cooptrack_core.data.files import expect_object, problem, read_json
from cooptrack_core.data.frame_messages import SequenceOptions
from cooptrack_core.data.recording import SCHEMA
from cooptrack_core.data.sequence_messages import SequenceMessages
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.evaluation.run_options import (
    RunOptions,
    about_run,
    absent_sequences,
    fingerprint,
    sequences_of,
    updates_of,
)
from cooptrack_core.evaluation.stored_recordings import store_recording, stored_recording
from cooptrack_core.evaluation.truth_check import UpdateUse, require_truth, unlabelled_pairs, update_use
from cooptrack_core.networks import network_of
from cooptrack_core.offline import NetworkMaker
from cooptrack_core.offline_bag import Drive, drive_of, track_drive
from cooptrack_core.progress import progress_bar
from cooptrack_core.report import save_json
from cooptrack_core.types import CooptrackError

Recording = dict[str, Any]
_RESULTS = ("metrics.json", "metrics.csv", "metrics.html", "robustness.json")


class SequenceRunner:
    """Runs sequences of a dataset, again and again.

    What a simulated detector makes of a sequence is kept, so that another run of it (other modes, parameters or
    disturbances) costs no more than the steps of the agents. `runner.run` is deterministic: its recording depends on
    the options, the sequence and its arguments only.
    """

    def __init__(self, options: RunOptions, networks: NetworkMaker = network_of) -> None:
        """Raises CooptrackError for a dataset, split or label updates that cannot be used."""
        self.options, self.networks = options, networks
        self.updates = updates_of(options.dataset, options.label_updates, options.convention)
        self.dataset = Dataset(options.dataset, self.updates)
        self.sequences = sequences_of(self.dataset, options)
        self._drives: dict[tuple[str, str, bool], Drive] = {}
        self._read: list[SequenceMessages] = []

    def run(
        self,
        sequence_id: str,
        vehicle: VehicleConfig | None = None,
        roadside: RoadsideConfig | None = None,
        disturbance: Disturbance = NO_DISTURBANCE,
        *,
        attack: Attack = NO_ATTACK,
        progress: bool = False,
    ) -> Recording:
        """The recording of one sequence, by the agents of the options unless others are given.

        Disturbance and attack of the options do not count here: without another one messages arrive at once, unchanged.
        In mode ego, which listens to nobody, the roadside does not run. Raises CooptrackError if a network gets no
        readable image of the vehicle.
        """
        config, units = vehicle or self.options.vehicle, roadside or self.options.roadside
        drive = self.drive(sequence_id, config.detector, alone=config.mode == "ego")
        recording = track_drive(
            drive, config, roadside_config=units, networks=self.networks, channel=drive.channel(disturbance),
            attacker=drive.attacker(attack), progress=progress,
        )  # fmt: skip
        if config.detector == "network" and isinstance(drive.source, SequenceSource):
            _check_images(drive.source.sequence)
        return recording

    def about(self, options: RunOptions) -> dict[str, Any]:
        """What was run, for metrics["run"]; options: of the same dataset, sequences and label updates."""
        return about_run(options, self.sequences, self.updates, self._update_use.deletions)

    @cached_property
    def _update_use(self) -> UpdateUse:
        return update_use(self.dataset, self.sequences, self.updates)

    @property
    def warnings(self) -> list[str]:
        """What is missing of the split or its labels, and what is doubtful in the sequences that have been read."""
        absent, split = absent_sequences(self.dataset, self.options), self.options.split
        listed = len(absent) + len(self.sequences)
        missing = [f"split {split}: {len(absent)} of its {listed} sequences are not in the dataset"] if absent else []
        missing += [
            *self._update_use.warnings,
            *unlabelled_pairs(self.dataset, self.sequences, self.options.max_frames),
        ]
        read = [warning for sequence in self._read for warning in sequence.warnings_of_run]
        return list(dict.fromkeys(missing + read))

    def drive(self, sequence_id: str, detector: str, *, alone: bool = False) -> Drive:
        """The frames of a sequence for a detector; of a simulated one, what it makes of them is kept.

        alone: the vehicle's frames only, labels and images of the roadside need not be there.
        """
        key = sequence_id, detector, alone
        if key not in self._drives:
            require_truth(self.dataset, sequence_id)
            options = self._sequence_options(sequence_id, detector, alone)
            sequence = SequenceMessages(self.dataset, sequence_id, options)
            self._read.append(sequence)
            # Images would fill the memory; what a simulated detector says does not.
            self._drives[key] = drive_of(SequenceSource(sequence), detector, keep=detector == "simulated", alone=alone)
        return self._drives[key]

    def frame_count(self, sequence_id: str) -> int:
        """Vehicle frames of a sequence that the system gets, if all are readable."""
        seen = self._seen(sequence_id)
        rows = self.dataset.frames("vehicle", sequence_id)
        return len([row for row in rows if seen is None or row.frame_id in seen][: self.options.max_frames])

    def _sequence_options(self, sequence_id: str, detector: str, alone: bool) -> SequenceOptions:
        return SequenceOptions(
            seed=self.options.seed,
            labels=detector == "simulated",
            roadside_labels=not alone,
            skip_broken=self.options.skip_broken,
            max_frames=self.options.max_frames,
            only=self._seen(sequence_id),
        )

    def _seen(self, sequence_id: str) -> frozenset[str] | None:
        """The frames that the system gets, None for all: below 10 Hz only those that are scored."""
        if self.options.full_rate or self.options.convention.step == 1:
            return None
        rows = self.dataset.frames("vehicle", sequence_id)
        scored = [row for row in rows if self.dataset.has_cooperative_labels(row.frame_id)]
        kept = self.options.convention.kept([row.frame_id for row in scored], [row.stamp_ns for row in scored])
        return frozenset(scored[n].frame_id for n in kept)


def _check_images(sequence: SequenceMessages) -> None:
    """Raises CooptrackError if no image of the vehicle could be read."""
    found = sequence.unreadable_images("vehicle")
    if found and len(found) == sum(row.image_path.exists() for row in sequence.vehicle_rows):
        path, reason = found[0]
        what = f"{reason}, and none of the vehicle's {len(found)} images of sequence {sequence.sequence_id} is readable"
        raise problem(path, "image", what, "restore the images, or choose detector simulated")


def run_split(
    options: RunOptions, out: Path, *, overwrite: bool = False, networks: NetworkMaker = network_of,
    runner: SequenceRunner | None = None,
) -> list[Recording]:  # fmt: skip
    """Runs every sequence and stores each at once in out/recordings/<sequence>.json.

    What a run of the same options (out/run.json) has stored there is not run again. Raises CooptrackError if the
    folder holds a run of other options. overwrite: whatever run is there, it goes. runner: of the same dataset,
    sequences and frames; agents and disturbance are those of the options, whatever it was made with.
    """
    runner = runner or SequenceRunner(options, networks)
    claim(out, fingerprint(options, runner.sequences, runner.updates), overwrite=overwrite)
    recordings = []
    for sequence_id in progress_bar(runner.sequences, desc=options.vehicle.mode, unit="sequence"):
        path = out / "recordings" / f"{sequence_id}.json"
        stored = stored_recording(path)
        if stored is None:
            slow = options.vehicle.detector == "network"
            made = runner.run(
                sequence_id, options.vehicle, options.roadside, options.disturbance, attack=options.attack,
                progress=slow,
            )  # fmt: skip
            stored = store_recording(made, path)
        recordings.append(stored)
    return recordings


def claim(out: Path, content: dict[str, Any], *, overwrite: bool = False) -> None:
    """Makes the folder that of the run that content describes; with overwrite it begins anew.

    What no run of cooptrack wrote is never deleted, nor results replaced of which nobody knows where they come from.
    """
    path, stored = out / "run.json", sorted((out / "recordings").glob("*.json"))
    then = _content(path)
    if then == content and not overwrite:
        return
    results = [out / name for name in _RESULTS if (out / name).exists()]
    if (then is not None or stored or results) and not overwrite:
        what = f"the folder holds a run of other options ({', '.join(_differences(then or {}, content))})"
        if not then:
            found = "recordings" if stored or not results else results[0].name
            what = f"the folder holds {found} and does not say of which run"
        raise problem(path, "options", what, "choose another --out, or replace it with --overwrite")
    for file in stored:
        if not _is_of_a_run(file, then or {}):
            what = "is no recording of cooptrack, --overwrite would delete it"
            raise problem(file, "file", what, "move it away, or choose another --out")
    for file in stored:
        file.unlink()
    save_json(content, path)


def _is_of_a_run(path: Path, run: dict[str, Any]) -> bool:
    """Whether a run wrote this file in recordings/, though it may be broken by now. run: what run.json says."""
    sequences = run.get("sequences")
    if path.is_file() and isinstance(sequences, list) and path.stem in sequences:
        return True
    try:
        return expect_object(read_json(path), path).get("schema") == SCHEMA
    except CooptrackError:
        return False


def _differences(then: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the options that differ."""
    found = []
    for key in sorted({*then, *now}):
        a, b = then.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{key}.")
        elif a != b or (key in then) != (key in now):
            found.append(prefix + key)
    return found


def _content(path: Path) -> dict[str, Any] | None:
    """run.json; None where there is none, empty where it is broken."""
    if not path.exists():
        return None
    try:
        return expect_object(read_json(path), path)
    except CooptrackError:
        return {}


__all__ = ["SequenceRunner", "claim", "run_split"]
