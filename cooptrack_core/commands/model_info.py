"""`cooptrack model-info`: what a preset consists of and costs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from cooptrack_core.model.presets import FAMILIES, ROLES, VARIANTS, ModelConfig, get_preset
from cooptrack_core.types import CooptrackError

HELP = "parameters, multiply-adds and bytes per message of a preset, or the totals of a family of presets"

PRECISIONS = ("fp32", "fp16", "int8", "rvq")
TYPICAL_INSTANCES = 18  # of a published roadside message (spec cooptrack.md 1.4)
REMOTE_INSTANCES = 25
_ROLE_NAMES = {"inf": "roadside unit", "veh": "vehicle alone", "coop": "vehicle with cooperation"}
_NOT_COUNTED = (
    "counted: matrix products and convolutions; not counted: sampling of deformable attention, norms, activations"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "preset", metavar="PRESET", help=f"{', '.join(FAMILIES)}, with _{', _'.join(ROLES)} for one network of them; "
        f"or a variant to compare with: {', '.join(VARIANTS)}",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON; by default a table")


def run(args: argparse.Namespace) -> int:
    """Prints the table or JSON."""
    known = FAMILIES | VARIANTS
    names = [f"{args.preset}_{role}" for role in ROLES] if args.preset in known else [args.preset]
    if names[0].rpartition("_")[0] not in known or names[0].rpartition("_")[2] not in ROLES:
        families = f"a family ({', '.join(known)}) or one of it with _{', _'.join(ROLES)}"
        raise CooptrackError(f"preset {args.preset!r} is unknown; choose {families}")
    facts = [describe(get_preset(name)) for name in names]
    if args.json:
        print(json.dumps(facts[0] if len(facts) == 1 else facts, indent=1))
    elif len(facts) == 1:
        print("\n".join(table(facts[0])))
    else:
        print("\n".join(totals(facts)))
    return 0


def describe(config: ModelConfig) -> dict[str, Any]:
    """All facts on one network, as JSON has them."""
    from cooptrack_core.model import cost

    size = cost.sizes(config)
    model = cost.untrained(config)
    facts: dict[str, Any] = {
        "preset": config.name,
        "role": config.role,
        "image_width": config.image_size[1],
        "image_height": config.image_size[0],
        "bev_size": list(config.bev_size),
        "queries": config.num_queries,
        "channels": config.embed_dims,
        "modules": size.parameters,
        "parameters": size.total,
        "trainable": size.trainable,
        "buffers": size.buffers,
        "multiply_adds": cost.multiply_adds(model),
    }
    if config.cooperative:
        facts["remote_instances"] = REMOTE_INSTANCES
        facts["multiply_adds_with_remote_instances"] = cost.multiply_adds(model, REMOTE_INSTANCES)
    facts["bytes_per_instance"] = {name: cost.instance_bytes(config, name) for name in PRECISIONS}
    facts["instances_per_message"] = TYPICAL_INSTANCES
    facts["bytes_per_message"] = {name: cost.message_bytes(config, name, TYPICAL_INSTANCES) for name in PRECISIONS}
    return facts


def table(facts: dict[str, Any]) -> list[str]:
    """Lines for people on one network."""
    rows, columns = facts["bev_size"]
    lines = [
        f"{facts['preset']}: {_ROLE_NAMES[facts['role']]}",
        f"input image {facts['image_width']} x {facts['image_height']}, BEV {columns} x {rows}, "
        f"{facts['queries']} queries of {facts['channels']} channels",
        "",
        *(_row(f"  {name}", count) for name, count in facts["modules"].items()),
        _row("parameters", facts["parameters"]),
        _row("  trainable", facts["trainable"]),
        _row("buffers", facts["buffers"]),
        "",
        _row("multiply-adds per frame", _giga(facts["multiply_adds"])),
    ]
    if "remote_instances" in facts:
        together = _giga(facts["multiply_adds_with_remote_instances"])
        lines.append(_row(f"  with {facts['remote_instances']} remote instances", together))
    lines += [f"  {_NOT_COUNTED}", "", f"{'bytes on the air':34}" + "".join(f"{name:>12}" for name in PRECISIONS)]
    for what, key in (
        ("  per instance", "bytes_per_instance"),
        (f"  per message of {TYPICAL_INSTANCES} instances", "bytes_per_message"),
    ):
        lines.append(f"{what:34}" + "".join(f"{facts[key][name]:12,}" for name in PRECISIONS))
    return lines


def totals(facts: list[dict[str, Any]]) -> list[str]:
    """Lines for people on a family."""
    lines = [f"{'preset':20}{'parameters':>14}{'trainable':>14}{'multiply-adds':>16}"]
    for fact in facts:
        giga = _giga(fact["multiply_adds"])
        lines.append(f"{fact['preset']:20}{fact['parameters']:14,}{fact['trainable']:14,}{giga:>16}")
    return [*lines, f"multiply-adds of a frame without remote instances; {_NOT_COUNTED}"]


def _row(what: str, count: int | str) -> str:
    return f"{what:34}{count:>18,}" if isinstance(count, int) else f"{what:34}{count:>18}"


def _giga(count: int) -> str:
    return f"{count / 1e9:.2f} G"
