"""Options of commands that run `detector: network`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cooptrack_core.config import (
    DEVICES,
    ENGINES,
    NETWORK_FAMILIES,
    NETWORK_PRECISIONS,
    NETWORK_VARIANTS,
    SHIPPED_WEIGHTS,
)

BY_DETECTOR = "learned for a network, late for the simulated detector"  # the mode where none is chosen

if TYPE_CHECKING:
    from cooptrack_core.config import NetworkConfig


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """--preset, --weights, --roadside-weights, --device, --engine and --precision."""
    group = parser.add_argument_group("detector network")
    group.add_argument(
        "--preset", choices=NETWORK_FAMILIES + NETWORK_VARIANTS, default="tiny", metavar="FAMILY",
        help=f"family of networks: {', '.join(NETWORK_FAMILIES)}; or a variant to compare with: "
        f"{', '.join(NETWORK_VARIANTS)}",
    )  # fmt: skip
    group.add_argument(
        "--weights", default=SHIPPED_WEIGHTS, metavar="FILE|NAME",
        help="weights of the networks: a safetensors file or the name of shipped ones, without it "
        f"{SHIPPED_WEIGHTS}; 'untrained': random numbers",
    )  # fmt: skip
    group.add_argument(
        "--roadside-weights", metavar="FILE|NAME", help="those of the roadside units, where they differ from --weights"
    )
    group.add_argument("--device", choices=DEVICES, default="auto", help="where networks run; auto: a GPU if there is")
    group.add_argument(
        "--engine", choices=ENGINES, default="torch",
        help="how networks compute: torch is prepared for speed, eager the plain modules (docs/performance.md)",
    )  # fmt: skip
    group.add_argument("--precision", choices=NETWORK_PRECISIONS, default="fp32", help="what networks compute with")


def network_configs(args: argparse.Namespace, seed: int = 0, threads: int = 0) -> tuple[NetworkConfig, NetworkConfig]:
    """Of the vehicle and of the roadside units. Raises CooptrackError for values out of range."""
    from cooptrack_core.config import NetworkConfig, from_parameters

    def made(weights: str) -> NetworkConfig:
        values = {
            "preset": args.preset, "weights": weights, "device": args.device, "seed": seed, "engine": args.engine,
            "precision": args.precision, "threads": threads,
        }  # fmt: skip
        config: NetworkConfig = from_parameters(NetworkConfig, values)
        return config

    return made(args.weights), made(args.roadside_weights or args.weights)
