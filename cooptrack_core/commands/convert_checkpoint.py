"""`cooptrack convert-checkpoint`: a published checkpoint as our weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooptrack_core.model.presets import PRESETS
from cooptrack_core.types import CooptrackError

HELP = "make weights for an official_* preset from a published PyTorch checkpoint"
_OFFICIAL = tuple(name for name in PRESETS if name.startswith("official"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", type=Path, metavar="IN.pth", help="checkpoint; no code in it is run")
    parser.add_argument("output", type=Path, metavar="OUT.safetensors", help="file to write")
    parser.add_argument(
        "--preset",
        choices=_OFFICIAL,
        help="whose weights they are; by default as the names in the file tell, if cooperative",
    )
    parser.add_argument(
        "--roadside", type=Path, metavar="INF.safetensors",
        help="converted roadside network that a cooperative one was trained with; without it its features are not "
        "believed at run time",
    )  # fmt: skip
    parser.add_argument(
        "--allow-missing", action="store_true", help="fill missing entries of modules that are never used with zeros"
    )


def run(args: argparse.Namespace) -> int:
    """Converts and prints how every entry fitted."""
    from cooptrack_core.checkpoints import convert, store
    from cooptrack_core.model.presets import get_preset

    if args.output.suffix != store.SUFFIX:
        raise CooptrackError(f"{args.output}: expected a file name that ends in {store.SUFFIX}; choose such a name")
    entries = convert.read_state_dict(args.input)
    config = get_preset(args.preset or convert.infer_preset(args.input, entries))
    roadside = None
    if args.roadside is not None:
        if not config.cooperative:
            raise CooptrackError(f"--roadside: {config.name} takes nothing from a roadside unit; leave it out")
        roadside = store.load(args.roadside, config.name.replace("_coop", "_inf")).fingerprint
    state, report = convert.convert(entries, config)
    print(f"{args.input}: {len(entries)} entries, preset {config.name}")
    print("\n".join(report.lines()))
    convert.check(args.input, report, config, allow_missing=args.allow_missing)
    metadata = store.Metadata(roadside, {"converted_from": args.input.name})
    fingerprint = store.save_state(args.output, config, state, metadata)
    print(f"weights: {args.output}, fingerprint {fingerprint.hex()[:12]}")
    if config.cooperative and roadside is None:
        print("note: no --roadside given: the vehicle will use kinematics, not features, of roadside units")
    print("note: conversion gives no rights: use the weights only if their owner's terms allow you to")
    return 0
