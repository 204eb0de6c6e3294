"""`cooptrack convert-checkpoint` and `cooptrack model-info`."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cooptrack_core import cli
from cooptrack_core.checkpoints import official, store
from cooptrack_core.commands import model_info
from cooptrack_core.model import cost, presets
from cooptrack_core.model.presets import get_preset

ROOT = Path(__file__).resolve().parents[1]
KEYS = json.loads(gzip.decompress((ROOT / "data/reference/published_keys.json.gz").read_bytes()))


PUBLISHED_SIZE = presets.FAMILIES["official_r50"]
# The published network made thin: the same entries, only small.
THIN = replace(
    PUBLISHED_SIZE, image_size=(64, 96), backbone_width=8, embed_dims=32, num_heads=2, bev_size=(6, 5), encoder_ffn=32,
    num_queries=40, decoder_ffn=32, motion_width=8, reasoner_ffn=32,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _thin(monkeypatch):
    monkeypatch.setitem(presets.FAMILIES, "official_r50", THIN)


def published(role="coop"):
    """A state dict with the published names; each entry repeats a number of its own."""
    shapes = store.expected_entries(get_preset(f"official_r50_{role}"))
    state = OrderedDict()
    for index, (name, _, dtype, _) in enumerate(KEYS):
        if role == "coop" or not official.COOPERATIVE.match(name):
            shape = shapes[official.our_name(name)].shape
            state[name] = torch.full(shape, index + 0.5 if dtype == "float32" else index, dtype=getattr(torch, dtype))
    return state


@pytest.fixture
def veh_state(_thin):
    return published("veh")


def convert(*arguments):
    return cli.main(["convert-checkpoint", *map(str, arguments)])


def error_of(capsys, *arguments):
    """The one line that a refused conversion prints."""
    assert convert(*arguments) == 2
    text = capsys.readouterr().err
    assert text.startswith("cooptrack convert-checkpoint: error: ") and text.count("\n") == 1
    return text


def test_published_checkpoints_become_weights_with_every_number_in_its_place(tmp_path, capsys, veh_state):
    inf, coop = tmp_path / "inf.safetensors", tmp_path / "coop.safetensors"
    torch.save(veh_state, tmp_path / "bare.pth")
    assert convert(tmp_path / "bare.pth", inf, "--preset", "official_r50_inf") == 0
    state = published()
    wrapped = {"meta": {"epoch": 48}, "state_dict": OrderedDict((f"module.{k}", v) for k, v in state.items())}
    wrapped["optimizer"] = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]}
    torch.save(wrapped, tmp_path / "nested.pth")
    capsys.readouterr()
    assert convert(tmp_path / "nested.pth", coop, "--roadside", inf) == 0
    said = capsys.readouterr().out
    assert "914 entries, preset official_r50_coop" in said and "rights" in said and "no --roadside" not in said
    for kind, count in (("loaded", 914), ("missing", 0), ("missing unused", 0), ("unexpected", 0), ("reshaped", 0)):
        assert f"{kind + ':':16}{count:5}\n" in said
    loaded = store.load(coop, "official_r50_coop")
    assert loaded.metadata.roadside_fingerprint == store.load(inf, "official_r50_inf").fingerprint
    assert len(loaded.state) == 914
    for name, value in state.items():
        assert torch.equal(loaded.state[official.our_name(name)], value), name


def test_networks_without_cooperation_cannot_be_told_apart(tmp_path, capsys, veh_state):
    torch.save(veh_state, tmp_path / "in.pth")
    said = error_of(capsys, tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert "--preset official_r50_veh or --preset official_r50_inf" in said


def test_missing_unexpected_and_reshaped_entries_are_reported(tmp_path, capsys, veh_state):
    state = OrderedDict(veh_state)
    del state["query_embedding.2.bias"], state["criterion.code_weights"]
    state["reference_points.weight"] = torch.zeros(30, 3)
    state["stale.weight"] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "in.pth")
    out = tmp_path / "out.safetensors"
    assert convert(tmp_path / "in.pth", out, "--preset", "official_r50_veh", "--allow-missing") == 2
    said = capsys.readouterr()
    for line in (
        "missing:            1\n  query_embedding.2.bias\n",
        "missing unused:     1\n  criterion.code_weights\n",
        "unexpected:         1\n  stale.weight\n",
        "reshaped:           1\n  reference_points.weight: expected [40, 3], found [30, 3] float32\n",
    ):
        assert line in said.out
    assert "missing query_embedding.2.bias" in said.err and said.err.count("\n") == 1 and not out.exists()
    state["query_embedding.2.bias"] = veh_state["query_embedding.2.bias"]
    torch.save({"state_dict": state}, tmp_path / "in.pth")
    assert "other shapes, reference_points.weight" in error_of(
        capsys, tmp_path / "in.pth", out, "--preset", "official_r50_veh"
    )


def test_unused_entries_may_be_missing_if_that_is_allowed(tmp_path, capsys, veh_state):
    state = OrderedDict(veh_state)
    del state["bev_pos_linear.weight"], state["img_backbone.bn1.num_batches_tracked"]
    torch.save(state, tmp_path / "in.pth")
    arguments = (tmp_path / "in.pth", tmp_path / "out.safetensors", "--preset", "official_r50_veh")
    assert "--allow-missing fills them with zeros" in error_of(capsys, *arguments)
    assert convert(*arguments, "--allow-missing") == 0
    said = capsys.readouterr().out
    assert "missing unused:     2\n  img_backbone.bn1.num_batches_tracked\n  bev_pos_linear.weight\n" in said
    assert not store.load(arguments[1], "official_r50_veh").state["unused.bev_pos_linear.weight"].any()


def test_wrong_preset_is_refused(tmp_path, capsys, veh_state):
    torch.save(veh_state, tmp_path / "in.pth")
    said = error_of(capsys, tmp_path / "in.pth", tmp_path / "o.safetensors", "--preset", "official_r50_coop")
    assert "expected the 914 entries of official_r50_coop, found 817: missing" in said and "and 85 more" in said
    with pytest.raises(SystemExit):
        convert(tmp_path / "in.pth", tmp_path / "o.safetensors", "--preset", "tiny_veh")
    assert "'official_r50_veh'" in capsys.readouterr().err


def test_roadside_weights_must_be_those_of_a_roadside_unit(tmp_path, capsys, veh_state):
    torch.save(veh_state, tmp_path / "in.pth")
    veh, out = tmp_path / "veh.safetensors", tmp_path / "out.safetensors"
    assert convert(tmp_path / "in.pth", veh, "--preset", "official_r50_veh") == 0
    said = error_of(capsys, tmp_path / "in.pth", out, "--preset", "official_r50_veh", "--roadside", veh)
    assert "official_r50_veh takes nothing from a roadside unit" in said
    said = error_of(capsys, tmp_path / "in.pth", out, "--preset", "official_r50_coop", "--roadside", veh)
    assert "expected weights of preset official_r50_inf, found those of 'official_r50_veh'" in said


class Harmful:
    """Unpickled it would make a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys, zipped):
    content = {"state_dict": {"reference_points.weight": torch.zeros(2)}, "hook": Harmful(tmp_path / "made")}
    torch.save(content, tmp_path / "in.pth", _use_new_zipfile_serialization=zipped)
    said = error_of(capsys, tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert "found the object posix.mkdir, which can stand for code; nothing was run" in said
    (tmp_path / "raw.pth").write_bytes(f"cposix\nmkdir\n(V{tmp_path / 'made'}\ntR.".encode())
    assert "found the object posix.mkdir" in error_of(capsys, tmp_path / "raw.pth", tmp_path / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pth", "raw.pth"]


def test_numpy_numbers_among_the_notes_are_tolerated(tmp_path, veh_state):
    torch.save({"meta": {"loss": np.float64(0.25), "epoch": np.int64(3)}, "state_dict": veh_state}, tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.safetensors", "--preset", "official_r50_veh") == 0


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_truncated_checkpoint_is_one_line(tmp_path, capsys, zipped, share):
    torch.save({"reference_points.weight": torch.zeros(900, 3)}, tmp_path / "a", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "in.pth").write_bytes(data[: int(len(data) * share)])
    said = error_of(capsys, tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert f"{tmp_path / 'in.pth'}: expected a PyTorch checkpoint, found a part or something else" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "expected a state dict of tensors, found a list"),
        ({"epoch": 3}, "found a dictionary with epoch"),
        ({"state_dict": {"a": 1}}, "found a dictionary with state_dict"),
        ({"fc.weight": torch.zeros(2)}, "expected entries of the published network, found fc.weight"),
    ],
)
def test_checkpoint_of_something_else_is_refused(tmp_path, capsys, content, said):
    torch.save(content, tmp_path / "in.pth")
    assert said in error_of(capsys, tmp_path / "in.pth", tmp_path / "out.safetensors")


def test_files_that_cannot_be_used_are_named(tmp_path, capsys):
    (tmp_path / "text.pth").write_text("hello world\n")
    out = tmp_path / "out.safetensors"
    assert "expected a PyTorch checkpoint" in error_of(capsys, tmp_path / "text.pth", out)
    assert "absent.pth: cannot be read (No such file" in error_of(capsys, tmp_path / "absent.pth", out)
    assert "ends in .safetensors" in error_of(capsys, tmp_path / "text.pth", tmp_path / "out.pth")


def test_published_network_has_as_many_parameters_as_published(monkeypatch, capsys):
    monkeypatch.setitem(presets.FAMILIES, "official_r50", PUBLISHED_SIZE)
    size = cost.sizes(get_preset("official_r50_coop"))
    assert size.total == 47_132_149 == sum(size.parameters.values())
    assert size.buffers == 53_183 and size.trainable <= size.total - 10  # code weights are not trained
    assert size.parameters["backbone"] == 23_508_032 and size.parameters["alignment"] == 1_661_440
    assert cost.sizes(get_preset("official_r50_inf")).total == 47_132_149 - sum(
        torch.Size(shape).numel() for name, shape, _, _ in KEYS if official.COOPERATIVE.match(name)
    )
    monkeypatch.setattr(cost, "untrained", lambda config: None)
    monkeypatch.setattr(cost, "multiply_adds", lambda *_: 0)
    assert cli.main(["model-info", "official_r50_coop"]) == 0
    assert re.search(r"^parameters +47,132,149$", capsys.readouterr().out, re.MULTILINE)


def test_message_of_the_published_size_costs_what_the_paper_says(monkeypatch):
    monkeypatch.setitem(presets.FAMILIES, "official_r50", PUBLISHED_SIZE)
    config = get_preset("official_r50_coop")
    assert abs(cost.message_bytes(config, "fp32", 18) - 5.64e4) < 100
    features = 3 * config.embed_dims
    fp32, fp16, int8, rvq = (cost.instance_bytes(config, name) for name in model_info.PRECISIONS)
    assert (fp32 - fp16, fp16 - int8) == (2 * features, features - 3 * 4)  # int8 has a scale per stream
    assert rvq == 1 + 15 + 2 * 4  # an id, compact kinematics, 4 codes of query and motion
    assert cost.message_bytes(config, "fp32", 0) < 100


def test_multiply_adds_of_modules_add_up():
    config = get_preset("official_r50_coop")
    model = cost.untrained(config)
    alone, together = cost.multiply_adds(model), cost.multiply_adds(model, 25)
    assert alone == cost.multiply_adds(model)  # the same every time
    single = cost.multiply_adds(cost.untrained(get_preset("official_r50_veh")))
    assert single < alone < together < 1.5 * alone
    # Attention is counted too: the spatial stage alone has two attentions of N x N over C in each layer.
    n, dims = config.num_queries, config.embed_dims
    spatial = config.reasoner_layers * 2 * (2 * n * n * dims + 4 * n * dims * dims)
    queries = model.assemble(None).map(lambda value: value[None])
    with cost.MultiplyAddCounter() as counter:
        model.reasoner(queries)
    assert counter.total > spatial


def test_model_info_prints_table_and_json(capsys):
    assert cli.main(["model-info", "official_r50_coop"]) == 0
    text = capsys.readouterr().out
    size = cost.sizes(get_preset("official_r50_coop"))
    assert f"{size.total:,}" in text and "with 25 remote instances" in text and "input image 96 x 64" in text
    assert "not counted: sampling of deformable attention" in text and all(
        f"  {name} " in text for name in size.parameters
    )
    assert cli.main(["model-info", "official_r50_inf", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["preset"] == "official_r50_inf" and facts["parameters"] == sum(facts["modules"].values())
    assert "multiply_adds_with_remote_instances" not in facts and facts["bytes_per_message"]["fp16"] > 0


def test_family_name_prints_the_totals_of_its_roles(capsys):
    assert cli.main(["model-info", "official_r50"]) == 0
    text = capsys.readouterr().out
    for role in ("inf", "veh", "coop"):
        assert f"official_r50_{role}" in text and f"{cost.sizes(get_preset(f'official_r50_{role}')).total:,}" in text


def test_unknown_preset_names_those_that_exist(capsys):
    assert cli.main(["model-info", "huge"]) == 2
    said = capsys.readouterr().err
    assert "'huge' is unknown" in said and "official_r50" in said and "_coop" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["model-info", "official_r50"], ["convert-checkpoint", "a.pth", "b.safetensors"]]
)
def test_without_torch_there_is_one_line(arguments):
    program = (
        "import sys; sys.modules['torch'] = None; from cooptrack_core import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "package torch is missing" in done.stderr and "pip install torch safetensors" in done.stderr
