#!/usr/bin/env python3
"""Finished training runs as the weights that come with the package: floats in half precision, and a pair.

python scripts/pack_weights.py RUN_INF [RUN_VEH] RUN_COOP

Each is the folder of a finished run, or its file. Written are the networks that nodes run: the roadside's, and the
vehicle's with cooperation, which names the rounded roadside network, since that is the one it will hear. The run of the
vehicle alone, which the latter began with, only goes into its notes. A codebook and a flow that were fitted to RUN_INF
name the rounded network, too, whose features differ in the fourth digit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cooptrack_core.checkpoints import store
from cooptrack_core.checkpoints.store import Checkpoint, Metadata
from cooptrack_core.cooperation.codebook import Codebook, load_codebook, save_codebook
from cooptrack_core.cooperation.flow import Flow, load_flow, save_flow
from cooptrack_core.types import CooptrackError

LIMIT_BYTES = 25_000_000  # of everything that ships
NOTES = ("stage", "step", "seed", "score")  # not the command, which names folders of the machine


def finished(run: Path, preset: str) -> Checkpoint:
    """The checked weights of a run. Raises CooptrackError where there are none, or those of another preset."""
    path = run if run.is_file() else run / "weights" / f"{preset}{store.SUFFIX}"
    if not path.is_file():
        raise CooptrackError(f"{path}: no such file; give the folder of a finished run of {preset}, or its weights")
    return store.load(path, preset)


def notes(checkpoint: Checkpoint, prefix: str = "") -> dict[str, str]:
    """What is kept of what a run said about itself."""
    said = checkpoint.metadata.notes
    return {f"{prefix}{name}": said[name] for name in NOTES if name in said}


def pack(
    runs: Mapping[str, Checkpoint],
    folder: Path,
    name: str,
    data: str,
    codebook: Codebook | None = None,
    flow: Flow | None = None,
) -> list[Path]:
    """Writes name_inf, name_coop and, if there are, name_codebook and name_flow into a folder.

    runs: by role; veh may be left out. Raises CooptrackError for networks that do not belong together and for
    more bytes than may ship; then nothing that was there has changed.
    """
    inf, coop = runs["inf"], runs["coop"]
    if coop.metadata.roadside_fingerprint != inf.fingerprint:
        raise CooptrackError(f"{coop.path}: has learned with another roadside network than that of {inf.path}")
    for what, fitted in (("codebook", codebook), ("flow", flow)):
        if fitted is not None and fitted.roadside_fingerprint != inf.fingerprint:
            raise CooptrackError(f"{what}: was fitted to another roadside network than that of {inf.path}; fit it anew")
    parts = {
        "inf": (inf, notes(inf)),
        "coop": (coop, notes(coop) | (notes(runs["veh"], "alone_") if "veh" in runs else {})),
    }
    paths = {role: folder / f"{name}_{role}{store.SUFFIX}" for role in parts}
    rest = sum(path.stat().st_size for path in folder.glob(f"*{store.SUFFIX}") if path not in paths.values())
    size = rest + sum(2 * value.numel() for part, _ in parts.values() for value in part.state.values())
    if size > LIMIT_BYTES:
        raise CooptrackError(f"{folder}: {size:,} bytes with these, at most {LIMIT_BYTES:,} ship; remove others there")
    roadside = None
    for role, (part, said) in parts.items():
        about = Metadata(roadside, said | {"data": data})
        written = store.save_state(paths[role], part.config, part.state, about, half=True)
        roadside = roadside or written
    assert roadside is not None
    written_files = list(paths.values())
    if codebook is not None:
        written_files.append(folder / f"{name}_codebook{store.SUFFIX}")
        save_codebook(replace(codebook, roadside_fingerprint=roadside), written_files[-1])
    if flow is not None:
        written_files.append(folder / f"{name}_flow{store.SUFFIX}")
        save_flow(replace(flow, roadside_fingerprint=roadside), written_files[-1])
    return written_files


def main(arguments: list[str] | None = None) -> int:
    """0, or 2 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="of inf, veh if wanted, and coop")
    parser.add_argument("--preset", default="tiny", metavar="FAMILY", help="of the networks (default: tiny)")
    parser.add_argument("--name", metavar="NAME", help="by which users ask for them (default: that of the family)")
    parser.add_argument("--data", default="CoopSynth", help="what they were trained on, for the notes")
    parser.add_argument("--codebook", type=Path, metavar="FILE", help="of `cooptrack fit-codebook` for RUN_INF")
    parser.add_argument("--flow", type=Path, metavar="FILE", help="of `cooptrack fit-flow` for RUN_INF")
    parser.add_argument(
        "--out", type=Path, default=store.SHIPPED, metavar="DIR", help="default: where shipped ones are"
    )
    args = parser.parse_args(arguments)
    try:
        roles = {2: ("inf", "coop"), 3: ("inf", "veh", "coop")}.get(len(args.runs))
        if roles is None:
            raise CooptrackError(f"RUN: {len(args.runs)} given; give RUN_INF RUN_COOP, or RUN_INF RUN_VEH RUN_COOP")
        runs = {role: finished(run, f"{args.preset}_{role}") for role, run in zip(roles, args.runs, strict=True)}
        codebook = None if args.codebook is None else load_codebook(args.codebook)
        flow = None if args.flow is None else load_flow(args.flow)
        paths = pack(runs, args.out, args.name or args.preset, args.data, codebook, flow)
    except CooptrackError as error:
        print(f"pack_weights: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
