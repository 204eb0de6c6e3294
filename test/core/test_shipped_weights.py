"""The weights that come with the package: they fit, belong together, stay small, and are what runs by default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors import safe_open
from simulated import simulated_run

from cooptrack_core import demo
from cooptrack_core.checkpoints import store
from cooptrack_core.cli import main
from cooptrack_core.config import SHIPPED_WEIGHTS, NetworkConfig, RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.codebook import Codebook, load_codebook, save_codebook
from cooptrack_core.cooperation.flow import BOX_INPUTS, Flow, find_flows, load_flow, save_flow
from cooptrack_core.evaluation.run_options import fingerprint
from cooptrack_core.model import presets
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.loading import codebook_of
from cooptrack_core.model.presets import get_preset
from cooptrack_core.training.flow import FlowNetwork, in_halves
from cooptrack_core.types import CooptrackError

ROOT = Path(__file__).resolve().parents[2]
LIMIT_BYTES = 25_000_000
CODEBOOKS = f"*_codebook{store.SUFFIX}"
FLOWS = f"*_flow{store.SUFFIX}"
MINI = replace(
    presets.FAMILIES["tiny"], name="mini", backbone_width=8, embed_dims=32, num_heads=2, bev_size=(4, 4),
    num_queries=10, encoder_layers=1, encoder_ffn=32, decoder_layers=1, decoder_ffn=32, reasoner_ffn=32, motion_width=8,
)  # fmt: skip


def shipped() -> list[store.Checkpoint]:
    """All of them, each checked against the preset that it says it is of."""
    found = []
    others = {path for pattern in (CODEBOOKS, FLOWS) for path in store.SHIPPED.glob(pattern)}
    for path in sorted(set(store.SHIPPED.glob(f"*{store.SUFFIX}")) - others):
        with safe_open(path, framework="pt") as file:
            found.append(store.load(path, file.metadata()["preset"]))
    return found


def test_shipped_weights_load_and_stay_small() -> None:
    found = shipped()
    assert {f"{SHIPPED_WEIGHTS}_inf", f"{SHIPPED_WEIGHTS}_coop"} <= {checkpoint.path.stem for checkpoint in found}
    assert sum(path.stat().st_size for path in store.SHIPPED.iterdir()) <= LIMIT_BYTES
    assert not any(str(Path.home()) in str(checkpoint.metadata.notes.values()) for checkpoint in found)


def test_shipped_vehicle_understands_the_shipped_roadside_unit() -> None:
    by_name = {checkpoint.path.stem: checkpoint for checkpoint in shipped()}
    for name, checkpoint in by_name.items():
        if checkpoint.config.cooperative:
            partner = by_name[name.removesuffix("_coop") + "_inf"]
            assert checkpoint.metadata.roadside_fingerprint == partner.fingerprint


def test_the_shipped_codebook_is_of_the_shipped_roadside_unit_and_both_sides_have_it() -> None:
    (path,) = store.SHIPPED.glob(CODEBOOKS)
    book = load_codebook(path)
    by_name = {checkpoint.path.stem: checkpoint for checkpoint in shipped()}
    assert book.roadside_fingerprint == by_name[f"{SHIPPED_WEIGHTS}_inf"].fingerprint
    for role in ("inf", "coop"):
        found = codebook_of(
            NetworkConfig(), store.SHIPPED / f"{SHIPPED_WEIGHTS}_{role}.safetensors", book.roadside_fingerprint
        )
        assert found is not None and found.fingerprint == book.fingerprint
    assert codebook_of(NetworkConfig(), store.SHIPPED / "tiny_inf.safetensors", bytes(32)) is None
    own = codebook_of(NetworkConfig(), Path("runs/coop/weights/own_coop.safetensors"), book.roadside_fingerprint)
    assert own is not None and own.fingerprint == book.fingerprint, "who was trained to hear it reads its codes"
    with pytest.raises(CooptrackError, match="not of that of"):
        codebook_of(NetworkConfig(codebook=str(path)), Path("own_inf.safetensors"), bytes(32))


def test_the_shipped_flow_is_of_the_shipped_roadside_unit_and_method_flow_finds_it() -> None:
    (path,) = store.SHIPPED.glob(FLOWS)
    flow = load_flow(path)
    (inf,) = [found for found in shipped() if found.path.stem == f"{SHIPPED_WEIGHTS}_inf"]
    assert flow.roadside_fingerprint == inf.fingerprint and flow.channels == inf.config.embed_dims
    assert [found.fingerprint for found in find_flows("")] == [flow.fingerprint]


def test_agents_run_the_shipped_networks_and_learned_fusion_unless_told_otherwise() -> None:
    vehicle, roadside = VehicleConfig(), RoadsideConfig()
    assert (vehicle.mode, vehicle.detector, roadside.detector) == ("learned", "network", "network")
    for config, role in ((vehicle.network, "coop"), (roadside.network, "inf")):
        path = store.find(config.weights, f"{config.preset}_{role}")
        assert path is not None and path.parent == store.SHIPPED
    assert demo.find_network(NetworkConfig(device="cpu"), NetworkConfig(device="cpu")) == "cpu"


def test_deleted_weights_are_one_line_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "weights")
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 2
    said = capsys.readouterr().err.strip()
    assert f"weights '{SHIPPED_WEIGHTS}': no weights of that name for tiny_coop" in said
    assert "detector simulated" in said and len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_other_weights_of_the_same_name_make_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SHIPPED", tmp_path)
    options = simulated_run(tmp_path, vehicle=VehicleConfig(), roadside=RoadsideConfig())
    found = []
    for content in (b"first", b"second"):
        for role in ("inf", "coop"):
            (tmp_path / f"{SHIPPED_WEIGHTS}_{role}.safetensors").write_bytes(content + role.encode())
        found.append(fingerprint(options, (), None)["weights"])
    assert len({weights[agent] for weights in found for agent in ("vehicle", "roadside")}) == 4


@pytest.fixture
def pack_weights(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, for a family small enough for many files."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setitem(presets.FAMILIES, "mini", MINI)
    import pack_weights

    return pack_weights


@pytest.fixture
def runs(pack_weights: ModuleType, tmp_path: Path) -> list[str]:
    """Folders of finished runs of all three roles."""
    torch.manual_seed(3)
    partner = None
    for role in ("inf", "veh", "coop"):
        model = AgentModel(get_preset(f"mini_{role}"))
        notes = {"stage": role, "seed": "4", "made_by": f"cooptrack train --data {tmp_path}"}
        path = tmp_path / f"run_{role}" / "weights" / f"mini_{role}.safetensors"
        written = store.save(path, model, store.Metadata(partner if role == "coop" else None, notes))
        partner = partner or written
    return [str(tmp_path / f"run_{role}") for role in ("inf", "veh", "coop")]


def test_packed_runs_are_half_as_large_and_still_a_pair(
    pack_weights: ModuleType, runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "packed"
    assert pack_weights.main([*runs, "--preset", "mini", "--name", "small", "--out", str(out), "--data", "noise"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["small_coop.safetensors", "small_inf.safetensors"]
    inf = store.load(out / "small_inf.safetensors", "mini_inf")
    coop = store.load(out / "small_coop.safetensors", "mini_coop")
    assert coop.metadata.roadside_fingerprint == inf.fingerprint
    assert inf.metadata.notes == {"stage": "inf", "seed": "4", "data": "noise"}
    assert coop.metadata.notes == inf.metadata.notes | {"stage": "coop", "alone_stage": "veh", "alone_seed": "4"}
    before = store.load(Path(runs[0]) / "weights" / "mini_inf.safetensors", "mini_inf")
    assert inf.path.stat().st_size < 0.6 * before.path.stat().st_size
    for name, value in before.state.items():
        assert torch.allclose(inf.state[name], value, rtol=2**-11, atol=2**-24), name
    assert "small_inf.safetensors: " in capsys.readouterr().out
    assert pack_weights.main([runs[0], runs[2], "--preset", "mini", "--name", "small", "--out", str(out)]) == 0
    again = store.load(out / "small_coop.safetensors", "mini_coop")
    assert again.fingerprint == coop.fingerprint and not any(name.startswith("alone") for name in again.metadata.notes)


def test_packed_codebook_names_the_rounded_network(
    pack_weights: ModuleType, runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = store.load(Path(runs[0]) / "weights" / "mini_inf.safetensors", "mini_inf").fingerprint
    table = np.random.default_rng(0).normal(size=(2, 256, MINI.embed_dims)).astype(np.float16).astype(np.float32)
    file, out = tmp_path / "book.safetensors", tmp_path / "packed"
    options = ["--preset", "mini", "--out", str(out), "--codebook", str(file)]
    save_codebook(Codebook({"query": table}, bytes(32), "of another"), file)
    assert pack_weights.main([*runs, *options]) == 2
    assert "was fitted to another roadside network" in capsys.readouterr().err and not out.exists()
    save_codebook(Codebook({"query": table}, trained, "fitted"), file)
    assert pack_weights.main([*runs, *options]) == 0
    packed = load_codebook(out / "mini_codebook.safetensors")
    assert packed.roadside_fingerprint == store.load(out / "mini_inf.safetensors", "mini_inf").fingerprint != trained
    assert np.array_equal(packed.tables["query"], table) and packed.notes == "fitted"


def test_packed_flow_names_the_rounded_network(
    pack_weights: ModuleType, runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = store.load(Path(runs[0]) / "weights" / "mini_inf.safetensors", "mini_inf").fingerprint
    network = FlowNetwork(torch.randn(10, BOX_INPUTS + MINI.embed_dims, generator=torch.Generator().manual_seed(0)))
    file, out = tmp_path / "flow.safetensors", tmp_path / "packed"
    options = ["--preset", "mini", "--out", str(out), "--flow", str(file)]
    save_flow(Flow(in_halves(network), bytes(32), "of another"), file)
    assert pack_weights.main([*runs, *options]) == 2
    assert "flow: was fitted to another roadside network" in capsys.readouterr().err and not out.exists()
    made = Flow(in_halves(network), trained, "fitted")
    save_flow(made, file)
    assert pack_weights.main([*runs, *options]) == 0
    packed = load_flow(out / "mini_flow.safetensors")
    assert packed.roadside_fingerprint == store.load(out / "mini_inf.safetensors", "mini_inf").fingerprint != trained
    assert packed.notes == "fitted"
    assert all(np.array_equal(packed.tensors[name], values) for name, values in made.tensors.items())


def test_what_cannot_be_packed_is_one_line_and_changes_nothing(
    pack_weights: ModuleType, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "packed"

    def refusal(*arguments: str) -> str:
        assert pack_weights.main([*arguments, "--preset", "mini", "--out", str(out)]) == 2
        said = capsys.readouterr().err.strip()
        assert said.startswith("pack_weights: ") and len(said.splitlines()) == 1 and not out.exists()
        return said

    assert "RUN: 1 given; give RUN_INF RUN_COOP" in refusal(runs[0])
    assert "give the folder of a finished run of mini_inf" in refusal(str(tmp_path), *runs[1:])
    veh = Path(runs[1]) / "weights" / "mini_veh.safetensors"
    assert "expected weights of preset mini_coop, found those of 'mini_veh'" in refusal(*runs[:2], str(veh))
    other = tmp_path / "other.safetensors"
    store.save(other, AgentModel(get_preset("mini_inf")))
    assert "has learned with another roadside network" in refusal(str(other), *runs[1:])
    monkeypatch.setattr(pack_weights, "LIMIT_BYTES", 1000)
    assert "at most 1,000 ship" in refusal(*runs)
    with pytest.raises(CooptrackError, match="expected weights of preset mini_inf"):
        pack_weights.finished(veh, "mini_inf")
