"""Rows of a comparison for further networks: --also and --alone-weights, with weights that know what they are."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from simulated import simulated_run
from small_runtime import config as small
from tiny_spd import TinySpd

from cooptrack_core.checkpoints import store
from cooptrack_core.checkpoints.header import Header, read_header
from cooptrack_core.cli import main
from cooptrack_core.commands.compare_networks import alone, further_runs
from cooptrack_core.config import NetworkConfig, RoadsideConfig, VehicleConfig
from cooptrack_core.evaluation.comparison_report import difference_tables
from cooptrack_core.evaluation.run_options import RunOptions
from cooptrack_core.model import presets
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.runtime import NetworkRuntime
from cooptrack_core.networks import network_of
from cooptrack_core.types import CooptrackError


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Families of the same names that are quick."""
    torch.set_num_threads(1)
    tiny = replace(small(), name="tiny", options=presets.Options())
    monkeypatch.setitem(presets.FAMILIES, "tiny", tiny)
    monkeypatch.setitem(presets.VARIANTS, "tiny-univ2x", replace(tiny, name="tiny-univ2x", fusion="univ2x"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with a roadside network, vehicles that were trained with it or alone, and one of another roadside."""
    folder = tmp_path / "weights"

    def save(name: str, preset: str, roadside: bytes | None = None) -> bytes:
        torch.manual_seed(0)
        path = folder / f"{name}.safetensors"
        return store.save(path, AgentModel(presets.get_preset(preset)), store.Metadata(roadside))

    roadside = save("inf", "tiny_inf")
    save("coop", "tiny_coop", roadside)
    save("univ2x", "tiny-univ2x_coop", roadside)
    save("veh", "tiny_veh")
    save("stranger", "tiny_coop", b"\3" * 32)
    return folder


def given(weights: Path) -> RunOptions:
    vehicle = NetworkConfig(weights=str(weights / "coop.safetensors"))
    roadside = NetworkConfig(weights=str(weights / "inf.safetensors"))
    return RunOptions(
        Path("nowhere"), vehicle=VehicleConfig(detector="network", network=vehicle),
        roadside=RoadsideConfig(detector="network", network=roadside),
    )  # fmt: skip


def asked(*also: str, alone_weights: str | Path | None = None) -> argparse.Namespace:
    return argparse.Namespace(also=list(also), alone_weights=None if alone_weights is None else str(alone_weights))


def test_file_of_weights_says_what_it_is_without_torch(weights: Path, tmp_path: Path) -> None:
    found = read_header(weights / "univ2x.safetensors")
    assert (found.preset, found.family, found.role) == ("tiny-univ2x_coop", "tiny-univ2x", "coop")
    roadside = store.load(weights / "inf.safetensors", "tiny_inf").fingerprint.hex()
    assert found.roadside_fingerprint == roadside == read_header(weights / "inf.safetensors").fingerprint
    for content in (b"", b"\x05\0\0\0\0\0\0\0[1,2]", b"\xff" * 40, b"PK\x03\x04 and more", b"\x02\0\0\0\0\0\0\0{}"):
        (tmp_path / "other").write_bytes(content)
        assert read_header(tmp_path / "other") == Header()
    assert read_header(tmp_path / "missing") == Header() == read_header(tmp_path)


def test_another_network_brings_its_preset_and_its_roadside(weights: Path) -> None:
    own = given(weights)
    runs = further_runs(asked(f"univ2x={weights}/univ2x.safetensors"), own, ("learned",))
    network = runs["univ2x"].vehicle.network
    assert network.preset == "tiny-univ2x" and network.weights == f"{weights}/univ2x.safetensors"
    # It reads all streams, and was trained with whole messages.
    whole = {"feature_precision": "fp16", "feature_streams": "all", "kinematics_precision": "fp32"}
    assert runs["univ2x"].roadside == replace(own.roadside, **whole)
    without = replace(own, roadside=replace(own.roadside, network=NetworkConfig()))
    (run,) = further_runs(asked(f"a={weights}/coop.safetensors:{weights}/inf.safetensors"), without, ()).values()
    assert run.roadside.network.weights == f"{weights}/inf.safetensors" and run.roadside.network.preset == "tiny"


def test_rules_are_those_of_the_vehicle_of_that_row_alone(weights: Path) -> None:
    own = given(weights)
    also = f"a={weights}/coop.safetensors@remembered_pairs=false,birth_hits=2"
    (run,) = further_runs(asked(also), own, ()).values()
    assert run.vehicle.network.rules == "remembered_pairs=false,birth_hits=2"
    assert run.roadside == own.roadside and own.vehicle.network.rules == ""
    network = network_of(replace(run.vehicle, mode="learned"))
    assert isinstance(network, NetworkRuntime)
    assert network.config.birth_hits == 2 and not network.config.options.remembered_pairs


def test_vehicle_trained_alone_takes_the_place_of_the_cooperative_one(weights: Path) -> None:
    own = given(weights)
    assert alone(asked(), own) == own
    changed = alone(asked(alone_weights=weights / "veh.safetensors"), own)
    assert changed.vehicle.network.weights == f"{weights}/veh.safetensors" and changed.roadside == own.roadside
    for mode in ("late", "ego"):
        network = network_of(replace(changed.vehicle, mode=mode))
        assert network is not None and network.preset == "tiny_veh"
    with pytest.raises(CooptrackError, match="expected weights of preset tiny_coop, found those of 'tiny_veh'"):
        network_of(replace(changed.vehicle, mode="learned"))


@pytest.mark.parametrize(
    ("also", "words"),
    [
        ("univ2x", "cannot be read; give NAME=WEIGHTS or NAME=WEIGHTS:ROADSIDE_WEIGHTS"),
        ("univ2x=", "cannot be read"),
        ("univ2x=W/coop.safetensors:", "cannot be read"),
        ("late=W/coop.safetensors", "'late' is taken"),
        ("../up=W/coop.safetensors", "'../up' is no name"),
        ("a=W/none.safetensors", "no such file"),
        ("a=untrained", "untrained weights say nothing"),
        ("a=W/veh.safetensors", "expected weights of a preset _coop, found those of tiny_veh"),
        ("a=W/coop.safetensors:W/veh.safetensors", "expected weights of a preset _inf, found those of tiny_veh"),
        ("a=W/stranger.safetensors", "was not trained with the roadside network"),
        ("a=W/coop.safetensors@embed_dims=3", "--also: a: network.rules: 'embed_dims' is unknown"),
    ],
)
def test_what_is_no_further_network_gets_one_line(weights: Path, also: str, words: str) -> None:
    with pytest.raises(CooptrackError) as refused:
        further_runs(asked(also.replace("W/", f"{weights}/")), given(weights), ("learned", "late"))
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_name_stands_for_one_network_and_simulated_detectors_have_none(weights: Path) -> None:
    twice = [f"a={weights}/coop.safetensors"] * 2
    with pytest.raises(CooptrackError, match="'a' is taken"):
        further_runs(asked(*twice), given(weights), ())
    simulated = simulated_run(Path("nowhere"))
    with pytest.raises(CooptrackError, match="--also: has no meaning with the simulated detector"):
        further_runs(asked(twice[0]), simulated, ())
    with pytest.raises(CooptrackError, match="--alone-weights: has no meaning with the simulated detector"):
        alone(asked(alone_weights=weights / "veh.safetensors"), simulated)
    with pytest.raises(CooptrackError, match="expected weights of a preset _veh, found those of tiny_coop"):
        alone(asked(alone_weights=weights / "coop.safetensors"), given(weights))


def test_one_command_prints_the_main_table(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spd = TinySpd(tmp_path / "spd", sequences=("0003",), frames=3).write()
    out = tmp_path / "out"
    command = [
        "compare", spd, "--detector", "network", "--weights", weights / "coop.safetensors",
        "--roadside-weights", weights / "inf.safetensors", "--also", f"univ2x={weights}/univ2x.safetensors",
        "--alone-weights", weights / "veh.safetensors", "--modes", "learned,late,ego", "--no-tune", "--out", out,
    ]  # fmt: skip
    assert main([*map(str, command)]) == 0
    told = capsys.readouterr().out
    result = json.loads((out / "compare.json").read_text())
    assert [row["title"] for row in result["rows"]] == [
        "CoopTrack", "UniV2X-style", "Late Fusion + AB3DMOT", "No Fusion",
    ]  # fmt: skip
    files = [Path(row["weights"]).name.removesuffix(".safetensors") for row in result["rows"]]
    assert files == ["coop", "univ2x", "veh", "veh"]
    assert len(result["differences"]) == 6 and "CoopTrack - UniV2X-style" in told
    assert "UniV2X-style - No Fusion" in [table.title for table in difference_tables(result)]
    assert "network trained alone" in result["rows"][2]["parameters"]
    assert (out / "univ2x" / "metrics.json").is_file()
