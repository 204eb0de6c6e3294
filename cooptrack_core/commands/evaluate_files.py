"""`cooptrack evaluate --gt GT.json --pred PRED.json`: the scores of anyone's tracker from two submission files."""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.data.files import problem, write_file

if TYPE_CHECKING:
    from cooptrack_core.evaluation.submission import Submission
    from cooptrack_core.evaluation.tables import EvaluationSet

MEAN = "all"
MOST_SCENES = 30  # of a table that can still be read


def run_files(args: argparse.Namespace) -> int:
    """Scores args.pred against args.gt, prints the tables, writes detection and tracking to args.out if given.

    Raises CooptrackError for files that are not sound, naming file and entry.
    """
    from cooptrack_core.evaluation.kit_report import kit_scores
    from cooptrack_core.evaluation.submission import read_submission

    _check_out(args)
    data = read_submission(Path(args.gt), Path(args.pred))
    for note in data.notes:
        print(f"note: {note}")
    scores = kit_scores(data)
    for line in (*_heading(data), *detection_table(scores["detection"]), *tracking_table(scores["tracking"])):
        print(line)
    for line in (*hota_table(data), *scene_table(data)):
        print(line)
    if args.out is not None:
        content = (json.dumps(scores, indent=1, allow_nan=False) + "\n").encode()
        path = Path(args.out)
        write_file(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
        print(f"metrics: {args.out}")
    return 0


def _check_out(args: argparse.Namespace) -> None:
    """CooptrackError for an output that is a folder, or one of the files that are scored."""
    if args.out is None:
        return
    if getattr(args, "out_is_folder", False) or Path(args.out).is_dir():
        raise problem(args.out, "--out", "is a folder", "with --gt give a file for the scores, such as M.json")
    for option, given in (("--gt", args.gt), ("--pred", args.pred)):
        if Path(args.out).resolve() == Path(given).resolve():
            raise problem(args.out, "--out", f"is the file of {option}, it would be replaced", "choose another file")


def detection_table(detection: Mapping[str, Any]) -> list[str]:
    """Lines of the detection scores, one for each class."""
    from cooptrack_core.evaluation.report_tables import aligned

    classes = [name for name in detection if name != "mAP"]
    columns = list(detection[classes[0]])
    rows = [[name, *(_number(detection[name][column]) for column in columns)] for name in classes]
    title = "detection (nuScenes: centre distance 0.5, 1, 2, 4 m; errors at 2 m in m, 1 - IoU, rad, m/s)"
    return ["", title, *aligned([["", *columns], *rows]), f"  mAP {_number(detection['mAP'])}"]


def tracking_table(tracking: Mapping[str, Any]) -> list[str]:
    """Lines of the tracking scores, one for each metric."""
    from cooptrack_core.evaluation.clear_mot import COUNTED, SUMMED, WORST
    from cooptrack_core.evaluation.report_tables import NOTHING_TRACKED, aligned

    metrics, mean = tracking["label_metrics"], tracking["mean"]
    classes = list(next(iter(metrics.values())))
    rows = [
        [name, *(_number(value, counted=name in COUNTED) for value in (*metrics[name].values(), mean[name]))]
        for name in mean
    ]
    title = (
        "tracking (nuScenes: 2 m, 40 recall points; track scores averaged, gaps filled; tid, lgd count 0.5 s a frame)"
    )
    notes = f"  {MEAN}: sum of {', '.join(SUMMED)}, mean of the others, gt too; -: not defined"
    if any(metrics["faf"][name] == WORST["faf"] for name in classes):
        notes += f"\n  {NOTHING_TRACKED}: amotp {WORST['motp']:g}, " + ", ".join(
            f"{name} {WORST[name]:g}" for name in ("motp", "tid", "lgd", "faf")
        )
    return ["", title, *aligned([["", *classes, MEAN], *rows]), notes]


def hota_table(data: EvaluationSet) -> list[str]:
    """Lines of HOTA, one for each class; one line that says why where it cannot be had."""
    from cooptrack_core.evaluation.hota import METRICS, hota, why_no_hota
    from cooptrack_core.evaluation.report_tables import aligned

    if reason := why_no_hota():
        return ["", f"HOTA: {reason}"]
    found = hota(data)
    rows = [[name, *(_number(found[name][metric]) for metric in METRICS)] for name in (*data.class_names, "mean")]
    title = f"HOTA (TrackEval; similarity {found['similarity']}; not in the file)"
    return ["", title, *aligned([["", *METRICS], *rows]), "  -: no objects of the class, or nothing matched"]


def scene_table(data: EvaluationSet) -> list[str]:
    """Lines of each scene by itself, where there are several, but not too many to read."""
    from cooptrack_core.evaluation.report_tables import aligned
    from cooptrack_core.evaluation.scene_statistics import by_scene

    names = data.frames.scene_names
    if not 1 < len(names) <= MOST_SCENES:
        return []
    found = by_scene(data)
    rows = [[name, *(_number(column[row]) for column in found.values())] for row, name in enumerate(names)]
    return ["", "by scene, over the classes that are there (not in the file)", *aligned([["scene", *found], *rows])]


def _heading(data: Submission) -> Iterable[str]:
    """What was scored."""
    near = data.in_range()
    frames, scenes = len(data.frames), len(data.frames.scene_names)
    ranges = ", ".join(f"{name} {m:g} m" for name, m in zip(data.class_names, data.class_range_m, strict=True))
    yield f"{frames} frames in {scenes} scene{'s' * (scenes != 1)}; boxes nearer to the ego than {ranges}"
    for what, all_boxes, kept in (
        ("ground truth", data.truth, near.truth),
        ("predictions", data.predictions, near.predictions),
    ):
        yield f"  {what}: {len(kept)} of {len(all_boxes)} boxes"


def _number(value: float | None, *, counted: bool = False) -> str:
    if value is None or value != value:
        return "-"
    if counted:
        return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"
    return f"{value:.4f}"


__all__ = ["detection_table", "hota_table", "run_files", "scene_table", "tracking_table"]
