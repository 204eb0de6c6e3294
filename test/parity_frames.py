"""Reference vectors of whole networks over consecutive frames, alone and with messages."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import reference_inputs
import torch
from parity_operators import load, remote_of
from parity_report import Report
from parity_rows import RowOrder, row_order
from reference_model import reference_model
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from cooptrack_core.model import bev_queries, box_code
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.can_bus import can_bus
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.session import NetworkInput, Session, Step

# In the third frame single precision is 2e-3 m and 1e-3 off double precision, in either network.
BEV, LOGITS, BOXES, AFFINITY, FEATURES = 1e-4, 5e-4, 4e-3, 3e-3, 1e-3


@dataclass(frozen=True)
class Run:
    """One frame of a run, with what it began from."""

    role: str
    step: Step
    entering: Queries  # [900] as the decoder gets them
    next_id: int  # before the frame
    c5: Tensor
    fpn: Tensor
    shift: Tensor  # [1, 2]
    rotated: Tensor | None  # [2500, 256]


def _input(role: str, t: int) -> NetworkInput:
    made = reference_inputs.frame("inf" if role == "inf" else "veh", t)
    lidar2img = torch.from_numpy(made.lidar2img.astype(np.float32))
    return NetworkInput(torch.from_numpy(made.image), lidar2img, made.T_map_from_lidar, made.stamp_s)


@functools.cache
@torch.inference_mode()
def frames(role: str, count: int, folder: Path) -> tuple[Run, ...]:
    """The first frames of a run. The vehicle gets the messages of the roadside frames of the same time."""
    model = reference_model(role)
    session, done = Session(model, all_layers=True), []
    for t in range(count):
        given = _input(role, t)
        memory, next_id = session.memory, session.next_id
        entering = model.assemble(session.live_at(given))
        previous = None if memory is None else memory.T_map_from_sensor
        movement = torch.from_numpy(can_bus(given.T_map_from_sensor, previous, model.config))[None].float()
        rotated = None if memory is None else bev_queries.rotate(memory.bev[None], movement[:, 17], model.config)[0]
        maps = model.backbone(given.image[None])
        messages = [] if role == "inf" else [(message(folder, t), _pose(t))]
        step = session.step(given, messages, shuffle=False)
        shift = bev_queries.shift(movement, model.config)
        done.append(Run(role, step, entering, next_id, maps[-1], model.neck(maps)[-1], shift, rotated))
    return tuple(done)


def _pose(t: int) -> Tensor:
    return torch.from_numpy(reference_inputs.T_vehicle_from_infra(t))


def message(folder: Path, t: int) -> RemoteInstances:
    """What the roadside sends in frame t: of its file if that is there, else of our own run."""
    path = folder / f"full_inf_frame{t}.npz"
    if path.is_file():
        arrays = {name: torch.from_numpy(value) for name, value in load(path).items() if name.startswith("msg_")}
    else:
        arrays = _sent(frames("inf", t + 1, folder)[t])
    return remote_of(arrays, "msg_")


def _sent(run: Run) -> dict[str, Tensor]:
    live = run.step.advanced.queries.select(run.step.advanced.live)
    return {
        "msg_query_feats": live.query_feats,
        "msg_query_embeds": live.query_embeds,
        "msg_cache_motion_feats": live.motion_feats,
        "msg_ref_pts": live.ref_pts,
        "msg_pred_boxes": live.boxes,
    }


@torch.no_grad()
def check(path: Path, report: Report) -> None:
    """One file full_<role>_frame<t>.npz."""
    match = re.fullmatch(r"full_(inf|veh|coop)_frame(\d+)\.npz", path.name)
    assert match is not None
    role, t = match.group(1), int(match.group(2))
    run, arrays = frames(role, t + 1, path.parent)[t], load(path)
    order = row_order(run, arrays, _known_ids(role, path.parent), report)
    _outputs(run, arrays, order, report)
    _live_tracks(run, arrays, order, report)
    _pairs(run, arrays, order, report)
    for name in sorted(arrays):
        if name.startswith(("track_", "det_", "live_", "msg_")) or PAIR.fullmatch(name):
            continue
        found = _find(run, name, order)
        if found is None:
            report.note(name, f"shape {arrays[name].shape}: not a tensor that this checker knows")
        else:
            value, tolerance = found
            report.check(
                name, value, order.translated(arrays[name]) if name == "pre_assign_ids" else arrays[name], tolerance
            )


@functools.cache
def _known_ids(role: str, folder: Path) -> dict[int, int]:
    """Their ids in ours, where they differ; grows frame by frame."""
    return {}


Getter = Callable[[Run, RowOrder], Tensor]
# Pattern of the name: what it is, its tolerance. `_everyN` takes every Nth row.
TENSORS: tuple[tuple[str, Getter, float], ...] = (
    (r"c5_ch0_16", lambda r, o: r.c5[:, :16], BEV),
    (r"fpn", lambda r, o: r.fpn, BEV),
    (r"bev_shift_xy", lambda r, o: r.shift, 1e-5),
    (r".*(prev|rot).*", lambda r, o: _present(r.rotated), BEV),
    (r"bev_embed", lambda r, o: r.step.perception.bev[0], BEV),
    (r"dec_in_ref_pts", lambda r, o: r.entering.ref_pts[o.entering], BOXES),
    (r"dec_in_query_feats", lambda r, o: r.entering.query_feats[o.entering], FEATURES),
    (r"dec_in_query_embeds", lambda r, o: r.entering.query_embeds[o.entering], FEATURES),
    (r"dec_cls", lambda r, o: r.step.perception.decoder.logits[:, 0, o.entering], LOGITS),
    (r"dec_box", lambda r, o: r.step.perception.decoder.boxes[:, 0, o.entering], BOXES),
    (r"dec_last_ref", lambda r, o: r.step.perception.decoder.last_ref_pts[0, o.entering], FEATURES),
    (r"dec_query_feats_last", lambda r, o: r.step.perception.decoder.feats[0, o.entering], FEATURES),
    (r"final_ref_pts", lambda r, o: r.step.refined.ref_pts[o.final], FEATURES),
    (r"final_logits", lambda r, o: r.step.refined.logits[o.final], LOGITS),
    (r"final_boxes", lambda r, o: r.step.refined.boxes[o.final], BOXES),
    (r"final_query_feats", lambda r, o: r.step.refined.query_feats[o.final], FEATURES),
    (r"final_motion_feats", lambda r, o: r.step.refined.motion_feats[o.final], FEATURES),
    (r"motion_feats", lambda r, o: r.step.perception.decoded.motion_feats[0, o.entering], FEATURES),
    (r"pre_assign_ids", lambda r, o: r.step.refined.track_id[o.final], 0.0),
    (r".*affinity.*|asso.*", lambda r, o: _present(r.step.cooperation).affinity[o.entering], AFFINITY),
    (r"(caa|align|inf|out)\w*ref_pts", lambda r, o: _present(r.step.remote).ref_pts, FEATURES),
    (r"(caa|align|inf|out)\w*query_feats", lambda r, o: _present(r.step.remote).query_feats, FEATURES),
    (r"(caa|align|inf|out)\w*query_embeds", lambda r, o: _present(r.step.remote).query_embeds, FEATURES),
    (r"(caa|align|inf|out)\w*motion_feats", lambda r, o: _present(r.step.remote).motion_feats, FEATURES),
    (r"(caa|align|inf|out)\w*(boxes|bboxes)", lambda r, o: _present(r.step.remote).boxes, BOXES),
)


def _find(run: Run, name: str, order: RowOrder) -> tuple[Tensor, float] | None:
    stride = re.search(r"_every(\d+)$", name)
    plain = name if stride is None else name[: stride.start()]
    for pattern, getter, tolerance in TENSORS:
        if re.fullmatch(pattern, plain.replace("/", "_")):
            value = getter(run, order)
            return (value if stride is None else value[:: int(stride.group(1))]), tolerance
    return None


def _present(value: Tensor | None) -> Tensor:
    assert value is not None, "the file has a tensor that this kind of frame does not make"
    return value


def _live(run: Run) -> Queries:
    return run.step.advanced.queries.select(run.step.advanced.live)


PAIR = re.compile(r".*match.*")
LIVE: tuple[tuple[str, Callable[[Queries], Tensor], float], ...] = (
    ("live_disappear", lambda q: q.misses, 0.0),
    ("live_scores", lambda q: q.scores, LOGITS),
    ("msg_query_feats", lambda q: q.query_feats, FEATURES),
    ("msg_query_embeds", lambda q: q.query_embeds, FEATURES),
    ("msg_cache_motion_feats", lambda q: q.motion_feats, FEATURES),
    ("msg_ref_pts", lambda q: q.ref_pts, FEATURES),
    ("msg_pred_boxes", lambda q: q.boxes, BOXES),
)


def _live_tracks(run: Run, arrays: dict[str, np.ndarray], order: RowOrder, report: Report) -> None:
    """What goes on to the next frame, by id; the roadside sends it."""
    if "live_ids" not in arrays:
        return
    live, expected = _live(run), order.translated(arrays["live_ids"])
    ours, theirs = np.argsort(live.track_id.numpy()), np.argsort(expected)
    report.check("live_ids", live.track_id[ours], expected[theirs], 0.0)
    for name, getter, tolerance in LIVE:
        if name in arrays and len(arrays[name]) == len(theirs) == len(ours):
            report.check(name, getter(live)[ours], arrays[name][theirs], tolerance)
        elif name in arrays:
            report.fail(name, f"{len(ours)} rows instead of {len(arrays[name])}")


def _pairs(run: Run, arrays: dict[str, np.ndarray], order: RowOrder, report: Report) -> None:
    """Matched rows of ours and of the message, by row of ours."""
    found = {name: arrays[name] for name in sorted(arrays) if PAIR.fullmatch(name)}
    table = next((value for value in found.values() if value.ndim == 2), None)
    if table is not None:
        table = table if table.shape[1] == 2 else table.T
        found = {"match_veh": table[:, 0], "match_inf": table[:, 1]}
    ego = next((value for name, value in found.items() if re.search("veh|ego", name)), None)
    remote = next((value for name, value in found.items() if re.search("inf|remote", name)), None)
    if ego is None or remote is None:
        return
    done = _present(run.step.cooperation)
    rows = order.entering.numpy()[ego]
    sort = np.argsort(rows)
    report.check("matched rows of the vehicle", done.ego_index, rows[sort], 0.0)
    report.check("matched rows of the message", done.remote_index, remote[sort], 0.0)


def _outputs(run: Run, arrays: dict[str, np.ndarray], order: RowOrder, report: Report) -> None:
    """Tracks by id; detections as a set, for nearly equal scores may come in either order."""
    config, queries = reference_model(run.role).config, run.step.advanced.queries
    rows = run.step.advanced.reported.nonzero()[:, 0]
    tracks = box_code.select_output(
        queries.boxes[rows], queries.logits[rows], queries.scores[rows], config.output_range_m, config.max_outputs
    )
    ids = queries.track_id[rows][tracks.index].numpy()
    expected_ids = order.translated(arrays["track_ids"])
    ours, theirs = np.argsort(ids), np.argsort(expected_ids)
    report.check("track_ids", ids[ours], expected_ids[theirs], 0.0)
    if len(ours) == len(theirs):
        report.check("track_boxes", tracks.boxes[ours], arrays["track_boxes"][theirs], BOXES)
        report.check("track_scores", tracks.scores[ours], arrays["track_scores"][theirs], LOGITS)
        report.check("track_labels", tracks.labels[ours], arrays["track_labels"][theirs], 0.0)
    found = box_code.select_output(
        queries.boxes, queries.logits, queries.scores, config.output_range_m, config.max_outputs
    )
    report.check("det_boxes (rows)", len(found.boxes), len(arrays["det_boxes"]), 0.0)
    expected = torch.from_numpy(arrays["det_boxes"])
    cost = torch.cdist(expected[:, :6].double(), found.boxes[:, :6].double()).numpy()
    theirs, ours = linear_sum_assignment(cost)
    report.check("det_boxes", found.boxes[ours], arrays["det_boxes"][theirs], BOXES)
    report.check("det_scores", found.scores[ours], arrays["det_scores"][theirs], LOGITS)
    report.check("det_labels", found.labels[ours], arrays["det_labels"][theirs], 0.0)
