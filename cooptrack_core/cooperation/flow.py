"""Learned flow: where instances and their features will be, from what their sender said about them so far.

A small network beside the weights of a roadside network reads an instance's features, box, and last places, and says
by how much the velocity that positions tell is wrong, and how the features change. Its inputs are turned into the
instance's heading, so that directions of streets do not matter. As the "feature flow prediction" of the paper's
supplement, which is not published; made by `cooptrack fit-flow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.fitted_file import Content, Kind, load_fitted, save_fitted
from cooptrack_core.cooperation.latency import reported_motion, rotated
from cooptrack_core.types import CLASS_NAMES, CooptrackError, Message, Motion

_SHIPPED = Path(__file__).resolve().parent.parent / "weights"
PLACES = 5  # that an instance had before, the newest first
BOX_INPUTS = len(CLASS_NAMES) + 15 + 3 * PLACES
SPEED_MPS = 10.0  # of which outputs and inputs count velocities
LAYERS = 3
FARTHEST = 10.0  # deviations: no input counts for more, so that no message makes outputs boundless
Float = NDArray[np.float64]
Single = NDArray[np.float32]
_TENSORS = ("mean", "deviation", *(f"{part}{layer}" for layer in range(LAYERS) for part in ("weight", "bias")))


@dataclass(frozen=True)
class Seen:
    """Where a sender saw the N instances of a message before: K reports, the oldest first."""

    dt_s: Float  # [K] from the message, negative: before it
    xy_m: Float  # [K, N, 2] in the message's sensor frame
    seen: NDArray[np.bool_]  # [K, N]


@dataclass(frozen=True)
class Flow(Content):
    """A network; its tensors are those of _TENSORS."""

    @property
    def channels(self) -> int:
        """C of the features."""
        return len(self.tensors["mean"]) - BOX_INPUTS

    def knows(self, message: Message) -> bool:
        """Whether the features of a message are whole and of the network that this was learned with."""
        features = message.instances.features
        if features is None or features.codes is not None or features.query.shape[1] != self.channels:
            return False
        return len(features.fingerprint) > 0 and self.roadside_fingerprint.startswith(features.fingerprint)

    def motion(self, message: Message, motion: Motion, before: Seen) -> Motion:
        """The motion of the N instances of a message that it `knows`, made better, with the change of their features.

        motion: what positions tell.
        """
        features = message.instances.features
        assert features is not None
        query = np.asarray(features.query, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # whatever a message holds
            values = (
                np.concatenate((inputs(message, motion, before), query), 1) - self.tensors["mean"]
            ) / self.deviation
        values = np.nan_to_num(values).clip(-FARTHEST, FARTHEST)
        for layer in range(LAYERS):
            values = values @ self.tensors[f"weight{layer}"].T + self.tensors[f"bias{layer}"]
            values = np.maximum(values, 0.0) if layer < LAYERS - 1 else values
        correction = rotated(values[:, :2].astype(np.float64) * SPEED_MPS, message.instances.heading_rad)
        change = values[:, 2:] * self.deviation[BOX_INPUTS:]
        return replace(motion, velocity_mps=motion.velocity_mps + correction, feature_change_per_s=change)

    @property
    def deviation(self) -> Single:
        """[inputs] by which they are divided."""
        return self.tensors["deviation"]


def inputs(message: Message, motion: Motion, before: Seen) -> Single:
    """[N, BOX_INPUTS] what the network reads beside the features."""
    found, heading = message.instances, message.instances.heading_rad
    moves = rotated(motion.velocity_mps, -heading) / SPEED_MPS
    told = rotated(reported_motion(found, 0.0).velocity_mps, -heading) / SPEED_MPS
    since_s, places = _places(message, before)
    columns = (
        np.eye(len(CLASS_NAMES) + 1)[np.minimum(found.class_id, len(CLASS_NAMES))][:, :-1],
        found.size_m,
        found.score,
        found.center_m[:, :2] / 50.0,
        np.sin(heading),
        np.cos(heading),
        moves,
        np.log(motion.velocity_variance_m2ps2).mean(1),
        motion.yaw_rate_radps,
        told,
        since_s,
        places,
    )
    rows = [column.reshape(len(found), -1) for column in columns]
    return np.concatenate(rows, axis=1).astype(np.float32)


def _places(message: Message, before: Seen) -> tuple[Float, Float]:
    """[N] s since the oldest report of each instance; [N, PLACES * 3] its places before, ahead and left of where it
    is, and how long before; zeros where there were fewer."""
    count, heading = len(message.instances), message.instances.heading_rad
    earlier = np.flatnonzero(before.dt_s < 0.0)[::-1]  # the newest first
    seen, dt_s = before.seen[earlier], before.dt_s[earlier]
    rank = np.cumsum(seen, axis=0) - 1
    places = np.zeros((count, PLACES, 3))
    since_s = np.zeros(count)
    for k, at in enumerate(earlier):
        rows = np.flatnonzero(seen[k])
        since_s[rows] = -dt_s[k]
        rows = rows[rank[k, rows] < PLACES]
        moved = rotated(before.xy_m[at, rows] - message.instances.center_m[rows, :2], -heading[rows])
        places[rows, rank[k, rows], :2] = moved
        places[rows, rank[k, rows], 2] = -dt_s[k]
    return since_s, places.reshape(count, -1)


def save_flow(flow: Flow, path: Path) -> None:
    """Writes a flow as safetensors, in the half precision in which its numbers are."""
    save_fitted(KIND, flow, path)


def load_flow(path: Path) -> Flow:
    """Reads and checks a flow. Raises CooptrackError with file, what is wrong and the remedy."""
    found = load_fitted(KIND, path)
    return Flow(found.tensors, found.roadside_fingerprint, found.notes)


def _wrong(tensors: Mapping[str, Single]) -> str:
    return "" if _fits(tensors) else "its tensors are not finite ones of a network that fits"


def _fits(tensors: Mapping[str, Single]) -> bool:
    """Whether sizes go together from inputs to outputs, and all numbers are finite."""
    if set(tensors) != set(_TENSORS) or not all(np.isfinite(values).all() for values in tensors.values()):
        return False
    width = len(tensors["mean"]) if tensors["mean"].ndim == 1 else 0
    if width <= BOX_INPUTS or tensors["deviation"].shape != (width,) or (tensors["deviation"] <= 0).any():
        return False
    outputs = 2 + width - BOX_INPUTS
    for layer in range(LAYERS):
        weight, bias = tensors[f"weight{layer}"], tensors[f"bias{layer}"]
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != (len(weight),):
            return False
        width = len(weight)
    return width == outputs


KIND = Kind("flow", "1", _wrong)


def find_flows(given: str) -> tuple[Flow, ...]:
    """Those that parameter latency.flow means: a file, or empty: all that ship. Raises CooptrackError without any."""
    paths = [Path(given).expanduser()] if given else sorted(_SHIPPED.glob("*_flow.safetensors"))
    if not paths:
        raise CooptrackError("latency.flow: is empty, and no flow ships; give a file of cooptrack fit-flow")
    return tuple(load_flow(path) for path in paths)


__all__ = ["BOX_INPUTS", "Flow", "Seen", "find_flows", "inputs", "load_flow", "save_flow"]
