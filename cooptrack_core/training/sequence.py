"""A sequence of a dataset as training frames: what each agent gets, and what it should find in it (spec 7.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cooptrack_core.data.bag_events import BagEvent
from cooptrack_core.data.frame_messages import SequenceOptions
from cooptrack_core.data.image_events import image_events
from cooptrack_core.data.labels import Labels
from cooptrack_core.data.sequence_messages import SequenceMessages
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.geometry.transforms import apply, inverse, rotate_xy
from cooptrack_core.model import box_code
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.types import CLASS_ID

Float = NDArray[np.float64]
Int = NDArray[np.int64]

TRAINED_CLASSES = (CLASS_ID["car"], CLASS_ID["bicycle"], CLASS_ID["pedestrian"])
MAX_GAP_NS = 550_000_000  # an object seen again later than this has no known velocity


@dataclass(frozen=True)
class LabelledFrame:
    """A frame of an agent as it reaches the agent's network, with its ground truth in the agent's lidar frame."""

    event: BagEvent
    truth: GroundTruth  # the roadside's own labels, or the cooperative labels for the vehicle


def labelled_frames(dataset: Dataset, sequence_id: str, max_frames: int | None = None) -> list[LabelledFrame]:
    """The frames of both agents that have labels, in log order: agents `vehicle` and `rsu`."""
    source = SequenceSource(SequenceMessages(dataset, sequence_id, SequenceOptions(max_frames=max_frames)))
    events = list(image_events(source))
    found = {}
    for agent in ("vehicle", "rsu"):
        own = [e for e in events if e.agent_id == agent and _has_labels(dataset, e)]
        for event, truth in zip(own, _truths(dataset, own), strict=True):
            found[agent, event.frame_id] = LabelledFrame(event, truth)
    keys = [(event.agent_id, event.frame_id) for event in events]
    return [found[key] for key in keys if key in found]


def _has_labels(dataset: Dataset, event: BagEvent) -> bool:
    located = event.frame.T_map_from_sensor is not None and event.frame.image is not None
    return located and (event.agent_id != "vehicle" or dataset.has_cooperative_labels(event.frame_id))


def _truths(dataset: Dataset, events: Sequence[BagEvent]) -> list[GroundTruth]:
    """Ground truth of consecutive frames of one agent."""
    labels = [_labels(dataset, event) for event in events]
    truths = []
    for now, (event, found) in enumerate(zip(events, labels, strict=True)):
        velocity_mps = np.full((len(found), 2), np.nan)
        if now + 1 < len(events):
            velocity_mps = forward_velocity(event, found, events[now + 1], labels[now + 1])
        truths.append(_ground_truth(found, velocity_mps))
    return truths


def _labels(dataset: Dataset, event: BagEvent) -> Labels:
    """The labels to be learned, each object once."""
    if event.agent_id == "vehicle":
        labels = dataset.cooperative_labels(event.frame_id)
    else:
        labels = dataset.labels("infrastructure", event.frame_id)
    ids = labels.instances.instance_id
    first = np.zeros(len(ids), bool)
    first[np.unique(ids, return_index=True)[1]] = True
    named = np.array([track_id != "-1" for track_id in labels.track_id], bool)
    known = np.isin(labels.instances.class_id, TRAINED_CLASSES)
    return labels.select(np.flatnonzero(first & named & known).tolist())


def forward_velocity(event: BagEvent, labels: Labels, later: BagEvent, later_labels: Labels) -> Float:
    """[N, 2] over ground, m/s along the axes of the sensor, by the next frame of the same object; NaN without one."""
    velocity = np.full((len(labels), 2), np.nan)
    gap_ns = later.frame.stamp_ns - event.frame.stamp_ns
    T, T_later = event.frame.T_map_from_sensor, later.frame.T_map_from_sensor
    if not 0 < gap_ns <= MAX_GAP_NS or T is None or T_later is None:
        return velocity
    _, rows, later_rows = np.intersect1d(
        labels.instances.instance_id, later_labels.instances.instance_id, return_indices=True
    )
    here = apply(T, labels.instances.center_m[rows])
    there = apply(T_later, later_labels.instances.center_m[later_rows])
    velocity[rows] = rotate_xy(inverse(T), (there - here)[:, :2] / (gap_ns / 1e9))
    return velocity


def _ground_truth(labels: Labels, velocity_mps: Float) -> GroundTruth:
    found = labels.instances
    public = box_code.PublicBoxes(found.center_m, found.size_m, found.heading_rad, velocity_mps)
    boxes = box_code.decode(torch.from_numpy(box_code.from_public(public))).float()
    seen = torch.tensor([side != "inf" for side in labels.from_side], dtype=torch.bool)
    return GroundTruth(boxes, torch.from_numpy(found.class_id), torch.from_numpy(found.instance_id), seen)


__all__ = ["LabelledFrame", "forward_velocity", "labelled_frames"]
