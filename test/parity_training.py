"""Reference vectors of training: association in train mode, and whole iterations with their gradients."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import parity_frames
import parity_operators
import reference_inputs
import torch
from parity_operators import load
from parity_report import Report
from reference_model import fill_weights
from torch import Tensor

from cooptrack_core.checkpoints.official import published_name
from cooptrack_core.model.agent_model import AgentModel, Cooperation
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.session import NetworkInput
from cooptrack_core.training.carry import CarryOptions
from cooptrack_core.training.freezing import freeze
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.losses import ASSOCIATION_WEIGHT, association_labels, association_loss
from cooptrack_core.training.step import Iteration, Outcome, Sample
from cooptrack_core.training.supervision import ASSOCIATION_MIN_SCORE

# Of two implementations in single precision; in double precision they agree to 1e-7.
LOSS, GRADIENT, MEDIAN_GRADIENT, IOU = 1e-4, 5e-3, 3e-4, 2e-3
# Bilinear sampling has a kink at every pixel centre: the last bit of a location can change the gradient there.
GRADIENT_OF_SAMPLING = 3e-2
# A norm follows the similarity of two nodes, and takes out nearly all that it contributes: the rest is mostly rounding.
GRADIENT_OF_NODES = 3e-2
NODES = re.compile(r"STReasoner\.(get_node_\w+|wq|wk)(\.|$)")
# A gradient this much smaller than the largest one is rounding.
GRADIENT_FLOOR = 1e-5


def training_model(role: str) -> AgentModel:
    """official_r50 of a role with reference weights, in train mode without dropout, frozen as its stage is."""
    model = AgentModel(replace(get_preset(f"official_r50_{role}"), dropout=0.0))
    fill_weights(model, role)
    freeze(model, "cooperation" if role == "coop" else "tracking")
    return model.train()


def iterations(path: Path, report: Report) -> None:
    """One file train_<role>_<b or seq><count>.json, with the ground truth in the .npz of the same name."""
    match = re.fullmatch(r"train_(inf|veh|coop)_(b|seq)(\d+)\.json", path.name)
    assert match is not None
    role, streaming, count = match.group(1), match.group(2) == "seq", int(match.group(3))
    arrays, expected = load(path.with_suffix(".npz")), list(_records(json.loads(path.read_text())))
    samples = [_sample(role, t, 0 if streaming else t, arrays, path.parent, report) for t in range(count)]
    if any(sample is None for sample in samples):
        return
    batches = [[sample] for sample in samples] if streaming else [samples]
    if len(expected) != len(batches):
        report.fail("losses", f"{len(expected)} records of losses in the file, {len(batches)} iterations")
        return
    model = training_model(role)
    iterate = Iteration(model, CarryOptions.none(), shuffle=False)
    for number, (batch, record) in enumerate(zip(batches, expected, strict=True)):
        prefix = f"iteration {number}: " if len(batches) > 1 else ""
        model.zero_grad(set_to_none=True)
        with torch.enable_grad():
            outcome = iterate(batch)
            total = _check_losses(outcome, record, report, prefix)
            total.backward()
        if "grad_norms" in record:
            check_gradients(model, record["grad_norms"], report, prefix)
            _check_without_gradient(model, record.get("params_without_grad", ()), report, prefix)
        for slot in range(len(batch)):
            _check_carried(outcome, slot, number if streaming else slot, arrays, report, prefix)


def _records(content: Any) -> Iterator[dict[str, Any]]:
    """Every record with losses, in the order of the file: `losses` as a dict, a list, or numbered."""
    if isinstance(content, dict) and any(name.startswith("losses") for name in content):
        several = sorted(name for name in content if name.startswith("losses") and name != "losses")
        if several:
            for name in several:
                ending = name.removeprefix("losses")
                yield {key.removesuffix(ending): value for key, value in content.items() if key.endswith(ending)}
        elif isinstance(content["losses"], list):
            others = {name: value for name, value in content.items() if isinstance(value, list)}
            count = len(content["losses"])
            for i in range(count):
                yield {name: value[i] for name, value in others.items() if len(value) == count}
        else:
            yield content
    elif isinstance(content, (dict, list)):
        for item in content.values() if isinstance(content, dict) else content:
            yield from _records(item)


def _sample(
    role: str, t: int, slot: int, arrays: Mapping[str, np.ndarray], folder: Path, report: Report
) -> Sample | None:
    """Frame t as slot `slot`; its ground truth has the number t in the file."""
    found = [_numbered(arrays, name, t) for name in ("gt_boxes", "gt_labels", "gt_ids")]
    boxes, labels, ids = found
    if boxes is None or labels is None or ids is None:
        report.fail(f"gt_boxes_{t}", "the file has no ground truth of this frame")
        return None
    made = reference_inputs.frame("inf" if role == "inf" else "veh", t)
    given = NetworkInput(
        torch.from_numpy(made.image),
        torch.from_numpy(made.lidar2img.astype(np.float32)),
        made.T_map_from_lidar,
        made.stamp_s,
    )
    truth = GroundTruth(torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(ids))
    messages = []
    if role == "coop":
        messages = [(parity_frames.message(folder, t), torch.from_numpy(reference_inputs.T_vehicle_from_infra(t)))]
    return Sample(given, truth, f"s{slot}", messages)


def _numbered(arrays: Mapping[str, np.ndarray], name: str, number: int) -> np.ndarray | None:
    """The array of a frame or slot: `gt_boxes_1`, also with something before or behind it such as `f1/gt_boxes_0`."""
    if f"{name}_{number}" in arrays:
        return arrays[f"{name}_{number}"]
    similar = sorted(key for key in arrays if name in key)
    return arrays[similar[number]] if number < len(similar) else None


def kind_of_loss(name: str) -> str:
    """What a loss is, by its name: the published network names the losses of its stages differently."""
    lower = name.lower()
    if "asso" in lower:
        return "asso"
    kind = "cls" if "cls" in lower else "box"
    layer = re.search(r"_(\d+)$", lower)
    return f"ref_{kind}" if "ref" in lower else f"{kind}_{layer.group(1) if layer else 0}"


def _check_losses(outcome: Outcome, record: Mapping[str, Any], report: Report, prefix: str) -> Tensor:
    """Every loss; returns their sum, with gradient."""
    ours = {kind_of_loss(name): name for name in outcome.losses}
    theirs = {kind_of_loss(n): (n, float(v)) for n, v in record["losses"].items() if n not in ("loss", "total")}
    report.check(f"{prefix}names of losses", sorted(ours), sorted(theirs), 0.0)
    losses = dict(outcome.losses)
    for kind, (name, value) in theirs.items():
        if kind in ours:
            losses[ours[kind]] = _averaged(outcome, ours[kind], value, report)
            report.relative(f"{prefix}{name}", float(losses[ours[kind]].detach()), value, LOSS, 1.0)
    total = torch.stack(list(losses.values())).sum()
    if "total" in record:
        report.relative(f"{prefix}total", float(total.detach()), float(record["total"]), LOSS, 1.0)
    return total


def _averaged(outcome: Outcome, name: str, expected: float, report: Report) -> Tensor:
    """A loss averaged over the slots: by normaliser as in training here, or plainly, if that is what the file has."""
    weighted = outcome.losses[name]
    plain = torch.stack([slot[name].value for slot in outcome.terms]).mean()
    limit = LOSS * max(expected, 1.0)
    if abs(float(plain.detach()) - expected) <= limit < abs(float(weighted.detach()) - expected):
        report.note(name, "the file has the plain mean of the samples, not the one weighted by normalisers")
        return plain
    return weighted


def check_gradients(model: AgentModel, expected: Mapping[str, float], report: Report, prefix: str = "") -> None:
    """L2 norm of the gradient of every parameter that has one in the file."""
    floor = max(expected.values(), default=0.0) * GRADIENT_FLOOR
    norms = gradient_norms(model)
    missing = [name for name, value in expected.items() if name not in norms and value > floor]
    report.check(f"{prefix}parameters that should have a gradient", missing, [], 0.0)
    errors = {name: abs(norms[name] - value) / max(value, floor) for name, value in expected.items() if name in norms}
    sampling = {name: e for name, e in errors.items() if "sampling_offsets" in name or "attention_weights" in name}
    nodes = {name: error for name, error in errors.items() if NODES.match(name)}
    rest = {name: error for name, error in errors.items() if name not in sampling and name not in nodes}
    report.check(f"{prefix}gradient norms, median", np.median(list(errors.values())), 0.0, MEDIAN_GRADIENT)
    report.many(f"{prefix}gradient norms", rest, GRADIENT)
    report.many(f"{prefix}gradient norms of sampling", sampling, GRADIENT_OF_SAMPLING)
    if nodes:
        report.many(f"{prefix}gradient norms of graph nodes", nodes, GRADIENT_OF_NODES)


def gradient_norms(model: AgentModel) -> dict[str, float]:
    """L2 norms by published name."""
    return {
        str(published_name(name)): float(parameter.grad.norm())
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def _check_without_gradient(model: AgentModel, names: Sequence[str], report: Report, prefix: str) -> None:
    norms = gradient_norms(model)
    wrong = [name for name in names if norms.get(name, 0.0) != 0.0]
    report.check(f"{prefix}parameters without gradient ({len(names)})", wrong, [], 0.0)


def _check_carried(
    outcome: Outcome, slot: int, number: int, arrays: Mapping[str, np.ndarray], report: Report, prefix: str
) -> None:
    """Ids, objects and overlap of the queries that go on as tracks, by id."""
    rows, assignment = outcome.carried_rows[slot], outcome.assignments[slot]
    found = {
        "active_ids": (assignment.track_id[rows], 0.0),
        "active_matched_gt": (assignment.gt_index[rows], 0.0),
        "active_iou": (assignment.iou[rows], IOU),
    }
    ids = _numbered(arrays, "active_ids", number)
    order = np.argsort(assignment.track_id[rows].numpy(), kind="stable")
    for name, (value, tolerance) in found.items():
        expected = _numbered(arrays, name, number)
        if expected is not None and ids is not None and len(ids) == len(expected):
            sorted_expected = expected[np.argsort(ids, kind="stable")]
            report.check(f"{prefix}{name}_{number}", value.numpy()[order], sorted_expected, tolerance)


def st_reasoner_coop_train(path: Path, report: Report) -> None:
    """History reasoning, fusion by rule and the association loss in train mode, with its gradients."""
    arrays, model = load(path), training_model("coop")
    with torch.enable_grad():
        ego = model.reasoner(parity_operators.batch_of_one(arrays))
        ego = ego.select(0)
        remote = parity_operators.wrapped(arrays, model.reference_points)
        done = model.cooperate(ego, remote, "distance")
        refined = model.refine(done.queries)
        sure = ego.scores > ASSOCIATION_MIN_SCORE
        boxes = torch.from_numpy(arrays["gt_boxes"])
        truth = GroundTruth(boxes, torch.zeros(len(boxes), dtype=torch.int64), torch.arange(len(boxes)))
        labels = association_labels(ego.boxes[sure], remote.boxes, truth)
        loss = association_loss(done.affinity[sure], labels).value
    _check_association(arrays, report, sure, labels, done, loss.detach())
    parity_operators.check_queries(refined, arrays, report)
    norms = path.with_name(path.name.replace(".npz", "_gradnorms.json"))
    if norms.is_file():
        _check_association_gradients(model, loss, json.loads(norms.read_text()), report)


def _check_association(
    arrays: Mapping[str, np.ndarray], report: Report, sure: Tensor, labels: Tensor, done: Cooperation, loss: Tensor
) -> None:
    affinity = done.affinity[sure] if len(done.affinity) else done.affinity
    known: tuple[tuple[str, Tensor, float], ...] = (
        (r"asso_mask", sure, 0.0),
        (r"asso_labels?", labels, 0.0),
        (r".*(affinity|asso).*logits?", affinity, 1e-3),
        (r".*match.*(veh|ego).*", done.ego_index, 0.0),
        (r".*match.*(inf|remote).*", done.remote_index, 0.0),
        (r".*match.*", torch.stack((done.ego_index, done.remote_index), dim=1), 0.0),
    )
    for name in sorted(arrays):
        if "/" in name or name == "gt_boxes":
            continue
        if name == "asso_loss":
            expected = float(arrays[name])
            weighted = abs(float(loss) - expected) <= abs(float(loss) / ASSOCIATION_WEIGHT - expected)
            report.relative(name, float(loss) if weighted else float(loss) / ASSOCIATION_WEIGHT, expected, LOSS, 1e-3)
            continue
        value = next((item for item in known if re.fullmatch(item[0], name)), None)
        if value is None:
            report.note(name, f"shape {arrays[name].shape}: not a tensor that this checker knows")
            continue
        found = done.affinity if value[1] is affinity and arrays[name].shape == done.affinity.shape else value[1]
        report.check(name, found, arrays[name], value[2])


def _check_association_gradients(
    model: AgentModel, loss: Tensor, expected: Mapping[str, float], report: Report
) -> None:
    """Of the association loss, with or without its weight: the file does not say which was differentiated."""
    loss.backward()
    expected = next((value for value in expected.values() if isinstance(value, dict)), expected)
    named = {
        name if name.startswith(("STReasoner", "cross")) else f"STReasoner.{name}": v for name, v in expected.items()
    }
    norms = gradient_norms(model)
    if any(value > 0 and norms.get(name, 0.0) == 0.0 for name, value in named.items()):
        report.note("gradient norms", "are of more than the association loss, and the file does not say of what")
        return
    name = max(named, key=lambda key: named[key])
    scale = named[name] / norms[name]
    scale = next((s for s in (1.0, 1.0 / ASSOCIATION_WEIGHT) if abs(scale / s - 1.0) < GRADIENT), 1.0)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(scale)
    check_gradients(model, named, report)
