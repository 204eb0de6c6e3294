"""`cooptrack export`: files that give the plain network's values, what stands beside them, and what it refuses."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch
from small_runtime import config, model

from cooptrack_core.checkpoints import store
from cooptrack_core.cli import main
from cooptrack_core.model import export
from cooptrack_core.model.deformable_layer import DeformableLayer
from cooptrack_core.types import CooptrackError

pytestmark = pytest.mark.usefixtures("one_thread")
COOP = config("coop", proposals=8, encoder_layers=1, decoder_layers=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The shipped roadside network, exported once for the tests here: (folder, what was printed)."""
    folder = tmp_path_factory.mktemp("export") / "out"
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        assert main(["export", "--preset", "tiny_inf", "--out", str(folder)]) == 0
        torch.set_num_threads(before)
    return folder, "\n".join(lines)


def test_the_description_says_whose_graphs_they_are_and_how_to_call_them(exported):
    folder, printed = exported
    facts = json.loads((folder / "export.json").read_text())
    weights = store.load(store.SHIPPED / "tiny_inf.safetensors", "tiny_inf")
    assert facts["schema"] == "cooptrack/export/1" and facts["preset"] == "tiny_inf"
    assert facts["fingerprint"] == weights.fingerprint.hex() and facts["opset"] == 17
    assert facts["versions"]["torch"] == torch.__version__ and facts["max_instances"] is None
    assert [file["file"] for file in facts["files"]] == ["perception.onnx", "heads.onnx"]
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", "heads.onnx", "perception.onnx"]
    for file in facts["files"]:
        assert 0 < file["largest_difference"] < export.TOLERANCE and file["file"] in printed
    inputs = {item["name"]: item for item in facts["files"][0]["inputs"]}
    assert inputs["image"] == {"name": "image", "shape": [1, 3, 192, 320], "dtype": "float32"}
    assert inputs["bev_known"] == {"name": "bev_known", "shape": [1], "dtype": "bool"}


def test_a_program_that_knows_only_the_files_can_run_them(exported):
    """Names, shapes and types of the description are those that ONNX Runtime has."""
    import onnxruntime

    folder, _ = exported
    facts = json.loads((folder / "export.json").read_text())
    for file in facts["files"]:
        session = onnxruntime.InferenceSession(str(folder / file["file"]), providers=["CPUExecutionProvider"])
        given = {item["name"]: np.zeros(item["shape"], item["dtype"]) for item in file["inputs"]}
        wanted = [item.name for item in session.get_inputs()]
        assert set(wanted) <= set(given)
        values = session.run(None, {name: given[name] for name in wanted})
        described = [(item["name"], item["shape"], item["dtype"]) for item in file["outputs"]]
        names = [item.name for item in session.get_outputs()]
        assert [(n, list(v.shape), str(v.dtype)) for n, v in zip(names, values, strict=True)] == described


def test_the_shipped_vehicle_network_is_exported_with_its_cooperation(tmp_path, capsys):
    assert main(["export", "--preset", "tiny_coop", "--max-instances", "20", "--out", str(tmp_path / "out")]) == 0
    assert "no example tells its peaks apart" not in capsys.readouterr().out
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    names = ["perception", "heads", "alignment", "association", "fusion"]
    assert [file["file"] for file in facts["files"]] == [f"{name}.onnx" for name in names]
    assert all(0 < file["largest_difference"] < export.TOLERANCE for file in facts["files"])


def test_files_are_held_to_the_plain_network_without_short_cuts(monkeypatch):
    """As engine `eager` has it, not to the modules that are written."""
    held_to, drive, made = [], export.drive, model(COOP)
    monkeypatch.setattr(export, "drive", lambda network, count: held_to.append(network) or drive(network, count))
    export.parts_of(made, 12)
    (network,) = held_to
    parts = [module for module in network.modules() if hasattr(module, "short_cuts")]
    assert len(parts) == 3 and not any(part.short_cuts for part in parts)
    deformable = [module for module in network.modules() if isinstance(module, DeformableLayer)]
    assert deformable and {layer.implementation for layer in deformable} == {"grid_sample"}
    assert made.bev_encoder.short_cuts


@pytest.mark.parametrize("file_format", export.FORMATS)
def test_all_graphs_of_a_vehicle_are_written_and_checked(file_format, tmp_path):
    parts = export.parts_of(model(COOP), 12)
    assert [part.name for part in parts] == ["perception", "heads", "alignment", "association", "fusion"]
    for part in parts:
        written = export.write(part, tmp_path, file_format)
        assert written.path.is_file() and 0 <= written.largest_difference < 1e-4


def test_a_file_that_gives_other_values_is_refused(tmp_path):
    heads = export.parts_of(model(config("inf")), 12)[1]

    def wrong(inputs):
        outputs = list(heads.graph(*inputs))
        outputs[2] = outputs[2] + 0.01
        return outputs

    with torch.inference_mode():
        with pytest.raises(
            CooptrackError, match=r"x\.onnx: out_logits: expected .* to 0\.001, found a difference of 0.01"
        ):
            export.compare(tmp_path / "x.onnx", wrong, heads)
        with pytest.raises(CooptrackError, match="difference of nan"):
            export.compare(tmp_path / "x.onnx", lambda x: [v * torch.nan for v in heads.graph(*x)], heads)


def test_bad_requests_are_answered_in_a_line(tmp_path, capsys, monkeypatch):
    def said(*arguments: str) -> str:
        assert main(["export", *arguments]) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        return text

    out = ["--out", str(tmp_path / "new")]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("")
    assert "exists already" in said("--out", str(tmp_path / "old"))
    assert "preset 'huge_coop' is unknown" in said("--preset", "huge_coop", "--weights", "untrained", *out)
    assert "give 1 or more" in said("--max-instances", "0", *out)
    assert "more than the 128 queries" in said("--max-instances", "129", *out)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    assert "onnxruntime is missing; pip install" in said(*out)
    assert not (tmp_path / "new").exists()


def test_peaks_whose_order_rounding_decides_are_compared_without_it(tmp_path):
    """An untrained image head: rows of what follows are of other peaks, the grid and the scores are not."""
    perception = export.parts_of(model(config("inf", proposals=8, encoder_layers=1, decoder_layers=1)), 12)[0]
    outputs = perception.names.outputs
    first = perception.examples[0].expected
    scores = first[outputs.index("peak_scores")].clone()
    scores[:, 1] = scores[:, 0]
    tied = [scores if name == "peak_scores" else value for name, value in zip(outputs, first, strict=True)]
    example = export.Example(perception.examples[0].inputs, tuple(tied))
    part = export.Part("perception", perception.graph, perception.names, [example])
    assert export.has_tied_peaks(part, example)
    swapped = [v.flip(1) if n not in ("bev", "peak_scores") else v for n, v in zip(outputs, tied, strict=True)]
    assert export.compare(tmp_path / "x.onnx", lambda _: swapped, part).largest_difference == 0.0
    swapped[outputs.index("bev")] = swapped[outputs.index("bev")] + 0.01
    with pytest.raises(CooptrackError, match="bev"):
        export.compare(tmp_path / "x.onnx", lambda _: swapped, part)
