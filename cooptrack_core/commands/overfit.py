"""`cooptrack overfit`: whether the network learns, shown on one synthetic sequence."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.training.overfit import Overfit
    from cooptrack_core.training.recall import Count

HELP = "fit preset tiny (roadside, then vehicle with its messages) to one synthetic sequence; 1 if it does not learn"
WANTED_RECALL = 0.9
FAMILY = "tiny"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--steps", type=int, default=600, help="training steps of each agent, of 2 frames")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the training")
    parser.add_argument("--scene-seed", type=int, default=7, help="seed of the synthetic sequence")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the scene and the weights of both agents here")


def run(args: argparse.Namespace) -> int:
    """Makes the scene, fits both agents, prints recall before and after."""
    from tqdm import tqdm

    from cooptrack_core.data.v2x_seq import Dataset
    from cooptrack_core.model.presets import get_preset
    from cooptrack_core.training.overfit import OverfitOptions, overfit
    from cooptrack_core.training.sequence import labelled_frames

    if args.steps < 1:
        raise CooptrackError(f"overfit: --steps: {args.steps} is not possible; give 1 or more")
    if not 0 <= args.seed < 2**31:
        raise CooptrackError(f"overfit: --seed: {args.seed} is not possible; give 0 to {2**31 - 1}")
    with _folder(args.out) as folder:
        _make_scene(folder / "scene", args.scene_seed)
        dataset = Dataset(folder / "scene")
        frames = labelled_frames(dataset, dataset.sequences[0])
    with tqdm(total=2 * args.steps, unit="step", dynamic_ncols=True) as bar:

        def progress(agent: str, step: int, loss: float) -> None:
            bar.update()
            bar.set_description(f"{agent} step {step}/{args.steps}", refresh=False)
            bar.set_postfix(loss=f"{loss:.2f}", refresh=False)

        options = OverfitOptions(steps=args.steps, seed=args.seed)
        roadside, vehicle = get_preset(f"{FAMILY}_inf"), get_preset(f"{FAMILY}_coop")
        result = overfit(frames, roadside, vehicle, options, progress)
    _print(result)
    print(f"scene seed {args.scene_seed}, training seed {args.seed}, {args.steps} steps, {result.seconds:.0f} s")
    if args.out is not None:
        _save(args.out, result, f"cooptrack overfit --seed {args.seed} --steps {args.steps}")
    reached = min(result.together.roadside.recall, result.together.vehicle.recall)
    verdict = "reached" if reached >= WANTED_RECALL else "missed"
    print(f"recall {WANTED_RECALL} at 2 m: {verdict}")
    return 0 if reached >= WANTED_RECALL else 1


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _make_scene(root: Path, seed: int) -> None:
    """Half a second of traffic at the size that the network takes in."""
    from cooptrack_core.data.synthetic import generate, renderers
    from cooptrack_core.data.synthetic.options import SceneOptions

    renderer, line = renderers.choose("auto")
    print(line)
    options = SceneOptions(
        seed=seed, duration_s=0.5, width_px=320, height_px=180, renderer=renderer, point_clouds="none"
    )  # fmt: skip
    generate.generate(root, options, os.cpu_count() or 1, overwrite=True)


def _print(result: Overfit) -> None:
    before, after = result.together_before, result.together
    rows: list[tuple[str, Count, Count]] = [
        ("roadside, what it sees", before.roadside, after.roadside),
        ("vehicle alone, what it sees", result.alone_before.seen, result.alone.seen),
        ("vehicle alone, all in range", result.alone_before.vehicle, result.alone.vehicle),
        ("vehicle with roadside, all in range", before.vehicle, after.vehicle),
        ("  of these what it sees itself", before.seen, after.seen),
        ("  of these what only the roadside sees", before.hidden, after.hidden),
    ]
    print(f"{'recall at 2 m':<40}{'objects':>8}{'before':>8}{'after':>8}{'precision':>11}")
    for name, first, last in rows:
        # Tracks of other objects are no mistakes where a part of the objects is looked at.
        precision = "" if name.startswith(" ") else f"{last.precision:>11.2f}"
        print(f"{name:<40}{last.objects:>8}{first.recall:>8.2f}{last.recall:>8.2f}{precision}")


def _save(out: Path, result: Overfit, made_by: str) -> None:
    from cooptrack_core.checkpoints.store import SUFFIX, Metadata, save_state
    from cooptrack_core.training.recall import fingerprint, trained_config

    notes = {"made_by": made_by, "use": "fitted to one synthetic sequence; a check, of no use on any other road"}
    roadside, vehicle = result.roadside.model, result.vehicle.model
    for model, partner in ((roadside, None), (vehicle, fingerprint(roadside))):
        config = trained_config(model)
        path = out / f"{config.name}{SUFFIX}"
        save_state(path, config, model.state_dict(), Metadata(partner, notes))
        print(f"weights: {path}")
