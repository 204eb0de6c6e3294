"""Further networks in a comparison: others that cooperate, and one that was trained to drive alone."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cooptrack_core.checkpoints.header import Header, read_header
from cooptrack_core.config import NetworkConfig
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.rules import with_rules
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.evaluation.run_options import RunOptions

TITLES = {"univ2x": "UniV2X-style", "before": "Fusion before decoding"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_FORM = "give NAME=WEIGHTS or NAME=WEIGHTS:ROADSIDE_WEIGHTS, and @RULES behind them if wanted"


def add_network_rows(parser: argparse.ArgumentParser) -> None:
    """--also and --alone-weights."""
    group = parser.add_argument_group("further networks (detector network)")
    group.add_argument(
        "--also", action="append", default=[], metavar="NAME=WEIGHTS[:ROADSIDE_WEIGHTS][@RULES]",
        help="a row for another network that cooperates, files or names of shipped weights, its preset as they say; "
        "without ROADSIDE_WEIGHTS with the roadside network of this run. RULES: of the vehicle's network, NAME=VALUE "
        "with commas (docs/network.md). NAME: of the row and its folder "
        f"({', '.join(f'{name}: {title}' for name, title in TITLES.items())}). May be given several times",
    )  # fmt: skip
    group.add_argument(
        "--alone-weights", metavar="FILE|NAME",
        help="weights of a vehicle that was trained alone (preset _veh), for late, alone and ego; without it these run "
        "the network of --weights before any fusion",
    )  # fmt: skip


def further_runs(args: argparse.Namespace, given: RunOptions, taken: tuple[str, ...]) -> dict[str, RunOptions]:
    """By name what --also asks for, as the given run otherwise. Raises CooptrackError for what cannot be.

    taken: names that rows have already.
    """
    runs: dict[str, RunOptions] = {}
    if args.also:
        _require_network("--also", given)
    for text in args.also:
        name, _, rest = text.partition("=")
        files, _, rules = rest.partition("@")
        weights, colon, roadside_weights = files.partition(":")
        if not weights or (colon and not roadside_weights):
            raise CooptrackError(f"--also: {text!r} cannot be read; {_FORM}")
        if not _NAME.fullmatch(name) or name in taken or name in runs:
            why = "is taken" if name in taken or name in runs else "is no name of small letters, digits, - and _"
            raise CooptrackError(f"--also: {name!r} {why}; choose another name")
        runs[name] = _with_networks(name, given, weights, roadside_weights, rules)
    return runs


def _with_networks(name: str, given: RunOptions, weights: str, roadside_weights: str, rules: str) -> RunOptions:
    path, header = _found("--also", weights, "coop")
    own = given.roadside.network
    roadside_path, roadside = _found("--also", roadside_weights or own.weights, "inf")
    if header.roadside_fingerprint != roadside.fingerprint:
        what = f"{path} was not trained with the roadside network {roadside_path}, whose features it cannot read"
        raise CooptrackError(f"--also: {name}: {what}; {_FORM}")
    try:
        with_rules(get_preset(header.preset), rules)
    except CooptrackError as error:
        raise CooptrackError(f"--also: {name}: {error}") from None
    network = _network(given.vehicle.network, path, header)
    vehicle = replace(given.vehicle, network=replace(network, rules=rules or network.rules))
    unit = replace(given.roadside, network=_network(own, roadside_path, roadside))
    if get_preset(header.preset).fusion != "graph":  # they were trained with whole messages
        unit = replace(unit, feature_precision="fp16", feature_streams="all", kinematics_precision="fp32")
    return replace(given, vehicle=vehicle, roadside=unit)


def alone(args: argparse.Namespace, given: RunOptions) -> RunOptions:
    """The run with the vehicle's network of --alone-weights, if there is one. Raises CooptrackError otherwise."""
    if args.alone_weights is None:
        return given
    _require_network("--alone-weights", given)
    network = _network(given.vehicle.network, *_found("--alone-weights", args.alone_weights, "veh"))
    return replace(given, vehicle=replace(given.vehicle, network=network))


def _require_network(option: str, given: RunOptions) -> None:
    if given.vehicle.detector != "network":
        raise CooptrackError(f"{option}: has no meaning with the simulated detector; choose --detector network")


def _found(option: str, weights: str, role: str) -> tuple[Path, Header]:
    """The file of weights of a role, and what it says of itself."""
    from cooptrack_core.checkpoints import store

    path = store.find(weights, f"tiny_{role}")
    if path is None:
        raise CooptrackError(f"{option}: {weights} weights say nothing of a network; give a file or shipped weights")
    header = read_header(path)
    if header.role != role or not header.family:
        found = f"those of {header.preset}" if header.preset else "something else"
        raise CooptrackError(f"{option}: {path}: expected weights of a preset _{role}, found {found}; give others")
    return path, header


def _network(config: NetworkConfig, path: Path, header: Header) -> NetworkConfig:
    return replace(config, preset=header.family, weights=str(path))


__all__ = ["TITLES", "add_network_rows", "alone", "further_runs"]
