"""Files of reference vectors as the second implementation makes them, for the test of the parity checker.

Two spellings of what the description of the files (test/data/reference/README.md) leaves open.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import reference_bev
import reference_cooperation as coop
import reference_inputs
import reference_network as plain
import reference_training as training
import torch
from reference_model import reference_model
from torch import Tensor

from cooptrack_core.checkpoints.official import published_name
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.box_code import select_output
from cooptrack_core.model.can_bus import can_bus

RANGE = {"inf": plain.ROADSIDE_RANGE, "coop": plain.VEHICLE_RANGE}
Arrays = dict[str, np.ndarray]


def parameters(model: AgentModel, trained: bool = False) -> dict[str, Tensor]:
    """By published name; trained: leaves of their own where the model's are."""
    wanted = {name for name, value in model.named_parameters() if trained and value.requires_grad}
    return {
        str(published_name(name)): value.detach().clone().requires_grad_(name in wanted)
        for name, value in model.state_dict().items()
    }


@functools.cache
def features(model: AgentModel, side: str, t: int) -> Tensor:
    """Of the image, [C, h, w]."""
    with torch.no_grad():
        return model.neck(model.backbone(torch.from_numpy(reference_inputs.frame(side, t).image)[None]))[-1][0]


def observed(model: AgentModel, side: str, t: int, scene: str = "s0") -> coop.Observation:
    made, feats = reference_inputs.frame(side, t), features(model, side, t)
    T = made.T_map_from_lidar
    bus = can_bus(T, None, model.config)
    bus[:3], bus[17] = T[:3, 3], np.rad2deg(bus[16])
    R, shift = (torch.from_numpy(x.astype(np.float32)) for x in (T[:3, :3].T, T[:3, 3]))
    return coop.Observation(feats, bus, made.lidar2img, made.image.shape[1:], R, shift, made.stamp_s, scene)


# --- frames ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def write_frames(folder: Path, count: int, spelling: int) -> list[coop.Message]:
    """full_inf_frame<t> and full_coop_frame<t>; returns the messages."""
    models = {role: reference_model(role) for role in RANGE}
    named = {role: parameters(model) for role, model in models.items()}
    memories = {role: coop.Memory() for role in RANGE}
    messages = []
    for t in range(count):
        for role, side, max_age in (("inf", "inf", 1), ("coop", "veh", 3)):
            now, memory, sent = observed(models[role], side, t), memories[role], None
            rotated = None
            if memory.prev_bev is not None:
                turn = float(now.can_bus[17] - memory.heading_deg)
                rotated = reference_bev.turned_memory(memory.prev_bev, plain.bev_size(named[role]), turn)
            T = None
            if role == "coop":
                sent, T = messages[t], reference_inputs.T_vehicle_from_infra(t)
                T = torch.from_numpy(T)
            entering = coop.propagate(named[role], memory, now, RANGE[role])
            done = coop.run_frame(named[role], memory, now, RANGE[role], max_age, sent, T)
            if role == "inf":
                messages.append(coop.message_of(done.live))
            arrays = _frame(done, entering, rotated, models[role], spelling)
            _save(folder / f"full_{role}_frame{t}.npz", arrays)
    return messages


def _frame(
    done: coop.Result, entering: plain.Instances, rotated: Tensor | None, model: AgentModel, spelling: int
) -> Arrays:
    final, config = done.final, model.config
    arrays = {
        "bev_embed_every10": done.bev[::10],
        "dec_in_ref_pts": entering.ref_pts,
        "dec_in_query_feats_every10": entering.query_feats[::10],
        "dec_in_query_embeds_every10": entering.query_embeds[::10],
        "dec_cls": done.decoder["logits"],
        "dec_box": done.decoder["boxes"],
        "dec_last_ref": done.decoder["ref_pts"],
        "dec_query_feats_last_every5": done.decoder["feats"][::5],
        "final_ref_pts": final.ref_pts,
        "final_logits": final.pred_logits,
        "final_boxes": final.pred_boxes,
        "final_query_feats_every10": final.query_feats[::10],
        "final_motion_feats_every10": final.cache["motion_feats"][::10],
        "pre_assign_ids": done.ids_before,
        "live_ids": done.live.obj_idxes,
        "live_disappear": done.live.disappear_time,
        "live_scores": done.live.scores,
    }
    arrays |= {f"msg_{name}": value for name, value in coop.message_of(done.live).items()}
    if rotated is not None:
        arrays["prev_bev_rotated_every10" if spelling == 0 else "rot_prev_bev_every10"] = rotated[::10]
    for prefix, rows in (("track", (final.scores >= 0.3).nonzero()[:, 0]), ("det", torch.arange(len(final)))):
        out = select_output(
            final.pred_boxes[rows], final.pred_logits[rows], final.scores[rows], config.output_range_m, 300
        )
        arrays |= {f"{prefix}_boxes": out.boxes, f"{prefix}_scores": out.scores, f"{prefix}_labels": out.labels}
        if prefix == "track":
            arrays["track_ids"] = final.obj_idxes[rows][out.index]
    if done.cooperation:
        arrays |= _cooperation(done.cooperation, spelling)
    return {name: value.numpy() for name, value in arrays.items()}


def _cooperation(notes: dict[str, object], spelling: int) -> dict[str, Tensor]:
    prefix = "caa_" if spelling == 0 else "caa_out/"
    arrays = {f"{prefix}{name}": value for name, value in notes["aligned"].items()}
    arrays["affinity_logits" if spelling == 0 else "asso_logits"] = notes["logits"]
    return arrays | _pairs(notes["pairs"], "match", spelling)


def _pairs(pairs: list[tuple[int, int]], name: str, spelling: int) -> dict[str, Tensor]:
    table = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    if spelling == 0:
        return {f"{name}_veh_idx": table[:, 0], f"{name}_inf_idx": table[:, 1]}
    return {name: table}


# --- the reasoner alone ------------------------------------------------------------------------------------------


def random_instances(count: int, seed: int) -> plain.Instances:
    """Queries of a vehicle with 0 to 3 frames of history."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=random)

    points = 0.1 + 0.8 * torch.rand(count, 3, generator=random)
    codes = 0.3 * normal(10)
    codes[:, [0, 1, 4]] = plain.metres(points, plain.VEHICLE_RANGE)
    logits = normal(3)
    hidden = torch.arange(4)[None] < torch.randint(1, 5, (count, 1), generator=random)
    cache = {
        "query_feats": normal(256),
        "motion_feats": normal(256),
        "query_embeds": normal(256),
        "ref_pts": points,
        "bboxes": codes,
        "logits": logits,
        "scores": logits.sigmoid().max(-1).values,
    }
    zeros = torch.zeros(count, dtype=torch.int64)
    return plain.Instances(
        points, cache["query_embeds"], cache["query_feats"], codes, logits, cache["scores"], torch.arange(count) + 5,
        zeros, zeros.bool(), normal(4, 256), normal(4, 256), hidden, cache,
    )  # fmt: skip


def near_instances(ego: plain.Instances, count: int) -> plain.Instances:
    """Aligned roadside instances close to the first queries of the vehicle."""
    theirs = random_instances(count, 77).cache
    boxes = theirs["bboxes"].clone()
    points = ego.cache["ref_pts"][:count] + 0.004
    boxes[:, [0, 1, 4]] = plain.metres(points, plain.VEHICLE_RANGE)
    names = (("query_feats", "query_feats"), ("query_embeds", "query_embeds"), ("cache_motion_feats", "motion_feats"))
    message = {name: theirs[source].relu() for name, source in names}
    return coop.wrap(message | {"ref_pts": points, "pred_boxes": boxes})


def _instances(queries: plain.Instances, prefix: str) -> Arrays:
    names = {"motion_feats": "cache_motion_feats", "bboxes": "cache_bboxes"}
    arrays = {prefix + names.get(name, f"cache_{name}"): value for name, value in queries.cache.items()}
    fields = ("hist_embeds", "hist_motion_embeds", "hist_padding_masks", "obj_idxes")
    arrays |= {prefix + name: getattr(queries, name) for name in fields}
    return {name: value.detach().numpy() for name, value in arrays.items()}


def write_reasoner(folder: Path, spelling: int) -> None:
    """st_reasoner_coop_eval, _empty, _train and the gradients of the last."""
    model = reference_model("coop")
    named = parameters(model)
    with torch.no_grad():
        for kind, count, theirs in (("eval", 40, 6), ("empty", 12, 0)):
            ego = random_instances(count, 3)
            infra = near_instances(ego, theirs)
            arrays = _instances(ego, "veh/" if spelling == 0 or theirs else "in/") | _instances(infra, "inf/")
            reasoned = plain.reason_history(named, ego)
            pairs = []
            if theirs:
                logits = coop.affinity(named, reasoned, infra)
                pairs = coop.match_all(logits)
                arrays |= {"affinity_logits": logits.numpy()}
                arrays |= {name: value.numpy() for name, value in _pairs(pairs, "match", 0).items()}
            out = plain.refine(named, coop.fuse(named, reasoned, infra, pairs), plain.VEHICLE_RANGE)
            _save(folder / f"st_reasoner_coop_{kind}.npz", arrays | _instances(out, "out/"))
    _write_reasoner_training(folder, parameters(model, trained=True), spelling)


def _write_reasoner_training(folder: Path, named: dict[str, Tensor], spelling: int) -> None:
    ego = random_instances(40, 5)
    infra = near_instances(ego, 6)
    arrays = _instances(ego, "veh/") | _instances(infra, "inf/")
    reasoned = plain.reason_history(named, ego)
    places = (plain.metres(side.cache["ref_pts"], plain.VEHICLE_RANGE) for side in (reasoned, infra))
    pairs = coop.match_near(*places, 3.5)
    mask = reasoned.cache["scores"] > 0.4
    asked = reasoned.take(mask.nonzero()[:, 0])
    boxes = plain.decode_box(infra.cache["bboxes"][:4]).detach() + 0.1
    truth = training.Truth(boxes, torch.zeros(4, dtype=torch.int64), torch.arange(4))
    labels = training.association_labels(asked.cache["bboxes"], infra.cache["bboxes"], truth)
    logits = coop.affinity(named, asked, infra)
    loss = training.association_loss(logits, labels)
    out = plain.refine(named, coop.fuse(named, reasoned, infra, pairs), plain.VEHICLE_RANGE)
    loss.backward()
    grads = {name: float(p.grad.norm()) for name, p in named.items() if p.grad is not None}
    arrays |= {
        "gt_boxes": boxes.numpy(),
        "asso_mask": mask.numpy(),
        "asso_label" if spelling == 0 else "asso_labels": labels.numpy(),
        "affinity_logits" if spelling == 0 else "asso_logits": logits.detach().numpy(),
        "asso_loss": loss.detach().numpy(),
    }
    arrays |= {name: value.numpy() for name, value in _pairs(pairs, "rule_match", spelling).items()}
    _save(folder / "st_reasoner_coop_train.npz", arrays | _instances(out, "out/"))
    if spelling == 1:
        grads = {name.removeprefix("STReasoner."): value for name, value in grads.items()}
    content = grads if spelling == 0 else {"grad_norms": grads}
    (folder / "st_reasoner_coop_train_gradnorms.json").write_text(json.dumps(content))


# --- training ----------------------------------------------------------------------------------------------------


def write_training(folder: Path, messages: list[coop.Message], model: AgentModel, spelling: int) -> None:
    """train_coop_b1, _b2 and _seq2 with a network that is in its second stage of training."""
    poses = [torch.from_numpy(reference_inputs.T_vehicle_from_infra(t)) for t in range(2)]
    truths = [_truth(model, messages[t], poses[t], t) for t in range(2)]
    gone = [i for i in range(len(truths[0].ids)) if i != 4]
    later = training.Truth(truths[0].boxes[gone] + 0.02, truths[0].labels[gone], truths[0].ids[gone])
    fewer = training.Truth(*(value[:5] for value in vars(truths[1]).values()))
    for kind, batches in (("b1", [[truths[0]]]), ("b2", [[truths[0], fewer]]), ("seq2", [[truths[0]], [later]])):
        memories = [coop.Memory() for _ in batches[0]]
        arrays: Arrays = {}
        records = []
        for number, batch in enumerate(batches):
            named, samples = parameters(model, trained=True), []
            for slot, truth in enumerate(batch):
                t = number + slot
                samples.append((observed(model, "veh", t, f"s{slot}"), messages[t], poses[t], truth))
            done = training.iteration(named, memories, samples, plain.VEHICLE_RANGE)
            records.append(_record(done, named, plain_mean=spelling == 1))
            for slot, (outcome, truth) in enumerate(zip(done, batch, strict=True)):
                before, behind = ("", f"_{number + slot}") if spelling == 0 else (f"f{number + slot}/", "")
                arrays |= _truth_arrays(outcome, truth, before, behind)
        _save(folder / f"train_coop_{kind}.npz", arrays)
        content = records[0] if len(records) == 1 else {"frames": records}
        if len(records) > 1 and spelling == 1:
            content = {f"{name}_{i}": value for i, record in enumerate(records) for name, value in record.items()}
        (folder / f"train_coop_{kind}.json").write_text(json.dumps(content))


def _truth(model: AgentModel, message: coop.Message, T: Tensor, t: int) -> training.Truth:
    """Objects near refined boxes and near what the message tells."""
    nothing = training.Truth(torch.ones(1, 9), torch.zeros(1, dtype=torch.int64), torch.tensor([1]))
    with torch.no_grad():
        sample = (observed(model, "veh", t), message, T, nothing)
        outcome = training.iteration(parameters(model), [coop.Memory()], [sample], plain.VEHICLE_RANGE)[0]
        aligned, _ = coop.align(parameters(model), message, T, plain.VEHICLE_RANGE)
    boxes = plain.decode_box(torch.cat((outcome.final.pred_boxes, aligned["pred_boxes"][:3])))
    sane = ((boxes[:, 3:6] > 0.4) & (boxes[:, 3:6] < 9)).all(1)
    score = torch.cat((outcome.final.scores, torch.full((3,), 2.0))[: 1 + bool(len(aligned["pred_boxes"]))])
    rows = torch.where(sane, score[: len(sane)], torch.zeros(len(sane))).argsort(descending=True)[:9]
    random = torch.Generator().manual_seed(t)
    jitter = 0.02 + 0.03 * torch.rand(9, 9, generator=random)
    return training.Truth(boxes[rows] + jitter, torch.arange(9) % 3, torch.arange(9) + 101 + 20 * t)


def _record(done: list[training.Outcome], named: dict[str, Tensor], plain_mean: bool) -> dict[str, object]:
    names = {"fused_cls": "frame_0_loss_cls_0", "fused_bbox": "frame_0_loss_bbox_0", "asso": "loss_asso"}
    losses = {}
    for term in done[0].terms:
        values = [outcome.terms[term] for outcome in done]
        if plain_mean:
            losses[names.get(term, term)] = sum(value for value, _ in values) / len(values)
        else:
            weighed = sum(weight for _, weight in values) or 1.0
            losses[names.get(term, term)] = sum(value * weight for value, weight in values) / weighed
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    return {
        "losses": {name: float(value.detach()) for name, value in losses.items()},
        "total": float(total.detach()),
        "grad_norms": {name: float(p.grad.norm()) for name, p in named.items() if p.grad is not None},
        "params_without_grad": [name for name, p in named.items() if p.requires_grad and p.grad is None],
    }


def _truth_arrays(outcome: training.Outcome, truth: training.Truth, before: str, behind: str) -> Arrays:
    arrays = {
        "gt_boxes": truth.boxes,
        "gt_labels": truth.labels,
        "gt_ids": truth.ids,
        "active_ids": outcome.carried.obj_idxes,
        "active_matched_gt": outcome.matched_gt,
        "active_iou": outcome.iou,
    }
    return {f"{before}{name}{behind}": value.numpy() for name, value in arrays.items()}


def _save(path: Path, arrays: Arrays) -> None:
    np.savez(path, **arrays)
