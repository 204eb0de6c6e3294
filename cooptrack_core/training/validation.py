"""How good the weights are at the moment: tracks of kept frames against their labels, with the metrics of the field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cooptrack_core.evaluation.detection import detection_scores, match_detections
from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet, FrameTable
from cooptrack_core.evaluation.tracking import tracking_scores
from cooptrack_core.geometry.transforms import apply, rotate_xy
from cooptrack_core.model import box_code, outputs
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.proposals import DenseBoxes
from cooptrack_core.model.session import Session
from cooptrack_core.training.frames import Clip, FrameSet
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.messages import received
from cooptrack_core.training.views import ViewOptions, image_batch, network_input, view_of
from cooptrack_core.types import CLASS_NAMES, Message

Float = NDArray[np.float64]

CLASSES = CLASS_NAMES[:3]
RANGE_M = {"inf": (100.0, 80.0, 80.0), "veh": (50.0, 40.0, 40.0), "coop": (50.0, 40.0, 40.0)}  # spec 0
_AS_IT_IS = ViewOptions()


@dataclass(frozen=True)
class Found:
    """Boxes of one frame in the sensor frame."""

    boxes: box_code.PublicBoxes
    class_id: NDArray[np.int64]
    score: Float
    track: NDArray[np.int64]


class SeesImages(Protocol):
    """The image part of a network while it is trained."""

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""

    def dense(self, images: torch.Tensor, lidar2img: torch.Tensor) -> DenseBoxes:
        """images [B, 3, h, w], lidar2img [B, 4, 4]."""


Rows = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Float, Float, Float, Float, Float]
Finder = Callable[[Clip, int], Found]


@dataclass(frozen=True)
class CooperativeRun:
    """What a vehicle hears of others while it is measured."""

    message: Callable[[Clip, int], Message | None]  # at its frame
    matcher: str = "affinity"


def tracking_quality(model: AgentModel, frames: FrameSet, together: CooperativeRun | None = None) -> dict[str, float]:
    """Scores of an agent's tracks on its clips, alone or with what it hears: of cars, and mAP of each class."""
    matcher = "affinity" if together is None else together.matcher
    device = next(model.parameters()).device
    model.eval()
    sessions: dict[str, Session] = {}

    def find(clip: Clip, frame: int) -> Found:
        session = sessions.setdefault(f"{clip.agent} {clip.sequence}", Session(model, matcher=matcher))
        view = view_of(clip, frame, model.config, _AS_IT_IS, 0)
        image = image_batch([view], model.config)[0].to(device)
        heard = None if together is None else together.message(clip, frame)
        remotes = () if heard is None else (received(model, heard, clip, frame),)
        done = session.step(network_input(view, image), remotes)
        queries = done.advanced.queries
        rows = outputs.reported_rows(queries, done.advanced.reported, model.config)
        return Found(
            outputs.public_boxes(queries, rows),
            queries.logits.argmax(-1).cpu().numpy()[rows],
            queries.scores.cpu().numpy()[rows].astype(np.float64),
            queries.track_id.cpu().numpy()[rows],
        )

    return quality(find, frames, model.config)


def quality(find: Finder, frames: FrameSet, config: ModelConfig) -> dict[str, float]:
    """Scores of what `find` gives for each frame of the clips, called in order."""
    data = _table(find, frames, config).in_range()
    detection = detection_scores(match_detections(data))
    tracking = tracking_scores(data)["label_metrics"]
    present = [name for i, name in enumerate(CLASSES) if (data.truth.class_index == i).any()]
    found = {f"ap_{name}": float(detection[name]["ap"]) for name in present}
    amota = {f"amota_{name}": float(np.nan_to_num(tracking["amota"][name])) for name in present}
    score = amota.get("amota_car", float(np.mean(list(found.values() or [0.0]))))
    ids = {"ids_car": float(np.nan_to_num(tracking["ids"]["car"]))}
    return found | amota | ids | {"score": score}


def _table(find: Finder, frames: FrameSet, config: ModelConfig) -> EvaluationSet:
    tokens: list[str] = []
    scenes, stamps, origin = [], [], []
    truth: list[Rows] = []
    predictions: list[Rows] = []
    for scene, clip in enumerate(frames.clips):
        for frame in range(len(clip)):
            row = len(tokens)
            T = clip.T_map_from_sensor[frame]
            tokens.append(f"{clip.agent} {clip.sequence} {frame}")
            scenes.append(scene)
            stamps.append(round(clip.stamp_s[frame] * 1e6))
            origin.append(T[:2, 3])
            truth.append(_truth_rows(row, scene, clip.truths[frame], T, config))
            predictions.append(_found_rows(row, scene, find(clip, frame), T))
    names = tuple(clip.sequence for clip in frames.clips)
    table = FrameTable(tuple(tokens), np.array(scenes), names, np.array(stamps), np.array(origin))
    return EvaluationSet(table, _joined(truth), _joined(predictions), CLASSES, RANGE_M[config.role])


def _truth_rows(row: int, scene: int, truth: GroundTruth, T: Float, config: ModelConfig) -> Rows:
    if truth.seen is not None and config.role != "coop":
        truth = truth.select(truth.seen)
    truth = truth.within(config.point_range_m)
    public = box_code.to_public(truth.codes().double().numpy())
    ones = np.ones(len(truth))
    return _rows(row, scene, Found(public, truth.labels.numpy(), ones, truth.ids.numpy()), T)


def _found_rows(row: int, scene: int, found: Found, T: Float) -> Rows:
    return _rows(row, scene, found, T)


def _rows(row: int, scene: int, found: Found, T: Float) -> Rows:
    boxes, n = found.boxes, len(found.score)
    heading = boxes.heading_rad + np.arctan2(T[1, 0], T[0, 0])
    identity = found.track + scene * 10_000_000
    return (
        np.full(n, row), found.class_id, identity, apply(T, boxes.center_m), boxes.size_m, heading,
        rotate_xy(T, boxes.velocity_mps), found.score,
    )  # fmt: skip


def _joined(parts: Sequence[Rows]) -> BoxTable:
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    frame, class_index, identity, center, size, heading, velocity, score = columns
    track = np.unique(identity, return_inverse=True)[1].astype(np.int64)
    return BoxTable(frame, class_index, track, center, size, heading, velocity, score)


@torch.no_grad()
def dense_score(trunk: SeesImages, config: ModelConfig, frames: FrameSet, every: int = 10) -> dict[str, float]:
    """Average precision of the peaks of the image head, on every so many frames of the clips; no tracks."""
    device = trunk.device

    def find(clip: Clip, frame: int) -> Found:
        if frame % every:
            return _nothing()
        view = view_of(clip, frame, config, _AS_IT_IS, 0)
        image = image_batch([view], config).to(device)
        lidar2img = torch.from_numpy(view.lidar2img).float()[None].to(device)
        dense = trunk.dense(image, lidar2img)
        return peaks(dense, config)

    data = _thinned(_table(find, frames, config).in_range(), every)
    scores = detection_scores(match_detections(data))
    present = [name for i, name in enumerate(CLASSES) if (data.truth.class_index == i).any()]
    found = {f"ap_{name}": float(scores[name]["ap"]) for name in present}
    return found | {"score": float(np.mean(list(found.values() or [0.0])))}


def peaks(dense: DenseBoxes, config: ModelConfig) -> Found:
    """The best peaks of one frame's dense output as boxes."""
    heat = dense.heat.sigmoid()  # [1, K, h, w]
    top = heat * (heat == torch.nn.functional.max_pool2d(heat, 3, stride=1, padding=1))
    chosen = top.flatten(1).topk(config.proposals or 64)
    cells = heat.shape[-1] * heat.shape[-2]
    code = dense.boxes.flatten(1, 2)[0, chosen.indices[0] % cells].cpu().numpy()
    count = len(code)
    return Found(
        box_code.to_public(code), (chosen.indices[0] // cells).cpu().numpy(),
        chosen.values[0].cpu().numpy().astype(np.float64), np.arange(count),
    )  # fmt: skip


def _nothing() -> Found:
    none = np.zeros(0)
    empty = box_code.PublicBoxes(np.zeros((0, 3)), np.zeros((0, 3)), none, np.zeros((0, 2)))
    return Found(empty, np.zeros(0, np.int64), none, np.zeros(0, np.int64))


def _thinned(data: EvaluationSet, every: int) -> EvaluationSet:
    """Ground truth of the frames that were looked at only."""
    looked = np.array([int(token.rsplit(" ", 1)[1]) % every == 0 for token in data.frames.token])
    return EvaluationSet(
        data.frames, data.truth.select(looked[data.truth.frame]), data.predictions, data.class_names, data.class_range_m
    )


__all__ = ["CLASSES", "RANGE_M", "Found", "dense_score", "quality", "tracking_quality"]
