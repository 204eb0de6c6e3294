"""Options of commands that run the pipeline: what is chosen reaches both agents, what is not is that of --params."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from cooptrack_core.commands.run_options import add_run_options, run_options
from cooptrack_core.config import NetworkConfig
from cooptrack_core.evaluation.run_options import RunOptions

CHOICES = {"preset": "r50", "weights": "untrained", "device": "cpu", "engine": "eager", "precision": "bf16"}
FILE = "/**:\n  ros__parameters:\n    network.engine: onnxruntime\n    network.precision: bf16\n"


def options_of(*given: str) -> RunOptions:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    add_run_options(parser)
    return run_options(parser.parse_args(["data", "--detector", "network", *given]))


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_of_a_network_reaches_both_agents(name: str) -> None:
    plain, chosen = options_of(), options_of(f"--{name}", CHOICES[name])
    for before, after in ((plain.vehicle, chosen.vehicle), (plain.roadside, chosen.roadside)):
        assert getattr(before.network, name) == getattr(NetworkConfig(), name) != CHOICES[name]
        assert getattr(after.network, name) == CHOICES[name]


def test_what_is_not_chosen_is_that_of_the_parameter_file(tmp_path: Path) -> None:
    file = tmp_path / "agents.yaml"
    file.write_text(FILE)
    found = options_of("--params", str(file), "--engine", "torch").vehicle.network
    assert (found.engine, found.precision) == ("torch", "bf16")
