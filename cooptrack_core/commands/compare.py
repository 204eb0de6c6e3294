"""`cooptrack compare`: every method over a split, one table, and intervals of every difference."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.commands.common import check_positive, print_files, warn
from cooptrack_core.commands.compare_attacks import add_attack_options, run_attacks
from cooptrack_core.commands.compare_networks import TITLES, add_network_rows, alone, further_runs
from cooptrack_core.commands.disturbance_options import add_disturbance_options, disturbance_of
from cooptrack_core.commands.run_options import add_run_options, run_options, warn_if_untrained
from cooptrack_core.commands.tune import TRIALS, print_tuned
from cooptrack_core.config import LEARNED_MODES
from cooptrack_core.evaluation.packages import require_packages
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.evaluation.comparison import Method
    from cooptrack_core.evaluation.run_options import RunOptions
    from cooptrack_core.evaluation.tuning_data import Tuner

HELP = "all methods over a split: one table, bootstrap intervals of every difference"
METHODS = ("learned", "distance", "late", "alone", "ego")
_OF_DETECTIONS = ("late", "ego")
_SHARES_NO_FEATURES = ("late", "alone", "ego")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("dataset", type=Path, help="with cooperative labels")
    parser.add_argument(
        "--modes", metavar="A,B", help="among late, ego, and with detector network distance, learned, alone (boxes of "
        "the network tracked as in late, nothing received); default: all that the detector allows",
    )  # fmt: skip
    add_run_options(parser)
    add_network_rows(parser)
    add_disturbance_options(parser)
    add_attack_options(parser)
    tuning = parser.add_argument_group("parameters of the object-level methods (unless --params gives them)")
    tuning.add_argument(
        "--tune-on", default="train", metavar="SPLIT", help="split on which they are tuned, undisturbed"
    )
    tuning.add_argument("--trials", type=int, default=TRIALS, metavar="N", help="parameter sets that are tried")
    tuning.add_argument("--no-tune", action="store_true", help="the default parameters")
    out = parser.add_argument_group("output")
    out.add_argument("--out", "-o", type=Path, default=Path("comparison"), metavar="DIR", help="folder for everything")
    out.add_argument("--overwrite", action="store_true", help="replace what other options have left in that folder")
    out.add_argument("--bootstrap-seed", type=int, default=0, metavar="N", help="of the resamples")


def run(args: argparse.Namespace) -> int:
    """Tunes where needed, runs, prints and writes."""
    require_packages()
    from cooptrack_core.evaluation.comparison import compare
    from cooptrack_core.evaluation.comparison_report import print_comparison, write_csv, write_html
    from cooptrack_core.report import save_json

    if args.attack is not None:
        return run_attacks(args)
    check_positive("--trials", args.trials)
    options = run_options(args, "late")
    warn_if_untrained(options)
    keys = _keys(args.modes, options.vehicle.detector)
    if args.params is not None:
        _warn_of_shared(args, options)
    tunings = None if args.no_tune or args.params is not None else _Tunings(args, alone(args, options))
    methods = [_method(args, key, options, tunings) for key in keys]
    methods += [
        _method(args, "learned", other, None, name) for name, other in further_runs(args, options, METHODS).items()
    ]
    methods.sort(key=lambda method: method.key in _SHARES_NO_FEATURES)
    result = compare(
        methods, args.out, overwrite=args.overwrite, seed=args.bootstrap_seed, command=args.command_line,
        warn=lambda text: warn(args, [text]),
    )  # fmt: skip
    save_json(result, args.out / "compare.json")
    write_csv(result, args.out / "compare.csv")
    write_html(result, args.out / "compare.html")
    print_comparison(result)
    files = [args.out / f"compare.{kind}" for kind in ("json", "csv", "html")]
    print_files(files)
    return 0


def _keys(modes: str | None, detector: str) -> list[str]:
    """The methods asked for, in the order of the table."""
    allowed = METHODS if detector == "network" else _OF_DETECTIONS
    given = allowed if modes is None else [name for name in modes.split(",") if name]
    for name in given:
        if name not in METHODS:
            raise CooptrackError(f"--modes: {name!r} is unknown; choose among {', '.join(allowed)}")
        if name not in allowed:
            what = "is what ego does there" if name == "alone" else "shares features, which only a network has"
            raise CooptrackError(f"--modes: {name} {what}; choose --detector network, or leave it out")
    if not given:
        raise CooptrackError(f"--modes: names no mode; choose among {', '.join(allowed)}")
    return [name for name in METHODS if name in given]


def _method(args: argparse.Namespace, key: str, given: RunOptions, tunings: _Tunings | None, also: str = "") -> Method:
    """A row of the table: the given run in its mode, with tuned parameters where it has an object-level tracker.

    also: name of a row for another network.
    """
    from cooptrack_core.cooperation.disturbance import Disturbance
    from cooptrack_core.evaluation.comparison import Method

    mode = "late" if key == "alone" else key
    options = replace(given, vehicle=replace(given.vehicle, mode=mode))
    if key in _SHARES_NO_FEATURES:
        options = alone(args, options)
    disturbance = disturbance_of(args)
    if key == "alone":
        disturbance = Disturbance(drop_roadside=1.0)
    own_tracks = key in LEARNED_MODES or (key == "ego" and options.vehicle.detector == "network")
    if args.params is not None:
        parameters = f"parameters of {args.params}"
    elif own_tracks:
        parameters = "tracks of the network itself, nothing to tune"
    elif tunings is None:
        parameters = "default parameters, not tuned"
    else:
        path = tunings.file("late" if key == "late" else "ego")
        options = alone(args, run_options(argparse.Namespace(**{**vars(args), "params": path}), mode))
        parameters = f"scores calibrated, gates and tracker tuned for it on split {args.tune_on} ({path.name})"
    # Who fuses objects is sent objects: nobody would pay for features that are not used.
    precision = options.roadside.feature_precision if key in LEARNED_MODES else "none"
    roadside = replace(options.roadside, feature_precision=precision)
    made = replace(options, roadside=roadside, disturbance=disturbance)
    if also:
        return Method(also, made, f"network {made.vehicle.network.weights}, {parameters}", TITLES.get(also, also))
    if args.alone_weights is not None and key in _SHARES_NO_FEATURES:
        parameters = f"network trained alone ({made.vehicle.network.weights}), {parameters}"
    return Method(key, made, parameters)


def _warn_of_shared(args: argparse.Namespace, options: RunOptions) -> None:
    """A file that was tuned on what is scored is the user's choice, but its scores are no fair ones."""
    from cooptrack_core.evaluation.run import SequenceRunner
    from cooptrack_core.evaluation.tuned_file import tuned_sequences

    shared = sorted(set(tuned_sequences(args.params)) & set(SequenceRunner(options).sequences))
    if shared:
        what = f"{args.params} was tuned on {len(shared)} of the sequences that are scored ({', '.join(shared[:5])})"
        warn(args, [f"{what}: scores flatter it"])


class _Tunings:
    """The tuned parameters in the output folder, made unless the same options have left them there."""

    def __init__(self, args: argparse.Namespace, options: RunOptions) -> None:
        self._args, self._options = args, options

    @cached_property
    def _tuner(self) -> Tuner:
        """Raises CooptrackError where there is nothing to tune on, or just what is scored."""
        from cooptrack_core.evaluation.run import SequenceRunner
        from cooptrack_core.evaluation.tuning_data import Tuner, check_apart, for_tuning

        args, options = self._args, self._options
        try:
            runner = SequenceRunner(for_tuning(options, args.tune_on))
        except CooptrackError as error:
            raise CooptrackError(f"--tune-on {args.tune_on}: {error}; or take --no-tune") from None
        by_file = args.tune_on != options.split and not options.sequences
        remedy = "choose another --tune-on or other sequences, or take --no-tune"
        scored = SequenceRunner(options).sequences
        warning = check_apart(runner.sequences, scored, by_split_file=by_file, remedy=remedy)
        if warning:
            warn(args, [warning])
        return Tuner(runner)

    def file(self, mode: str) -> Path:
        """The parameters for late or ego."""
        from cooptrack_core.data.files import write_file
        from cooptrack_core.report import save_json

        args = self._args
        path: Path = args.out / ("tuned.yaml" if mode == "late" else f"tuned_{mode}.yaml")
        record, made_by = path.with_suffix(".json"), self._made_by(mode)
        if path.exists() and _same(record, made_by, args.overwrite):
            return path
        found, content = self._tuner.tuned(mode, args.trials, args.seed, args.command_line)
        write_file(path, content)
        save_json(made_by | {"history": found.history}, record)
        print_tuned(found, content)
        print(f"parameters: {path}\n")
        return path

    def _made_by(self, mode: str) -> dict[str, Any]:
        """All that a tuning depends on."""
        from cooptrack_core.evaluation.run_options import fingerprint

        runner = self._tuner.runner
        run = fingerprint(runner.options, runner.sequences, runner.updates)
        return {**run, "tuned_mode": mode, "trials": self._args.trials, "search_seed": self._args.seed}


def _same(record: Path, made_by: dict[str, Any], overwrite: bool) -> bool:
    """Whether a stored tuning is the one that would be made; CooptrackError if not, unless it may go."""
    from cooptrack_core.data.files import expect_object, problem, read_json

    try:
        then = expect_object(read_json(record), record)
    except CooptrackError:
        then = {}
    changed = [key for key, value in made_by.items() if then.get(key) != value]
    if changed and not overwrite:
        what = f"{record.with_suffix('.yaml').name} was tuned by other options ({', '.join(changed)})"
        raise problem(
            record, "options", what, "choose another --out, replace it with --overwrite, or give it as --params"
        )
    return not changed
