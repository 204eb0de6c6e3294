"""`cooptrack compare --attack`: what a hostile sender can do, and whether it is found."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from cooptrack_core.commands.common import print_files, warn
from cooptrack_core.commands.disturbance_options import disturbance_of
from cooptrack_core.commands.run_options import run_options
from cooptrack_core.config import LEARNED_MODES
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.cooperation.attack import Attack

_CHOOSES = ("name",)


def add_attack_options(parser: argparse.ArgumentParser) -> None:
    """--attack, and one option per strength of Attack."""
    from cooptrack_core.cooperation.attack import ATTACKS, Attack

    listed = "; ".join(f"{name}: {what}" for name, what in ATTACKS.items())
    group = parser.add_argument_group(
        "hostile sender", "instead of the table of methods: each attack on one mode (the first of --modes; late, or "
        "learned with a network), with and without the vehicle's defence, beside an honest sender and driving alone",
    )  # fmt: skip
    group.add_argument("--attack", metavar="NAME|all", help=f"names with commas, or all. {listed}")
    for item in fields(Attack):
        if item.name not in _CHOOSES:
            kind = type(item.default)
            group.add_argument(
                f"--attack-{item.name.replace('_', '-')}", type=kind, default=item.default,
                metavar="N" if kind is int else "X", help=f"{item.metadata['description']} ({item.default:g})",
            )  # fmt: skip


def run_attacks(args: argparse.Namespace) -> int:
    """Runs, prints and writes. Raises CooptrackError for options that do not go together."""
    from cooptrack_core.evaluation.attacks import attack_tables, compare_attacks
    from cooptrack_core.evaluation.report import text_table
    from cooptrack_core.report import save_json

    attacks = _attacks(args)
    options = run_options(args, "late")
    network = options.vehicle.detector == "network"
    mode = (args.modes or ("learned" if network else "late")).split(",")[0]
    if mode not in ("late", *LEARNED_MODES) or (mode in LEARNED_MODES and not network):
        raise CooptrackError(
            f"--modes: {mode} does not cooperate with detector {options.vehicle.detector}; choose late"
        )
    precision = options.roadside.feature_precision if mode in LEARNED_MODES else "none"
    options = replace(
        options, vehicle=replace(options.vehicle, mode=mode),
        roadside=replace(options.roadside, feature_precision=precision), disturbance=disturbance_of(args),
    )  # fmt: skip
    result = compare_attacks(
        options, attacks, args.out, overwrite=args.overwrite, command=args.command_line, seed=args.bootstrap_seed,
        warn=lambda text: warn(args, [text]),
    )  # fmt: skip
    save_json(result, args.out / "attacks.json")
    data = "SYNTHETIC data" if result["run"]["synthetic"] else "real data"
    print(f"{options.dataset} ({data}), {result['bootstrap']['sequences']} sequences, detector "
          f"{options.vehicle.detector}, mode {mode}, seed {options.seed}")  # fmt: skip
    print(f"messages disturbed: {options.disturbance.describe()}")
    for text in result["attacks"].values():
        print(f"attack: {text}")
    for table in attack_tables(result):
        print(f"\n{table.title}\n{text_table(table)}\n{textwrap.fill(table.note, 118)}")
    print_files([args.out / "attacks.json"])
    return 0


def _attacks(args: argparse.Namespace) -> list[Attack]:
    from cooptrack_core.cooperation.attack import Attack
    from cooptrack_core.evaluation.attacks import named

    names = [item.name for item in fields(Attack) if item.name not in _CHOOSES]
    found = named(args.attack, Attack(**{name: getattr(args, f"attack_{name}") for name in names}))
    if not found:
        raise CooptrackError("--attack: names no attack; give a name or all")
    return found


__all__ = ["add_attack_options", "run_attacks"]
