"""`cooptrack figures`: association and tracking figures, and the player, of an evaluation or a recording."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.data.files import read_json
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.data.bag_images import BagImages
    from cooptrack_core.data.dataset_images import DatasetImages
    from cooptrack_core.data.v2x_seq import Dataset
    from cooptrack_core.visualization.figures import FigureOptions

    Lookup = BagImages | DatasetImages

HELP = "draw association and tracking figures of an evaluation or a recording"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "evaluation",
        type=Path,
        metavar="EVALUATION|RECORDING.json",
        help="folder of `cooptrack evaluate`, or a recording",
    )
    parser.add_argument("--sequence", nargs="+", metavar="ID", help="of an evaluation; without it all of them")
    parser.add_argument(
        "--frames", metavar="A:B",
        help="frames A to B - 1 of the recording, from 0; ':' for all, A:B:STEP; without it the one that shows most",
    )  # fmt: skip
    parser.add_argument(
        "--kind", default="association,tracking", help="kinds of figures, separated by commas: association, tracking"
    )
    parser.add_argument(
        "--strip", action="store_true",
        help="up to four of the frames beside each other on one sheet; without --frames spread over those with tracks",
    )  # fmt: skip
    parser.add_argument("--format", choices=("png", "pdf", "svg"), default="png", help="kind of picture")
    parser.add_argument("--range-m", type=float, default=50.0, help="how far the plan reaches to each side, m")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--dataset", type=Path, metavar="ROOT", help="with the camera images, if not where recorded")
    place.add_argument("--source", type=Path, metavar="BAG", help="bag with the camera images")
    parser.add_argument("--no-images", action="store_true", help="leave the camera images out")
    parser.add_argument("--player", action="store_true", help="also write the HTML player")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")


def run(args: argparse.Namespace) -> int:
    """Draws the figures of every chosen sequence."""
    draw(
        args.evaluation, args.out, _options(args), sequences=args.sequence or (), dataset=args.dataset,
        bag=args.source, images=not args.no_images, player=args.player,
    )  # fmt: skip
    return 0


def draw(
    evaluation: Path, out: Path, options: FigureOptions, *, sequences: Sequence[str] = (), dataset: Path | None = None,
    bag: Path | None = None, images: bool = True, player: bool = False,
) -> None:  # fmt: skip
    """Figures into out/<sequence>, and the player; a sequence that has none of the frames is only noted.

    evaluation: a folder of `cooptrack evaluate`, or a recording. options without kinds: no figures. dataset, bag:
    where the camera images are, by default where the recordings came from.
    """
    from cooptrack_core.visualization.figures import NothingToDraw, write_figures
    from cooptrack_core.visualization.player import write_player
    from cooptrack_core.visualization.scene import no_images

    synthetic = _called_synthetic(evaluation)
    said: set[str] = set()
    missing, drawn = [], 0
    for sequence_id, path, recording in _recordings(evaluation, sequences):
        lookup, why = find_images(recording, sequence_id, dataset, bag) if images else (None, "")
        if why:
            _say_once(said, "images", f"{why}; the pictures show no camera images")
        root = dataset or Path(str(recording.get("source_bag") or ""))
        note = "synthetic data" if synthetic or (root / "synthetic.json").is_file() else ""
        chosen = replace(options, note=note, kinds=_kinds(options.kinds, recording, path, said))
        folder = out / sequence_id
        try:
            for written in write_figures(recording, lookup, folder, chosen, where=str(path)) if chosen.kinds else ():
                print(f"figure: {written}")
                drawn += 1
        except NothingToDraw as error:
            missing.append(str(error))
        if player:
            write_player(recording, lookup or no_images, folder / "player.html")
            print(f"player: {folder / 'player.html'}")
    if missing and not drawn:
        others = "" if len(missing) == 1 else f" (and none of the {len(missing)} sequences has any)"
        raise NothingToDraw(missing[0] + others)
    for text in missing:
        print(f"note: {text}", file=sys.stderr)


def _kinds(
    kinds: tuple[str, ...], recording: dict[str, Any], path: Path, said: set[str]
) -> tuple[str, ...]:  # fmt: skip
    """Kinds that a recording can be drawn as: a vehicle alone associates nothing."""
    if recording.get("mode") != "ego" or "association" not in kinds:
        return kinds
    if kinds == ("association",):
        what = "ego, in which the vehicle is alone and nothing is associated"
        raise CooptrackError(f"{path}: mode: {what}; choose --kind tracking")
    _say_once(said, "ego", "in mode ego nothing is associated; only the tracking figures are drawn")
    return tuple(kind for kind in kinds if kind != "association")


def _say_once(said: set[str], topic: str, text: str) -> None:
    if topic not in said:
        said.add(topic)
        print(f"note: {text}", file=sys.stderr)


def find_images(
    recording: dict[str, Any], sequence_id: str, dataset: Path | None = None, bag: Path | None = None
) -> tuple[Lookup | None, str]:
    """The camera images of a recording, or None and why there are none.

    dataset, bag: where they are, by default where the recording came from. Raises CooptrackError for a place that
    the user named and that is not one.
    """
    from cooptrack_core.data.bag_images import BagImages
    from cooptrack_core.data.dataset_images import DatasetImages
    from cooptrack_core.data.v2x_seq import is_dataset
    from cooptrack_core.visualization.figures import has_images

    named = dataset or bag
    source = str(recording.get("source_bag") or "")
    place = named or Path(source)
    if named is None and not (source and place.exists()):
        where = source or "the place"
        return None, f"{where}, from which the recording came, is not here (name it with --dataset or --source)"
    lookup: Lookup
    if dataset is not None or (bag is None and is_dataset(place)):
        agents = recording["vehicle"], next(iter(recording["roadside"]), "rsu")
        lookup = DatasetImages(_dataset(place), _sequence_of(recording) or sequence_id, *agents)
    else:
        lookup = BagImages(place)
    if not has_images(recording, lookup):
        return None, f"{place} has no image of the recorded frames"
    return lookup, ""


@lru_cache(maxsize=1)  # its index is read once, not for every sequence
def _dataset(root: Path) -> Dataset:
    from cooptrack_core.data.v2x_seq import Dataset

    return Dataset(root)


def _options(args: argparse.Namespace) -> FigureOptions:
    from cooptrack_core.visualization.figures import KINDS, FigureOptions, parse_frames

    kinds = tuple(dict.fromkeys(name.strip() for name in args.kind.split(",") if name.strip()))
    unknown = [name for name in kinds if name not in KINDS]
    if unknown or not kinds:
        raise CooptrackError(f"--kind: {', '.join(unknown) or 'none'}: no kind of figure; choose {', '.join(KINDS)}")
    if not 5 <= args.range_m <= 500:
        raise CooptrackError(f"--range-m: {args.range_m:g} is out of range; choose 5 to 500")
    frames = None if args.frames is None else parse_frames(args.frames)
    return FigureOptions(kinds, frames, args.strip, args.format, args.range_m)


def _recordings(evaluation: Path, sequences: Sequence[str]) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Sequence id, file and content of the recordings that are wanted."""
    from cooptrack_core.data.recording import load_recording

    if not evaluation.is_dir():
        recording = load_recording(evaluation)
        sequence_id = _sequence_of(recording) or evaluation.stem
        if sequences and list(sequences) != [sequence_id]:
            what = f"is of sequence {sequence_id}, not {', '.join(sequences)}"
            raise CooptrackError(f"{evaluation}: sequence: {what}; leave --sequence out")
        yield sequence_id, evaluation, recording
        return
    found = {path.stem: path for path in sorted((evaluation / "recordings").glob("*.json"))}
    if not found:
        what = "holds no recordings/*.json"
        raise CooptrackError(f"{evaluation}: folder: {what}; give the --out folder of cooptrack evaluate")
    for sequence_id in sequences or found:
        if sequence_id not in found:
            some = ", ".join(list(found)[:10]) + (" ..." if len(found) > 10 else "")
            raise CooptrackError(f"{evaluation}: sequence: has no {sequence_id}; choose among {some}")
        yield sequence_id, found[sequence_id], load_recording(found[sequence_id])


def _sequence_of(recording: dict[str, Any]) -> str:
    return str(recording["frames"][0].get("sequence_id") or "") if recording["frames"] else ""


def _called_synthetic(evaluation: Path) -> bool:
    """Whether metrics.json of an evaluation calls its data synthetic."""
    path = evaluation / "metrics.json"
    metrics = read_json(path) if path.is_file() else None
    return isinstance(metrics, dict) and bool((metrics.get("data") or {}).get("synthetic"))
