"""Reference vectors of single operators: encodings, box code, alignment, history reasoning, association."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from parity_report import Report
from reference_model import QUERY_ARRAYS, queries_of, reference_model
from torch import Tensor

from cooptrack_core.model import bev_queries, box_code
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.life_cycle import advance
from cooptrack_core.model.motion_features import MotionExtractor
from cooptrack_core.model.positional import pe3d, time_encoding
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.propagation import propagate
from cooptrack_core.model.queries import Queries

TIGHT, FEATURES, BOXES, AFFINITY = 1e-5, 1e-4, 2e-3, 1e-3


def load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def tensors(path: Path) -> dict[str, Tensor]:
    """All arrays of a file as tensors."""
    return {name: torch.from_numpy(np.asarray(value)) for name, value in load(path).items()}


@torch.no_grad()
def helpers(path: Path, report: Report) -> None:
    """Encodings, ego motion, box code, corners, rotation of boxes and of the BEV map, overlap."""
    t, model = tensors(path), reference_model("coop")
    report.check("pos2posemb3d", pe3d(t["pos"], 256), t["pos2posemb3d"], TIGHT)
    report.check("query_embedding", model.embed(t["pos"]), t["query_embedding"], TIGHT)
    encoding = time_encoding(4, 256)
    report.check("time_pe_2x4", encoding.expand(2, 4, 256), t["time_pe_2x4"], TIGHT)
    report.check("ts_query_embed", model.reasoner.time_embedding(encoding)[None], t["ts_query_embed"], TIGHT)
    report.check("ego_out", _ego_motion(t), t["ego_out"], TIGHT)
    report.check("box_decoded", box_code.decode(t["box_code"]), t["box_decoded"], TIGHT)
    report.check("box_renorm", box_code.encode(t["box_decoded"]), t["box_renorm"], TIGHT)
    report.check("box_corners", box_code.corners(t["box_decoded"]), t["box_corners"], 1e-4)
    report.check("box_gravity", box_code.gravity_center(t["box_decoded"]), t["box_gravity"], TIGHT)
    rotated = box_code.rotate_translate(t["box_decoded"], t["box_rot_R"], torch.tensor([3.0, -7.0, 0.5]))
    report.check("box_rotated", rotated, t["box_rotated"], 1e-4)
    report.check("iou_nearest", box_code.nearest_bev_iou(t["iou_a"], t["iou_b"]), t["iou_nearest"], TIGHT)
    report.check("rot_out", _rotated(t["rot_in"], float(t["rot_deg"]), t["rot_center"].tolist()), t["rot_out"], 0.0)


def _ego_motion(t: dict[str, Tensor]) -> Tensor:
    """[9, 3] normalised points of the file through the propagation of standing tracks."""
    config = get_preset("official_r50_coop")
    points = t["ego_in"]
    blank = Queries.empty(len(points), dims=256, classes=3, history=4, like=points)
    live = blank.with_(ref_pts=points)
    old, new = torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    for T, R, shift in ((old, t["ego_l2g_r1"], t["ego_l2g_t1"]), (new, t["ego_l2g_r2"], t["ego_l2g_t2"])):
        T[:3, :3], T[:3, 3] = R.T.double(), shift.double()
    return propagate(live, 0.1, torch.linalg.inv(new) @ old, config).ref_pts


def _rotated(image: Tensor, degrees: float, center: list[int]) -> Tensor:
    """[C, rows, columns] image turned about a point."""
    size = (image.shape[1], image.shape[2])
    centre = (float(center[0]), float(center[1]))
    source, inside = bev_queries.rotation_source(torch.tensor([degrees]), size, centre, torch.float32)
    return (image.flatten(1)[:, source[0]] * inside[0]).view_as(image)


@torch.no_grad()
def motion_extractor(path: Path, report: Report) -> None:
    """MDFE motion features, with the weights of the file."""
    t = tensors(path)
    module = MotionExtractor(get_preset("official_r50_coop"))
    renamed = (("pointnet", "point_net"), ("velonet", "velocity_net"), ("fusion_net", "fusion"))
    weights = {name[2:]: value for name, value in t.items() if name.startswith("w/")}
    for published, ours in renamed:
        weights = {name.replace(published, ours): value for name, value in weights.items()}
    module.load_state_dict(weights)
    report.check("cache_motion_feats", module.eval()(t["cache_bboxes"]), t["cache_motion_feats"], TIGHT)


def remote_of(t: dict[str, Tensor], prefix: str) -> RemoteInstances:
    """Instances of a message by the names of the published network."""
    count = len(t[f"{prefix}ref_pts"])
    return RemoteInstances(
        query_feats=t[f"{prefix}query_feats"],
        query_embeds=t[f"{prefix}query_embeds"],
        motion_feats=t[f"{prefix}cache_motion_feats"],
        ref_pts=t[f"{prefix}ref_pts"],
        boxes=t[f"{prefix}pred_boxes"],
        owner=torch.zeros(count, dtype=torch.int64),
        row=torch.arange(count),
        object_key=torch.arange(count),
    )


@torch.no_grad()
def latent_transformation(path: Path, report: Report) -> None:
    """CAA."""
    t, caa = tensors(path), reference_model("coop").alignment
    T = torch.linalg.inv(t["veh2inf_rt"].T)
    report.check("inf2veh", T, t["inf2veh"], TIGHT)
    R, shift = T[:3, :3], T[:3, 3]
    report.check("rot6d", R[:, :2].reshape(1, 6), t["rot6d"], TIGHT)
    report.check("trans", shift[None], t["trans"], 1e-4)
    rotation, translation = caa.latent_pose(R, shift)
    report.check("rot_mat", torch.block_diag(*rotation), t["rot_mat"], FEATURES)
    report.check("trans_para", translation[None], t["trans_para"], FEATURES)
    aligned, keep = caa(remote_of(t, "in/"), T)
    report.check("keep_mask", keep, t["keep_mask"], 0.0)
    report.check("out/ref_pts", aligned.ref_pts, t["out/ref_pts"], TIGHT)
    report.check("out/query_feats", aligned.query_feats, t["out/query_feats"], FEATURES)
    report.check("out/query_embeds", aligned.query_embeds, t["out/query_embeds"], FEATURES)
    report.check("out/cache_motion_feats", aligned.motion_feats, t["out/cache_motion_feats"], FEATURES)
    report.check("out/pred_boxes", aligned.boxes, t["out/pred_boxes"], 1e-4)


def bbox_coder(path: Path, report: Report) -> None:
    """The output coder."""
    t, config = tensors(path), get_preset("official_r50_coop")
    output = box_code.select_output(
        t["boxes"], t["logits"], t["scores"], config.output_range_m, int(t["max_num"])
    )  # fmt: skip
    report.check("out/bbox_index", output.index, t["out/bbox_index"][t["out/mask"]], 0.0)
    report.check("out/bboxes", output.boxes, t["out/bboxes"][t["out/mask"]], TIGHT)
    report.check("out/scores", output.scores, t["out/scores"][t["out/mask"]], TIGHT)
    report.check("out/labels", output.labels, t["out/labels"][t["out/mask"]], 0.0)


def runtime_tracker(path: Path, report: Report) -> None:
    """The life cycle: which tracks live on after each step."""
    config = get_preset("official_r50_coop")
    for number, step in enumerate(json.loads(path.read_text())):
        count = len(step["ids"])
        queries = Queries.empty(count, dims=1, classes=3, history=1, like=torch.zeros(0)).with_(
            track_id=torch.tensor(step["ids"]),
            scores=torch.tensor(step["scores"]),
            is_track=torch.tensor(step["mask"]),
            misses=torch.tensor(step["disappear"]),
        )
        done = advance(queries, count + 1, config)
        live = done.queries.select(done.live)
        report.check(f"step {number}: live_ids_after", live.track_id, step["live_ids_after"], 0.0)
        report.check(f"step {number}: disappear_after", live.misses, step["disappear_after"], 0.0)


def check_queries(queries: Queries, arrays: dict[str, np.ndarray], report: Report, prefix: str = "out/") -> None:
    """Every field of [N] queries that the file has."""
    for field, name in QUERY_ARRAYS.items():
        if prefix + name in arrays:
            exact = field in ("history_padding", "track_id")
            tolerance = 0.0 if exact else BOXES if field in ("boxes", "scores") else FEATURES * 2
            report.check(prefix + name, getattr(queries, field).detach(), arrays[prefix + name], tolerance)


@torch.no_grad()
def st_reasoner_single(path: Path, report: Report) -> None:
    """History reasoning and refinement of one agent."""
    arrays, model = load(path), reference_model("inf")
    given = queries_of(arrays, "in/")
    reasoned = model.reasoner(given.map(lambda x: x[None])).select(0)
    check_queries(model.refine(reasoned), arrays, report)


@torch.no_grad()
def st_reasoner_coop(path: Path, report: Report) -> None:
    """History reasoning, association, fusion, refinement; also without any remote instance."""
    arrays, model = load(path), reference_model("coop")
    ego = model.reasoner(batch_of_one(arrays)).select(0)
    remote = wrapped(arrays, model.reference_points)
    done = model.cooperate(ego, remote)
    if "affinity_logits" in arrays:
        report.check("affinity_logits", done.affinity, arrays["affinity_logits"], AFFINITY)
    for name, index in (("match_veh_idx", done.ego_index), ("match_inf_idx", done.remote_index)):
        if name in arrays:
            report.check(name, index, arrays[name], 0.0)
    check_queries(model.refine(done.queries), arrays, report)


def batch_of_one(arrays: dict[str, np.ndarray]) -> Queries:
    """[1, V] the vehicle's queries of a file."""
    prefix = "veh/" if "veh/cache_query_feats" in arrays else "in/"
    return queries_of(arrays, prefix).map(lambda value: value[None])


def wrapped(arrays: dict[str, np.ndarray], like: Tensor) -> RemoteInstances:
    """The remote instances that the file has as queries."""
    if "inf/cache_query_feats" not in arrays or not len(arrays["inf/cache_query_feats"]):
        return RemoteInstances.empty(like=like, dims=256)
    theirs = queries_of(arrays, "inf/")
    count = len(theirs)
    return RemoteInstances(
        theirs.query_feats, theirs.query_embeds, theirs.motion_feats, theirs.ref_pts, theirs.boxes,
        torch.zeros(count, dtype=torch.int64), torch.arange(count), torch.arange(count),
    )  # fmt: skip
