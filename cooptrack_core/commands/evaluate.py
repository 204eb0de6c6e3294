"""`cooptrack evaluate`: every metric of a run over a split, of a recorded bag, or of two submission files."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cooptrack_core.commands.common import print_files, refuse_others, warn
from cooptrack_core.commands.disturbance_options import add_disturbance_options, disturbance_of
from cooptrack_core.commands.network_options import BY_DETECTOR
from cooptrack_core.commands.run_options import add_run_options, run_options, warn_if_untrained
from cooptrack_core.config import MODES
from cooptrack_core.evaluation.conventions import Convention, convention_of
from cooptrack_core.evaluation.packages import require_packages
from cooptrack_core.types import CooptrackError

HELP = "score tracking: runs over a split of a dataset, a recorded bag, or two files in the nuScenes format"
DEFAULT_OUT = Path("evaluation")
_OF_FILES = ("gt", "pred", "out")
_OF_TRUTH = ("gt_only", "dataset", "split", "sequence", "convention", "label_updates", "frames", "skip_broken", "out")
_OF_BAG = (
    "bag", "source", "vehicle", "convention", "label_updates", "out", "overwrite", "submission", "figures", "player"
)  # fmt: skip
Recording = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("dataset", type=Path, nargs="?", help="run the agents over a split of this dataset")
    parser.add_argument("--mode", choices=MODES, help=f"cooperation; without it that of --params, else {BY_DETECTOR}")
    add_run_options(parser)
    add_disturbance_options(parser)
    bag = parser.add_argument_group("a recorded run of the nodes")
    bag.add_argument("--bag", type=Path, metavar="RECORDED", help="score the tracks in this rosbag2")
    bag.add_argument("--source", type=Path, metavar="BAG", help="the rosbag2 that was played, with ground truth")
    bag.add_argument("--vehicle", help="namespace of the vehicle; found by its associations topic")
    files = parser.add_argument_group("files of any tracker (nuScenes tracking submission, .json or .json.gz)")
    files.add_argument("--gt", type=Path, metavar="GT.json", help="ground truth")
    files.add_argument("--pred", type=Path, metavar="PRED.json", help="predictions")
    out = parser.add_argument_group("output")
    out.add_argument(
        "--out", "-o", action=_Out, metavar="DIR",
        help=f"folder for metrics and recordings (default: {DEFAULT_OUT}); with --gt a JSON file for the scores",
    )  # fmt: skip
    out.add_argument(
        "--gt-only", action="store_true",
        help="run nothing: write gt.json of the sequences, the ground truth for --gt, with the poses of the frames",
    )  # fmt: skip
    out.add_argument("--overwrite", action="store_true", help="replace a run of other options in that folder")
    out.add_argument(
        "--submission", action="store_true", help="write gt.json and pred.json, which --gt and --pred take"
    )
    out.add_argument(
        "--figures",
        metavar="A:B",
        help="association and tracking figures of frames A to B - 1 (more: cooptrack figures)",
    )
    out.add_argument("--player", action="store_true", help="the HTML player of every sequence")


class _Out(argparse.Action):
    """A path, and whether it was written as that of a folder, which a Path does not know."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        namespace.out, namespace.out_is_folder = Path(values), str(values).endswith(os.sep)


def run(args: argparse.Namespace) -> int:
    """Evaluates, prints and writes."""
    if args.gt is not None or args.pred is not None:
        return _files(args)
    if args.gt_only:
        return _ground_truth(args)
    require_packages()
    if args.figures is not None:
        _frames_of(args.figures)  # a mistake in it should not wait until all has run
    if args.bag is not None or args.source is not None:
        recordings, convention, about = _of_bag(args)
    else:
        recordings, convention, about = _of_dataset(args)
    from cooptrack_core.evaluation.evaluate import evaluate
    from cooptrack_core.evaluation.report import print_metrics, write_csv, write_html
    from cooptrack_core.report import save_json

    out = args.out or DEFAULT_OUT
    metrics = evaluate(recordings, convention, about)
    save_json(metrics, out / "metrics.json")
    write_csv(metrics, out / "metrics.csv")
    write_html(metrics, out / "metrics.html")
    files = [out / f"metrics.{kind}" for kind in ("json", "csv", "html")]
    if args.submission:
        from cooptrack_core.evaluation.recordings import evaluation_set
        from cooptrack_core.evaluation.submission import write_submission

        files += write_submission(evaluation_set(recordings, convention), out / "submission")
    print_metrics(metrics)
    print_files(files)
    _pictures(args, out)
    return 0


def _ground_truth(args: argparse.Namespace) -> int:
    """Writes gt.json of the sequences, without agents, detectors or images."""
    from cooptrack_core.evaluation.reported import truth
    from cooptrack_core.evaluation.run import SequenceRunner
    from cooptrack_core.evaluation.submission import write_ground_truth

    _check_dataset(args)
    refuse_others(args, add_arguments, _OF_TRUTH, "with --gt-only, which runs nothing; leave it out")
    options = run_options(args)
    runner = SequenceRunner(options)
    data = truth(runner, "network")
    warn(args, runner.warnings)
    path = write_ground_truth(data, args.out or DEFAULT_OUT)
    frames, scenes, boxes = len(data.frames), len(data.frames.scene_names), len(data.truth)
    where = f"{frames} frames in {scenes} scene{'s' * (scenes != 1)}"
    text = options.convention.describe(runner.about(options)["label_updates"])
    print(f"{path}: {where}, {boxes} boxes, {len(data.in_range().truth)} in range; convention {text}")
    return 0


def _check_dataset(args: argparse.Namespace) -> None:
    """CooptrackError where there is none."""
    if args.dataset is None:
        raise CooptrackError("evaluate: nothing to evaluate; give a DATASET, --bag with --source, or --gt with --pred")
    if (args.dataset / "metadata.yaml").is_file():
        raise CooptrackError(
            f"{args.dataset}: dataset: is a rosbag2; score a recorded one by --bag RECORDED --source BAG"
        )
    if args.vehicle is not None:
        raise CooptrackError("--vehicle: names the vehicle of a --bag; a dataset has one")


def _of_dataset(args: argparse.Namespace) -> tuple[list[Recording], Convention, dict[str, Any]]:
    """The recordings of a run over a split, the convention, and what was run."""
    from cooptrack_core.evaluation.run import SequenceRunner, run_split

    _check_dataset(args)
    disturbance = disturbance_of(args)
    options = replace(run_options(args, args.mode), disturbance=disturbance)
    warn_if_untrained(options)
    runner = SequenceRunner(options)
    if args.figures is not None:
        _check_figures(args.figures, max(map(runner.frame_count, runner.sequences)))
    recordings = run_split(options, args.out or DEFAULT_OUT, overwrite=args.overwrite, runner=runner)
    warn(args, runner.warnings)
    return recordings, options.convention, runner.about(options) | _how(args)


def _frames_of(figures: str) -> slice:
    """The frames of --figures A:B."""
    from cooptrack_core.visualization.figures import parse_frames

    try:
        return parse_frames(figures)
    except CooptrackError as error:
        raise CooptrackError(str(error).replace("--frames", "--figures", 1)) from None


def _check_figures(figures: str, count: int) -> None:
    """CooptrackError if no sequence has any of the frames. count: of the longest."""
    if not range(count)[_frames_of(figures)]:
        what = f"{figures!r} holds no frame, the longest sequence has {count}"
        raise CooptrackError(f"--figures: {what}; choose within 0:{count}")


def _of_bag(args: argparse.Namespace) -> tuple[list[Recording], Convention, dict[str, Any]]:
    """The recording of a recorded bag, the convention, and what is known of the run."""
    from cooptrack_core.evaluation.bag_run import about_bag, bag_recording, store_bag_recording

    for option, needed in (("--bag", args.bag), ("--source", args.source)):
        if needed is None:
            raise CooptrackError(f"evaluate: {option}: is missing; --bag RECORDED and --source BAG belong together")
    refuse_others(args, add_arguments, _OF_BAG, "with --bag, which is scored as it was recorded; leave it out")
    convention = convention_of(args.convention)
    recording = bag_recording(args.bag, args.source, args.vehicle, convention, args.label_updates)
    store_bag_recording(recording, args.out or DEFAULT_OUT, overwrite=args.overwrite)
    return [recording], convention, about_bag(recording) | _how(args)


def _pictures(args: argparse.Namespace, out: Path) -> None:
    """Figures and players of the recordings in the folder, as `cooptrack figures` makes them."""
    if args.figures is None and not args.player:
        return
    from cooptrack_core.commands.figures import draw
    from cooptrack_core.visualization.figures import FigureOptions

    options = FigureOptions(()) if args.figures is None else FigureOptions(frames=_frames_of(args.figures))
    try:
        draw(out, out / "figures", options, player=args.player)
    except CooptrackError as error:  # the scores are written and hold without pictures
        print(f"note: no figures: {error}", file=sys.stderr)


def _files(args: argparse.Namespace) -> int:
    for option, needed in (("--gt", args.gt), ("--pred", args.pred)):
        if needed is None:
            raise CooptrackError(f"evaluate: {option}: is missing; --gt GT.json and --pred PRED.json belong together")
    refuse_others(args, add_arguments, _OF_FILES, "with --gt and --pred, which stand alone; leave it out")
    from cooptrack_core.commands.evaluate_files import run_files

    return run_files(args)


def _how(args: argparse.Namespace) -> dict[str, str | None]:
    params = None if args.params is None else str(args.params)
    return {"params": params, "command": args.command_line}
