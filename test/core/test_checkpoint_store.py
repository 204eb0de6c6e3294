"""Weights in files: what is loaded is what was saved, and any other file is refused in one line."""

import hashlib
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_bytes
from safetensors.torch import save_file

from cooptrack_core.checkpoints import store
from cooptrack_core.model import presets
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import get_preset
from cooptrack_core.types import CooptrackError

PRESET = "mini_inf"
MINI = replace(
    presets.FAMILIES["tiny"], name="mini", backbone_width=8, embed_dims=32, num_heads=2, bev_size=(4, 4),
    num_queries=10, encoder_layers=1, encoder_ffn=32, decoder_layers=1, decoder_ffn=32, reasoner_ffn=32, motion_width=8,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _mini():
    """A family of presets small enough for many files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.FAMILIES, "mini", MINI)
        yield


@pytest.fixture(scope="module")
def model(_mini):
    torch.manual_seed(5)
    return AgentModel(get_preset(PRESET))


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "net_inf.safetensors"
    store.save(path, model, store.Metadata(bytes(range(32)), {"made by": "a test"}))
    return path


@pytest.fixture
def altered(weights, tmp_path):
    """Writes the weights with a changed header or tensors, everything else untouched."""

    def write(header=None, tensors=None):
        data = weights.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        state = dict(store.load(weights, PRESET).state)
        (header or (lambda _: None))(metadata)
        (tensors or (lambda _: None))(state)
        path = tmp_path / "altered.safetensors"
        save_file(state, path, metadata)
        return path

    return write


def refusal(path, preset=PRESET):
    with pytest.raises(CooptrackError) as error:
        store.load(path, preset)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and "; " in text and "\n" not in text
    return text


def test_what_is_loaded_is_bit_for_bit_what_was_saved(model, weights):
    loaded = store.load(weights, PRESET)
    saved = model.state_dict()
    assert loaded.state.keys() == saved.keys()
    for name, value in saved.items():
        assert loaded.state[name].dtype == value.dtype and torch.equal(loaded.state[name], value), name
    assert loaded.config == get_preset(PRESET)
    assert loaded.metadata == store.Metadata(bytes(range(32)), {"made by": "a test"})
    assert loaded.fingerprint == store.fingerprint_of(model.config, saved) and len(loaded.fingerprint) == 32


def test_a_loaded_network_has_the_same_fingerprint(weights, tmp_path):
    loaded = store.load(weights, PRESET)
    again = AgentModel(loaded.config)
    again.load_state_dict(loaded.state, strict=True)
    assert store.save(tmp_path / "again.safetensors", again, loaded.metadata) == loaded.fingerprint
    assert store.load(tmp_path / "again.safetensors", PRESET).fingerprint == loaded.fingerprint


def test_fingerprint_is_that_of_configuration_and_every_tensor():
    config = get_preset(PRESET)
    state = {"b": torch.tensor([1.0, 2.0]), "a": torch.tensor(3)}
    said = store.canonical_config(config).encode()
    said += b"\na torch.int64 []\n" + struct.pack("<q", 3) + b"\nb torch.float32 [2]\n" + struct.pack("<2f", 1, 2)
    reference = store.fingerprint_of(config, state)
    assert reference == hashlib.sha256(said).digest()
    assert reference == store.fingerprint_of(config, {"a": state["a"], "b": state["b"].double()})  # order, precision
    others = [
        (replace(config, score_threshold=0.41), state),
        (config, {**state, "b": torch.tensor([1.0, 2.0000002])}),
        (config, {**state, "b": state["b"][None]}),
        (config, {"c": state["b"], "a": state["a"]}),
        (config, {"a": state["a"]}),
    ]
    assert reference not in [store.fingerprint_of(*other) for other in others]


def test_configuration_has_one_spelling():
    text = store.canonical_config(get_preset("official_r50_coop"))
    assert '"distance_gate_m":"inf"' in text and " " not in text and "Infinity" not in text
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_weights_of_another_preset_are_refused(weights):
    assert "expected weights of preset mini_veh, found those of 'mini_inf'" in refusal(weights, "mini_veh")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h.update(format="pt"), "found safetensors of something else"),
        (lambda h: h.clear(), "found safetensors of something else"),
        (lambda h: h.update(schema="2"), "expected schema 1, found '2'"),
        (lambda h: h.pop("config"), "expected config in the header, found none"),
        (lambda h: h.pop("fingerprint"), "expected fingerprint in the header, found none"),
        (lambda h: h.update(config="{"), "expected JSON as config"),
        (lambda h: h.update(config="[" * 100_000), "expected JSON as config"),
        (lambda h: h.update(config="3"), "config as a whole: expected {"),
        (lambda h: h.update(fingerprint="0" * 64), "expected fingerprint 000000000000..., found "),
        (lambda h: h.update(roadside_fingerprint="xyz"), "64 hexadecimal digits"),
        (lambda h: h.update(roadside_fingerprint="00"), "64 hexadecimal digits"),
        (lambda h: h.update(notes="[]"), "expected an object as notes, found list"),
    ],
)
def test_header_that_is_not_sane_is_refused(altered, change, said):
    assert said in refusal(altered(header=change))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("num_queries", 11, "config num_queries: expected 10, found 11"),
        ("num_queries", None, "config num_queries: expected 10, found null"),
        ("invented", 1, "config invented: expected null, found 1"),
        ("unused_modules", 0, "config unused_modules: expected false, found 0"),
    ],
)
def test_field_of_the_configuration_that_differs_is_named(altered, field, value, said):
    def change(header):
        config = json.loads(header["config"])
        config[field] = value
        header["config"] = json.dumps(config)

    assert said in refusal(altered(header=change))


def test_option_that_differs_is_named(altered):
    def change(header):
        header["config"] = header["config"].replace('"distance_gate_m":5.0', '"distance_gate_m":"inf"')

    assert 'config options.distance_gate_m: expected 5.0, found "inf"' in refusal(altered(header=change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("reference_points"), "lacks reference_points"),
        (lambda s: [s.pop(n) for n in list(s) if n.startswith("heads")], "and 16 more"),
        (lambda s: s.update(extra=torch.zeros(1)), "has unknown extra"),
        (lambda s: s.update(reference_points=torch.zeros(3, 10)), "expected float32 [10, 3], found F32 [3, 10]"),
        (lambda s: s.update(reference_points=torch.zeros(10, 3).double()), "expected float32 [10, 3], found F64"),
        (lambda s: s["reference_points"].fill_(float("nan")), "expected finite numbers, found others in reference_poi"),
        (lambda s: s["reference_points"].add_(1e-3), "the content has changed"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(altered, change, said):
    assert said in refusal(altered(tensors=change))


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.001, 0.5, 0.999])
def test_truncated_file_is_refused(weights, tmp_path, share):
    data = weights.read_bytes()
    path = tmp_path / "part.safetensors"
    path.write_bytes(data[: int(share * len(data))])
    assert "expected safetensors, found something else or a part" in refusal(path)


def test_flipped_bit_is_noticed(weights, tmp_path):
    data = bytearray(weights.read_bytes())
    data[-1000] ^= 1
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(data)
    assert "the content has changed" in refusal(path)


def test_pickle_is_never_opened(tmp_path):
    path = tmp_path / "net.safetensors"
    for new in (True, False):
        torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=new)
        assert "found a PyTorch file; use cooptrack convert-checkpoint" in refusal(path)


def test_missing_file_and_folder_are_refused(tmp_path):
    assert "cannot be read (No such file or directory)" in refusal(tmp_path / "absent.safetensors")
    assert "cannot be read (Is a directory)" in refusal(tmp_path)


def test_failed_save_leaves_the_old_file_and_nothing_else(model, tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CooptrackError, match="cannot be written \\(No space left on device\\)"):
        store.save(path, model)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(CooptrackError, match="not written: a hold numbers that are not finite"):
        store.save_state(tmp_path / "x.safetensors", get_preset(PRESET), {"a": torch.tensor([float("inf")])})
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_holds_the_network_as_it_will_be_loaded(model, weights, tmp_path):
    half, again = tmp_path / "half.safetensors", tmp_path / "again.safetensors"
    fingerprint = store.save_state(half, model.config, model.state_dict(), half=True)
    assert half.stat().st_size < 0.6 * weights.stat().st_size  # the header is not halved
    loaded = store.load(half, PRESET)
    assert loaded.fingerprint == fingerprint == store.fingerprint_of(model.config, loaded.state)
    assert fingerprint != store.load(weights, PRESET).fingerprint
    for name, value in model.state_dict().items():
        found = loaded.state[name]
        rounded = value.half().float() if value.is_floating_point() else value
        assert found.dtype == value.dtype and torch.equal(found, rounded), name
    AgentModel(loaded.config).load_state_dict(loaded.state, strict=True)
    assert store.save_state(again, model.config, loaded.state, half=True) == fingerprint
    twice = store.load(again, PRESET).state  # rounding twice changes nothing
    assert all(torch.equal(value, twice[name]) for name, value in loaded.state.items())
    assert store.save_state(again, model.config, loaded.state) == fingerprint  # nor does the format of the file


def test_numbers_too_large_for_half_are_not_saved(tmp_path):
    with pytest.raises(CooptrackError, match="not written: a hold numbers that are not finite"):
        store.save_state(tmp_path / "x.safetensors", get_preset(PRESET), {"a": torch.tensor([1e5])}, half=True)
    assert list(tmp_path.iterdir()) == []


def test_weights_are_found_by_name_and_by_path(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "demo_inf.safetensors").touch()
    (shipped / "demo_coop.safetensors").touch()
    own = tmp_path / "own.safetensors"
    own.touch()
    monkeypatch.setattr(store, "SHIPPED", shipped)
    assert store.find("untrained", PRESET) is None
    assert store.find("demo", PRESET) == shipped / "demo_inf.safetensors"
    assert store.find("demo", "mini_coop") == shipped / "demo_coop.safetensors"
    assert store.find(str(own), PRESET) == own
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.find("~/own.safetensors", PRESET) == own
    with pytest.raises(CooptrackError, match=r"weights 'demo': no weights of that name for mini_veh; .*: untrained$"):
        store.find("demo", "mini_veh")
    with pytest.raises(CooptrackError, match=r"no weights of that name for mini_inf; .*: untrained, demo$"):
        store.find("other", PRESET)
    with pytest.raises(CooptrackError, match=r"weights 'no/such.safetensors': no such file"):
        store.find("no/such.safetensors", PRESET)


def test_shipped_weights_belong_to_the_package():
    pyproject = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    assert '"cooptrack_core" = ["weights/*.safetensors"]' in pyproject
    assert store.SHIPPED.name == "weights" and store.SHIPPED.parent.name == "cooptrack_core"


def test_header_with_an_entry_outside_the_file_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(to_bytes({"a": torch.zeros(4)}).replace(b"[0,16]", b"[0,99]"))
    assert "expected safetensors" in refusal(path)
